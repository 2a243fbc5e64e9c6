"""What is inside content and style, without a browser: sliders and the closest samples, for each side."""

import numpy as np
import pytest

from app import insides
from tests.tiny import noise
from tests.two_sided import CONTENT, STYLE


@pytest.fixture(scope="module")
def engine(both_kinds):
    return both_kinds


def test_every_slider_is_on_its_side_and_stands_where_the_picture_is(sessions, engine):
    knobs = insides.looker(sessions)({"model": "two-sided", "base": "gallery:4"})["knobs"]
    roles = {f.name: f.role for f in engine.model("two-sided").sliders}
    assert [knob["name"] for side in ("content", "style") for knob in knobs[side]] == sorted(
        roles, key=lambda name: (roles[name], list(roles).index(name)))
    assert all(roles[knob["name"]] == side for side in knobs for knob in knobs[side]) and all(knobs.values())
    values = sessions.values("two-sided", "gallery:4")
    for knob in (*knobs["content"], *knobs["style"]):
        inside = min(max(values[knob["name"]], knob["minimum"]), knob["maximum"])
        assert abs(knob["neutral"] - inside) <= knob["step"]


def test_the_closest_samples_of_each_side_and_not_the_picture_itself(sessions):
    codes = np.stack([sessions.code("two-sided", f"gallery:{i}") for i in range(24)])
    near = insides.near(sessions, "two-sided", "gallery:7")
    for side, part in (("content", CONTENT), ("style", STYLE)):
        order = np.argsort(np.linalg.norm(codes[:, part] - codes[7, part], axis=1), kind="stable")
        assert near[side] == [i for i in order.tolist() if i != 7][:insides.CLOSEST]
    mine = sessions.keep(noise(1).permute(0, 2, 3, 1).contiguous().numpy()[0])
    assert all(len(numbers) == insides.CLOSEST for numbers in insides.near(sessions, "two-sided", mine).values())


def test_a_model_without_sides_has_nothing_inside_them(sessions):
    answer = insides.looker(sessions)({"model": "factors", "base": "gallery:1"})
    assert answer == {"knobs": {"content": [], "style": []}, "near": {"content": [], "style": []}}


@pytest.mark.parametrize("request_", [
    None, [], {}, {"model": "two-sided"}, {"model": "none", "base": "seed:1"}, {"model": "two-sided", "base": "what"},
    {"model": "two-sided", "base": 3}, {"model": "two-sided", "base": "code:" + "A" * 2000},
])
def test_a_wrong_request_is_answered_in_a_sentence(sessions, request_):
    answer = insides.looker(sessions)(request_)
    assert set(answer) == {"error"} and answer["error"].endswith(".")


def test_a_picture_whose_sliders_rest_keeps_its_exact_code(sessions, engine):
    code = sessions.code("two-sided", "seed:3")
    assert insides.moved(sessions, "two-sided", "seed:3", {}) is code
    first = engine.model("two-sided").sliders[0]
    edited = insides.moved(sessions, "two-sided", "seed:3", {first.name: first.high})
    assert np.array_equal(edited, engine.edit("two-sided", code, {first.name: first.high}))
