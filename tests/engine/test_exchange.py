"""Swaps, matrices, new content and warnings of served models: right, in order, and refused in a sentence."""

import threading

import numpy as np
import pytest
import torch

from engine import Answer, Engine, Refusal, checkpoint, exchange
from engine.files import Damaged, write_manifest
from tests.tiny import noise, save_tiny
from tests.two_sided import CONTENT, STYLE, save_two_sided

SCORES = {"read letter": 0.9, "swap letter content": 0.8}


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    save_two_sided(folder / "two-sided", SCORES)
    save_tiny(folder / "factors")
    engine = Engine(folder)
    assert not engine.refused
    yield engine
    engine.close()


def images(count: int, seed: int = 0) -> np.ndarray:
    return noise(count, seed=seed).permute(0, 2, 3, 1).contiguous().numpy()


def codes(engine: Engine, model: str, count: int, seed: int = 0) -> np.ndarray:
    return engine.encode(model, images(count, seed)).get()


def names(engine: Engine) -> list[str]:
    return [factor.name for factor in engine.model("factors").sliders[:2]]


def test_what_a_model_knows_is_told(engine):
    two, other = engine.model("two-sided"), engine.model("factors")
    assert [slot.role for side in two.sides for slot in side] == ["content", "style"] and other.sides == ((), ())
    assert two.scores == SCORES and other.scores == {}
    assert two.judges and two.imagines and not other.judges and not other.imagines
    assert exchange.style(engine, "two-sided") == exchange.style(engine, "two-sided", ["whatever"]) == two.sides[1]
    assert [part.name for part in exchange.style(engine, "factors", names(engine)[::-1])] == names(engine)


@pytest.mark.parametrize("model", ["two-sided", "factors"])
def test_a_picture_with_its_own_style_is_itself(engine, model):
    [a] = codes(engine, model, 1)
    for content, style in ((0, 1), (1, 0), (0.3, 0.7)):
        assert np.allclose(exchange.mixed(engine, model, a, a, names(engine), content, style), a, atol=1e-5)


def test_each_side_is_exchanged_by_its_own_share(engine):
    a, b = codes(engine, "two-sided", 2)
    first, second = exchange.mixed(engine, "two-sided", a, b)
    assert np.array_equal(first[CONTENT], a[CONTENT]) and np.array_equal(first[STYLE], b[STYLE])
    assert np.array_equal(second[CONTENT], b[CONTENT]) and np.array_equal(second[STYLE], a[STYLE])
    first, _ = exchange.mixed(engine, "two-sided", a, b, content=0.25, share=0.5)
    assert np.allclose(first[CONTENT], a[CONTENT] + 0.25 * (b - a)[CONTENT], atol=1e-6)
    assert np.allclose(first[STYLE], (a + b)[STYLE] / 2, atol=1e-6)


def test_only_the_factors_named_are_exchanged(engine):
    a, b = codes(engine, "factors", 2)
    chosen = exchange.style(engine, "factors", names(engine)[:1])
    first, second = exchange.mixed(engine, "factors", a, b, names(engine)[:1])
    moved = np.flatnonzero(np.abs(first - a) > 1e-6)
    assert moved.tolist() == [chosen[0].where[0]] and np.allclose(first[moved], b[moved], atol=1e-6)
    assert np.allclose(first + second, a + b, atol=1e-6)
    assert np.array_equal(exchange.mixed(engine, "factors", a, b), [a, b])


@pytest.mark.parametrize("model", ["two-sided", "factors"])
def test_rows_keep_content_and_columns_style_and_the_diagonal_is_each_picture_itself(engine, model):
    given = codes(engine, model, 3)
    made = exchange.matrix(engine, model, given, given, names(engine)).get()
    assert made.shape == (3, 3, 64, 64, 3) and made.dtype == np.uint8
    own = engine.decode(model, given).get().astype(int)
    assert np.abs(made[np.arange(3), np.arange(3)] - own).max() <= 1
    single = exchange.matrix(engine, model, given[:1], given[2:], names(engine)).get()
    assert np.abs(single[0, 0].astype(int) - made[0, 2]).max() <= 1
    swapped = engine.decode(model, exchange.mixed(engine, model, given[0], given[2], names(engine))).get().astype(int)
    assert np.abs(swapped - np.stack([made[0, 2], made[2, 0]])).max() <= 1
    assert np.abs(made[0, 2].astype(int) - made[2, 0]).max() > 1


def test_new_contents_have_the_given_style_and_come_again_by_their_seed(engine):
    [a] = codes(engine, "two-sided", 1)
    made = exchange.new_contents(engine, "two-sided", a, 5, 7)
    assert made.shape == (5, 12) and np.array_equal(made[:, STYLE], np.tile(a[STYLE], (5, 1)))
    assert np.allclose(made[:, CONTENT].std(1), 1, atol=1e-3) and len(np.unique(made[:, 0])) == 5
    assert np.array_equal(exchange.new_contents(engine, "two-sided", a, 3, 9), made[2:])


