"""The disentanglement scores of engine.metrics on codes whose worth is known: perfect, useless,
duplicated, rotated; and against independent implementations."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.tree import DecisionTreeClassifier

from benchmarks.results import floors
from engine import metrics

DSPRITES, SHAPES3D, MPI3D = (3, 6, 40, 32, 32), (10, 10, 10, 8, 4, 15), (6, 6, 2, 3, 3, 40, 40)


def truth(classes, sizes):
    """Classes (N, K) as codes of unit variance."""
    sizes = np.asarray(sizes)
    return (classes - (sizes - 1) / 2) / np.sqrt((sizes**2 - 1) / 12)


def perfect(sizes):
    return lambda classes: floors.perfect(truth(classes, sizes))


def rotated(sizes, seed=0):
    return lambda classes: floors.rotated(truth(classes, sizes), seed)


def doubled(sizes):
    return lambda classes: floors.doubled(truth(classes, sizes))


def noise(sizes):
    rng = np.random.default_rng(1)  # other noise at every call
    return lambda classes: floors.noise(truth(classes, sizes), rng.integers(2**32))


def constant(sizes):
    return lambda classes: np.ones((len(classes), 4))


def sample(represent, sizes, count, seed=0):
    """Codes (count, D) and labels (count, K)."""
    labels = np.random.default_rng(seed).integers(0, sizes, (count, len(sizes)))
    return represent(labels), labels


# --- FactorVAE and beta-VAE scores

@pytest.mark.parametrize("sizes", [DSPRITES, SHAPES3D, MPI3D])
def test_factor_vae_scores_a_perfect_and_a_doubled_code_alike_and_noise_as_chance(sizes):
    votes = {"train": 1000, "test": 500}
    assert metrics.factor_vae(perfect(sizes), sizes, **votes) > 0.99
    assert metrics.factor_vae(doubled(sizes), sizes, **votes) > 0.99
    assert metrics.factor_vae(noise(sizes), sizes, **votes) == pytest.approx(1 / len(sizes), abs=0.09)
    assert metrics.factor_vae(constant(sizes), sizes, **votes) == 0


@pytest.mark.parametrize("sizes", [DSPRITES, SHAPES3D, MPI3D])
def test_factor_vae_of_rotated_truths_is_far_above_chance(sizes):
    """The floor that any table with this score needs beside it: from 0.5 to 1, by the draw."""
    scores = [metrics.factor_vae(rotated(sizes, seed), sizes, 600, 400) for seed in range(4)]
    assert min(scores) > 2.5 / len(sizes) and np.mean(scores) > 0.6
    assert np.mean([metrics.mig(*sample(rotated(sizes, seed), sizes, 4000)) for seed in range(4)]) < 0.4


def test_factor_vae_does_not_see_that_a_latent_mixes_factors():
    sizes = (10, 10)

    def mixed(classes):
        both = truth(classes, sizes)
        return np.stack([both[:, 0], both[:, 0] + 0.5 * both[:, 1]], axis=1)

    assert metrics.factor_vae(mixed, sizes, 400, 400) == 1
    assert metrics.mig(*sample(mixed, sizes, 4000)) < 0.5


def test_factor_vae_ignores_collapsed_latents_and_factors_of_one_value():
    sizes = (1, 5, 5)

    def code(classes):
        still = np.random.default_rng(0).normal(scale=0.01, size=(len(classes), 3))
        return np.concatenate([still, truth(classes[:, 1:], sizes[1:])], axis=1)

    assert metrics.factor_vae(code, sizes, 300, 200) == 1


def test_beta_vae_is_perfect_for_a_perfect_code_and_chance_for_noise():
    sizes = (4, 5, 6)
    points = {"train": 600, "test": 400}
    assert metrics.beta_vae(perfect(sizes), sizes, **points) == 1
    assert metrics.beta_vae(rotated(sizes), sizes, **points) > 0.9  # why it is not for ranking
    assert metrics.beta_vae(noise(sizes), sizes, **points) == pytest.approx(1 / 3, abs=0.1)


def test_scores_by_sampling_are_the_same_for_the_same_seed():
    sizes = (4, 5, 6)
    first, again, other = (metrics.factor_vae(rotated(sizes), sizes, 200, 100, seed=seed) for seed in (0, 0, 1))
    assert first == again and other == pytest.approx(first, abs=0.2)


# --- DCI

def halves(represent, sizes, count=1200):
    return *sample(represent, sizes, count, 0), *sample(represent, sizes, count // 2, 1)


def test_dci_of_perfect_useless_doubled_and_rotated_codes():
    sizes = (3, 4, 5)
    whole = metrics.dci(*halves(perfect(sizes), sizes))
    assert min(whole.values()) > 0.99
    nothing = metrics.dci(*halves(noise(sizes), sizes))
    assert nothing["disentanglement"] < 0.1 and nothing["completeness"] < 0.1
    assert nothing["informativeness"] == pytest.approx(np.mean([1 / 3, 1 / 4, 1 / 5]), abs=0.06)
    twice = metrics.dci(*halves(doubled(sizes), sizes))
    assert twice["disentanglement"] > 0.99 and twice["informativeness"] > 0.99  # each latent is of one factor ...
    assert twice["completeness"] < 0.8                                          # ... but no factor is in one latent
    turned = metrics.dci(*halves(rotated(sizes, 3), sizes))
    assert turned["disentanglement"] < 0.6 and turned["informativeness"] > 0.6
    still = metrics.dci(*halves(constant(sizes), sizes))
    assert still["disentanglement"] == still["completeness"] == 0


def test_dci_is_the_formula_of_the_paper():
    importance = np.array([[3.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
    spread = 1 - -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))  # of the first latent; the second has none
    assert metrics._concentration(importance) == pytest.approx((4 * spread + 2 * 1) / 6, abs=1e-6)


def test_dci_does_not_depend_on_the_number_of_threads():
    data = halves(rotated((3, 4)), (3, 4), 300)
    assert metrics.dci(*data, workers=1) == metrics.dci(*data, workers=3)


def test_dci_leaves_factors_of_one_value_out():
    codes, labels, *test = halves(perfect((3, 4)), (3, 4), 300)
    with_one = [np.pad(labels, ((0, 0), (0, 1))), test[0], np.pad(test[1], ((0, 0), (0, 1)))]
    assert metrics.dci(codes, *with_one) == metrics.dci(codes, labels, *test)


# --- SAP

def test_sap_of_perfect_useless_and_doubled_codes():
    sizes = (2, 2, 2)
    assert metrics.sap(*halves(perfect(sizes), sizes)) == pytest.approx(0.5, abs=0.06)  # the next best guesses
    assert metrics.sap(*halves(noise(sizes), sizes)) < 0.06
    assert metrics.sap(*halves(doubled(sizes), sizes)) == 0


def test_sap_is_the_gap_of_the_two_best_single_predictors():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (2000, 1))
    codes = labels + rng.normal(scale=[0.1, 0.7, 3.0], size=(2000, 3))
    single = [
        DecisionTreeClassifier(max_depth=1).fit(codes[:1000, j:j + 1], labels[:1000, 0])
        .score(codes[1000:, j:j + 1], labels[1000:, 0]) for j in range(3)
    ]
    *_, second, first = sorted(single)
    found = metrics.sap(codes[:1000], labels[:1000], codes[1000:], labels[1000:])
    assert found == pytest.approx(first - second, abs=0.03)


# --- modularity, IRS

def test_modularity_of_perfect_useless_doubled_and_rotated_codes():
    sizes = (4, 5, 6)
    codes, labels = sample(perfect(sizes), sizes, 4000)
    assert metrics.modularity(codes[:, 1:-1], labels) > 0.999
    assert metrics.modularity(codes, labels) == pytest.approx(3 / 5, abs=1e-3)  # two latents know nothing
    assert metrics.modularity(*sample(doubled(sizes), sizes, 4000)) > 0.999
    assert metrics.modularity(*sample(constant(sizes), sizes, 4000)) == 0
    assert metrics.modularity(*sample(rotated(sizes, 3), sizes, 4000)) < 0.9


def test_modularity_of_a_latent_that_knows_two_factors_equally_is_half():
    labels = np.stack(np.meshgrid(*map(np.arange, (4, 4, 4)), indexing="ij"), -1).reshape(-1, 3)
    both = (4 * labels[:, 0] + labels[:, 1])[:, None].astype(float)
    assert metrics.modularity(both, labels, bins=16) == pytest.approx(0.5)
    alone = np.stack([labels[:, 0], np.zeros(64)], 1)
    assert metrics.modularity(alone, labels[:, :1]) == 0.5  # of one factor: what knows it, and what knows nothing


def test_irs_of_perfect_useless_and_mixed_codes():
    sizes = (4, 5, 6)
    assert metrics.irs(*sample(perfect(sizes), sizes, 4000)) == pytest.approx(1)
    assert metrics.irs(*sample(doubled(sizes), sizes, 4000)) == pytest.approx(1)
    assert metrics.irs(*sample(noise(sizes), sizes, 4000)) < 0.5
    assert metrics.irs(*sample(constant(sizes), sizes, 100)) == 0


def test_irs_by_hand():
    labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    codes = (labels[:, :1] + 0.5 * labels[:, 1:]).astype(float)   # 0, 0.5, 1, 1.5: reach 0.75
    assert metrics.irs(codes, labels, quantile=1.0) == pytest.approx(1 - 0.25 / 0.75)


# --- MCC

def test_mcc_is_the_best_match_of_scipys_correlations():
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(500, 3))
    codes = np.stack([factors[:, 1] + 0.5 * rng.normal(size=500), -factors[:, 0] ** 3, factors[:, 2]], 1)
    pairs = [(0, 1), (1, 0), (2, 2)]
    pearson = np.mean([abs(pearsonr(factors[:, k], codes[:, j]).statistic) for k, j in pairs])
    spearman = np.mean([abs(spearmanr(factors[:, k], codes[:, j]).statistic) for k, j in pairs])
    assert metrics.mcc(codes, factors) == pytest.approx(pearson, abs=1e-9)
    assert metrics.mcc(codes, factors, ranks=True) == pytest.approx(spearman, abs=1e-9)


def test_mcc_of_perfect_useless_and_missing_latents():
    sizes = (4, 5, 6, 7)
    codes, labels = sample(perfect(sizes), sizes, 2000)
    assert metrics.mcc(codes, labels) == pytest.approx(1)
    assert metrics.mcc(codes[:, 1:3], labels) == pytest.approx(0.5, abs=0.03)  # two factors have no latent
    assert metrics.mcc(np.ones((2000, 4)), labels) == 0
    assert metrics.mcc(sample(noise(sizes), sizes, 2000)[0], labels) < 0.1


# --- InfoMEC

def test_infomec_of_perfect_doubled_rotated_and_constant_codes():
    sizes = (4, 5, 6)
    whole = metrics.infomec(*sample(perfect(sizes), sizes, 1500))
    assert min(whole.values()) > 0.95
    twice = metrics.infomec(*sample(doubled(sizes), sizes, 1500))
    assert twice["modularity"] > 0.95 and twice["explicitness"] > 0.95
    assert twice["compactness"] == pytest.approx((1 / 2 - 1 / 6) / (1 - 1 / 6), abs=0.05)
    turned = metrics.infomec(*sample(rotated(sizes, 3), sizes, 1500))
    assert turned["modularity"] < 0.7 and turned["compactness"] < 0.7 and turned["explicitness"] > 0.9
    assert set(metrics.infomec(*sample(constant(sizes), sizes, 100)).values()) == {0}


def test_infomec_of_codes_of_few_values_knows_each_value_apart():
    labels = sample(perfect((5, 5)), (5, 5), 1000)[1]
    # Ten values of which two stand for each class, in no order; a third latent knows nothing, and varies little.
    codes = np.stack([labels[:, 0] + 5.0 * (np.arange(1000) % 2), labels[:, 1] + 5.0 * (np.arange(1000) // 2 % 2),
                      0.01 * (np.arange(1000) // 4 % 2)], 1)
    found = metrics.infomec(codes, labels, discrete=True)
    assert min(found["modularity"], found["compactness"]) > 0.95 and found["explicitness"] > 0.95
    assert metrics.infomec(codes, labels)["explicitness"] < 0.2  # on a scale, the values are no help
    useless = metrics.infomec(codes[:, 2:], labels, discrete=True)
    assert useless["explicitness"] == pytest.approx(0, abs=0.02)
    constant_codes = metrics.infomec(np.zeros((1000, 2)), labels, discrete=True)
    assert set(constant_codes.values()) == {0}


# --- UDR

def test_udr_prefers_models_that_agree_on_their_axes():
    sizes = (10, 10, 10)
    labels = sample(perfect(sizes), sizes, 1000)[1]
    agreeing = [perfect(sizes)(labels), -2 * perfect(sizes)(labels)[:, [3, 1, 0, 2, 4]]]
    turned = [np.pad(rotated(sizes, seed)(labels), ((0, 0), (1, 1))) for seed in (3, 4)]
    codes = agreeing + turned
    kls = [np.where(c.std(0) > 0.1, 3.0, 0.0) for c in codes]
    alone = metrics.udr(agreeing, kls[:2])
    assert alone == pytest.approx([1, 1], abs=0.1)
    scores = metrics.udr([agreeing[0], *codes], [kls[0], *kls])
    assert min(scores[:3]) > max(scores[3:])


def test_udr_leaves_collapsed_latents_out_and_scores_a_dead_model_zero():
    rng = np.random.default_rng(0)
    code = rng.normal(size=(300, 2))
    with_noise = np.concatenate([code, 1e-3 * rng.normal(size=(300, 5))], axis=1)
    kl = np.array([2.0, 2.0, 0, 0, 0, 0, 0])
    assert metrics.udr([with_noise, with_noise], [kl, kl]) == pytest.approx(metrics.udr([code, code], [kl[:2]] * 2))
    assert metrics.udr([code, code, code], [kl[:2], kl[:2], 0 * kl[:2]])[2] == 0
