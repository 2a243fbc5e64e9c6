from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.pictures import jpeg, png, sheet


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_png_keeps_every_pixel_and_the_order_of_axes_and_colours():
    image = noise(5, 9, 3)
    with Image.open(BytesIO(png(image)), formats=("PNG",)) as opened:
        assert opened.mode == "RGB"
        assert np.array_equal(np.asarray(opened), image)


def test_jpeg_keeps_full_colour_resolution():
    stripes = np.zeros((64, 64, 3), np.uint8)  # red and blue of about equal brightness, one pixel wide
    stripes[:, 0::2] = 255, 0, 0
    stripes[:, 1::2] = 0, 70, 255
    with Image.open(BytesIO(jpeg(stripes)), formats=("JPEG",)) as opened:
        assert [part[1:3] for part in opened.layer] == [(1, 1)] * 3
        error = np.abs(np.asarray(opened).astype(int) - stripes)
    assert error.mean() < 10  # halved colour would leave both stripes purple: about 85


def test_jpeg_quality_trades_bytes_for_fidelity():
    image = noise(64, 64, 3)
    sizes = [len(jpeg(image, quality)) for quality in (30, 92)]
    assert sizes[0] < sizes[1] == len(jpeg(image))


@pytest.mark.parametrize("rows, columns", [(1, 1), (1, 7), (3, 5)])
def test_sheet_puts_strip_r_in_row_r_and_frame_k_in_column_k(rows, columns):
    frames = noise(rows, columns, 4, 6, 3)
    picture = sheet(frames)
    assert picture.shape == (rows * 4, columns * 6, 3) and picture.dtype == np.uint8
    for r in range(rows):
        for k in range(columns):
            assert np.array_equal(picture[r * 4 : r * 4 + 4, k * 6 : k * 6 + 6], frames[r, k])
