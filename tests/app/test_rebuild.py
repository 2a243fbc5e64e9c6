"""The tab "Rebuild" without a browser: what is dealt, how near one is, and what is refused."""

import json
from base64 import b64decode
from io import BytesIO

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from app.rebuild import Rebuild, dealt, doors, opening
from engine import rebuild
from tests.serving import in_loop

REQUEST = {"model": "first", "seed": 3, "round": 1}


@pytest.fixture
def ask(sessions):
    """The functions of the page by their names."""
    return {door.__name__: door for door in doors(sessions)}


def pixels(text: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(b64decode(text)))).astype(int)


def test_a_round_shows_the_start_the_target_and_all_sliders(ask, sessions):
    answer = ask["deal"](REQUEST)
    known = sessions.engine.model("first")
    assert [f["name"] for f in answer["factors"]] == [f.name for f in known.sliders] and answer["changed"] == 2
    assert pixels(answer["image"]).shape == (64, 64, 3)
    deal = dealt(sessions, REQUEST)
    for text, edits in ((answer["image"], {}), (answer["target"], deal.target)):
        code = sessions.engine.edit("first", sessions.code("first", answer["base"]), edits)
        assert np.array_equal(pixels(text), sessions.engine.decode("first", code[None]).get()[0])
    assert ask["deal"](REQUEST) == answer != ask["deal"](REQUEST | {"seed": 4})


def test_from_nothing_to_everything_as_the_sliders_come_to_the_target(ask, sessions):
    target = dealt(sessions, REQUEST).target
    begun = ask["look"](REQUEST)
    assert (begun["picture"], begun["factors"], begun["won"]) == (0, 0, False)
    name, value = next(iter(target.items()))
    some = ask["look"](REQUEST | {"edits": {name: value}})
    assert 0 < some["factors"] < 1 and not some["won"]
    there = ask["look"](REQUEST | {"edits": target})
    assert (there["picture"], there["factors"], there["won"]) == (1, 1, True)
    assert there["image"] == ask["deal"](REQUEST)["target"]


def test_a_step_of_the_sliders_beside_the_target_is_enough(ask, sessions):
    """The page's sliders have steps; those next to the target must win the round."""
    for number in range(len(rebuild.ROUNDS)):
        request = REQUEST | {"round": number}
        dials = {d["name"]: d for d in ask["deal"](request)["factors"]}
        rounded = {name: float(np.clip(round(value / dials[name]["step"]) * dials[name]["step"], dials[name]["minimum"],
                                       dials[name]["maximum"]))
                   for name, value in dealt(sessions, request).target.items()}
        assert ask["look"](request | {"edits": rounded})["won"]


def test_the_film_strips_are_those_of_the_explore_tab(ask):
    base = ask["deal"](REQUEST)["base"]
    answer = ask["films"]({"model": "first", "base": base, "edits": {}, "page": "p", "stamp": 1})
    assert answer["rows"] == len(ask["deal"](REQUEST)["factors"]) and answer["frames"] == 9


@pytest.mark.parametrize(("wrong", "named"), [
    (None, "an object"), ({"model": "nobody"}, "no model"), ({"seed": -1}, "whole number"),
    ({"seed": "1"}, "whole number"),
    ({"round": 3}, "numbered from 0 to 2"), ({"round": True}, "numbered"), ({"round": None}, "numbered"),
    ({"round": 1.0}, "numbered"),
    ({"edits": {"no such": 1}}, "no factor"), ({"edits": [1]}, "Edits"), ({"edits": {"z0": "x"}}, "not a usable"),
])
def test_what_is_no_request_is_refused_in_a_sentence(ask, wrong, named):
    request = wrong if wrong is None else REQUEST | wrong
    answer = ask["look"](request)
    assert set(answer) == {"error"} and named in answer["error"]


def test_the_tab_is_built_and_turns_with_the_model(sessions):
    def build() -> Rebuild:
        with gr.Blocks():
            picker = gr.Dropdown(["first", "second"], value="first")
            return Rebuild(sessions, picker, "first")

    in_loop(build)
    said = json.loads(opening(sessions, "second"))
    assert said["model"] == "second" and said["rounds"] == [1, 2, 3] and said["won"] == rebuild.WON
