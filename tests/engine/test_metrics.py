import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import nn

from engine import metrics


def random(seed=0):
    return np.random.default_rng(seed)


def every_combination(*sizes, times=50):
    """Integer labels (N, K) in which the factors are exactly uniform and independent."""
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    return np.tile(grid, (times, 1))


# --- PSNR

def test_psnr_by_hand():
    a = torch.zeros(3, 1, 2, 2)
    b = torch.zeros(3, 1, 2, 2)
    b[0] = 0.1            # mean square 0.01
    b[1, 0, 0, 0] = 1.0   # mean square 1/4
    b[2] = 1.0
    expected = torch.tensor([20, 10 * math.log10(4), 0])
    torch.testing.assert_close(metrics.psnr(a, b), expected)
    torch.testing.assert_close(metrics.psnr(b, a), expected)


def test_psnr_of_equal_images_is_finite():
    a = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert metrics.psnr(a, a).tolist() == pytest.approx([100, 100])


class Halves(nn.Module):
    """Encodes an image as its mean; decodes it to half of that, everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))

    def encode(self, x):
        return x.mean((1, 2, 3))[:, None]

    def decode(self, code):
        return (self.weight * code)[:, :, None, None].expand(-1, 1, 64, 64)


def test_reconstruction_is_the_mean_of_each_images_psnr():
    levels = torch.tensor([255, 51, 102, 204, 255], dtype=torch.uint8)
    images = levels[:, None, None, None].expand(-1, 1, 64, 64)
    by_hand = np.mean([-20 * math.log10(level / 255 / 2) for level in levels.tolist()])
    for batch in (2, 5, 512):  # the last batch may be smaller, and counts no more for it
        assert metrics.reconstruction(Halves(), images, batch) == pytest.approx(by_hand, rel=1e-5)


# --- mutual information

def test_mutual_information_is_sklearns():
    for seed in range(5):
        a = random(seed).integers(0, 7, 500)
        b = (a * random(seed + 10).integers(0, 2, 500) + random(seed + 20).integers(0, 3, 500)).astype(np.int64)
        assert metrics.mutual_information(a, b) == pytest.approx(mutual_info_score(a, b), abs=1e-12)
        assert metrics.mutual_information(b, a) == pytest.approx(mutual_info_score(a, b), abs=1e-12)


def test_mutual_information_of_a_column_with_itself_is_its_entropy():
    a = np.array([0, 0, 1, 2])
    assert metrics.mutual_information(a, a) == pytest.approx(1.5 * math.log(2))


def test_mutual_information_of_independent_columns_is_zero():
    a, b = every_combination(3, 5).T
    assert metrics.mutual_information(a, b) == pytest.approx(0, abs=1e-12)
    assert metrics.mutual_information(a, np.zeros_like(a)) == 0


# --- bins

def test_bins_are_those_of_numpys_histogram():
    codes = random().normal(size=(2000, 3)) * [1, 50, 0.01] + [0, 3, -7]
    bins = metrics.histogram_codes(codes, 20)
    assert bins.min() == 0 and bins.max() == 19
    for j in range(3):
        assert np.bincount(bins[:, j], minlength=20).tolist() == np.histogram(codes[:, j], 20)[0].tolist()
        order = codes[:, j].argsort()
        assert (np.diff(bins[order, j]) >= 0).all()


def test_a_constant_column_has_one_bin():
    codes = np.stack([np.full(10, 3.7), np.arange(10.0)], axis=1)
    bins = metrics.histogram_codes(codes, 5)
    assert bins.T.tolist() == [[0] * 10, [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]]


# --- MIG

def test_mig_of_a_perfect_code_is_one():
    labels = every_combination(4, 5, 3)
    dead = np.zeros((len(labels), 2))
    assert metrics.mig(labels.astype(float), labels) == pytest.approx(1, abs=1e-9)
    code = np.concatenate([dead, -3.0 * labels[:, ::-1] + 1], axis=1)  # order, sign and scale do not matter
    assert metrics.mig(code, labels) == pytest.approx(1, abs=1e-9)


def test_mig_of_a_code_that_knows_nothing_is_zero():
    labels = every_combination(4, 5, 3, times=200)
    assert metrics.mig(random().normal(size=(len(labels), 10)), labels) < 0.01
    assert metrics.mig(np.ones((len(labels), 4)), labels) == 0


def test_mig_of_a_repeated_code_is_zero():
    labels = every_combination(4, 5, 3)
    assert metrics.mig(np.concatenate([labels, labels], axis=1).astype(float), labels) == 0


def test_mig_of_a_code_that_knows_one_factor_in_two():
    labels = every_combination(4, 5)
    code = np.stack([labels[:, 0], np.zeros(len(labels))], axis=1).astype(float)
    assert metrics.mig(code, labels) == pytest.approx(0.5, abs=1e-9)


def test_the_gap_is_between_the_two_best_latents_in_units_of_entropy():
    labels = every_combination(4, times=10)  # two bits; the second latent knows one, the third none
    code = np.stack([labels[:, 0] // 2, labels[:, 0], np.zeros(len(labels))], axis=1).astype(float)
    assert metrics.mig(code, labels) == pytest.approx(0.5, abs=1e-9)


def test_mig_of_a_rotated_code_is_low():
    labels = every_combination(10, 10, times=20)
    a, b = (labels - 4.5).T
    rotated = np.stack([a + b, a - b], axis=1)
    assert metrics.mig(rotated, labels) < 0.05


def test_one_latent_is_enough_for_a_gap():
    labels = every_combination(4)
    assert metrics.mig(labels.astype(float), labels) == pytest.approx(1)


def test_factors_with_one_value_are_left_out():
    labels = every_combination(4, 1, 3)
    assert metrics.mig(labels[:, [0, 2]].astype(float), labels) == pytest.approx(1, abs=1e-9)


def test_more_values_than_bins_lower_the_ceiling():
    labels = every_combination(40)
    code = np.concatenate([labels, np.zeros_like(labels)], axis=1).astype(float)
    assert metrics.mig(code, labels) == pytest.approx(math.log(20) / math.log(40))
