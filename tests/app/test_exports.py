"""The panel "Save" without a browser: what its doors answer, and that a saved picture brings its state back."""

import json
from base64 import b64decode
from dataclasses import replace
from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image

from app import exports
from app.exports import Exports, named, reopened
from app.session import CLOSER, MAX_SLIDERS, UPLOAD
from engine import Refusal, films, provenance
from tests.serving import chequers, hostile_files, in_loop


@pytest.fixture
def call(sessions):
    """A door by its name, called with the state of a page."""
    doors = {door.__name__: door for door in exports.doors(sessions)}
    state = {"model": "first", "base": "seed:3", "edits": {"z1": 0.7}, "names": {"z1": "hat"}, "page": "p"}
    return lambda name, **request: doors[name](state | request)


def content(answer: dict) -> bytes:
    assert set(answer) == {"file", "mime", "name"}, answer
    return b64decode(answer["file"])


def test_the_picture_is_the_exact_one_and_brings_its_state_back(call, sessions):
    answer = call("picture")
    data = content(answer)
    code = sessions.engine.edit("first", sessions.code("first", "seed:3"), {"z1": 0.7})
    assert np.array_equal(np.asarray(Image.open(BytesIO(data))), sessions.engine.refine("first", code[None]).get()[0])
    assert answer["name"] == "unravel-first.png" and answer["mime"] == "image/png"
    assert json.loads(reopened(sessions, data)) == {
        "model": "first", "base": "seed:3", "edits": {"z1": 0.7}, "names": {"z1": "hat"}}


def test_the_picture_can_be_larger(call):
    for smooth in (False, True):
        assert Image.open(BytesIO(content(call("picture", side=512, smooth=smooth)))).size == (512, 512)
    assert "pixels" in call("picture", side=100)["error"] and "pixels" in call("picture", smooth="yes")["error"]


@pytest.mark.parametrize("fit", [UPLOAD, CLOSER])
def test_a_users_picture_comes_back_to_a_server_that_never_saw_it_as_closely_fitted(call, sessions, fit):
    base = sessions.keep(chequers(4)).replace(UPLOAD, fit)
    saved = content(call("picture", base=base))
    fresh = type(sessions)(sessions.engine)
    assert fresh.original(base) is None
    assert json.loads(reopened(fresh, saved))["base"] == base
    assert np.array_equal(fresh.original(base), chequers(4))


def test_a_sheet_as_png_and_as_svg(call, sessions):
    shown = len(sessions.engine.model("first").sliders)
    png, svg = (content(call("sheet", rows=2, columns=5, format=kind)) for kind in ("png", "svg"))
    assert provenance.of(png).made == {"kind": "sheet", "factors": [
        f.name for f in sessions.engine.model("first").sliders[:2]], "columns": 5}
    assert svg.count(b"<image ") == 10 and svg.startswith(b"<svg")
    assert content(call("sheet", rows=MAX_SLIDERS, columns=3, format="svg")).count(b"<image ") == 3 * shown
    assert b">hat<" in content(call("sheet", format="svg"))
    for wrong in ({"rows": 0}, {"rows": "2"}, {"columns": 1}, {"columns": None}, {"columns": 999},
                  {"format": "bmp"}):
        assert call("sheet", **wrong)["error"].endswith(".")


def test_films_along_a_factor_and_through_keyframes(call):
    gif = Image.open(BytesIO(content(call("film", factor="z0", side=64, format="gif"))))
    assert gif.size == (64, 64) and json.loads(gif.info["comment"])["made"]["factor"] == "z0"
    stops = [{"model": "first", "base": f"seed:{seed}", "edits": {}} for seed in (1, 2)]
    answer = call("film", factor="keyframes", keyframes=stops, side=64, format="mp4")
    with av.open(BytesIO(content(answer))) as film:
        assert json.loads(film.metadata["comment"])["made"]["keyframes"][1] == {"base": "seed:2", "edits": {}}
        assert sum(1 for _ in film.decode(video=0)) == 2 * (films.HOLD + films.LEG)
    for wrong in (None, [], stops[:1], stops * 7, [stops[0], {**stops[1], "model": "second"}], [3, 4]):
        assert call("film", factor="keyframes", keyframes=wrong)["error"].endswith(".")
    assert "no factor" in call("film", factor="none")["error"]
    assert call("film", factor="z0", format="avi")["error"] == "This can be saved as GIF or MP4."


def test_a_name_that_no_file_could_hold_does_no_harm(call):
    for door in ("picture", "sheet", "program"):
        content(call(door, names={"z1": "\x00<\ud800>&\u2028\x0b\""}, format="svg" if door == "sheet" else "png"))


def test_a_program_says_what_is_on_the_page(call):
    answer = call("program")
    text = content(answer).decode()
    assert answer["name"].endswith(".py") and "'z1': 0.7,  # hat" in text and "engine.draw('first', 3)" in text


@pytest.mark.parametrize("wrong", [
    {"model": "none"}, {"model": 3}, {"base": "nothing"}, {"edits": {"none": 1}}, {"edits": {"z1": "1"}},
    {"names": []}, {"names": {"z1": "n" * 41}}, {"names": {"z1": 3}}, {"base": "upload:" + "0" * 64},
])
def test_a_wrong_request_is_answered_in_a_sentence(call, wrong):
    for door in ("picture", "sheet", "film", "program"):
        answer = call(door, factor="z0", **wrong)
        assert set(answer) == {"error"} and answer["error"].endswith(".") and len(answer["error"]) < 250


@pytest.mark.parametrize("request_", [None, [], "x", 3])
def test_a_request_that_is_no_object_is_answered(sessions, request_):
    assert all(set(door(request_)) == {"error"} for door in exports.doors(sessions))


def test_other_files_are_pictures_like_any_other(sessions, tmp_path, engine):
    code = engine.draw("first", 1)
    own = provenance.origin(engine, "first", "seed:1", code, {})
    odd = [replace(own, model="none"), replace(own, weights="0" * 64), replace(own, base="nothing"),
           replace(own, edits={"none": 1}), replace(own, names={"z0": "n" * 50}),
           replace(own, base="upload:" + "0" * 64)]
    files = [provenance.png(chequers(), wrong) for wrong in odd]
    files += [path.read_bytes() for path in hostile_files(tmp_path / "bad").values()]
    assert [reopened(sessions, data) for data in [*files, b""]] == [""] * (len(files) + 1)


def test_names_are_checked():
    assert named({"z0": "hat", "z1": "a\x00b\ud800\nc é中"}) == {"z0": "hat", "z1": "abc é中"}
    with pytest.raises(Refusal):
        named({"z" * 50: "hat"})


def test_the_panel_opens_with_the_usual_sheet(sessions):
    panel = in_loop(lambda: Exports(sessions))
    assert 'value="10"' in panel.html_template and 'value="11"' in panel.html_template
