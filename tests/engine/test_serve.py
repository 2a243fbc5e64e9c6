"""The live lane: right answers, refusals in a sentence, newest wins, nobody waits for ever."""

import random
import shutil
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import Answer, Engine, Refusal, checkpoint, serve
from tests.tiny import noise, tiny_vae

NAMES = ("first", "second", "third-grey")
NETS = dict(zip(NAMES, (tiny_vae(0), tiny_vae(1), tiny_vae(2, channels=1)), strict=True))
PATIENCE = 20  # seconds; nothing here takes that long unless it hangs


def codes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 4)).astype(np.float32)


def pictures(count: int, seed: int = 0) -> np.ndarray:
    return noise(count, seed=seed).permute(0, 2, 3, 1).contiguous().numpy()


def decoded(name: str, rows: np.ndarray) -> np.ndarray:
    """What the net itself makes of codes, in grey levels."""
    x = 255 * NETS[name].decode(torch.from_numpy(rows))
    return x.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy()


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether images agree up to one grey level."""
    return a.shape == b.shape and np.abs(a.astype(float) - b).max() <= 1


def in_thread(work: Callable, *arguments, **named) -> Future:
    """Call in a thread of its own."""
    future = Future()

    def run() -> None:
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


@pytest.fixture
def fresh(models: Path) -> Iterator[Engine]:
    """An engine of one's own, for tests that tamper with it."""
    engine = Engine(models)
    yield engine
    engine.close()


