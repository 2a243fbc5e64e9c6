"""Films: which picture is shown when, that they repeat without a seam, and that the files play and say where they
come from."""

import json
import sys
from io import BytesIO

import av
import numpy as np
import pytest
from PIL import Image

from engine import Refusal, films, provenance
from engine.films import FPS, HOLD, KEYFRAMES, LEG, SWEEP, eased


def near(a: np.ndarray, b: np.ndarray, levels: int = 1) -> bool:
    return np.abs(a.astype(int) - b).max() <= levels


@pytest.fixture
def own(engine) -> provenance.Origin:
    return provenance.origin(engine, "first", "seed:3", engine.draw("first", 3), {}, side=256, made={"kind": "film"})


@pytest.fixture
def frames(engine) -> np.ndarray:
    return films.along(engine, "first", engine.draw("first", 3), "z0")


def test_a_film_goes_to_the_ends_and_back(engine, frames):
    code, known = engine.draw("first", 3), engine.factor("first", "z0")
    for frame, value in ((0, known.low), (SWEEP - 1, known.high), (SWEEP // 2, (known.low + known.high) / 2)):
        drawn = engine.decode("first", engine.edit("first", code, {"z0": value})[None]).get()[0]
        assert near(frames[frame], drawn)
    assert len(frames) == 2 * SWEEP - 2
    assert all(np.array_equal(frames[k], frames[-k]) for k in range(1, SWEEP))  # and the first comes after the last


def test_keyframes_are_shown_and_stood_still_at(engine):
    codes = np.stack([engine.draw("first", seed) for seed in (1, 2, 3)])
    shown = films.through(engine, "first", codes)
    assert len(shown) == 3 * (HOLD + LEG)
    for k, code in enumerate(codes):
        start = k * (HOLD + LEG)
        drawn = engine.decode("first", code[None]).get()[0]
        assert all(near(frame, drawn) for frame in shown[start:start + HOLD + 1])
    half = engine.decode("first", ((codes[0] + codes[1]) / 2)[None]).get()[0]
    assert near(shown[HOLD + LEG // 2], half)


def test_motion_begins_and_ends_slowly():
    shares = eased(9)
    steps = shares.diff()
    assert shares[0] == 0 and shares[-1] == pytest.approx(1) and shares[4] == pytest.approx(0.5)
    assert steps[0] < steps[3] and steps[-1] < steps[4]


@pytest.mark.parametrize("count", [0, 1, KEYFRAMES + 1])
def test_too_few_or_too_many_keyframes_are_refused(engine, count):
    with pytest.raises(Refusal, match="2 to 12 keyframes"):
        films.through(engine, "first", np.zeros((count, 4), np.float32))


def test_a_gif_plays_for_ever_and_says_where_it_comes_from(frames, own):
    film = Image.open(BytesIO(films.gif(frames, own)))
    assert film.size == (256, 256) and film.info["loop"] == 0
    assert json.loads(film.info["comment"])["base"] == "seed:3"
    shown, lasts = [], 0
    for k in range(film.n_frames):
        film.seek(k)
        lasts += film.info["duration"]
        shown.append(np.asarray(film.convert("RGB").resize((64, 64), Image.Resampling.NEAREST)))
    assert lasts == 1000 // FPS * len(frames)  # equal neighbours may have become one frame
    assert near(shown[0], frames[0], 24) and np.abs(shown[0].astype(int) - frames[0]).mean() < 2


@pytest.mark.parametrize("smooth", [False, True])
def test_an_mp4_plays_and_says_where_it_comes_from(frames, own, smooth):
    data = films.mp4(frames[:20], provenance.Origin(**{**vars(own), "smooth": smooth}))
    with av.open(BytesIO(data)) as film:
        stream = film.streams.video[0]
        assert (stream.codec.name, stream.width, stream.average_rate) == ("h264", 256, FPS)
        assert json.loads(film.metadata["comment"])["model"] == "first"
        shown = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(shown) == 20
    wanted = provenance.enlarged(frames[0], 256, smooth).astype(int)
    assert np.abs(shown[0] - wanted).mean() < 8


def test_a_film_is_no_larger_than_a_server_can_hold(frames, own):
    for write in (films.gif, films.mp4):
        with pytest.raises(Refusal, match="512 pixels or fewer"):
            write(frames, provenance.Origin(**{**vars(own), "side": 1024}))


def test_without_the_encoder_a_gif_is_pointed_to(frames, own, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(Refusal, match="GIF needs nothing"):
        films.mp4(frames[:2], own)


def test_a_factor_that_is_not_there_is_refused(engine):
    with pytest.raises(Refusal, match="is no factor"):
        films.along(engine, "first", engine.draw("first", 3), "none")
