"""Traversal sheets: the right picture in the right place, values on the axis, and the present picture marked."""

import json
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageColor

from engine import Refusal, figures, provenance
from engine.figures import EDGE, LABEL, MARK, ROW, TILE, Sheet, font, number, place, plain, size, wrapped

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def made(engine) -> Sheet:
    code = engine.draw("first", 3)
    return figures.sheet(engine, "first", code, ["z2", "z0"], 5, {"z0": "Größe <b> & mehr"})


@pytest.fixture
def own(engine) -> provenance.Origin:
    return provenance.origin(engine, "first", "seed:3", engine.draw("first", 3), {}, made={"kind": "sheet"})


def test_every_picture_is_what_the_model_draws_there(engine, made):
    code = engine.draw("first", 3)
    for r, factor in enumerate(("z2", "z0")):
        known = engine.factor("first", factor)
        assert np.allclose(made.values[r, [0, -1]], [known.low, known.high])
        for c in (0, 3):
            drawn = engine.decode("first", engine.edit("first", code, {factor: float(made.values[r, c])})[None]).get()
            assert np.abs(made.tiles[r, c].astype(int) - drawn[0]).max() <= 1
        place = np.interp(known.read(engine.codes("first", [code])).item(), made.values[r], np.linspace(0, 1, 5))
        assert made.own[r] == pytest.approx(place, abs=1e-5)


def test_names_are_the_users_then_the_models_then_numbers(engine, made):
    assert made.labels[1] == "Größe <b> & mehr" and made.labels[0].startswith("Factor ")


def test_the_png_shows_the_pictures_where_they_belong_and_marks_one_in_a_row(made, own):
    data = figures.as_png(made, own)
    page = np.asarray(Image.open(BytesIO(data)))
    assert page.shape == (*size(made)[::-1], 3)
    mark = np.array(ImageColor.getrgb(MARK))
    for r in range(2):
        marked = []
        for c in range(5):
            x, y = place(r, c)
            assert np.array_equal(page[y + 1:y + TILE - 1, x + 1:x + TILE - 1], made.tiles[r, c][1:-1, 1:-1])
            marked.append(bool((page[y - 2, x:x + TILE] == mark).all()))
        assert marked == [c == made.marked[r] for c in range(5)]
    assert provenance.of(data).made == {"kind": "sheet"}


def test_the_svg_has_pictures_text_and_its_origin(made, own):
    root = ElementTree.fromstring(figures.as_svg(made, own))
    assert len(root.findall(f"{SVG}image")) == 10
    words = ["".join(text.itertext()) for text in root.findall(f"{SVG}text")]
    assert number(made.values[0, 0], "−") in words
    assert "Größe <b> & mehr" in " ".join(" ".join(t.itertext()) for t in root.iter(f"{SVG}text"))
    assert json.loads(root.find(f"{SVG}metadata").text)["model"] == "first"
    first = Image.open(BytesIO(b64decode(root.find(f"{SVG}image").get("href").split(",")[1])))
    assert np.array_equal(np.asarray(first), made.tiles[0, 0])


def test_the_mark_points_to_the_exact_place():
    made = Sheet(("a", "b"), ("a", "b"), np.zeros((2, 3)), np.array([0.0, 0.6]), np.zeros((2, 3, 64, 64, 3), np.uint8))
    tips = [figures.notch(made, r)[0] for r in range(2)]
    assert tips[0][0] == EDGE + LABEL + 32 and tips[1][0] == pytest.approx(tips[0][0] + 0.6 * 2 * 66)
    assert tips[1][1] - tips[0][1] == ROW and list(made.marked) == [0, 1]


def test_numbers_and_names_fit():
    assert [number(v) for v in (0, -0.001, 1.234, -12.34, 123.4)] == ["0.00", "0.00", "1.23", "-12.3", "123"]
    assert number(-1.5, "−") == "−1.5" + "0"
    assert wrapped("wall hue") == ["wall hue"]
    long = wrapped("brightness of the object's left part and much more that goes on and on and on")
    assert len(long) == 4 and long[-1].endswith("...")
    assert all(font(12).getlength(line) <= LABEL for line in [*long, *wrapped("x" * 40)])
    assert plain("Größe, naïve, −1 × 中") == "Grosse, naive, -1 x ?"


@pytest.mark.parametrize(("factors", "columns"), [([], 5), (["z0"], 1), (["z0"], 513), (["z0"], "5"), (["none"], 5)])
def test_a_wrong_sheet_is_refused(engine, factors, columns):
    with pytest.raises(Refusal):
        figures.sheet(engine, "first", engine.draw("first", 3), factors, columns)


def test_a_factor_without_a_range_has_no_row(engine, monkeypatch):
    flat = replace(engine.factor("first", "z0"), low=0.0, high=0.0)
    monkeypatch.setattr(engine, "factor", lambda model, name: flat)
    with pytest.raises(Refusal, match="z0 of first changes nothing"):
        figures.sheet(engine, "first", engine.draw("first", 3), ["z0"], 5)
