"""Measures of reconstruction and disentanglement, as functions of arrays.

codes (N, D) are posterior means, labels (N, K) integer classes of the K true factors. Protocols,
sample sizes and thresholds are those of disentanglement_lib (Locatello et al., ICML 2019) unless a
docstring says otherwise. Scores that need images with a chosen factor in common take `represent`,
a function of classes (B, K) that answers with codes (B, D), and `sizes`, the number of classes of
each factor. Everything random is seeded. How far each score is from the scale of 0 to 1 that it
seems to have, tests/engine/test_metrics.py shows on codes without and with entanglement.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from torch import Tensor

Represent = Callable[[np.ndarray], np.ndarray]
PRUNED = 0.05       # standard deviation below which a latent counts as collapsed
INFORMATIVE = 0.01  # KL in nats below which UDR leaves a latent out


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of image pairs (B, C, H, W) in [0, 1]: (B,)."""
    return -10 * ((a - b) ** 2).flatten(1).mean(1).clamp(min=1e-10).log10()


def histogram_codes(codes: np.ndarray, bins: int = 20) -> np.ndarray:
    """Codes (N, D) -> bin numbers (N, D): equal widths from minimum to maximum per column."""
    low, high = codes.min(0), codes.max(0)
    width = np.where(high > low, high - low, 1)
    return np.minimum((bins * (codes - low) / width).astype(np.int64), bins - 1)


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """Mutual information in nats of two integer columns (N,)."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1)
    joint /= joint.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / independent[seen])).sum())


def mig(codes: np.ndarray, labels: np.ndarray, bins: int = 20) -> float:
    """Mutual information gap (Chen et al., NeurIPS 2018, eq. 6) of codes (N, D) against integer
    factor classes (N, K), with disentanglement_lib's 20 histogram bins. 1 is perfect.

    Factors with a single value are left out. Its ceiling is below 1 for factors with more values
    than bins.
    """
    binned = histogram_codes(codes, bins)
    gaps = []
    for k in range(labels.shape[1]):
        entropy = mutual_information(labels[:, k], labels[:, k])
        if entropy > 0:
            known = (mutual_information(binned[:, j], labels[:, k]) for j in range(codes.shape[1]))
            *_, second, first = sorted([0.0, *known])  # a lone latent leads by all it knows
            gaps.append((first - second) / entropy)
    return float(np.mean(gaps))


def factor_vae(
    represent: Represent,
    sizes: Sequence[int],
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> float:
    """FactorVAE score (Kim & Mnih, ICML 2018, section 4): accuracy of the majority vote that names
    the factor held fixed from the latent that varies least.

    Not a scale from 0 to 1: random rotations of the truth reach 0.7 to 1. 0 if all latents are collapsed.
    """
    rng = np.random.default_rng(seed)
    spread = represent(_classes(rng, sizes, 10_000)).std(0, ddof=1)
    active = spread >= PRUNED
    if not active.any():
        return 0.0

    def votes(count: int) -> np.ndarray:
        """(D, K) counts of (latent that varies least, factor held fixed)."""
        table = np.zeros((active.sum(), len(sizes)), np.int64)
        for group in _groups(count):
            fixed = rng.choice(np.flatnonzero(np.asarray(sizes) > 1), group)
            classes = _classes(rng, sizes, group * batch).reshape(group, batch, -1)
            rows = np.arange(group)
            classes[rows, :, fixed] = classes[rows, :1, fixed]
            codes = represent(classes.reshape(group * batch, -1)).reshape(group, batch, -1)[..., active]
            still = (codes.std(1, ddof=1) / spread[active]).argmin(1)
            np.add.at(table, (still, fixed), 1)
        return table

    majority = votes(train).argmax(1)
    tested = votes(test)
    return float(tested[np.arange(len(tested)), majority].sum() / tested.sum())


def beta_vae(
    represent: Represent,
    sizes: Sequence[int],
    train: int = 10_000,
    test: int = 5_000,
    batch: int = 64,
    seed: int = 0,
) -> float:
    """beta-VAE score (Higgins et al., ICLR 2017, section 3): accuracy of a linear classifier that
    names the factor shared within pairs from the mean absolute difference of their codes.

    1 for many entangled codes: not for ranking.
    """
    rng = np.random.default_rng(seed)

    def points(count: int) -> tuple[np.ndarray, np.ndarray]:
        features, shared = [], []
        for group in _groups(count):
            common = rng.choice(np.flatnonzero(np.asarray(sizes) > 1), group)
            one, other = (_classes(rng, sizes, group * batch).reshape(group, batch, -1) for _ in range(2))
            rows = np.arange(group)
            other[rows, :, common] = one[rows, :, common]
            codes = represent(np.concatenate([one, other]).reshape(2 * group * batch, -1))
            one, other = codes.reshape(2, group, batch, -1)
            features.append(np.abs(one - other).mean(1))
            shared.append(common)
        return np.concatenate(features), np.concatenate(shared)

    classifier = LogisticRegression(max_iter=1000).fit(*points(train))
    return float(classifier.score(*points(test)))


def dci(
    codes: np.ndarray,
    labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    workers: int | None = None,
) -> dict[str, float]:
    """Disentanglement, completeness and informativeness (Eastwood & Williams, ICLR 2018, section 2)
    by gradient-boosted trees, one forest for each factor, on 10,000 and 5,000 samples in the library.

    Informativeness is test accuracy (1 is best), not the paper's error. Forests are seeded and
    grown in `workers` threads, as many as there are cores if None.
    """
    forests = boosted(codes, labels, workers)
    importance = np.stack([forest.feature_importances_ for forest in forests.values()], axis=1)
    accuracies = [forest.score(test_codes, test_labels[:, k]) for k, forest in forests.items()]
    return {
        "disentanglement": _concentration(importance),
        "completeness": _concentration(importance.T),
        "informativeness": float(np.mean(accuracies)),
    }


def boosted(codes: np.ndarray, labels: np.ndarray, workers: int | None = None) -> dict[int, GradientBoostingClassifier]:
    """The forests of `dci` for the labels (N, K) that vary, by column; what they find important in codes (N, D)
    are the columns of R, section 2."""
    varied = [k for k in range(labels.shape[1]) if np.ptp(labels[:, k]) > 0]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        return dict(zip(varied, pool.map(
            lambda k: GradientBoostingClassifier(random_state=0).fit(codes, labels[:, k]), varied), strict=True))


def sap(codes: np.ndarray, labels: np.ndarray, test_codes: np.ndarray, test_labels: np.ndarray) -> float:
    """Separated attribute predictability (Kumar et al., ICLR 2018, section 3): mean over factors of
    the gap between the two latents that predict it best, by a linear SVM (C = 0.01, balanced)."""
    gaps = []
    for k in range(labels.shape[1]):
        if np.ptp(labels[:, k]) == 0:
            continue
        scores = [0.0]
        for j in range(codes.shape[1]):
            svm = LinearSVC(C=0.01, class_weight="balanced", dual=False)
            scores.append(svm.fit(codes[:, j:j + 1], labels[:, k]).score(test_codes[:, j:j + 1], test_labels[:, k]))
        *_, second, first = sorted(scores)
        gaps.append(first - second)
    return float(np.mean(gaps))


def modularity(codes: np.ndarray, labels: np.ndarray, bins: int = 20) -> float:
    """Modularity (Ridgeway & Mozer, NeurIPS 2018, section 3): how far each latent's mutual
    information is with one factor only. The mean is over all latents; one that knows nothing counts 0,
    and one that knows something 1 where there is no other factor."""
    binned = histogram_codes(codes, bins)
    scores = []
    for j in range(codes.shape[1]):
        squares = sorted(mutual_information(binned[:, j], column) ** 2 for column in labels.T)
        best = squares[-1]
        others = max(len(squares) - 1, 1)
        scores.append(1 - sum(squares[:-1]) / (best * others) if best > 1e-20 else 0.0)
    return float(np.mean(scores))


def irs(codes: np.ndarray, labels: np.ndarray, quantile: float = 0.99) -> float:
    """Interventional robustness score (Suter et al., ICML 2019, section 4): how little each latent
    deviates, given one factor's value, whatever the others do; weighted by the latents' ranges."""
    reach = np.abs(codes - codes.mean(0)).max(0)
    moving = reach > 0
    if not moving.any():
        return 0.0
    codes, reach = codes[:, moving], reach[moving]
    deviation = np.zeros((codes.shape[1], labels.shape[1]))
    for k, column in enumerate(labels.T):
        given = [codes[column == value] for value in np.unique(column)]
        deviation[:, k] = np.mean([np.quantile(np.abs(g - g.mean(0)), quantile, axis=0) for g in given], axis=0)
    return float(np.average((1 - deviation / reach[:, None]).max(1), weights=reach))


def mcc(codes: np.ndarray, factors: np.ndarray, ranks: bool = False) -> float:
    """Mean correlation coefficient (Hyvarinen & Morioka, NeurIPS 2016): mean of |Pearson|, or of
    |Spearman| if `ranks`, under the best one-to-one match of latents to factors (N, K).

    Constant columns correlate with nothing, and a factor left without a latent counts 0.
    """
    correlation = _correlation(factors, codes, ranks)                # (K, D)
    matched = linear_sum_assignment(-correlation)
    return float(correlation[matched].sum() / len(correlation))


def infomec(codes: np.ndarray, labels: np.ndarray, discrete: bool = False) -> dict[str, float]:
    """InfoM, InfoC and InfoE (Hsu et al., "Disentanglement via latent quantization", NeurIPS 2023,
    section 4): modularity, compactness and explicitness from normalised mutual information.

    Mutual information by the KSG estimator with 10 neighbours; a latent is active if its range
    exceeds a twentieth of the largest. discrete: latents take a few values each; then mutual
    information is that of their histogram, every latent that varies is active, and InfoE's
    classifier knows each value apart. Latents that know nothing are left out of InfoM and factors
    that nothing knows out of InfoC, where the published code divides by zero. InfoE is of active
    latents, in the published code of all.
    """
    spans = np.ptp(codes, axis=0)
    if discrete:
        active = np.stack([np.unique(column, return_inverse=True)[1] for column in codes.T], 1)[:, spans > 0]
    else:
        active = ((codes - codes.mean(0)) / np.where(spans > 0, codes.std(0), 1))[:, spans > spans.max() / 20]
    labels = labels[:, np.ptp(labels, axis=0) > 0]
    if not active.shape[1]:
        return dict.fromkeys(("modularity", "compactness", "explicitness"), 0.0)
    known = np.stack([                                               # (K, D): NMI of eq. 5
        mutual_info_classif(active, column, discrete_features=discrete, n_neighbors=10, random_state=0)
        / mutual_information(column, column)
        for column in labels.T
    ])
    shares = [part.max(0) / part.sum(0) for part in (known[:, known.any(0)], known.T[:, known.any(1)])]
    modular, compact = (share if share.size else np.zeros(1) for share in shares)
    features = OneHotEncoder().fit_transform(active) if discrete else active
    explicit = []
    for column in labels.T:
        model = LogisticRegression(C=np.inf, class_weight="balanced", max_iter=1000).fit(features, column)
        chance = np.log(len(np.unique(column)))
        explicit.append(1 - log_loss(column, model.predict_proba(features)) / chance)
    return {
        "modularity": _excess(modular, len(known)),
        "compactness": _excess(compact, active.shape[1]),
        "explicitness": float(np.mean(explicit)),
    }


def udr(codes: Sequence[np.ndarray], kls: Sequence[np.ndarray]) -> np.ndarray:
    """Unsupervised disentanglement ranking (Duan et al., ICLR 2020, section 4), Spearman variant:
    a score (M,) for each of M models of one configuration, without labels; choose the highest.

    codes: for each model (N, D) on the same N images. kls: for each model the KL of its latents
    (D,) in nats. Models that learnt the same axes up to order, sign and scale score high.
    """
    informative = [c[:, kl > INFORMATIVE] for c, kl in zip(codes, kls, strict=True)]
    pairs = np.full((len(codes), len(codes)), np.nan)
    for i, one in enumerate(informative):
        for j, other in enumerate(informative):
            if i != j:
                similarity = _correlation(one, other, ranks=True)
                pairs[i, j] = (_relative_strength(similarity) + _relative_strength(similarity.T)) / 2
    return np.nanmedian(pairs, axis=0)


def _classes(rng: np.random.Generator, sizes: Sequence[int], count: int) -> np.ndarray:
    """Random classes (count, K), uniform and independent."""
    return rng.integers(0, sizes, (count, len(sizes)))


def _groups(count: int, most: int = 100) -> list[int]:
    """`count` points in groups small enough for memory."""
    return [min(most, count - first) for first in range(0, count, most)]


def _concentration(importance: np.ndarray) -> float:
    """`concentrations` weighted by the rows' sums, rho_i: DCI's disentanglement for importances (D, K), completeness
    for their transpose."""
    if importance.sum() == 0:
        return 0.0
    return float((concentrations(importance) * importance.sum(1)).sum() / importance.sum())


def concentrations(importance: np.ndarray) -> np.ndarray:
    """1 - entropy of each row of importances (D, K) in units of its maximum: D_i of DCI's section 2, (D,)."""
    share = importance + 1e-11
    share /= share.sum(1, keepdims=True)
    entropy = -(share * np.log(share)).sum(1) / np.log(share.shape[1]) if share.shape[1] > 1 else np.zeros(len(share))
    return 1 - entropy


