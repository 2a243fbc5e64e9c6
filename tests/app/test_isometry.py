"""The tab about local isometry without a browser: what it answers, and that a refusal changes nothing."""

import gradio as gr
import pytest

from app.isometry import STEPS, Isometry, answer, title
from engine import studies
from tests.serving import in_loop


@pytest.fixture(scope="module")
def shown() -> list:
    return answer("blob", "uniform", False, 500)


def test_an_answer_has_a_verdict_six_clouds_a_mosaic_and_a_gap(shown):
    said, *clouds, wall, gap = shown
    assert "The factors are found" in said and "500 pictures" in said
    assert [c["name"].rpartition(" (")[0] for c in clouds] == list(STEPS)
    assert len({c["group"] for c in clouds}) == 1 and len({c["key"] for c in clouds}) == len(clouds)
    for c in clouds:
        assert c["count"] == 500 and [column["name"] for column in c["colours"]] == ["x", "y"]
        assert c["sheet"]["image"].startswith("data:image/jpeg;base64,") and not c["tools"]
    assert 'src=\'data:image/jpeg' in wall and "13 times 13" in wall
    assert gap.count("<i class='null'") == 3


@pytest.mark.parametrize(("law", "warped"), [("Gaussian", False), ("uniform", True)])
def test_a_broken_condition_is_said(law, warped):
    said, *clouds, _, _ = answer("blob", law, warped, 500)
    assert "The factors are not found" in said
    assert [c["count"] for c in clouds] == [500] * 4 + [0] * 2  # the nets saw neither


@pytest.mark.parametrize("arguments", [
    ("<b>", "uniform", False, 500), ("blob", "uniform", False, 7), ("blob", "else", False, 500),
    (None, None, None, None),
])
def test_a_refusal_is_a_sentence_and_leaves_the_rest(arguments):
    said, *rest = answer(*arguments)
    assert said.startswith("<p class='refusal'>") and "<b>" not in said and rest == [gr.skip()] * 8


def test_every_manifold_is_offered_under_a_name():
    def made() -> Isometry:
        with gr.Blocks(), gr.Tab("x") as tab:
            return Isometry(tab)

    assert len(in_loop(made).outputs) == 9
    assert len({title(name) for name in studies()}) == len(studies())
