"""The tab "Explore" without a browser: what its events answer and what its markup holds."""

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from app import explore, session, uploads
from app.explore import Explore, caption, samples, slider
from app.live import Place
from app.session import MAX_SLIDERS
from tests.serving import chequers, hostile_files, in_loop, save_gallery

SKIPPED = gr.skip()


@pytest.fixture
def tab(sessions) -> Explore:
    def make() -> Explore:
        with gr.Blocks():
            return Explore(sessions, gr.Dropdown(["first", "second"], value="first"), "first")

    return in_loop(make)


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Eight sample images of shapes3d, as if they were shipped."""
    save_gallery(tmp_path, "shapes3d")
    monkeypatch.setitem(explore.gallery.__globals__, "GALLERY", tmp_path / "gallery")
    samples.cache_clear()
    yield
    samples.cache_clear()


def refused(tab: Explore, answer: list, base: str) -> str:
    """The sentence of an answer that leaves everything else as it is."""
    notice, *rest = answer
    assert notice["base"] == base and "factors" not in notice
    assert rest == [SKIPPED] * (len(tab.outputs) - 1)
    assert notice["notice"].endswith(".") and "\n" not in notice["notice"]
    return notice["notice"]


def test_every_event_answers_for_every_output(tab, sessions):
    for answer in (tab.turn("second", "seed:2", moved=True), tab.turn("first", "seed:2")):
        view, gallery, text, why, *pool = answer
        assert len(answer) == len(tab.outputs) and len(pool) == MAX_SLIDERS
        assert view["base"] == "seed:2" and len(view["factors"]) == sum(part.visible for part in pool)
    assert gallery == text == why == SKIPPED  # the model is the same, so is what is said of it


def test_same_sentence_twice_is_said_twice(tab):
    assert tab.refuse("seed:1", "No.") != tab.refuse("seed:1", "No.")


def test_model_changes_and_keeps_the_picture_if_it_can(tab, sessions):
    assert tab._change_model("second", "seed:5")[0]["base"] == "seed:5"
    assert tab._change_model("second", "upload:" + "0" * 64)[0]["base"] == sessions.start("second")
    assert "no model called" in refused(tab, tab._change_model("none", "seed:5"), "seed:5")
    assert "no model called" in refused(tab, tab._change_model(None, "seed:5"), "seed:5")


@pytest.mark.parametrize("number", [-1, 0.5, 2**32, None, "1", float("nan"), float("inf"), [1]])
def test_wrong_seed_is_said_and_a_good_one_drawn(tab, number):
    assert "A seed is a whole number" in refused(tab, tab._draw("first", "seed:3", number), "seed:3")
    assert tab._draw("first", "seed:3", 12)[0]["base"] == "seed:12"


def test_sample_is_picked_by_its_index_and_nothing_else(tab, shipped):
    def pick(index: object) -> list:
        return tab._pick("first", gr.EventData(None, {"index": index}))

    assert pick(3)[0]["base"] == "gallery:3"
    for index in (99, -1, 1.5, None, "x", [1], {}):
        assert "factors" not in pick(index)[0] and pick(index)[0]["notice"].endswith(".")


def test_uploaded_picture_stands_in_the_sliders(tab, sessions, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(chequers()).save(path)
    view, _, _, _, *pool = tab._open("first", "seed:1", str(path))[:-1]
    assert view["base"] == sessions.keep(chequers()) and not path.exists()
    dials = sessions.dials("first", view["base"])
    assert [part.value for part in pool[: len(dials)]] == [shown.neutral for shown in dials]


@pytest.mark.parametrize(
    "name, sentence",
    [("text.png", uploads.UNKNOWN), ("cut.jpg", uploads.ENDS_EARLY), ("huge.png", uploads.TOO_LARGE)],
)
def test_file_that_is_no_usable_picture_is_said_and_deleted(tab, tmp_path, name, sentence):
    path = hostile_files(tmp_path)[name]
    assert refused(tab, tab._open("first", "seed:1", str(path))[:-1], "seed:1") == sentence
    assert not path.exists()


def test_upload_without_a_file_is_said(tab, tmp_path):
    for path in (None, str(tmp_path / "gone.png")):
        assert refused(tab, tab._open("first", "seed:1", path)[:-1], "seed:1") == uploads.UNREADABLE


def test_two_who_upload_the_same_file_both_have_it(tab, sessions, tmp_path):
    path = tmp_path / "same.png"  # as Gradio keeps both
    Image.fromarray(chequers(5)).save(path)
    for _ in range(2):
        view = tab._open("first", "seed:1", str(path))[0]
        assert np.array_equal(sessions.original(view["base"]), chequers(5)) and not path.exists()


def test_lost_upload_is_said_in_a_canvas_request(sessions):
    with pytest.raises(session.Refusal, match="no longer on the server"):
        sessions.code("first", "upload:" + "0" * 64)


def test_samples_are_buttons_with_names_in_one_sheet(shipped):
    html = samples("shapes3d")
    assert html.count("<button") == len({f"Sample {i}" for i in range(1, 9) if f'aria-label="Sample {i}"' in html}) == 8
    assert html.count("data:image/jpeg;base64,") == 1 and 'src="' not in html
    assert samples("a data set without samples") == ""


def test_names_from_files_are_inert_in_the_markup(engine, tmp_path, shipped):
    model = engine.model("first")
    hostile = type(model)(**{**vars(model), "method": "<script>x</script>", "data": "<img onerror=x>"})
    assert "<script" not in caption(hostile) and "<img" not in caption(hostile)
    assert model.paper.title.split()[0] in caption(model) and 'rel="noopener"' in caption(model)
    assert "by the size of their effect" in caption(model)
    assert "without labels" in caption(model)
    weak = caption(type(model)(**{**vars(model), "told": "type<face"}))
    assert "with weak labels, which pictures are of one type&lt;face" in weak and "without labels" not in weak
    assert "and that each" not in weak
    more = caption(type(model)(**{**vars(model), "told": "typeface", "supposed": "has <all>"}))
    assert "which pictures are of one typeface and that each typeface has &lt;all&gt;" in more
    assert "in the order in which it learnt them" in caption(type(model)(**{**vars(model), "ordered": True}))
    save_gallery(tmp_path, "<b onx=1>")
    assert "<b " not in samples("<b onx=1>")


def test_slider_without_a_factor_is_hidden():
    assert slider(None, 7).visible is False and slider(None, 7).elem_id == "factor-7"


def wish(**state) -> gr.EventData:
    return gr.EventData(None, {"state": state, "token": "t"})


def test_state_of_the_page_is_gone_to_with_its_edits(tab, sessions):
    ends = {f.name: (f.low, f.high) for f in sessions.engine.model("second").sliders}
    edits = {"z1": sum(ends["z1"]) / 2, "z0": -1e5}
    *answer, picked = tab._go("first", "seed:1", wish(model="second", base="seed:2", edits=edits))
    view, gallery, text, _, *pool = answer
    assert (view["model"], view["base"], view["token"], picked) == ("second", "seed:2", "t", "second")
    assert view["edits"] == edits and gallery != SKIPPED and text != SKIPPED
    shown = {dial["name"]: part.value for dial, part in zip(view["factors"], pool, strict=False)}
    assert shown["z1"] == edits["z1"] and shown["z0"] == pytest.approx(ends["z0"][0], abs=0.1)  # a slider has an end
    assert tab._go("second", "seed:1", wish(model="second", base="seed:2", edits={}))[1] == SKIPPED


@pytest.mark.parametrize("state", [
    {}, {"model": "first"}, {"model": "first", "base": "seed:2", "edits": {"z99": 1}},
    {"model": 3, "base": 4, "edits": 5},
    {"model": "none", "base": "seed:2", "edits": {}}, {"model": "first", "base": "code:AAAA", "edits": {}},
    {"model": "first", "base": "seed:2", "edits": {"z0": float("nan")}},
])
def test_state_that_cannot_be_is_said_and_the_page_stays(tab, state):
    *answer, picked = tab._go("first", "seed:1", wish(**state))
    assert refused(tab, answer, "seed:1") and answer[0]["token"] == "t" and picked == SKIPPED


def test_event_without_a_state_is_refused(tab):
    assert refused(tab, tab._go("first", "seed:1", gr.EventData(None, {}))[:-1], "seed:1")


def test_choice_of_the_model_that_is_shown_changes_nothing(tab):
    assert tab._change_model("first", Place("seed:5", "first")) == [SKIPPED] * len(tab.outputs)
    assert tab._change_model("second", Place("seed:5", "first"))[0]["model"] == "second"
