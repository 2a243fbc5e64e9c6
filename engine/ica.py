"""Independent components: the rotation that makes coordinates least Gaussian.

Hyvarinen, "Fast and robust fixed-point algorithms for independent component analysis", IEEE Transactions on
Neural Networks 1999, https://doi.org/10.1109/72.761722 [FastICA], by scikit-learn.

One run of FastICA now and then stops at a saddle, two uniform factors turned by 45 degrees. It is therefore
begun from several rotations, and the one whose components have the largest negentropy is kept. Gaussian
components have none, so there every rotation is as good as any other, and none is found.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

GAUSSIAN = 0.3745672    # E log cosh of a standard normal variable
COLLAPSED = 1e-6        # share of the largest variance below which a direction holds nothing to unmix


@dataclass(frozen=True)
class Unmixing:
    """An invertible affine map from mixed coordinates to independent ones."""

    centre: np.ndarray      # (D,) of the mixed coordinates
    matrix: np.ndarray      # (D, D)
    negentropy: float       # of the components, summed

    def __call__(self, mixed: np.ndarray) -> np.ndarray:
        """Mixed coordinates (N, D) -> components (N, D), of unit variance where they were found."""
        return (mixed - self.centre) @ self.matrix.T


def negentropy(components: np.ndarray) -> float:
    """Sum over components (N, D) of (E log cosh s - E log cosh N(0, 1))^2: how far from Gaussian they are
    [FastICA, eq. 7]. Each is scaled to mean 0 and variance 1; constant ones do not count."""
    spread = components.std(0)
    standard = (components - components.mean(0))[:, spread > 0] / spread[spread > 0]
    log_cosh = np.logaddexp(standard, -standard) - np.log(2)
    return float(((log_cosh.mean(0) - GAUSSIAN) ** 2).sum())


def unmix(mixed: np.ndarray, starts: int = 10) -> Unmixing:
    """The unmixing of coordinates (N, D) with the largest negentropy among `starts` runs of FastICA.

    Components have unit variance; their order is FastICA's, and the largest weight of each is positive.
    Directions with next to no variance, as a collapsed code has them, are left as they are beside the
    components of the others. Raises ValueError if no coordinate varies.
    """
    centre = mixed.mean(0)
    variances, axes = np.linalg.eigh(np.cov(mixed, rowvar=False, dtype=np.float64).reshape(mixed.shape[1], -1))
    if not variances[-1] > 0:
        raise ValueError("There is nothing to unmix: the coordinates do not vary.")
    active = variances > COLLAPSED * variances[-1]
    scale = 1 / np.sqrt(np.where(active, variances, variances[-1]))
    whitening = scale[:, None] * axes.T                                      # (D, D)
    white = ((mixed - centre) @ whitening.T)[:, active]
    rotation, best = max((_rotation(white, seed) for seed in range(starts)), key=lambda found: found[1])
    matrix = whitening.copy()
    matrix[active] = rotation @ whitening[active]
    matrix *= np.sign(np.take_along_axis(matrix, np.abs(matrix).argmax(1)[:, None], 1))
    return Unmixing(centre, matrix, best)


def _rotation(white: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """One run of FastICA on white coordinates (N, D): the rotation (D, D), and the negentropy after it."""
    if white.shape[1] == 1:
        return np.ones((1, 1)), negentropy(white)
    search = FastICA(whiten=False, fun="logcosh", max_iter=1000, tol=1e-6, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what did not converge is judged like the rest
        components = search.fit_transform(white)
    return search.components_, negentropy(components)
