"""Letters of many typefaces: the shipped sheet, fonts of a folder, and the command that makes the one of the other."""

import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from engine.data import DataError, Grid, load, make_glyphs, split
from engine.data import glyphs as module
from engine.data.glyphs import LETTERS, Glyphs, drawn, framed, letter, packed, unpacked
from engine.files import Damaged, write_manifest


@pytest.fixture(scope="module")
def fonts(tmp_path_factory) -> Path:
    """A folder with the font that comes with Pillow, twice, a damaged one and something else."""
    folder = tmp_path_factory.mktemp("fonts")
    (folder / "deep").mkdir()
    (folder / "deep" / "plain.TTF").write_bytes(ImageFont.load_default(20).font_bytes)
    (folder / "again.otf").write_bytes(ImageFont.load_default(20).font_bytes)
    (folder / "broken.ttf").write_bytes(b"no font")
    (folder / "licence.txt").write_text("free")
    return folder


@pytest.fixture(scope="module")
def shipped() -> Glyphs:
    return load("glyphs")


def test_the_shipped_set_is_every_letter_of_hundreds_of_typefaces(shipped):
    assert isinstance(shipped, Grid) and shipped.name == "glyphs" and shipped.channels == 1
    typeface, which = shipped.factors
    assert (typeface.name, which.name, which.size) == ("typeface", "letter", 26)
    assert typeface.size == len(shipped.typefaces) == len(set(shipped.typefaces)) > 350
    assert typeface.categorical and which.categorical
    assert len(shipped) == 26 * typeface.size
    assert "Brian Kent" in shipped.origin and "attribution" in shipped.origin


def test_letters_fill_the_picture_black_on_white(shipped):
    images = shipped.images(torch.arange(0, len(shipped), 37))
    assert images.shape[1:] == (1, 64, 64) and images.dtype == torch.uint8
    assert (images[:, :, [0, -1]] == 255).all() and (images[..., [0, -1]] == 255).all()  # a margin
    ink = images[:, 0] < 255
    size = torch.maximum(ink.any(2).sum(1), ink.any(1).sum(1))
    assert (size >= 40).all() and (size <= 54).all() and (size >= 53).float().mean() > 0.9  # faint ends are lost
    assert ((images.min(1).values.flatten(1).min(1).values) < 60).all()


def test_the_same_letter_is_more_alike_than_another(shipped):
    index = torch.arange(len(shipped))
    mean = shipped.images(index).float().unflatten(0, (-1, 26)).mean(0).flatten(1)  # (26, 4096)
    x = shipped.images(index[::11]).flatten(1).float()
    mean, x = ((m - m.mean(1, keepdim=True)) for m in (mean, x))
    alike = torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(mean).T
    right = (alike.argmax(1) == shipped.labels(index[::11])[:, 1]).float().mean()
    assert right > 0.5  # a template is a poor reader; chance is 0.04


def test_every_typeface_and_letter_is_trained_on(shipped):
    seen = shipped.classes(split(len(shipped))[0])
    assert [len(column.unique()) for column in seen.unbind(1)] == [f.size for f in shipped.factors]
    assert len(split(len(shipped))[1]) > 150  # pairs that are not


def test_a_folder_of_fonts_is_a_set_of_the_same_kind(fonts):
    data = load(str(fonts))
    assert isinstance(data, Glyphs) and data.name == fonts.name and len(data) == 26
    assert data.typefaces == tuple(name for name, _ in drawn(fonts)) and len(data.typefaces) == 1
    images = data.images(torch.arange(26))
    assert len({image.numpy().tobytes() for image in images}) == 26
    a, i = data.images(torch.tensor([0, 8]))[:, 0]
    assert (i < 128).any(0).sum() < 15 and (a < 128).any(0).sum() > 40  # I is narrow, A is not


def test_a_letter_is_where_it_should_be():
    font = ImageFont.load_default(96)
    for text in "IWQ":
        ink = letter(font, text)
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == pytest.approx(54, abs=1)
        for place in (rows, columns):
            assert abs(place.min() - (63 - place.max())) <= 2
    with pytest.raises(ValueError, match="has no"):
        letter(font, " ")