@contextmanager
def busy(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """The worker is held up in a decoding; yields the list of (model, rows) it computes from now on.
    It goes on when the block ends."""
    reached, go, seen = threading.Event(), threading.Event(), []
    compute = engine._compute

    def slow(batch):
        seen.append((batch[0].model, sum(len(w.rows) for w in batch)))
        if not reached.is_set():
            reached.set()
            assert go.wait(PATIENCE)
        return compute(batch)

    monkeypatch.setattr(engine, "_compute", slow)
    first = in_thread(engine.decode, "first", codes(1))
    assert reached.wait(PATIENCE)
    try:
        yield seen
    finally:
        go.set()
        assert first.result(PATIENCE).value is not None


def arrived(engine: Engine, lane: Hashable, rows: np.ndarray) -> bool:
    """Whether these codes wait in a lane."""
    waiting = engine._queue.get(lane)
    return waiting is not None and np.array_equal(waiting.rows.numpy(), rows)


def queued(engine: Engine, count: int) -> None:
    until(lambda: len(engine._queue) == count)


# ------------------------------------------------------------------------------------------------
# Answers

def test_models_are_described(engine):
    assert tuple(engine.models) == NAMES and not engine.refused
    grey = engine.model("third-grey")
    assert (grey.channels, grey.code_size, grey.method, grey.data) == (1, 4, "vae", "dsprites")
    assert grey.figures == {"psnr_held_out_db": 12.3, "mig": 0.4} and grey.paper.year == 2018
    effects = [f.evidence["effect"] for f in grey.sliders]
    assert effects == sorted(effects, reverse=True) and effects


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_what_the_net_makes(engine, name):
    rows = codes(7)
    answer = engine.decode(name, rows)
    assert answer.value.dtype == np.uint8 and same(answer.value, decoded(name, rows))
    assert answer.error == "" and not answer.stale and answer.rows >= 7
    assert answer.computed_ms > 0 and answer.waited_ms >= 0
    images = pictures(5)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    if NETS[name].channels == 1:
        x = x.mean(1, keepdim=True)
    assert np.allclose(engine.encode(name, images).get(), NETS[name].encode(x).numpy(), atol=1e-5)


def test_a_model_with_a_slow_way_is_refined_by_it_and_others_are_decoded(fresh, monkeypatch):
    rows = codes(3)
    assert same(fresh.refine("first", rows).get(), decoded("first", rows))
    monkeypatch.setattr(type(NETS["first"]), "refine", lambda self, code: self.decode(code) * 0)
    assert (fresh.refine("first", rows).get() == 0).all()
    assert same(fresh.decode("first", rows).get(), decoded("first", rows))
    assert fresh.refine("no such", rows).error.startswith("There is no model")


def test_a_grey_model_answers_grey(engine):
    images = engine.decode("third-grey", codes(3)).get()
    assert (images == images[..., :1]).all() and np.ptp(images) > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_rows_one_by_one(engine, name):
    rows, images = codes(33, seed=1), pictures(9, seed=1)
    together, apart = engine.decode(name, rows).get(), [engine.decode(name, row[None]).get()[0] for row in rows]
    assert same(together, np.stack(apart))
    together, apart = engine.encode(name, images).get(), [engine.encode(name, one[None]).get()[0] for one in images]
    assert np.abs(together - np.stack(apart)).max() <= 1e-4


def test_every_number_kind_is_a_code(engine):
    rows = np.array([[1, -2, 0, 3]])
    expected = engine.decode("first", rows.astype(np.float32)).get()
    for given_as in (rows, rows.tolist(), rows.astype(np.float64), rows.astype(np.int8), np.asfortranarray(rows * 1.0)):
        assert (engine.decode("first", given_as).get() == expected).all()


def test_films_are_pictures_along_the_ladder(engine):
    code, table = codes(1, seed=2)[0], engine.model("first").factors
    names = [table[2].name, table[0].name]
    films = engine.films("first", code, names, 5).get()
    assert films.shape == (2, 5, 64, 64, 3)
    for film, name in zip(films, names, strict=True):
        factor = next(f for f in table if f.name == name)
        for frame, value in zip(film, np.linspace(factor.low, factor.high, 5), strict=True):
            row = code.copy()
            row[factor.where[0]] = value
            assert same(frame, decoded("first", row[None])[0])
            assert same(frame, engine.decode("first", engine.edit("first", code, {name: float(value)})[None]).get()[0])


def test_edits_set_what_they_name_and_nothing_else(engine):
    code = codes(1)[0]
    kept = code.copy()
    first, second = engine.model("first").factors[:2]
    edited = engine.edit("first", code, {first.name: 1.5, second.name: -1})
    assert edited[:2] == pytest.approx([1.5, -1]) and (edited[2:] == kept[2:]).all()
    unedited = engine.edit("first", code, {})
    assert (unedited == kept).all()
    unedited += 1  # what is returned is the caller's own
    edited += 1
    assert (code == kept).all()


def test_a_seed_is_a_picture(engine):
    model = engine.model("first")
    drawn = np.stack([engine.draw("first", seed) for seed in range(200)])
    assert (drawn == np.stack([engine.draw("first", seed) for seed in range(200)])).all()
    assert len(np.unique(drawn, axis=0)) == 200
    for factor in model.sliders:
        column = drawn[:, factor.where[0]]
        assert factor.quantiles[0] <= column.min() and column.max() <= factor.quantiles[-1]
        assert factor.quantiles[8] < np.median(column) < factor.quantiles[24]
    first = engine.decode("first", drawn[:1]).get()
    assert (engine.decode("first", drawn[:1]).get() == first).all()


# ------------------------------------------------------------------------------------------------
# Refusals

WRONG_NAMES = [
    "", "fourth", "FIRST", " first", "first/", "./first", "../models/first", "/etc/passwd", "file:first", "first\0",
    "\\\\host\\first", "C:first", "first/../first", "*", "<b>first</b>", "f" * 10_000, b"first", None, 0, 1.5, True,
    float("nan"), [], ["first"], {}, {"first"}, ("first",), Path("first"), object(),
]


def sentence(text: str) -> bool:
    """One sentence a person can read, without a traceback."""
    return 10 < len(text) < 400 and text.endswith(".") and "Traceback" not in text and "Error" not in text


@pytest.mark.parametrize("name", WRONG_NAMES, ids=lambda v: repr(v)[:20])
def test_names_of_no_model_are_refused(engine, name):
    for answer in (
        engine.decode(name, codes(1)), engine.encode(name, pictures(1)), engine.films(name, codes(1)[0], ["z0"], 3),
    ):
        assert answer.value is None and sentence(answer.error)
        with pytest.raises(Refusal):
            answer.get()
    for call in (engine.model, lambda n: engine.draw(n, 0), lambda n: engine.edit(n, codes(1)[0], {"z0": 0.0})):
        with pytest.raises(Refusal) as caught:
            call(name)
        assert sentence(str(caught.value))


WRONG_CODES = [
    None, "", "1234", b"1234", 7, [], [[]], [1.0, 2, 3, 4], [[1.0, 2, 3]], [[1.0, 2, 3, 4, 5]], [[[1.0, 2, 3, 4]]],
    [[1.0, 2, 3, float("nan")]], [[1.0, 2, 3, float("inf")]], [[1.0, 2, 3, -float("inf")]], [[1.0, 2, 3, 1e308]],
    [[1.0, 2, 3, -1e308]], [[1.0, 2, 3, 1e6]], [[1, 2, 3, 10**30]], [[1, 2, 3, 10**400]], [[1.0, 2, 3, None]],
    [[1.0, 2, 3, "4"]], ["abcd"], [["1", "2", "3", "4"]], [[1.0, 2, 3, 4], [1.0]], [[1.0, 2, 3, [4]]], {"z0": 1}, [{}],
    np.ones((1, 4), complex), np.ones((1, 4), bool), np.full((1, 4), "x"), np.empty((0, 4), np.float32),
    np.ones((serve.MAX_ROWS + 1, 4), np.float32), np.ones((1, 4), "datetime64[s]"), np.ones((1, 4), object), object(),
]


@pytest.mark.parametrize("rows", WRONG_CODES, ids=lambda v: repr(v)[:30].replace("\n", ""))
def test_codes_that_are_none_are_refused(engine, rows):
    answer = engine.decode("first", rows)
    assert answer.value is None and sentence(answer.error)


@pytest.mark.parametrize("code", [None, "abcd", [], [1.0] * 3, [1.0] * 5, [[1.0] * 4], [1.0, [2.0], 3.0, 4.0],
                                  [1.0, 2.0, 3.0, float("nan")], [1e308] * 4, {}, 7], ids=repr)
def test_a_film_or_an_edit_of_no_code_is_refused(engine, code):
    assert sentence(engine.films("first", code, ["z0"], 3).error)
    with pytest.raises(Refusal) as caught:
        engine.edit("first", code, {"z0": 1.0})
    assert sentence(str(caught.value))


@pytest.mark.parametrize("images", [
    None, "", [], pictures(1).tolist(), pictures(1)[0], pictures(1).astype(np.float32), pictures(1).astype(np.int64),
    pictures(1)[..., :1], pictures(1)[:, :32], pictures(1)[:0], np.zeros((513, 64, 64, 3), np.uint8),
    np.zeros((1, 64, 64, 4), np.uint8), np.array("x"), [[1], [1, 2]], {}, object(),
], ids=lambda v: type(v).__name__)
def test_images_that_are_none_are_refused(engine, images):
    answer = engine.encode("first", images)
    assert answer.value is None and sentence(answer.error)


@pytest.mark.parametrize("names", [
    [], (), None, "z0", 7, {"z0": 1}, ["z9"], ["z0", "z9"], ["z0", None], [["z0"]], [{}], [0], ["../z0"], ["x" * 9999],
], ids=lambda v: repr(v)[:20])
def test_films_of_no_factor_are_refused(engine, names):
    answer = engine.films("first", codes(1)[0], names, 3)
    assert answer.value is None and sentence(answer.error)


@pytest.mark.parametrize("frames", [None, "9", 2.5, float("nan"), True, [3], 0, 1, -5, 513, 10**12])
def test_films_of_no_length_are_refused(engine, frames):
    assert sentence(engine.films("first", codes(1)[0], ["z0"], frames).error)


def test_films_too_large_together_are_refused_before_they_cost_anything(engine):
    begun = time.monotonic()
    assert sentence(engine.films("first", codes(1)[0], ["z0"] * 1_000_000, 512).error)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("values", [
    None, [], "z0", 7, ["z0"], {"z9": 0.0}, {0: 0.0}, {None: 0.0}, {("z0",): 0.0}, {"x" * 9999: 0.0},
    *({"z0": v} for v in (None, "1", [], {}, True, 1j, float("nan"), float("inf"), -float("inf"))),
    {"z0": 1e308}, {"z0": -1e6}, {"z0": 10**400},
], ids=lambda v: repr(v)[:30])
def test_edits_that_are_none_are_refused(engine, values):
    with pytest.raises(Refusal) as caught:
        engine.edit("first", codes(1)[0], values)
    assert sentence(str(caught.value))


@pytest.mark.parametrize("seed", [None, "1", 1.0, float("nan"), True, [], -1, 2**63, 10**400],
                         ids=lambda v: repr(v)[:20])
def test_seeds_that_are_none_are_refused(engine, seed):
    with pytest.raises(Refusal):
        engine.draw("first", seed)
    assert np.isfinite(engine.draw("first", 2**63 - 1)).all()


def test_nothing_asked_for_changes_a_model(engine):
    model = engine.model("first")
    table, mean = repr(model.factors), model.mean.copy()
    state = {k: v.clone() for k, v in engine._nets["first"].state_dict().items()}
    engine.films("first", codes(1)[0], [f.name for f in model.factors], 9).get()
    engine.decode("first", model.mean[None]).get()
    engine.edit("first", model.mean, {"z0": 3.0})
    drawn = engine.draw("first", 1)
    drawn += 1
    engine.edit("first", model.mean, {})[:] = 9
    assert repr(model.factors) == table and (model.mean == mean).all()
    assert all(torch.equal(v, state[k]) for k, v in engine._nets["first"].state_dict().items())
    with pytest.raises(ValueError, match="read-only"):
        model.mean[0] = 1
    with pytest.raises(AttributeError):
        model.name = "other"


# ------------------------------------------------------------------------------------------------
# Order

def test_the_newest_of_a_lane_wins(fresh, monkeypatch):
    rows, asked = codes(6), []
    with busy(fresh, monkeypatch) as seen:
        for row in rows:
            asked.append(in_thread(fresh.decode, "first", row[None], lane=("page", "frame")))
            until(partial(arrived, fresh, ("page", "frame"), row[None]))
        stale = [future.result(PATIENCE) for future in asked[:-1]]  # told at once, not after the worker is free
        assert not asked[-1].done()
    last = asked[-1].result(PATIENCE)
    assert all(a.stale and a.value is None and not a.error for a in stale)
    assert same(last.value, decoded("first", rows[-1:])) and not last.stale
    assert seen == [("first", 1), ("first", 1)]  # the one that held the worker up, and the last
    stamps = [a.stamp for a in [*stale, last]]
    assert stamps == sorted(set(stamps))
    with pytest.raises(Refusal, match="newer request"):
        stale[0].get()


def test_lanes_do_not_replace_each_other(fresh, monkeypatch):
    rows = codes(5)
    lanes = [("a", "frame"), ("b", "frame"), ("a", "films"), None, None]
    with busy(fresh, monkeypatch):
        asked = [in_thread(fresh.decode, "first", row[None], lane=lane) for row, lane in zip(rows, lanes, strict=True)]
        queued(fresh, 5)
    for row, future in zip(rows, asked, strict=True):
        assert same(future.result(PATIENCE).value, decoded("first", row[None]))


def test_a_replacement_keeps_its_place(fresh, monkeypatch):
    """Whoever moves without a rest must not be overtaken for ever by those who wait."""
    with busy(fresh, monkeypatch) as seen:
        asked = [in_thread(fresh.decode, "second", codes(1), lane="restless")]
        queued(fresh, 1)
        asked.append(in_thread(fresh.decode, "third-grey", codes(2), lane="patient"))
        queued(fresh, 2)
        asked.append(in_thread(fresh.decode, "second", codes(3), lane="restless"))
        assert asked[0].result(PATIENCE).stale
    assert asked[1].result(PATIENCE).value is not None and len(asked[2].result(PATIENCE).value) == 3
    assert seen[1:] == [("second", 3), ("third-grey", 2)]


def test_one_overtaken_on_its_way_is_stale(fresh, monkeypatch):
    rows = torch.from_numpy(codes(2))
    old, new = next(fresh._stamps), next(fresh._stamps)
    with busy(fresh, monkeypatch):
        newer = in_thread(fresh._submit, new, "first", "decode", rows[1:], "lane")
        queued(fresh, 1)
        older = in_thread(fresh._submit, old, "first", "decode", rows[:1], "lane")
        assert older.result(PATIENCE) == Answer(old, stale=True)
    assert same(newer.result(PATIENCE).value, decoded("first", rows[1:].numpy()))


def test_what_waits_for_one_model_is_one_batch(fresh, monkeypatch):
    with busy(fresh, monkeypatch) as seen:
        parts = [("first", 3), ("second", 2), ("first", 4), ("first", 1)]
        asked = []
        for number, (name, count) in enumerate(parts):
            asked.append(in_thread(fresh.decode, name, codes(count, seed=number)))
            queued(fresh, number + 1)
        encoding = in_thread(fresh.encode, "first", pictures(2))
        queued(fresh, 5)
    answers = [future.result(PATIENCE) for future in asked]
    assert [a.rows for a in answers] == [8, 2, 8, 8] and encoding.result(PATIENCE).rows == 2
    assert seen[1:] == [("first", 8), ("second", 2), ("first", 2)]
    for number, ((name, count), answer) in enumerate(zip(parts, answers, strict=True)):
        assert same(answer.value, decoded(name, codes(count, seed=number)))


def test_exact_pictures_share_no_batch(fresh, monkeypatch):
    with busy(fresh, monkeypatch) as seen:
        asked = []
        for number, ask in enumerate((fresh.refine, fresh.decode, fresh.refine, fresh.decode)):
            asked.append(in_thread(ask, "first", codes(2, seed=number)))
            queued(fresh, number + 1)
    assert [future.result(PATIENCE).rows for future in asked] == [2, 4, 2, 4]
    assert seen[1:] == [("first", 2), ("first", 4), ("first", 2)]
    for number, future in enumerate(asked):
        assert same(future.result(PATIENCE).value, decoded("first", codes(2, seed=number)))


def test_a_batch_has_a_largest_size(fresh, monkeypatch):
    with busy(fresh, monkeypatch) as seen:
        asked = []
        for number, count in enumerate((300, 300, 200)):
            asked.append(in_thread(fresh.decode, "first", codes(count, seed=number)))
            queued(fresh, number + 1)
    for number, future in enumerate(asked):
        assert same(future.result(PATIENCE).value[:2], decoded("first", codes(300, seed=number)[:2]))
    assert seen[1:] == [("first", 500), ("first", 300)]


orders = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(NAMES), st.integers(1, 4)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(orders)
def test_any_order_ends_with_the_newest_of_each_lane(engine, order):
    """The worker is held up while a random series of requests arrives; then it is let go."""
    with pytest.MonkeyPatch.context() as patch:
        asked, expected = [], {}
        with busy(engine, patch) as seen:
            for number, (lane, name, count) in enumerate(order):
                rows = codes(count, seed=number)
                asked.append((lane, in_thread(engine.decode, name, rows, lane=lane)))
                expected[lane] = number
                until(partial(arrived, engine, lane, rows))
        answers = [(lane, future.result(PATIENCE)) for lane, future in asked]
    last_stamp = {}
    for number, (lane, answer) in enumerate(answers):
        assert answer.stamp > last_stamp.get(lane, 0)
        last_stamp[lane] = answer.stamp
        if expected[lane] == number:
            _, name, count = order[number]
            assert same(answer.value, decoded(name, codes(count, seed=number)))
        else:
            assert answer.stale and answer.value is None
    computed = sum(rows for _, rows in seen[1:])
    assert computed == sum(order[number][2] for number in expected.values())  # nothing stale was computed


# ------------------------------------------------------------------------------------------------
# Trouble

def test_overload_is_answered_at_once_and_passes(fresh, monkeypatch):
    monkeypatch.setattr(serve, "MAX_WAITING", 8)
    with busy(fresh, monkeypatch):
        held = []
        for number in range(4):
            held.append(in_thread(fresh.decode, "first", codes(2), lane=number))
            queued(fresh, number + 1)
        begun = time.monotonic()
        excess = [fresh.decode("first", codes(1), lane=100 + k) for k in range(50)]
        assert time.monotonic() - begun < 50 * 0.1
        assert all(a.value is None and not a.stale and "busy" in a.error and sentence(a.error) for a in excess)
        assert "busy" in fresh.decode("first", codes(3), lane=0).error  # too large to take the place of 2 rows
        assert not held[0].done()                                      # which therefore still wait
        replaced = in_thread(fresh.decode, "first", codes(2, seed=5), lane=0)
        assert held[0].result(PATIENCE).stale
    assert all(len(future.result(PATIENCE).value) == 2 for future in [*held[1:], replaced])
    assert len(fresh.decode("first", codes(8)).get()) == 8


def test_an_error_in_a_net_is_an_answer(fresh, monkeypatch):
    def fail(_):
        raise RuntimeError("CUDA error: a secret in /a/path")

    with monkeypatch.context() as patch:
        patch.setattr(fresh._nets["first"], "decode", fail)
        answer = fresh.decode("first", codes(2))
        assert answer.value is None and answer.error.endswith("(RuntimeError).") and "secret" not in answer.error
        assert same(fresh.decode("second", codes(2)).get(), decoded("second", codes(2)))
    assert same(fresh.decode("first", codes(2)).get(), decoded("first", codes(2)))


@pytest.mark.parametrize("work", [lambda net, rows: rows.sum(), lambda net, rows: rows[:1]])
def test_work_that_does_not_answer_for_each_row_is_an_error_and_not_the_end(fresh, work):
    assert fresh.perform("first", work, torch.zeros(2, 4)).error.endswith("(ValueError).")
    assert same(fresh.decode("first", codes(2)).get(), decoded("first", codes(2)))


def test_closing_answers_those_who_wait_and_those_who_come(models, monkeypatch):
    engine = Engine(models)
    with busy(engine, monkeypatch):
        waiting = [in_thread(engine.decode, name, codes(1), lane=name) for name in NAMES]
        queued(engine, 3)
        closing = in_thread(engine.close)
        until(lambda: engine._closed)
        assert "shutting down" in engine.decode("first", codes(1), lane="first").error
    closing.result(PATIENCE)
    assert all("shutting down" in future.result(PATIENCE).error for future in waiting)
    assert not engine._thread.is_alive()
    late = in_thread(engine.decode, "first", codes(1))
    assert "shutting down" in late.result(PATIENCE).error
    engine.close()  # twice does no harm


def test_many_pages_at_once_get_each_their_own(engine):
    """Threads edit different codes of different models, interleaved; no answer is another's."""
    edits_each, threads = 25, 12

    def page(number: int) -> int:
        name, chance = NAMES[number % 3], random.Random(number)
        code = codes(1, seed=1000 + number)[0]
        for step in range(edits_each):
            factor = chance.choice(engine.model(name).factors)
            value = chance.uniform(-2, 2)
            expected = code.copy()
            expected[factor.where[0]] = value
            edited = engine.edit(name, code, {factor.name: value})
            assert np.allclose(edited, expected, atol=1e-6)
            answer = engine.decode(name, edited[None], lane=(number, "frame"))
            assert same(answer.get(), decoded(name, expected[None]))
            if step % 5 == 0:
                films = engine.films(name, edited, [factor.name], 3, lane=(number, "films")).get()
                ends = np.repeat(expected[None], 2, 0)
                ends[:, factor.where[0]] = factor.low, factor.high
                assert same(films[0, [0, 2]], decoded(name, ends))
            code = edited
        return edits_each

    with ThreadPoolExecutor(threads) as pool:
        assert sum(pool.map(page, range(threads))) == edits_each * threads


def test_a_damaged_model_is_left_out_and_the_others_work(models, tmp_path):
    folder = Path(shutil.copytree(models, tmp_path / "models"))
    data = bytearray((folder / "second" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "second" / "model.safetensors").write_bytes(data)
    (folder / "empty").mkdir()
    (folder / "stray.txt").write_text("no model")
    engine = Engine(folder)
    try:
        assert tuple(engine.models) == ("first", "third-grey") and set(engine.refused) == {"second", "empty"}
        with pytest.raises(Refusal, match=r"model\.safetensors is damaged"):
            engine.model("second")
        assert "sha256" in engine.decode("second", codes(1)).error
        assert same(engine.decode("first", codes(1)).get(), decoded("first", codes(1)))
    finally:
        engine.close()


def test_a_model_folder_is_an_engine_of_one_model(models):
    engine = Engine(models / "first")
    assert list(engine.models) == ["first"] and same(engine.decode("first", codes(2)).get(), decoded("first", codes(2)))
    engine.close()


def test_no_folder_is_no_model(tmp_path):
    engine = Engine(tmp_path / "nothing")
    assert engine.models == {} == engine.refused
    assert "no model" in engine.decode("first", codes(1)).error
    engine.close()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_said(models):
    with pytest.raises(Refusal, match="--device cpu"):
        Engine(models, "cuda")


def test_warming_up_runs_every_model(fresh, monkeypatch):
    seen, compute = [], fresh._compute

    def noted(batch):
        seen.append((batch[0].model, len(batch[0].rows)))
        return compute(batch)

    monkeypatch.setattr(fresh, "_compute", noted)
    fresh.warm_up()
    assert seen == [(name, rows) for name in NAMES for rows in (1, 99)]


def test_warming_up_stops_when_the_engine_is_closed_and_else_says_what_is_wrong(fresh, monkeypatch):
    def fail(batch):
        raise RuntimeError

    monkeypatch.setattr(fresh, "_compute", fail)
    with pytest.raises(Refusal, match="could not answer"):
        fresh.warm_up()
    fresh.close()
    fresh.warm_up()


def test_a_model_with_a_slow_way_is_warmed_up_both_ways(divided, monkeypatch):
    seen, compute = [], divided._compute
    monkeypatch.setattr(
        divided, "_compute", lambda batch: (seen.append((batch[0].model, batch[0].work)), compute(batch))[1])
    divided.warm_up()
    assert seen == [("disdiff", "decode")] * 2 + [("disdiff", "refine")] + [("vae", "decode")] * 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_answers_what_a_cpu_does(models, engine):
    other = Engine(models, "cuda")
    try:
        for count in (1, 2, 9, 10, 33, 40, 99, 120):
            for name in NAMES:
                a = other.decode(name, codes(count, seed=count)).get()
                error = (a.astype(float) - engine.decode(name, codes(count, seed=count)).get()) ** 2
                assert 10 * np.log10(255**2 / max(error.mean(), 1e-9)) >= 40
    finally:
        other.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_refines_what_a_cpu_does():
    net, name = checkpoint.load(serve.MODELS / "disdiff-shapes3d")[0], "disdiff-shapes3d"
    other = Engine(serve.MODELS, "cuda")
    try:
        for count in (1, 3, 9):
            rows = np.stack([other.draw(name, seed) for seed in range(count)])
            with torch.inference_mode():
                truth = 255 * net.refine(torch.from_numpy(rows)).permute(0, 2, 3, 1).numpy()
            answers = [other.refine(name, rows).get().astype(float) for _ in range(2)]  # recorded, then replayed
            assert (answers[0] == answers[1]).all()
            assert 10 * np.log10(255**2 / max(((answers[0] - truth) ** 2).mean(), 1e-9)) >= 40
    finally:
        other.close()
