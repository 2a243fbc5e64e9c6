"""The tab "Swap" without a browser: what its doors answer, and what it says of a model."""

from base64 import b64decode, b64encode
from dataclasses import replace
from io import BytesIO
from json import loads

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from app import swap
from app.pictures import png
from app.session import LOST
from app.swap import MOST, NEW, Swap, choices, meaning, opening
from app.uploads import MAX_BYTES, TOO_HEAVY, UNKNOWN, UNREADABLE
from engine import Engine, exchange
from tests.serving import chequers, hostile_files, in_loop
from tests.two_sided import STYLE


@pytest.fixture(scope="module")
def engine(both_kinds):
    return both_kinds


@pytest.fixture
def call(sessions):
    """A door by its name, called with a request."""
    doors = {door.__name__: door for door in swap.doors(sessions)}
    return lambda name, **request: doors[name]({"a": "seed:0", "b": "seed:1", "page": "p"} | request)


def tiles(answer: dict) -> np.ndarray:
    """The pictures (R, K, 64, 64, 3) of an answer."""
    sheet = np.asarray(Image.open(BytesIO(b64decode(answer["image"]))))
    rows, columns = sheet.shape[0] // 64, sheet.shape[1] // 64
    return sheet.reshape(rows, 64, columns, 64, 3).swapaxes(1, 2)


def upload(call, seed: int = 0) -> str:
    return call("take", file=b64encode(png(chequers(seed))).decode())["base"]


def near(a: np.ndarray, b: np.ndarray) -> bool:
    return np.abs(a.astype(int) - b).max() <= 1


def first(engine: Engine) -> list[str]:
    return [engine.model("factors").sliders[0].name]


@pytest.mark.parametrize("model", ["two-sided", "factors"])
def test_two_uploads_and_what_became_of_them(call, sessions, engine, model):
    a, b = upload(call, 1), upload(call, 2)
    answer = call("pair", model=model, a=a, b=b, names=first(engine))
    (given, rebuilt, one, other, again, last), = tiles(answer)
    assert np.array_equal(given, chequers(1)) and np.array_equal(last, chequers(2))
    codes = np.stack([sessions.code(model, a), sessions.code(model, b)])
    assert near(np.stack([rebuilt, again]), engine.decode(model, codes).get())
    mixed = exchange.mixed(engine, model, *codes, first(engine))
    assert near(np.stack([one, other]), engine.decode(model, mixed).get())


def test_sliders_at_their_other_ends_give_the_pictures_back(call):
    (_, rebuilt, one, other, again, _), = tiles(call("pair", model="two-sided", style=0))
    assert near(one, rebuilt) and near(other, again)
    (one, other), = tiles(call("mix", model="two-sided", content=1, style=1))
    assert near(one, again) and near(other, rebuilt)
    (half, _), = tiles(call("mix", model="two-sided", style=0.5))
    assert not near(half, rebuilt)


def test_without_a_ticked_factor_nothing_is_exchanged(call):
    (_, rebuilt, one, other, again, _), = tiles(call("pair", model="factors", names=[]))
    assert near(one, rebuilt) and near(other, again)


def test_the_matrix_has_contents_in_rows_and_styles_in_columns(call, sessions, engine):
    extra = upload(call, 3)
    shown = tiles(call("matrix", model="two-sided", contents=[extra, "seed:5"], styles=["seed:4"]))
    assert shown.shape[:2] == (5, 4) and (shown[0, 0] == 255).all()
    assert np.array_equal(shown[3, 0], chequers(3))
    bases = ["seed:0", "seed:1", extra, "seed:5"], ["seed:0", "seed:1", "seed:4"]
    codes = [[sessions.code("two-sided", base) for base in side] for side in bases]
    assert near(shown[1:, 1:], exchange.matrix(engine, "two-sided", *codes).get())
    assert near(shown[0, 3], engine.decode("two-sided", codes[1][2:]).get()[0])


def test_new_content_is_drawn_where_the_model_can(call):
    drawn = tiles(call("imagine", model="two-sided", seed=3))
    assert drawn.shape[:2] == (1, NEW) and np.array_equal(drawn, tiles(call("imagine", model="two-sided", seed=3)))
    assert "no distribution" in call("imagine", model="factors", seed=3)["error"]