def note(text: str, size: tuple[int, int], place: tuple[int, int], ink: tuple, paper: tuple) -> Image.Image:
    """A letter somewhere on a sheet of paper."""
    sheet = Image.new("RGB", size, paper)
    ImageDraw.Draw(sheet).text(place, text, fill=ink, font=ImageFont.load_default(96))
    return sheet


def assert_reads(picture: Image.Image, known: np.ndarray, text: str, most: float) -> None:
    """It is nearest to that of the 26 known pictures, and `most` grey levels away from it on average."""
    away = np.abs(np.asarray(picture, float) - known).mean((1, 2))
    assert LETTERS[away.argmin()] == text and away.min() < most


@pytest.mark.parametrize(("size", "place", "ink", "paper"), [
    ((300, 400), (20, 220), (0, 0, 0), (255, 255, 255)),
    ((160, 130), (30, 10), (250, 250, 240), (10, 20, 30)),    # light on dark
    ((900, 200), (700, 40), (30, 60, 140), (240, 235, 220)),  # in colour, far from the middle
])
@pytest.mark.parametrize("text", ["A", "I", "Q", "W"])
def test_a_letter_on_paper_is_framed_as_those_of_the_set(text, size, place, ink, paper):
    known = 255 - np.stack([letter(ImageFont.load_default(96), t) for t in LETTERS]).astype(float)
    sheet, file = note(text, size, place, ink, paper), io.BytesIO()
    assert_reads(framed(sheet), known, text, 12)  # a faint end more or less is half a pixel
    sheet.save(file, "JPEG", quality=60)  # with rings around the letter
    grain = np.random.default_rng(0).normal(0, 6, (*sheet.size[::-1], 3))
    light = (np.linspace(0.7, 1, sheet.width) * (1 - np.linspace(-0.4, 0.5, sheet.height)[:, None] ** 2))[..., None]
    grainy = np.clip(np.asarray(Image.open(file)) * light + grain, 0, 255).astype(np.uint8)
    assert_reads(framed(Image.fromarray(grainy)), known, text, 20)


def photo(text: str, light: np.ndarray, grain: float, glare: bool) -> Image.Image:
    """A letter (192, 256) under a light (192, 256), with grain, and perhaps a brighter spot beside it."""
    sheet = note(text, (256, 192), (100, 40), (40, 40, 40), (200, 200, 200)).convert("L")
    levels = np.asarray(sheet) * light + np.random.default_rng(0).normal(0, grain, light.shape)
    if glare:
        levels[20:40, 200:230] += 50
    return Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8))


def test_neither_grain_nor_a_vignette_nor_glare_is_ink():
    known = 255 - np.stack([letter(ImageFont.load_default(96), t) for t in LETTERS]).astype(float)
    y, x = (2 * place - 1 for place in np.mgrid[0:1:192j, 0:1:256j])
    even, vignette = np.ones((192, 256)), 1 - 0.3 * x**2 - 0.3 * y**2
    for light, grain, glare in ((even, 0, True), (vignette, 0, False), (even, 6, False), (vignette, 4, True)):
        picture = framed(photo("G", light, grain, glare))
        assert_reads(picture, known, "G", 14)
        paper = np.asarray(picture)[known[LETTERS.index("G")] == 255]
        assert np.percentile(paper, 10) > 252


def test_a_letter_may_touch_the_rim():
    for light in (np.ones(160), np.linspace(0.7, 1, 160)):
        levels = np.broadcast_to(220 * light, (120, 160)).copy()
        levels[0:30, 20:130] = levels[30:110, 60:90] = 20  # a T, a fifth of the rim
        ink = np.asarray(framed(Image.fromarray(levels.astype(np.uint8)))) < 128
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        assert (rows[0], rows[-1]) == (columns[0], columns[-1]) == (5, 58)
        assert ink.mean() == pytest.approx((110 * 30 + 80 * 30) * (54 / 110) ** 2 / 64**2, rel=0.05)


