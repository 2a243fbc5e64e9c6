"""What can be unmixed is, what cannot is not, and a saddle is not mistaken for the top."""

import numpy as np
import pytest

from engine import ica
from engine.ica import negentropy, unmix
from engine.metrics import mcc

TURN = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)


def uniform(count=2000, size=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, size))


@pytest.mark.parametrize("size", [2, 4])
def test_uniform_factors_are_unmixed(size):
    factors = uniform(size=size)
    mixed = factors @ np.random.default_rng(1).standard_normal((size, size)).T + 3
    found = unmix(mixed)
    components = found(mixed)
    assert mcc(mixed, factors) < 0.95 and mcc(components, factors) > 0.99
    assert components.mean(0) == pytest.approx(0, abs=1e-9) and components.std(0) == pytest.approx(1, abs=1e-3)
    back = components @ np.linalg.inv(found.matrix).T + found.centre
    assert back == pytest.approx(mixed)


def test_gaussian_factors_are_not():
    scores = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        factors = rng.standard_normal((1000, 4))
        mixed = factors @ rng.standard_normal((4, 4)).T
        found = unmix(mixed, starts=2)
        scores.append(mcc(found(mixed), factors))
        assert found.negentropy < 0.2 * negentropy(uniform(size=4))
    assert np.mean(scores) < 0.88


def test_negentropy_is_that_of_its_closed_form_and_knows_no_scale():
    gaussian = np.random.default_rng(0).standard_normal((200_000, 1))
    assert negentropy(gaussian) < 1e-5
    share = (np.arange(20_000) + 0.5) / 10_000 - 1
    expected = (np.log(np.cosh(np.sqrt(3) * share)).mean() - ica.GAUSSIAN) ** 2
    assert negentropy(share[:, None]) == pytest.approx(expected, rel=1e-3)
    both = np.column_stack([share, np.ones_like(share)])
    assert negentropy(100 * both + 7) == pytest.approx(negentropy(share[:, None]))


def test_the_constant_is_the_mean_log_cosh_of_a_normal_variable():
    x = np.linspace(-12, 12, 200_001)
    density = np.exp(-x**2 / 2) / np.sqrt(2 * np.pi)
    assert np.trapezoid(np.log(np.cosh(x)) * density, x) == pytest.approx(ica.GAUSSIAN, abs=1e-7)


def test_the_run_with_the_largest_negentropy_wins(monkeypatch):
    def found(white, seed):
        rotation = TURN if seed != 3 else np.eye(2)
        return rotation, negentropy(white @ rotation.T)

    monkeypatch.setattr(ica, "_rotation", found)
    factors = uniform(20_000) * [1, 2]  # whitening does not turn them
    assert mcc(unmix(factors, starts=3)(factors), factors) < 0.8
    assert mcc(unmix(factors, starts=4)(factors), factors) > 0.99


def test_the_result_is_seeded_and_its_signs_settled():
    mixed = uniform(500) @ TURN
    one, other = unmix(mixed), unmix(mixed)
    assert np.array_equal(one.matrix, other.matrix)
    assert (np.take_along_axis(one.matrix, np.abs(one.matrix).argmax(1)[:, None], 1) > 0).all()


def test_a_collapsed_dimension_is_left_beside_the_others():
    factors = uniform()
    mixed = np.column_stack([factors @ TURN, np.full(2000, 5.0)])
    found = unmix(mixed)
    assert mcc(found(mixed), factors) > 0.99
    assert np.linalg.cond(found.matrix) < 10


def test_one_dimension_is_standardised():
    mixed = 5 + 3 * uniform(size=1)
    assert np.abs(unmix(mixed)(mixed)).max() == pytest.approx(np.sqrt(3), rel=0.05)


def test_nothing_to_unmix_is_refused():
    with pytest.raises(ValueError, match="do not vary"):
        unmix(np.ones((10, 2)))
