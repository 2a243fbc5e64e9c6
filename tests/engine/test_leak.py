"""The leak meter on models whose leaks are known."""

import numpy as np
import pytest
import torch

from engine import Factor, leak

FACTORS = [
    Factor("z0", (0, 1), "factor", (1.0,), 0.0, 1.0, 0, {}, (0.0, 1.0)),
    Factor("z1", (1, 2), "factor", (1.0,), -1.0, 1.0, 1, {}, (-1.0, 1.0)),
]


class Halves:
    """Two numbers as the greys of a picture's halves, the second with a share of the first in it; what it reads is
    off by `bias`."""

    def __init__(self, mixed: float, bias: float = 0.0):
        self.mixed, self.bias = mixed, bias

    def refine(self, codes: torch.Tensor) -> torch.Tensor:
        greys = torch.stack([codes[:, 0], codes[:, 1] + self.mixed * codes[:, 0]], 1)
        return greys[:, None, None].repeat_interleave(32, 3).expand(-1, 1, 64, -1)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x[..., :32].mean((1, 2, 3)), x[..., 32:].mean((1, 2, 3))], 1) + self.bias


def moved(net: Halves, before: list[float], after: list[float]) -> dict[str, float]:
    codes = leak.read_back(net, torch.tensor([before, after])).numpy()
    return leak.shifts(FACTORS, *codes)


@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_disentangled_model_leaks_nothing_also_if_it_reads_badly(bias):
    found = moved(Halves(0, bias), [0.2, 0.2], [0.6, 0.2])
    assert found == pytest.approx({"z0": 0.4, "z1": 0.0}, abs=1e-6)


def test_entangled_model_leaks_what_it_mixes_in_shares_of_the_range():
    assert moved(Halves(0.5), [0.2, 0.1], [0.6, 0.1]) == pytest.approx({"z0": 0.4, "z1": 0.2 / 2}, abs=1e-6)
    assert moved(Halves(0.5), [0.6, 0.1], [0.2, 0.1]) == pytest.approx({"z0": -0.4, "z1": -0.2 / 2}, abs=1e-6)


def test_what_is_too_small_for_a_byte_is_not_read():
    assert moved(Halves(0.5), [0.2, 0.2], [0.2 + 0.4 / 255, 0.2])["z0"] == 0


def test_shift_goes_along_the_direction_of_a_vector():
    factor = Factor("style", (1, 3), "style", (0.6, 0.8), -1.0, 4.0, 0, {}, (0.0, 1.0))
    assert leak.shifts([factor], np.zeros(3), np.array([9.0, 0.6, 0.8])) == pytest.approx({"style": 1 / 5})
    assert leak.shifts([factor], np.zeros(3), np.array([9.0, -0.8, 0.6])) == pytest.approx({"style": 0})


@pytest.mark.parametrize("model", ["first", "third-grey"])
def test_reading_is_that_of_the_exact_picture(engine, model):
    code = engine.draw(model, 3)
    seen = engine.encode(model, engine.refine(model, code[None]).get()).get()
    assert np.allclose(leak.reading(engine, model, code).get(), seen, atol=1e-4)


def test_code_of_another_model_is_refused(engine):
    assert leak.reading(engine, "first", [0.0]).error == "A code of first is 4 numbers."
    assert "no model called" in leak.reading(engine, "none", [0.0]).error
