"""What the benchmark of names counts: sliders about one factor, and names that say what it changes."""

import numpy as np
import pytest

from benchmarks.naming import MEANS, about, judged, right
from engine.naming import WAYS
from engine.serve import MODELS


def test_a_slider_is_about_a_factor_if_its_row_is_clear():
    importance = np.array([[0.9, 0.0, 0.0], [0.3, 0.3, 0.3], [0.0, 0.0, 0.0], [0.0, 0.01, 0.5]])
    assert about(importance, ["a", "b", "c"]) == ["a", None, None, "c"]


@pytest.mark.parametrize(("seen", "truth", "says"), [
    ("hue of the lower half", "floor hue", True),
    ("hue of the lower half", "wall hue", False),
    ("moves the object left", "position x", True),
    ("moves the object left", "position y", False),
    ("changes the centre", "shape", False),                          # vague
    ("makes the object larger and taller (mixed)", "scale", False),  # two things
])
def test_a_name_is_right_if_it_says_what_the_factor_changes_and_nothing_else(seen, truth, says):
    assert right(seen, truth) is says


def test_every_motion_that_can_be_seen_can_be_right():
    said = [way.format("the object") for rising, falling, _ in WAYS.values() for way in (rising, falling)]
    assert all(any(right(text, truth) for truth in MEANS) for text in said)


def test_a_shipped_model_is_judged():
    rows = judged(MODELS / "protovae-shapes3d", 250)
    hues = {truth: (seen, name) for _, truth, seen, name in rows if truth.endswith("hue")}
    assert hues.keys() == {"floor hue", "wall hue", "object hue"}
    assert all(right(seen, truth) and name == truth for truth, (seen, name) in hues.items())
