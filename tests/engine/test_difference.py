"""Latent arithmetic on codes whose differences, and effects, are known."""

import numpy as np
import pytest
import torch

from engine import Answer, Factor, Refusal, difference


def codes(engine, count: int) -> np.ndarray:
    return np.stack([engine.draw("first", seed) for seed in range(count)])


def test_difference_is_that_of_the_averages_along_the_factors(engine):
    plus, minus, factors = codes(engine, 3), codes(engine, 8)[3:], engine.model("first").sliders
    found = difference.difference(engine, "first", plus, minus, factors, codes(engine, 6))
    whole = plus.mean(0) - minus.mean(0)
    assert found.steps == pytest.approx({f.name: whole[f.where[0]] for f in factors}, abs=1e-5)
    assert found.covered == pytest.approx(1)
    backwards = difference.difference(engine, "first", minus, plus, factors, codes(engine, 6))
    assert backwards.steps == pytest.approx({name: -step for name, step in found.steps.items()}, abs=1e-5)


def test_what_the_sliders_leave_out_is_said(engine):
    minus = codes(engine, 1)
    plus = minus + np.array([[3.0, 4.0, 0.0, 0.0]], np.float32)
    only = [f for f in engine.model("first").sliders if f.name == "z0"]
    found = difference.difference(engine, "first", plus, minus, only, codes(engine, 4))
    assert found.covered == pytest.approx(9 / 25) and found.steps == pytest.approx({"z0": 3.0}, abs=1e-5)


class Greys:
    """Two numbers as greys; the second half of the picture, where asked, moves with the first."""

    def __init__(self, gain: float = 1.0, leak: float = 0.0):
        self.gain, self.leak = gain, leak

    def decode(self, rows: torch.Tensor) -> torch.Tensor:
        greys = torch.stack([self.gain * rows[:, 0], rows[:, 1] + self.leak * rows[:, 0]], 1)
        return greys[:, None, None].repeat_interleave(32, 3).expand(-1, 1, 64, -1)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[..., :32].mean((1, 2, 3)), x[..., 32:].mean((1, 2, 3))], 1)


@pytest.mark.parametrize("net, mean, aside", [
    (Greys(), 1, 0), (Greys(gain=0.5), 0.5, 0), (Greys(leak=0.5), 1, 0.5),
])
def test_effect_of_a_known_model_is_read_as_it_is(engine, monkeypatch, net, mean, aside):
    factors = [Factor(f"z{k}", (k, k + 1), "factor", (1.0,), 0.0, 1.0, k, {}, (0.0, 1.0)) for k in (0, 1)]
    monkeypatch.setattr(engine, "codes", lambda _, given: torch.as_tensor(np.asarray(given, np.float32)))
    monkeypatch.setattr(engine, "perform", lambda _, work, rows: Answer(1, work(net, rows).numpy()))
    many = np.array([[0.2, 0.2], [0.4, 0.2], [0.0, 0.4]])
    found = difference.difference(engine, "first", [[0.6, 0.2]], [[0.2, 0.2]], factors, many)
    assert (found.mean, found.spread, found.aside) == pytest.approx((mean, 0, aside), abs=0.01)


def test_groups_that_are_the_same_are_refused(engine):
    same, factors = codes(engine, 2), engine.model("first").sliders
    with pytest.raises(Refusal, match="the same on the average"):
        difference.difference(engine, "first", same, same, factors, same)
    with pytest.raises(Refusal, match="4 numbers"):
        difference.difference(engine, "first", same[:, :2], same, factors, same)
