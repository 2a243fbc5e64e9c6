"""The benchmark of how fast what is a picture's own fades."""

import pytest
import torch

from benchmarks import fade
from engine import checkpoint
from engine.data import load, split
from engine.metrics import psnr
from tests.tiny import seeded


def test_a_pair_differs_in_one_known_factor_and_every_one_has_its_turn():
    data = load("shapes3d")
    held_out = split(len(data))[1]
    first, second = fade.pairs(data, held_out, 300, seeded())
    differs = data.classes(first) != data.classes(second)
    assert differs.sum(1).tolist() == [1] * 300 and differs.sum(0).min() > 25
    assert set(first.tolist()) <= set(held_out.tolist()) and len(first.unique()) > 280


def test_one_that_lacks_nothing_is_right_at_every_rate_and_one_that_lacks_all_shows_the_picture_it_was(
    divided, monkeypatch
):
    model, table, config = checkpoint.load(divided.folder / "disdiff")
    monkeypatch.setattr(checkpoint, "load", lambda _: (model, table, config))
    known = {}

    def read(x, latents):
        z = latents.flatten(1)[:, :6].unflatten(1, (3, 2))
        known.update((tuple(row.flatten().tolist()), own) for row, own in zip(z, latents, strict=True))
        return z

    monkeypatch.setattr(model, "read", read)
    monkeypatch.setattr(model, "quick", lambda noise, z: torch.zeros_like(noise))
    monkeypatch.setattr(model, "slow", lambda _, z: torch.stack([known[tuple(row.flatten().tolist())] for row in z]))
    count = 30
    found = fade.measure(divided.folder / "disdiff", count)
    quick, slow = model.ways
    bound = found["bound"]
    assert [found[f"{slow}, {rate:g}"] for rate in fade.RATES] == pytest.approx([bound] * len(fade.RATES), abs=1e-3)

    data = load("shapes3d")
    first, second = (data.images(of).float() / 255 for of in fade.pairs(data, split(len(data))[1], count, seeded()))
    seen = lambda x: model.autoencoder.decode(model.autoencoder.encode(x))  # noqa: E731
    assert bound == pytest.approx(psnr(seen(second), second).mean().item(), abs=1e-3)
    assert found[f"{quick}, inf"] == pytest.approx(psnr(seen(first), second).mean().item(), abs=1e-3)
    rates = [found[f"{quick}, {rate:g}"] for rate in fade.RATES]
    assert len(set(rates)) == len(rates)


def test_a_model_without_samplers_is_refused(divided):
    with pytest.raises(SystemExit, match="no sampler"):
        fade.measure(divided.folder / "vae", 1)


def test_pictures_that_are_no_grid_are_refused(divided, monkeypatch):
    model, table, config = checkpoint.load(divided.folder / "disdiff")
    monkeypatch.setattr(checkpoint, "load", lambda _: (model, table, config | {"data": "faces"}))
    with pytest.raises(SystemExit, match="faces does not hold every combination"):
        fade.measure(divided.folder / "disdiff", 1)
