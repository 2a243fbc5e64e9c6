"""Users' pictures in the frame of a data set."""

import numpy as np
from PIL import Image, ImageFont

from engine import frame_of


def test_letters_fill_the_picture():
    pixels = np.full((120, 100), 255, np.uint8)
    pixels[90:110, 10:30] = 0  # a square on paper, in a corner
    ink = np.asarray(frame_of("glyphs")(Image.fromarray(pixels))) < 128
    assert ink.shape == (64, 64) and ink[5:59, 5:59].all() and ink.sum() == 54 * 54


def test_those_of_a_folder_of_fonts_do_and_all_else_is_left_alone(tmp_path):
    (tmp_path / "fonts").mkdir()
    (tmp_path / "fonts" / "plain.ttf").write_bytes(ImageFont.load_default(20).font_bytes)
    (tmp_path / "photos").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "photos" / "a.png")
    assert frame_of(str(tmp_path / "fonts")) is frame_of("glyphs")
    for other in ("shapes3d", "faces", "manifold-letter", str(tmp_path / "photos"), str(tmp_path / "gone")):
        assert frame_of(other) is None