def test_new_content_is_used_like_any_picture(call, sessions):
    made = call("imagine", model="two-sided", a="seed:4", seed=3)
    assert len(set(made["bases"])) == NEW
    shown = tiles(call("matrix", model="two-sided", a=made["bases"][2], contents=made["bases"][5:], styles=["seed:4"]))
    for row, number in ((1, 2), (3, 5), (5, 7)):
        assert near(shown[row, 0], tiles(made)[0, number]) and near(shown[row, 3], tiles(made)[0, number])
    style = sessions.code("two-sided", "seed:4")[STYLE]
    assert all(np.array_equal(sessions.code("two-sided", base)[STYLE], style) for base in made["bases"])


def test_sliders_move_a_and_b_in_every_answer(call, sessions, engine):
    content, style = (next(f for f in engine.model("two-sided").sliders if f.role == role)
                      for role in ("content", "style"))
    wish = {"model": "two-sided", "edits": {"a": {content.name: content.high}, "b": {style.name: style.low}}}
    a = engine.edit("two-sided", sessions.code("two-sided", "seed:0"), {content.name: content.high})
    b = engine.edit("two-sided", sessions.code("two-sided", "seed:1"), {style.name: style.low})
    mixed = engine.decode("two-sided", exchange.mixed(engine, "two-sided", a, b)).get()
    assert near(np.stack([*tiles(call("mix", **wish))[0]]), mixed)
    assert near(tiles(call("pair", **wish))[0, 2:4], mixed)
    assert near(tiles(call("pair", **wish))[0, 4], engine.decode("two-sided", b[None]).get()[0])
    shown = tiles(call("matrix", **wish))
    assert near(np.stack([shown[1, 2], shown[2, 1]]), mixed)
    assert not near(mixed[0], tiles(call("mix", model="two-sided"))[0, 0])


def test_new_content_needs_a_seed(call):
    assert "seed" in call("imagine", model="two-sided")["error"]


def test_a_strange_upload_is_said_and_a_sample_is_not(call, monkeypatch):
    mine, usual, unknown = (upload(call, seed) for seed in range(3))
    monkeypatch.setattr(exchange, "strangeness", lambda engine, model, images: np.full(len(images), 2.4))
    assert call("pair", model="two-sided", b=mine)["note"].startswith("B is far from all that this model has seen (2.4")
    assert call("matrix", model="two-sided", styles=[mine])["note"].startswith("1 of the added pictures is far")
    assert call("pair", model="two-sided")["note"] == ""
    assert "2.4 times the largest error on its sample pictures" in call("pair", model="factors", b=mine)["note"]
    monkeypatch.setattr(exchange, "strangeness", lambda engine, model, images: np.full(len(images), 0.9))
    assert call("pair", model="two-sided", b=usual)["note"] == ""
    monkeypatch.setattr(exchange, "strangeness", lambda engine, model, images: None)
    assert call("pair", model="two-sided", b=unknown)["note"] == ""


