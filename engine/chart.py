"""From pictures to their factors without a net: principal components, Hessian eigenmaps, independent components.

Horan, Richardson, Weiss, "When Is Unsupervised Disentanglement Possible?", NeurIPS 2021,
https://papers.neurips.cc/paper_files/paper/2021/hash/29586cb449c90e249f1f09a0a4ee245a-Abstract.html

If pictures are made from independent factors, of which at most one is Gaussian, by a local isometry, these
steps find the factors up to order, sign and scale: flat coordinates are the factors up to an affine map
(`hessian_lle`), and that map is undone by `ica`.

Departures: only the paper's abstract and first figure could be read, so neighbours, their number and the
restarts are ours. Principal components come first, which keeps distances, makes everything cheap and leaves
out what sharp edges do between pixels; how many is decided by the eigenvalue gap, which needs no labels. New
pictures are placed by the barycentric weights of Saul & Roweis (JMLR 2003) among those of the chart.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from engine import hessian_lle, ica

COMPONENTS = 64       # principal components that pictures are reduced to, at most ...
EXPLAINED = 0.9, 0.95, 0.98, 1.0  # ... and as many as hold one of these shares of the variance
RIDGE = 1e-3          # share of the local variance added to it where weights are solved for
USUAL = 0.99          # quantile of the chart's own distances beyond which a picture is off the manifold


@dataclass(frozen=True)
class Chart:
    """Coordinates of some pictures, the landmarks, and what it takes to place others among them."""

    pca: PCA                    # of the pictures, C components
    index: np.ndarray           # (M,) numbers of the landmarks among the pictures that the chart was made from
    landmarks: np.ndarray       # (M, C) their principal components
    beyond: np.ndarray          # (M,) their distance from the plane of those
    flat: hessian_lle.Embedding  # (M, d) before ICA
    unmixing: ica.Unmixing
    codes: np.ndarray           # (M, d) after ICA: the factors
    usual: float                # distance from its neighbours that few landmarks exceed

    def place(self, images: Tensor) -> np.ndarray:
        """Images (N, C, 64, 64) uint8 -> codes (N, d), from the nearest landmarks."""
        points, _ = reduced(self.pca, images.cpu().flatten(1).numpy())
        _, near = self._nearest(points)
        return barycentric(points, self.landmarks[near], self.codes[near])

    def strangeness(self, images: Tensor) -> np.ndarray:
        """How far images (N, C, 64, 64) uint8 are from the manifold: (N,), more than 1 for what is not on it.

        The distance to the nearest landmarks, what principal components leave out included, in units of the
        distance that one landmark in a hundred exceeds among its own neighbours.
        """
        points, beyond = reduced(self.pca, images.cpu().flatten(1).numpy())
        distance, near = self._nearest(points)
        return _distance(distance, beyond, self.beyond[near]) / self.usual

    def _nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return NearestNeighbors(n_neighbors=_support(self.codes.shape[1])).fit(self.landmarks).kneighbors(points)


def fit(images: Tensor, dimensions: int, neighbours: int | None = None, starts: int = 10) -> Chart:
    """The chart of images (N, C, 64, 64) uint8 with `dimensions` factors.

    Equal pictures count once, and strays are left out: the largest part of the neighbour graph is charted.
    neighbours: of each picture, see `hessian_lle.usual_neighbours`. starts: of ICA.
    Raises ValueError if less than half of the pictures hang together, or too few are given.
    """
    pixels, index = _distinct(images)
    count = neighbours or hessian_lle.usual_neighbours(dimensions)
    pca = principal(pixels[index], dimensions + 1)
    points, _ = reduced(pca, pixels[index])
    size, kept, flat = max((_embedded(points, size, dimensions, count) for size in _sizes(pca, dimensions + 1)),
                           key=lambda found: found[2].gap)
    pca.components_ = pca.components_[:size]
    pca.n_components_ = size
    index = index[kept]
    points, beyond = reduced(pca, pixels[index])
    unmixing = ica.unmix(flat.coordinates, starts)

    table = hessian_lle.neighbour_table(points, _support(dimensions))
    apart = np.linalg.norm(points[table] - points[:, None], axis=2)
    usual = float(np.quantile(_distance(apart, beyond, beyond[table]), USUAL))
    return Chart(pca, index, points, beyond, flat, unmixing, unmixing(flat.coordinates), usual)


def neighbours_of(images: Tensor, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct ones of images (N, C, 64, 64) uint8: their numbers (M,), the `count` nearest of each by place
    among those (M, count), and how far these are (M, count) float32, a length of pixels in [0, 1]."""
    pixels, index = _distinct(images)
    values = _floats(pixels[index])
    points, _ = reduced(principal(pixels[index], 1), pixels[index])
    table = hessian_lle.neighbour_table(points, count)
    apart = np.stack([np.linalg.norm(values[column] - values, axis=1) for column in table.T], 1)
    return index, table, apart


