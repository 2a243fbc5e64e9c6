"""One manifold from all sides: its pictures, its true factors, and the coordinates that each step finds.

What the page about Horan, Richardson, Weiss, "When Is Unsupervised Disentanglement Possible?" (NeurIPS 2021)
shows, computed when it is asked for. The true factors serve for colours, for the order and sign of
coordinates, and for scores; nothing is found with their help.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import safetensors.numpy
import torch

from engine import manifolds
from engine.data import DataError
from engine.data.manifolds import Law
from engine.files import read_verified
from engine.serve import Refusal

FOLDER = Path(__file__).parents[1] / "assets" / "isometry"
NETS = "nets.safetensors"  # codes of the first pictures of manifolds by trained nets, from benchmarks.isometry

KEPT = 24            # studies that are remembered
FEWEST, MOST = 300, 3000  # pictures


@dataclass(frozen=True)
class Plane:
    """Coordinates of the pictures by one way to find them."""

    title: str
    codes: np.ndarray       # (M, d) in the order and with the signs of the true factors
    mcc: float              # mean correlation coefficient with them


@dataclass(frozen=True)
class Study:
    """What was found in M pictures with d factors."""

    name: str                       # of the manifold and its variant
    factors: tuple[str, ...]
    pictures: np.ndarray            # (M, 64, 64, 3) uint8
    values: np.ndarray              # (M, d) the true factors
    steps: tuple[Plane, ...]        # principal components, Hessian eigenmaps, independent components
    rivals: tuple[Plane, ...]       # the same pictures by other methods: principal components and, of the pictures
                                    # that nets were trained on, an autoencoder and one pushed to isometry; all + ICA
    spectrum: np.ndarray            # lowest eigenvalues of the Hessian form; 1 + d are near zero on a flat sheet
    gap: float                      # the first eigenvalue beyond those in units of the last among them
    dimension: int                  # as it is estimated
    isometric: float                # patch agreement of the pictures with their true factors; 1 for an isometry


def studies() -> tuple[str, ...]:
    """The names of all manifolds that can be studied."""
    return manifolds.names()


def study_of(name: str, count: int = 1500, law: Law = "uniform", warped: bool = False) -> Study:
    """The study of `count` pictures of the manifold called `name`, remembered if it was asked for before.

    count: FEWEST to MOST. Seconds on two cores, most of them in the eigenvectors.
    Raises Refusal for an unknown name or law, a count out of range, or pictures that do not hang together.
    """
    if not FEWEST <= count <= MOST or law not in get_args(Law):
        raise Refusal(f"A study takes {FEWEST:,} to {MOST:,} pictures whose factors are uniform or Gaussian.")
    try:
        return _study(name, count, law, warped)
    except (DataError, ValueError) as error:
        raise Refusal(str(error)) from None


@lru_cache(maxsize=KEPT)
def _study(name: str, count: int, law: Law, warped: bool) -> Study:
    # What only a study needs must not slow down the start of the page.
    from threadpoolctl import threadpool_limits

    from engine import chart, hessian_lle, ica, isometry

    made = manifolds.manifold(name, count, law=law, warped=warped)
    images, d = made.images(torch.arange(count)), len(made.factors)
    with threadpool_limits(2):  # a page of many users; more threads would not be faster here
        found = chart.fit(images, d)
        values = made.values[torch.from_numpy(found.index)].numpy()
        linear = found.landmarks[:, :d]
        steps = (
            _plane("Principal components", linear, values),
            _plane("Hessian eigenmaps", found.flat.coordinates, values),
            _plane("HLLE + ICA", found.codes, values),
        )
        rivals = [_plane("PCA + ICA", ica.unmix(linear)(linear), values)]
        if law == "uniform" and not warped:
            rivals += [_plane(f"{net} + ICA", codes[found.index].astype(np.float32), values)
                       for net, codes in nets(name).items() if found.index.max() < len(codes)]
        dimension = hessian_lle.estimate_dimension(found.landmarks)
        isometric = isometry.patch_agreement(found.landmarks, values)
    pictures = images[torch.from_numpy(found.index)].permute(0, 2, 3, 1)
    return Study(
        made.name, tuple(f.name for f in made.factors), pictures.expand(-1, -1, -1, 3).numpy(), values,
        steps, tuple(rivals), found.flat.spectrum, found.flat.gap, dimension, isometric,
    )


def nets(name: str) -> dict[str, np.ndarray]:
    """Codes (N, d) float16 of the first pictures of a manifold by net, after ICA; none if none are shipped.
    Raises files.Damaged."""
    return {net: codes for key, codes in sorted(_shipped(FOLDER).items()) for of, net in [key.split("/")] if of == name}


@cache
def _shipped(folder: Path) -> dict[str, np.ndarray]:
    return safetensors.numpy.load(read_verified(folder, NETS)) if (folder / NETS).exists() else {}


def mosaic(codes: np.ndarray, side: int = 13, reach: float = 1.5) -> np.ndarray:
    """Numbers of the pictures to hang at the nodes of a grid over codes (N, 2): (side, side) int64, top row
    first, -1 where there is none within `reach` cells."""
    low, high = np.quantile(codes, (0.01, 0.99), axis=0)
    cell = np.maximum(high - low, 1e-12) / (side - 1)
    x, y = np.meshgrid(np.arange(side), np.arange(side)[::-1])
    nodes = low + cell * np.stack([x, y], -1)                                  # (side, side, 2)
    apart = np.linalg.norm((codes - nodes[:, :, None]) / cell, axis=-1)        # (side, side, N)
    return np.where(apart.min(-1) <= reach, apart.argmin(-1), -1)


def aligned(codes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Codes (N, d) with columns in the order and with the signs in which they go with true factors (N, d)."""
    from scipy.optimize import linear_sum_assignment

    d = values.shape[1]
    spread = np.where(codes.std(0) > 0, codes.std(0), 1)
    standard = (codes - codes.mean(0)) / spread
    correlation = ((values - values.mean(0)) / values.std(0)).T @ standard / len(codes)     # (d, d)
    column = linear_sum_assignment(-np.abs(correlation))[1]
    return codes[:, column] * np.where(correlation[np.arange(d), column] < 0, -1, 1)


def _plane(title: str, codes: np.ndarray, values: np.ndarray) -> Plane:
    from engine import metrics

    return Plane(title, aligned(codes, values).astype(np.float32), metrics.mcc(codes, values))
