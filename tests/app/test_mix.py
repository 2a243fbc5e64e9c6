"""Latent arithmetic as the canvas asks for it."""

import pytest

from app.mix import MOST, many, mixer
from app.session import sliders
from tests.app.test_live import ask


def test_difference_of_pictures_by_their_bases(sessions):
    answer = mixer(sessions)(ask() | {"plus": ["seed:1", "seed:2"], "minus": ["seed:3"]})
    assert set(answer) == {"stamp", "steps", "covered", "mean", "spread", "aside", "count"}
    assert list(answer["steps"]) == [f.name for f in sliders(sessions.engine.model("first"))]
    assert answer["count"] == len(many(sessions, "first")) > 1 and answer["spread"] >= 0


@pytest.mark.parametrize("wrong", [
    {}, {"plus": ["seed:1"]}, {"plus": [], "minus": ["seed:1"]}, {"plus": "seed:1", "minus": ["seed:2"]},
    {"plus": ["seed:1"] * (MOST + 1), "minus": ["seed:2"]}, {"plus": ["seed:1"], "minus": ["seed:1"]},
    {"plus": ["gallery:9999"], "minus": ["seed:2"]}, {"plus": [3], "minus": ["seed:2"]},
    {"plus": [["seed:1"]], "minus": ["seed:2"]}, {"plus": ["seed:1"], "minus": ["seed:2"], "model": "none"},
])
def test_wrong_choice_gets_one_sentence(sessions, wrong):
    answer = mixer(sessions)(ask() | wrong)
    assert set(answer) == {"stamp", "error"} and answer["error"].endswith(".")
    assert mixer(sessions)(None)["error"].endswith(".")
