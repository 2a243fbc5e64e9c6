"""The live lane: what a canvas asks for and gets, called as the browser's route calls it."""

import json
from base64 import b64decode
from io import BytesIO

import gradio as gr
import httpx
import numpy as np
import pytest
from PIL import Image

from app.live import FILM, STRIP, LiveCanvas, lanes, view
from app.session import parse
from tests.serving import chequers


def ask(**changes) -> dict:
    own = {"factor": "z1", "axes": ["z1", "z2"], "count": 3}
    return {"model": "first", "base": "seed:1", "edits": {}, **own, "page": "p", "stamp": 3, **changes}


def pixels(answer: dict) -> np.ndarray:
    picture = Image.open(BytesIO(b64decode(answer["image"])))
    assert answer["mime"] == picture.get_format_mimetype()
    return np.asarray(picture.convert("RGB"))


@pytest.fixture
def canvas(sessions):
    """The functions by name."""
    return {function.__name__: function for function in lanes(sessions)}


def test_frame_is_the_exact_picture(canvas, sessions):
    request = ask(edits={"z0": 0.5})
    answer = canvas["frame"](request)
    assert np.array_equal(pixels(answer), sessions.draw(parse(request)))
    assert (answer["stamp"], answer["rows"], answer["frames"], answer["mime"]) == (3, 1, 1, "image/png")
    assert set(answer["ms"]) == {"waited", "computed", "encoded"} and min(answer["ms"].values()) >= 0


def test_strip_is_a_film_from_the_low_to_the_high_end(canvas, sessions):
    answer = canvas["strip"](ask(edits={"z0": 0.5}))
    assert (answer["rows"], answer["frames"], answer["mime"]) == (1, STRIP, "image/jpeg")
    sheet = pixels(answer)
    assert sheet.shape == (64, STRIP * 64, 3)
    factor = next(f for f in sessions.engine.model("first").factors if f.name == "z1")
    for frame, value in ((0, factor.low), (STRIP - 1, factor.high)):
        true = sessions.draw(parse(ask(edits={"z0": 0.5, "z1": value})))
        error = sheet[:, 64 * frame : 64 * (frame + 1)].astype(int) - true
        assert np.abs(error).mean() < 6  # what JPEG costs a picture that is nearly noise
    assert np.abs(sheet[:, :64].astype(int) - sheet[:, -64:]).mean() > 6


def test_films_hold_a_row_for_every_slider_in_their_order(canvas, sessions):
    answer = canvas["films"](ask())
    dials = sessions.dials("first", "seed:1")
    assert (answer["rows"], answer["frames"]) == (len(dials), FILM)
    sheet = pixels(answer)
    assert sheet.shape == (64 * len(dials), 64 * FILM, 3)
    for row, shown in enumerate(dials):
        true = sessions.draw(parse(ask(edits={shown.name: shown.high})))
        error = sheet[64 * row : 64 * (row + 1), -64:].astype(int) - true
        assert np.abs(error).mean() < 6