def test_a_letter_that_is_framed_and_what_is_no_letter_stay_as_they_are(shipped):
    own = [Image.fromarray(x[0].numpy()) for x in shipped.images(torch.arange(0, len(shipped), 53))]
    kept = [framed(picture) is picture for picture in own]
    assert np.mean(kept) > 0.9  # few have ends so faint that they seem smaller
    wide = Image.new("L", (100, 60), 255)
    wide.paste(0, (8, 10, 92, 50))
    assert framed(wide).size == (64, 64)  # its centre square would cut both ends off
    dark = Image.fromarray(255 - np.asarray(own[0]))
    assert framed(dark) is not dark  # its frame is right and its colours are not
    slope = Image.fromarray(np.linspace(0, 255, 80 * 90).reshape(80, 90).astype(np.uint8))
    faint = note("A", (200, 200), (50, 50), (230, 230, 230), (255, 255, 255))
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 80, 3), dtype=np.uint8))
    for other in (slope, faint, noise, Image.new("RGB", (64, 64), "white")):
        assert framed(other) is other


def test_fonts_without_letters_are_an_error(tmp_path, fonts):
    shutil.copy(fonts / "broken.ttf", tmp_path)
    with pytest.raises(DataError, match="A to Z"):
        load(str(tmp_path))


def test_a_folder_with_pictures_is_one_of_pictures(tmp_path, fonts):
    shutil.copy(fonts / "again.otf", tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png is not a picture"):
        load(str(tmp_path))


def test_ink_is_packed_in_sixteen_levels():
    ink = np.random.default_rng(0).integers(0, 256, (2, 26, 64, 64), dtype=np.uint8)
    again = unpacked(packed(ink), 2)
    assert again.shape == ink.shape and np.abs(again.astype(int) - ink).max() <= 9
    assert np.array_equal(unpacked(packed(again), 2), again)
    assert {0, 255} <= set(again.ravel().tolist())


def test_a_damaged_sheet_is_refused(tmp_path, monkeypatch):
    for path in (module.SHEET, module.NAMES):
        shutil.copy(path, tmp_path)
    write_manifest(tmp_path)
    monkeypatch.setattr(module, "SHEET", tmp_path / module.SHEET.name)
    monkeypatch.setattr(module, "NAMES", tmp_path / module.NAMES.name)
    assert len(load("glyphs")) == len(load("glyphs"))
    data = bytearray(module.SHEET.read_bytes())
    data[1000] ^= 1
    module.SHEET.write_bytes(data)
    with pytest.raises(Damaged, match="sha256"):
        load("glyphs")


# --- the command

def stand_ins(count, seed=0):
    """Ink (count, 26, 64, 64) of typefaces whose letters are a shape of their own each, a little disturbed."""
    generator = torch.Generator().manual_seed(seed)
    shapes = torch.rand(1, 26, 8, 8, generator=generator) + 0.3 * torch.rand(count, 26, 8, 8, generator=generator)
    return (255 / 1.3 * torch.nn.functional.interpolate(shapes, size=(64, 64))).byte().numpy()


def test_what_others_can_read_is_legible():
    letters, ciphers = stand_ins(6), stand_ins(2, seed=1)
    names = [f"{k} family" for k in range(6)] + ["cipher I", "cipher II"]
    keep = make_glyphs.legible(np.concatenate([letters, ciphers]), names)
    assert keep.tolist() == [True] * 6 + [False] * 2  # the two are alike, but of one family


def test_the_command_draws_what_the_set_then_shows(fonts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_glyphs, "legible", lambda ink, names: np.ones(len(ink), bool))
    sheet, names = tmp_path / "data" / "glyphs.xz", tmp_path / "data" / "glyphs.json"
    for owner in (make_glyphs, module):
        monkeypatch.setattr(owner, "SHEET", sheet)
        monkeypatch.setattr(owner, "NAMES", names)
    monkeypatch.setattr(make_glyphs.build, "__defaults__", (sheet, names, make_glyphs.ORIGIN))
    monkeypatch.setattr(sys, "argv", ["make_glyphs", str(fonts)])
    make_glyphs.main()
    assert "1 typefaces" in capsys.readouterr().out
    made, direct = load("glyphs"), load(str(fonts))
    assert made.typefaces == direct.typefaces and made.origin == f"Drawn here from the fonts in {fonts.name}."
    every = torch.arange(26)
    assert (made.images(every).int() - direct.images(every).int()).abs().max() <= 9
    assert json.loads(names.read_text())["letters"] == LETTERS


def test_without_fonts_the_command_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(make_glyphs, "PACKAGE", tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_glyphs"])
    with pytest.raises(SystemExit, match="apt-get install fonts-aenigma"):
        make_glyphs.main()