def test_strange_pictures_are_told_from_usual_ones_where_a_model_knows(engine):
    usual = np.repeat(noise(256, 1).permute(0, 2, 3, 1).numpy(), 3, -1)[:50]
    checks = (255 * (np.indices((64, 64)).sum(0) % 2)).astype(np.uint8)
    strange = np.repeat(checks[None, :, :, None], 3, -1)
    assert np.median(exchange.strangeness(engine, "two-sided", usual)) < 1
    assert exchange.strangeness(engine, "two-sided", strange) > 1


def test_others_are_judged_by_their_samples(engine, monkeypatch):
    samples = images(24, seed=4)
    monkeypatch.setattr(exchange, "gallery", lambda data: samples)
    told = exchange.strangeness(engine, "factors", samples)
    net_error = (engine.decode("factors", engine.encode("factors", samples).get()).get() / 255.0 - samples / 255) ** 2
    wrong = np.sqrt(net_error.mean((1, 2, 3)))
    assert told.max() == pytest.approx(1, abs=1e-4) and np.allclose(told, wrong / wrong.max(), atol=0.02)
    assert exchange.strangeness(engine, "factors", 255 - samples // 8).min() > 1


def test_without_samples_nobody_can_judge(engine, monkeypatch):
    monkeypatch.setattr(exchange, "gallery", lambda data: images(0))
    assert exchange.strangeness(engine, "factors", images(1)) is None


def test_the_nearest_are_told_for_each_side(engine):
    others = codes(engine, "two-sided", 9)
    mixture = others[3].copy()
    mixture[STYLE] = others[5][STYLE]
    content, style = exchange.nearest(engine, "two-sided", mixture, others, 4)
    assert content[0] == 3 and style[0] == 5 and len(set(content)) == len(set(style)) == 4
    apart = np.linalg.norm(others[:, CONTENT] - mixture[CONTENT], axis=1)
    assert content == np.argsort(apart)[:4].tolist()
    for model, count in (("factors", 2), ("two-sided", 0), ("two-sided", 10), ("two-sided", True)):
        with pytest.raises(Refusal):
            exchange.nearest(engine, model, codes(engine, model, 1)[0], codes(engine, model, 9), count)


def test_models_are_run_by_the_worker_alone(engine):
    threads = []

    def work(net, rows):
        threads.append(threading.current_thread().name)
        return rows

    assert engine.perform("factors", work, torch.arange(3)).get().tolist() == [0, 1, 2] and threads == ["engine"]


@pytest.mark.parametrize("ask", [
    lambda e, a: exchange.style(e, "none"),
    lambda e, a: exchange.style(e, "factors", "z0"),
    lambda e, a: exchange.style(e, "factors", ["none"]),
    lambda e, a: exchange.style(e, "factors", [["z0"]]),
    lambda e, a: exchange.mixed(e, "factors", a, a[:2]),
    lambda e, a: exchange.mixed(e, "factors", a, a, share=1.1),
    lambda e, a: exchange.mixed(e, "factors", a, a, content=float("nan")),
    lambda e, a: exchange.mixed(e, "factors", a, a, content=True),
    lambda e, a: exchange.mixed(e, "factors", a, a, content="1"),
    lambda e, a: exchange.matrix(e, "factors", [a] * 30, [a] * 30).get(),
    lambda e, a: exchange.matrix(e, "factors", [], [a]).get(),
    lambda e, a: exchange.strangeness(e, "two-sided", np.zeros((1, 8, 8, 3), np.uint8)),
    lambda e, a: exchange.new_contents(e, "factors", a, 1, 0),
    lambda e, a: exchange.new_contents(e, "two-sided", np.zeros(12), 0, 0),
    lambda e, a: exchange.new_contents(e, "two-sided", np.zeros(12), 1, None),
    lambda e, a: exchange.new_contents(e, "two-sided", a, 1, 0),
])
def test_what_cannot_be_done_is_said_in_a_sentence(engine, ask):
    with pytest.raises(Refusal) as refusal:
        ask(engine, codes(engine, "factors", 1)[0])
    assert str(refusal.value).endswith(".") and "\n" not in str(refusal.value)
    assert isinstance(engine.decode("factors", codes(engine, "factors", 1)), Answer)  # and life goes on


@pytest.mark.parametrize("content", [b"[1]", b'{"a": "1"}', b'{"a": NaN}', b"{", b"\xff"])
def test_scores_that_are_none_are_refused(tmp_path, content):
    folder = save_tiny(tmp_path / "tiny")
    (folder / checkpoint.METRICS).write_bytes(content)
    with pytest.raises(Damaged, match="not listed"):
        checkpoint.scores(folder)
    write_manifest(folder)
    with pytest.raises(Damaged, match="not a list of scores"):
        checkpoint.scores(folder)