def principal(pixels: np.ndarray, least: int) -> PCA:
    """The first `COMPONENTS` principal components of bytes (N, P), or `least` where that is more; fewer if there
    are no more."""
    most = min(max(COMPONENTS, least), len(pixels) - 1, pixels.shape[1])
    return PCA(most, svd_solver="randomized", iterated_power=3, random_state=0).fit(_floats(pixels))


def reduced(pca: PCA, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bytes (N, P) -> principal components (N, C) and the length of what they leave out (N,)."""
    values = _floats(pixels)
    points = pca.transform(values)
    rest = ((values - pca.mean_) ** 2).sum(1) - (points**2).sum(1)
    return points, np.sqrt(rest.clip(min=0))


def barycentric(points: np.ndarray, near: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (N, d) at points (N, P) from the `values` (N, k, d) at their neighbours `near` (N, k, P): the
    weights that sum to 1 and rebuild the point best."""
    offset = near - points[:, None]
    gram = offset @ offset.swapaxes(1, 2)                                    # (N, k, k)
    trace = np.trace(gram, axis1=1, axis2=2)
    ridge = RIDGE * np.where(trace > 0, trace, 1)
    gram += ridge[:, None, None] * np.eye(near.shape[1])
    weights = np.linalg.solve(gram, np.ones((*gram.shape[:2], 1)))           # (N, k, 1)
    return ((weights / weights.sum(1, keepdims=True)) * values).sum(1)


def _distinct(images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, 64, 64) uint8 as rows of bytes (N, P), and the numbers of the first of all equal ones."""
    pixels = np.ascontiguousarray(images.cpu().flatten(1).numpy())
    index = np.unique(pixels.view(f"V{pixels.shape[1]}"), return_index=True)[1]
    return pixels, np.sort(index)


def _sizes(pca: PCA, least: int) -> list[int]:
    """Numbers of components worth trying, ascending and each once."""
    held = pca.explained_variance_ratio_.cumsum()
    return sorted({min(len(held), max(least, int((held < share).sum()) + 1)) for share in EXPLAINED})


def _embedded(points: np.ndarray, size: int, dimensions: int, count: int
              ) -> tuple[int, np.ndarray, hessian_lle.Embedding]:
    """The embedding of the largest connected part of points (N, P) by their first `size` columns: that size,
    which points those are (N,), and their embedding."""
    points = points[:, :size]
    kept = np.ones(len(points), bool)
    if len(points) > count:
        part = hessian_lle.components(hessian_lle.neighbour_table(points, count))
        kept = part == np.bincount(part).argmax()
        if kept.mean() < 0.5:
            raise ValueError(f"The pictures fall into {part.max() + 1} separate groups, none of which holds half of "
                             "them; more neighbours may join them.")
    return size, kept, hessian_lle.embed(points[kept], dimensions, count)


def _support(dimensions: int) -> int:
    """Neighbours that place a point: a few more than the corners of a simplex."""
    return dimensions + 6


def _distance(apart: np.ndarray, beyond: np.ndarray, beyond_near: np.ndarray) -> np.ndarray:
    """Mean distance (N,) to neighbours: `apart` (N, k) within the plane of the components; off it, how much
    further out the points `beyond` (N,) are than their neighbours `beyond_near` (N, k)."""
    return np.sqrt(apart**2 + (beyond[:, None] - beyond_near) ** 2).mean(1)


def _floats(pixels: np.ndarray) -> np.ndarray:
    """Bytes -> float32 in [0, 1]."""
    return pixels.astype(np.float32) / 255
