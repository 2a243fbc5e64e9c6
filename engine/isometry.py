"""How nearly an encoding keeps local distances: three scores that need no labels.

The condition is that of Horan, Richardson, Weiss, "When Is Unsupervised Disentanglement Possible?" (NeurIPS
2021), whose own local-isometry score could not be read: these three are ours and not to be compared with
its figures. All are 1 for an isometry times one global scale, know nothing of rotations, and fall if two
factors have different units. Points (N, P) are images or their principal components, codes (N, D) any
model's.
"""

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import pdist

from engine.hessian_lle import neighbour_table

PAIRED = 10         # neighbours whose distances are compared
PATCH = 12          # neighbours that make a patch
CLOSE = 0.05        # share of all pairs that are close
MOST = 2000         # points of which all pairs are taken


def neighbour_correlation(points: np.ndarray, codes: np.ndarray) -> float:
    """Pearson's correlation of the distances of points (N, P) to their ten nearest with those of their codes
    (N, D). 0 if the codes do not vary."""
    table = neighbour_table(points, PAIRED)
    apart, codes_apart = (np.linalg.norm(a[table] - a[:, None], axis=2).ravel() for a in (points, codes))
    return _correlation(apart, codes_apart)


def close_pair_correlation(points: np.ndarray, codes: np.ndarray) -> float:
    """The same over the closest twentieth of all pairs, of the first 2,000 points at most."""
    apart, codes_apart = pdist(points[:MOST]), pdist(codes[:MOST])
    close = apart <= np.quantile(apart, CLOSE)
    return _correlation(apart[close], codes_apart[close])


def patch_agreement(points: np.ndarray, codes: np.ndarray) -> float:
    """The share of patches' variance that rotations and one global scale explain:
    (sum_i |T_i^T B_i|_*)^2 / (sum_i |T_i|^2 sum_i |B_i|^2) over neighbourhoods i, T_i being the centred points
    (N, P) on their D principal directions, B_i the centred codes (N, D), |.|_* the sum of singular values."""
    table = neighbour_table(points, PATCH)
    around, codes_around = (a[table] - a[table].mean(1, keepdims=True) for a in (points, codes))
    left, lengths, _ = np.linalg.svd(around, full_matrices=False)
    size = min(codes.shape[1], lengths.shape[1])
    tangent = left[:, :, :size] * lengths[:, None, :size]
    together = np.linalg.svd(tangent.swapaxes(1, 2) @ codes_around, compute_uv=False).sum()
    total = (tangent**2).sum() * (codes_around**2).sum()
    return float(together**2 / total) if total > 0 else 0.0


SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "neighbour correlation": neighbour_correlation,
    "close-pair correlation": close_pair_correlation,
    "patch agreement": patch_agreement,
}


def scores(points: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """All three by name, of points (N, P) and their codes (N, D)."""
    return {name: score(points, codes) for name, score in SCORES.items()}


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