def test_a_file_that_is_no_picture_is_said(call, tmp_path):
    for path in hostile_files(tmp_path / "bad").values():
        assert set(call("take", file=b64encode(path.read_bytes()).decode())) == {"error"}
    assert call("take", file=b64encode(b"Dear reader").decode()) == {"error": UNKNOWN}
    assert call("take", file="A" * (4 * MAX_BYTES // 3 + 8)) == {"error": TOO_HEAVY}
    for wrong in (None, 3, "", "not base64!", ["A"]):
        assert "error" in call("take", file=wrong)
    assert call("take") == {"error": UNREADABLE}


def test_a_file_is_framed_for_the_model_that_is_named(call, sessions):
    assert [sessions.engine.model(name).data for name in ("two-sided", "factors")] == ["glyphs", "shapes3d"]
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[20:30, 20:30] = 0
    file = b64encode(png(pixels)).decode()
    small, large, again = (sessions.original(call("take", file=file, **named)["base"])
                           for named in ({}, {"model": "two-sided"}, {"model": "factors"}))
    assert np.array_equal(small, pixels) and np.array_equal(again, pixels)
    assert (large < 128).sum() > 20 * (small < 128).sum()
    assert "no model called 'none'" in call("take", file=file, model="none")["error"]


@pytest.mark.parametrize("wrong", [
    {"model": "none"}, {"model": 3}, {"a": "nothing"}, {"b": "gallery:9999"}, {"a": None}, {"a": "upload:" + "0" * 64},
    {"names": "z0"}, {"names": ["none"]}, {"names": [[]]}, {"content": "1"}, {"style": 2}, {"contents": [3]},
    {"contents": ["seed:1"] * (MOST - 1)}, {"styles": {"a": 1}}, {"page": "p" * 101}, {"a": "code:" + "A" * 1025},
    {"edits": 3}, {"edits": {"a": 3}}, {"edits": {"b": {"none": 1}}}, {"edits": {"a": {"z0": "1"}}},
])
def test_a_wrong_request_is_answered_in_a_sentence(call, wrong):
    request = {"model": "factors", "names": []} | wrong
    for name in ("pair", "mix", "matrix"):
        answer = call(name, **request)
        if name == "matrix" and wrong.keys() & {"content", "style"}:
            continue  # a matrix has no shares
        assert set(answer) == {"error"} and answer["error"].endswith(".") and len(answer["error"]) < 200, answer
    assert wrong != {"a": "upload:" + "0" * 64} or answer["error"] == LOST


@pytest.mark.parametrize("request_", [None, [], "x"])
def test_a_request_that_is_no_object_is_answered(sessions, request_):
    assert all(set(door(request_)) == {"error"} for door in swap.doors(sessions))


def test_content_and_style_mean_what_was_measured(engine):
    said = meaning(engine.model("two-sided"))
    assert "content carries the <b>letter</b> (0.80 with the picture that gave content, 0.02" in said
    assert "style carries the <b>face</b> (0.60" in said and "neither clearly carries the <b>slant</b>" in said
    assert "right" not in said
    faint = {"read hue": 1.0, "swap hue content": 0.4, "swap hue style": 0.0}
    assert "neither clearly carries the <b>hue</b>" in meaning(replace(engine.model("two-sided"), scores=faint))
    three = {f"{what} {factor}{side}": value for factor, own in (("hue", 0.9), ("size", 0.98), ("glow", 0.9))
             for what, side, value in (("read", "", 1.0), ("swap", " content", -0.001), ("swap", " style", own))}
    assert ("style carries the <b>hue</b>, <b>size</b> and <b>glow</b> (0.90 to 0.98 with the picture that gave style, "
            "0.00 with the other, 1.00 on real pictures)") in meaning(replace(engine.model("two-sided"), scores=three))
    assert "not measured yet" in meaning(replace(engine.model("two-sided"), scores={}))
    assert "does not tell content from style" in meaning(engine.model("factors"))
    assert "&lt;b&gt;" in meaning(replace(engine.model("two-sided"), scores={
        "read <b>": 1.0, "swap <b> content": 1.0, "swap <b> style": 0.0}))


def test_factors_are_ticked_where_the_model_does_not_know(engine):
    ticks = choices(engine.model("factors"))
    shown = engine.model("factors").sliders
    assert ticks.visible and [value for _, value in ticks.choices] == [factor.name for factor in shown]
    assert ticks.value == [factor.name for factor in shown[:(len(shown) + 1) // 2]]
    assert not choices(engine.model("two-sided")).visible


def test_another_model_turns_the_page_and_a_missing_one_is_said(sessions):
    def build() -> Swap:
        with gr.Blocks():
            return Swap(sessions, gr.Dropdown(["factors", "two-sided"], value="factors"), "factors")

    tab = in_loop(build)
    said, ticks, stage = tab.turn("two-sided")
    assert "letter" in said and not ticks.visible and loads(stage) == loads(opening(sessions, "two-sided"))
    assert loads(stage)["imagines"] and loads(stage)["names"] == []
    with pytest.raises(gr.Error, match="no model called"):
        tab.turn("none")