def _correlation(a: np.ndarray, b: np.ndarray, ranks: bool) -> np.ndarray:
    """|Pearson|, or |Spearman| if `ranks`, of columns (N, A) and (N, B): (A, B); 0 for constant columns."""
    def unit(columns: np.ndarray) -> np.ndarray:
        columns = rankdata(columns, axis=0) if ranks else columns.astype(np.float64)
        columns = columns - columns.mean(0)
        norm = np.linalg.norm(columns, axis=0)
        return columns / np.where(norm > 1e-12 * len(columns), norm, np.inf)

    return np.abs(unit(a).T @ unit(b))


def _excess(share: np.ndarray, among: int) -> float:
    """The mean share of the largest of `among` parts, from an even spread (0) to all in one (1)."""
    return max(0.0, float((share.mean() - 1 / among) / (1 - 1 / among))) if among > 1 else 1.0


def _relative_strength(similarity: np.ndarray) -> float:
    """Mean over columns of max^2 / sum of similarities (A, B): UDR's eq. 3. 0 for no columns."""
    if not similarity.size:
        return 0.0
    total = similarity.sum(0)
    return float(np.divide(similarity.max(0) ** 2, total, out=np.zeros_like(total), where=total > 0).mean())


@torch.inference_mode()
def reconstruction(model: torch.nn.Module, images: Tensor, batch: int = 512) -> float:
    """Mean PSNR in dB of decode(encode(x)) over images (N, C, 64, 64) uint8."""
    device = next(model.parameters()).device
    values = []
    for part in images.split(batch):
        x = part.to(device).float() / 255
        values.append(psnr(model.decode(model.encode(x)), x))
    return torch.cat(values).mean().item()
