"""The picture on the sliders on its map: places agree with the map's own, and what is not there is said."""

import json
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from app.points import from_unit
from app.session import parse
from app.trail import STEPS, Trail, tracer, trail
from engine import LatentMap, Refusal, pictures_of
from tests.serving import in_loop


@pytest.fixture
def made(sessions) -> LatentMap:
    """A map of model 'first' on which a code lies where its first two numbers are."""
    index = np.arange(200) * 1000
    codes = sessions.engine.encode("first", pictures_of("shapes3d", index)).get()
    size = codes.shape[1]
    return LatentMap("first", "shapes3d", "code", index, codes, np.zeros(size), np.ones(size), np.arange(size),
                     np.eye(size), codes[:, :2], codes[:, :3], np.zeros(200, int), {})


@pytest.fixture
def other(sessions, made) -> LatentMap:
    """The same of model 'second'."""
    codes = sessions.engine.encode("second", pictures_of("shapes3d", made.index)).get()
    return replace(made, model="second", codes=codes, flat=codes[:, :2], solid=codes[:, :3])


@pytest.fixture
def trace(sessions, made, other):
    """Answers for the maps 'first' and 'second'; of one map if nobody says of which."""
    def find(name: str) -> LatentMap:
        if name not in ("first", "second"):
            raise Refusal(f"There is no map of '{name}' here.")
        return {"first": made, "second": other}[name]

    ask = tracer(sessions, find)

    def asked(request):
        if not isinstance(request, dict) or "maps" in request:
            return ask(request)
        answer = ask({**request, "maps": ["first"]})
        return answer["maps"][0] if "maps" in answer else answer

    return asked


@pytest.mark.parametrize("dims", [2, 3])
def test_the_ring_is_where_the_map_places_the_edited_picture(trace, sessions, made, dims):
    factor = sessions.engine.model("first").sliders[0]
    request = {"model": "first", "base": "picture:7000", "edits": {factor.name: factor.high}}
    answer = trace({**request, "factor": "", "dims": dims})
    code = sessions.engine.edit("first", sessions.code("first", "picture:7000"), {factor.name: factor.high})
    place, strange = made.place(code[None], dims)
    assert from_unit(np.array(answer["here"]), made.places(dims)) == pytest.approx(place[0], abs=1e-3)
    assert answer["strange"] == pytest.approx(strange[0], abs=1e-3)
    assert answer["path"] == [] and answer["strangeness"] == []


def test_the_path_goes_from_the_low_to_the_high_end_of_the_factor(trace, sessions, made):
    factor = sessions.engine.model("first").sliders[0]
    base = {"model": "first", "base": "picture:7000"}
    path = trace({**base, "edits": {}, "factor": factor.name})
    assert len(path["path"]) == len(path["strangeness"]) == STEPS
    for end, value in ((0, factor.low), (-1, factor.high)):
        alone = trace({**base, "edits": {factor.name: value}, "factor": ""})
        assert path["path"][end] == pytest.approx(alone["here"], abs=1e-4)


def test_a_picture_unlike_all_others_is_strange_and_one_of_the_map_is_not(trace, sessions, made):
    request = {"model": "first", "base": "picture:7000", "edits": {}}
    assert trace(request)["strange"] < 1.5
    far = tracer(sessions, lambda name: replace(made, codes=made.codes + 1000))
    assert far({**request, "maps": ["first"]})["maps"][0]["strange"] > 10


def test_two_maps_follow_the_same_pictures_each_by_its_own_model(trace, sessions, other):
    factor = sessions.engine.model("first").sliders[0]
    request = {"model": "first", "base": "picture:7000", "maps": ["first", "second"]}
    mine, theirs = trace({**request, "edits": {}, "factor": factor.name})["maps"]
    assert len(mine["path"]) == len(theirs["path"]) == STEPS
    at = other.flat[7]  # the point of that very picture, as long as it is not edited
    assert from_unit(np.array(theirs["here"]), other.flat) == pytest.approx(at, abs=0.05 * float(np.ptp(other.flat)))
    edits = {factor.name: factor.high}
    drawn = sessions.draw(parse({"model": "first", "base": "picture:7000", "edits": edits}))
    place = other.place(sessions.engine.encode("second", drawn[None]).get())[0]
    _, theirs = trace({**request, "edits": edits})["maps"]
    assert from_unit(np.array(theirs["here"]), other.flat) == pytest.approx(place[0], abs=1e-3)


@pytest.mark.parametrize("wrong", [
    None, {}, {"model": "nobody", "base": "seed:1", "edits": {}}, {"model": "first", "base": "no", "edits": {}},
    {"model": "first", "base": "seed:1", "edits": {}, "factor": "no such"},
    {"model": "first", "base": "seed:1", "edits": {"no such": 1}},
    *({"model": "first", "base": "seed:1", "edits": {}, "maps": maps}
      for maps in ([], ["no"], "first", [1], ["first"] * 3)),
])
def test_what_cannot_be_placed_is_said_in_a_sentence(trace, wrong):
    answer = trace(wrong)
    assert set(answer) == {"error"} and answer["error"].endswith(".")


def test_the_component_gets_the_sliders_and_the_cloud_they_belong_to(sessions):
    shown = trail(sessions, ["first"], "first", 2)
    assert shown["keys"] == ["first/2"]
    assert [f["name"] for f in shown["factors"]] == [f.name for f in sessions.engine.model("first").sliders]

    def build() -> Trail:
        with gr.Blocks():
            return Trail(sessions, lambda name: None)

    component = in_loop(build)
    assert json.loads(component.postprocess(shown)) == shown and component.postprocess(None) is None
