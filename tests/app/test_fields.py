"""What the canvas is told about the fields of a model."""

import numpy as np
import pytest

from app.fields import DIM, HEAT, over, painter, words
from app.session import Sessions, sliders
from engine import fields
from tests.app.test_live import WRONG, ask, pixels


@pytest.fixture(scope="module")
def sessions(divided):
    return Sessions(divided)


def request(sessions, **changes):
    name = sliders(sessions.engine.model("disdiff"))[0].name
    return ask(model="disdiff", edits={name: 0.5}, factor="", **changes)


def test_the_sheet_shows_every_field_alone_and_its_heat_over_the_picture(sessions):
    answer = painter(sessions)(request(sessions))
    assert set(answer) == {"stamp", "image", "mime", "names", "words"} and answer["stamp"] == 3
    names = [f.name for f in sliders(sessions.engine.model("disdiff"))]
    assert answer["names"] == names and len(answer["words"]) == len(names)
    sheet = pixels(answer)
    assert sheet.shape == (128, 64 * (1 + len(names)), 3)
    code = sessions.engine.edit("disdiff", sessions.code("disdiff", "seed:1"), {names[0]: 0.5})
    found = fields.fields(sessions.engine, "disdiff", code)
    tiles = sheet.reshape(2, 64, -1, 64, 3).swapaxes(1, 2).astype(int)
    assert np.abs(tiles[0, 0] - found.none).max() <= 1 and np.abs(tiles[1, 0] - found.picture).max() <= 1
    for k, field in enumerate(found.each.values(), start=1):
        assert np.abs(tiles[0, k] - field.alone).max() <= 1
        assert np.abs(tiles[1, k] - over(found.picture, field.touched)).max() <= 3


def test_the_strongest_change_is_orange_and_none_is_the_dimmed_grey():
    picture, heat = np.full((64, 64, 3), (30, 60, 210), np.uint8), np.zeros((64, 64))
    heat[3, 5], heat[3, 6] = 8, 4
    made = over(picture, heat)
    assert made[3, 5].tolist() == HEAT.tolist() and made[0, 0].tolist() == [DIM * 100] * 3
    assert made[3, 6].tolist() == pytest.approx(((HEAT + DIM * 100) / 2).tolist(), abs=1)
    assert (over(picture, np.zeros((64, 64))) == DIM * 100).all()


def test_words_say_how_much_and_where():
    heat = np.zeros((64, 64))
    heat[:16, :32] = 8
    assert words(heat) == "1.0 grey levels; 100% of it in the upper half, 100% in the left half"
    heat[32:48, 32:] = 8
    assert words(heat) == "2.0 grey levels; 50% of it in the upper half, 50% in the left half"
    assert words(np.zeros((64, 64))).startswith("0.0 grey levels")


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_gets_one_sentence(sessions, name):
    answer = painter(sessions)(WRONG[name])
    assert set(answer) == {"stamp", "error"} and answer["error"].endswith(".")


def test_a_model_without_fields_says_so(sessions):
    assert painter(sessions)(ask(model="vae"))["error"] == "VAE has no field for each factor."


def test_an_overtaken_request_is_stale(sessions, monkeypatch):
    monkeypatch.setattr(fields, "fields", lambda *_: None)
    assert painter(sessions)(request(sessions)) == {"stamp": 3, "stale": True}