def test_plane_is_a_square_of_two_factors_from_low_to_high(canvas, sessions):
    answer = canvas["plane"](ask(edits={"z0": 0.5}) | {"axes": ["z1", "z2"], "count": 5})
    assert (answer["rows"], answer["frames"], answer["mime"]) == (5, 5, "image/jpeg")
    sheet = pixels(answer)
    ends = {f.name: (f.low, f.high) for f in sessions.engine.model("first").factors}
    for row, column in ((0, 0), (0, 4), (4, 0), (4, 4)):
        edits = {"z0": 0.5, "z1": ends["z1"][column // 4], "z2": ends["z2"][row // 4]}
        error = sheet[64 * row :, 64 * column :][:64, :64].astype(int) - sessions.draw(parse(ask(edits=edits)))
        assert np.abs(error).mean() < 6


@pytest.mark.parametrize("wrong", [
    {"axes": None}, {"axes": ["z1", "z1"], "count": 5}, {"axes": ["z1"], "count": 5}, {"axes": "z1", "count": 5},
    {"axes": ["z1", "z99"], "count": 5}, {"axes": ["z1", [2]], "count": 5}, {"axes": ["z1", "z2"], "count": 1000},
    {"axes": ["z1", "z2"], "count": 1}, {"axes": ["z1", "z2"], "count": "9"}, {"axes": ["z1", "z2"], "count": True},
])
def test_wrong_plane_gets_one_sentence(canvas, wrong):
    answer = canvas["plane"](ask() | wrong)
    assert set(answer) == {"stamp", "error"} and answer["error"].endswith(".")


def test_grey_model_answers_in_grey(canvas):
    picture = pixels(canvas["frame"](ask(model="third-grey")))
    assert np.array_equal(picture[..., 0], picture[..., 1]) and np.array_equal(picture[..., 0], picture[..., 2])


WRONG = {
    "no object": None,
    "a list": [1],
    "a text": "frame",
    "no model": ask(model=None),
    "unknown model": ask(model="none"),
    "unknown base": ask(base="file:/etc/passwd"),
    "lost upload": ask(base="upload:" + "0" * 64),
    "unknown factor": ask(edits={"z99": 1}, factor="z99"),
    "edit that is not a number": ask(edits={"z0": float("nan")}),
    "edit that is infinite": ask(edits={"z0": float("inf")}),
    "edit that is a text": ask(edits={"z0": "1"}),
    "edit that is nothing": ask(edits={"z0": None}),
    "edit that is a list": ask(edits={"z0": [1]}),
    "edits in a list": ask(edits=[1]),
    "wrong seed": ask(base="seed:4294967296"),
    "stamp that is not whole": ask(stamp=0.5),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("lane", ["frame", "strip", "films", "plane"])
def test_wrong_request_gets_one_sentence_and_the_lane_lives_on(canvas, lane, name):
    answer = canvas[lane](WRONG[name])
    assert set(answer) == {"stamp", "error"}
    assert answer["error"].endswith(".") and "\n" not in answer["error"] and "Traceback" not in answer["error"]
    assert "image" in canvas[lane](ask())


def test_newer_request_of_a_page_takes_the_place_of_one_that_waits(canvas, sessions, monkeypatch):
    def replaced(*_, **options):
        assert options["lane"] == ("p", "frame")
        return type(real)(stamp=1, stale=True)

    real = sessions.engine.refine("first", sessions.code("first", "seed:1")[None])
    monkeypatch.setattr(sessions.engine, "refine", replaced)
    assert canvas["frame"](ask()) == {"stamp": 3, "stale": True}


def test_view_holds_all_that_a_page_needs_to_start(sessions):
    base = sessions.keep(chequers())
    first = view(sessions, "first", base)
    assert np.array_equal(pixels(first), sessions.draw(parse(ask(base=base))))
    assert [factor["name"] for factor in first["factors"]] == list(sessions.values("first", base))
    assert json.loads(json.dumps(first)) == first


def test_view_of_an_edited_picture_holds_both(sessions):
    edits = {"z0": 0.5}
    made = view(sessions, "first", "seed:1", edits, "token")
    assert (made["edits"], made["token"], made["link"]) == (edits, "token", "seed:1")
    assert np.array_equal(pixels(made), sessions.draw(parse(ask(edits=edits))))
    plain = pixels({"image": made["plain"], "mime": "image/png"})
    assert np.array_equal(plain, sessions.draw(parse(ask())))
    untouched = view(sessions, "first", "seed:1")
    assert untouched["plain"] is None and untouched["edits"] == {} and np.array_equal(pixels(untouched), plain)


def test_canvas_hands_out_the_base_it_was_given(sessions):
    canvas = LiveCanvas(sessions, view(sessions, "first", "seed:1"))
    held = canvas.postprocess(view(sessions, "second", "seed:4"))
    assert canvas.preprocess(held) == "seed:4" and canvas.postprocess(None) is None
    assert canvas.preprocess(held).model == "second"
    told = canvas.preprocess(canvas.postprocess({"base": "seed:5", "notice": "No."}))
    assert told == "seed:5" and told.model is None
    for lost in (None, "", "{}", "[]", "3", "nonsense"):
        with pytest.raises(gr.Error, match="lost its place"):
            canvas.preprocess(lost)


# --- Through the route that the browser uses
def serve(address: str, lane: str, body: str, **options) -> httpx.Response:
    config = httpx.get(f"{address}config").json()
    canvas = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "canvas")
    text = f'{{"session_hash": "s", "component_id": {canvas}, "fn_name": "{lane}", "data": {body}}}'
    headers = {"content-type": "application/json"}
    return httpx.post(f"{address}gradio_api/component_server", content=text, headers=headers, **options)


def test_route_answers_and_passes_on_sentences(address):
    assert serve(address, "frame", json.dumps(ask())).json()["stamp"] == 3
    for value in ("NaN", "Infinity", "1e999", '"1"', "null", "[1]"):
        body = json.dumps(ask(edits={"z0": 0})).replace('"z0": 0', f'"z0": {value}')
        answer = serve(address, "frame", body)
        assert answer.status_code == 200 and "not a usable number" in answer.json()["error"]
    assert "'stamp'" in serve(address, "frame", json.dumps(ask()).replace('"stamp": 3', '"stamp": NaN')).json()["error"]


def test_no_other_function_can_be_reached(address):
    for name in ("draw", "__init__", "keep", "postprocess"):
        assert serve(address, name, json.dumps(ask())).status_code == 404
