"""The tab "Compare" without a browser: what its doors answer."""

import json
from base64 import b64decode, b64encode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app import compare
from app.compare import LOUDEST, Compare, opening, psnr
from app.pictures import png
from app.uploads import UNKNOWN
from engine import alignment
from tests.serving import chequers, in_loop


@pytest.fixture
def call(sessions):
    """A door by its name, called with a request."""
    doors = {door.__name__: door for door in compare.doors(sessions)}
    return lambda name, **request: doors[name](request)


def image(answer: dict) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(b64decode(answer["image"]))))


def test_a_picture_is_given_to_all_models_as_its_pixels(call, sessions):
    edited = call("source", model="first", base="seed:3", edits={"z0": 0.4})
    drawn = sessions.engine.edit("first", sessions.code("first", "seed:3"), {"z0": 0.4})
    assert np.array_equal(image(edited), sessions.engine.refine("first", drawn[None]).get()[0])
    assert np.array_equal(sessions.pixels("second", edited["base"]), image(edited))
    plain = call("source", model="first", base=sessions.keep(chequers(3)), edits={})  # not what the model makes of it
    assert np.array_equal(image(plain), chequers(3))


def test_a_file_is_taken_or_refused(call):
    answer = call("take", file=b64encode(png(chequers(2))).decode())
    assert np.array_equal(image(answer), chequers(2)) and answer["base"].startswith("upload:")
    assert call("take", file=b64encode(b"Dear reader").decode()) == {"error": UNKNOWN}


def test_a_column_tells_a_model_and_how_it_rebuilds_the_picture(call, sessions):
    base = sessions.keep(chequers(1))
    told = call("column", model="first", base=base)
    drawn = sessions.engine.refine("first", sessions.code("first", base)[None]).get()[0]
    assert np.abs(image(told).astype(int) - drawn).max() <= 1
    assert told["psnr"] == pytest.approx(psnr(chequers(1), drawn), abs=0.1)
    assert [f["name"] for f in told["factors"]] == [f.name for f in sessions.engine.model("first").sliders]
    assert told["size"].endswith("MB") and told["parameters"] and "engine.evaluate" in told["facts"]
    assert call("column", model="first", base="seed:4")["psnr"] == LOUDEST  # its own picture


def test_a_model_without_colour_is_held_against_the_grey_picture():
    colour = chequers(1)
    grey = np.repeat(colour.astype(float).mean(2, keepdims=True), 3, 2)
    assert psnr(colour, grey.round().astype(np.uint8), channels=1) > 50 > psnr(colour, grey.round().astype(np.uint8))
    assert psnr(colour, colour) == LOUDEST and psnr(np.zeros((64, 64, 3)), np.full((64, 64, 3), 255)) == 0


def test_rows_say_why(call, monkeypatch):
    found = [alignment.Row(("z0", "z1"), "label", 0.93), alignment.Row(("z1", None), "pictures", 0.0),
             alignment.Row(("z2", "z0"), "readings", 0.87)]
    monkeypatch.setattr(alignment, "align", lambda engine, models: found)
    rows = call("rows", models=["first", "second"])["rows"]
    assert [row["factors"] for row in rows] == [["z0", "z1"], ["z1", None], ["z2", "z0"]]
    assert [row["why"] for row in rows] == [
        "told by the same label, R² at least 0.93", "the same is seen to happen",
        "read alike on the samples, |r| at least 0.87"]


def test_speed_and_samples(call):
    speed = call("speed", model="first", base="seed:1")
    assert speed["encode"] > 0 and speed["device"].startswith("CPU")
    assert call("shelf", model="first")["html"].count("<button") == 24


@pytest.mark.parametrize("request_", [
    {"model": "none", "base": "seed:1"}, {"model": 3, "base": "seed:1"}, {"model": "first", "base": "nothing"},
    {"model": "first", "base": None}, {"model": "first", "base": "upload:" + "0" * 64}, {},
])
def test_a_wrong_request_is_answered_in_a_sentence(call, request_):
    for door in ("source", "column", "speed"):
        answer = call(door, **{"edits": {}, **request_})
        assert set(answer) == {"error"} and answer["error"].endswith(".")


@pytest.mark.parametrize("wrong", [None, "first", [3], ["none"], ["first"] * 2, ["first"] * 9, []])
def test_wrong_models_are_answered_in_a_sentence(call, wrong):
    assert set(call("rows", models=wrong)) == {"error"}


@pytest.mark.parametrize("request_", [None, [], "x"])
def test_a_request_that_is_no_object_is_answered(sessions, request_):
    assert all(set(door(request_)) == {"error"} for door in compare.doors(sessions))


def test_the_tab_knows_all_models_and_shows_their_table(sessions):
    tab = in_loop(lambda: Compare(sessions))
    told = json.loads(opening(sessions))
    assert {model["name"] for model in told["models"]} == set(sessions.engine.models) and told["most"] == 4
    assert tab.html_template.count("<tr>") == 1 + len(told["models"])
