"""Hessian eigenmaps: flat coordinates of a curved sheet of points, up to an affine map.

Donoho & Grimes, "Hessian eigenmaps: Locally linear embedding techniques for high-dimensional data",
PNAS 2003, https://doi.org/10.1073/pnas.1031596100 [HLLE]

If the points are the image of an open connected set under a local isometry, the functions whose Hessian
vanishes everywhere are spanned by 1 and the original coordinates [HLLE, theorem 1]. The set need not be
convex. Since only the span is found, it is enough that J^T J is constant: factors may move the points at
different speeds.

Not the 'hessian' of scikit-learn (1.9 and before), which takes a full QR decomposition and keeps all
k - d - 1 columns of the complement of the tangent, so that it equals its own 'ltsa'. Here only the d(d+1)/2
columns that belong to the quadratic terms are kept, as in the paper.

Departures: the local bases come from Gram matrices, all points at once; the constant function is projected
out rather than taken for the first eigenvector, because on flat data all d + 1 eigenvalues are the same.
Each neighbourhood's columns are orthonormal and not divided by their sums, as in the published algorithm
but not in the authors' Matlab.
"""

from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import NearestNeighbors

BEYOND = 6         # eigenvalues reported after the d + 1 of the null space
SHIFT = 1e-9       # of the largest entry: how far below zero the singular matrix is inverted
DENSE = 0.04       # share of nonzero entries above which its sparse factor would fill up anyway
CHUNK = 1024       # neighbourhoods at once
NOISE = 0.02       # a direction of less than this share of the largest local variance is no dimension


@dataclass(frozen=True)
class Embedding:
    """Coordinates found, and how clearly."""

    coordinates: np.ndarray    # (N, d) of mean 0 and covariance 1: the original ones up to an affine map
    spectrum: np.ndarray       # (d + 1 + BEYOND,) the lowest eigenvalues; a flat sheet has d + 1 near zero

    @property
    def gap(self) -> float:
        """The first eigenvalue after the null space in units of the last one in it; large is good."""
        d = self.coordinates.shape[1]
        return float(self.spectrum[d + 1] / max(self.spectrum[d], np.finfo(float).tiny))


def usual_neighbours(dimensions: int) -> int:
    """A number of neighbours that suits the dimension: 30 for two, 69 for eight."""
    return least_neighbours(dimensions) + 24


def least_neighbours(dimensions: int) -> int:
    """Columns of a local quadratic model: 1 + d + d(d+1)/2."""
    return 1 + dimensions + dimensions * (dimensions + 1) // 2


def neighbour_table(points: np.ndarray, count: int) -> np.ndarray:
    """The `count` nearest other points of each of points (N, P): (N, count) int64, nearest first."""
    return NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)


def components(table: np.ndarray) -> np.ndarray:
    """The number of the component of the neighbour graph (N, k) that each point is in: (N,).

    Steps go from a point to its neighbours, not back: a stray point, which has neighbours but is nobody's, is a
    component of its own. It is in no neighbourhood, so nothing would tie its coordinates to the others'.
    """
    return connected_components(_graph(table), connection="strong")[1]


def embed(points: np.ndarray, dimensions: int, neighbours: int | None = None) -> Embedding:
    """Coordinates of points (N, P) on a sheet of `dimensions`.

    neighbours: k; `usual_neighbours` if None. The cost grows with k^2 and with N^2 to N^3.
    Raises ValueError for too few neighbours or points, or if the neighbour graph is not connected, since
    every component has a null space of its own.
    """
    count = neighbours or usual_neighbours(dimensions)
    if not least_neighbours(dimensions) <= count < len(points) - BEYOND:
        raise ValueError(f"{dimensions} dimensions take at least {least_neighbours(dimensions)} neighbours and "
                         f"more points than that; these are {count} neighbours of {len(points)} points.")
    table = neighbour_table(points, count)
    groups = components(table).max() + 1
    if groups > 1:
        raise ValueError(f"The points fall into {groups} separate groups; more neighbours may join them.")
    values, vectors = _lowest(roughness(points, table, dimensions), dimensions + 1 + BEYOND)
    flat = vectors[:, :dimensions + 1]
    flat, _, _ = linalg.svd(flat - flat.mean(0), full_matrices=False)   # the constant is the one of length 0
    return Embedding(flat[:, :dimensions] * np.sqrt(len(points)), values)


def roughness(points: np.ndarray, table: np.ndarray, dimensions: int) -> sparse.csc_array:
    """The matrix (N, N) of the quadratic form H(f) = integral of |Hess f|^2  [HLLE, section 3, 'Quadratic form'].

    points: (N, P). table: (N, k) neighbours of each.
    """
    count, k = table.shape
    blocks = np.empty((count, k, k))
    for first in range(0, count, CHUNK):
        hessian = _hessians(points[table[first:first + CHUNK]], dimensions)
        blocks[first:first + CHUNK] = hessian @ hessian.swapaxes(1, 2)
    rows, columns = np.repeat(table, k, axis=1), np.tile(table, k)
    return sparse.coo_array((blocks.ravel(), (rows.ravel(), columns.ravel())), (count, count)).tocsc()


def local_variances(points: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Mean share of the variance of a neighbourhood along each of its principal directions: (k - 1,).

    points: (N, P). table: (N, k) neighbours of each.
    """
    shares = []
    for first in range(0, len(table), CHUNK):
        variances = np.linalg.eigvalsh(_grams(points[table[first:first + CHUNK]]))[:, :0:-1].clip(min=0)
        shares.append(variances / variances.sum(1, keepdims=True))
    return np.concatenate(shares).mean(0)


def estimate_dimension(points: np.ndarray, neighbours: int = 24, most: int = 10) -> int:
    """The dimension of a sheet of points (N, P): where the local variances drop most steeply.

    At most `most`, and less than half of `neighbours`, for which more points are needed the higher it is.
    """
    variances = local_variances(points, neighbour_table(points, neighbours))
    variances = variances[:min(most, neighbours // 2 - 1, points.shape[1] - 1) + 1]
    floored = np.maximum(variances, 1e-12)
    drops = np.where(variances[:-1] > NOISE * variances[0], floored[:-1] / floored[1:], 0)
    return int(drops.argmax()) + 1


def _grams(neighbourhoods: np.ndarray) -> np.ndarray:
    """Centred neighbourhoods' (n, k, P) inner products: (n, k, k)."""
    centred = neighbourhoods.astype(np.float64)
    centred -= centred.mean(1, keepdims=True)
    return centred @ centred.swapaxes(1, 2)


def _hessians(neighbourhoods: np.ndarray, dimensions: int) -> np.ndarray:
    """Estimators of the local Hessian (n, k, d(d+1)/2) of neighbourhoods (n, k, P): orthonormal columns that
    see the quadratic part of a function and neither its constant nor its linear one  [HLLE, section 4]."""
    tangent = np.linalg.eigh(_grams(neighbourhoods))[1][:, :, -dimensions:]        # (n, k, d)
    one, other = np.triu_indices(dimensions)
    quadratic = tangent[:, :, one] * tangent[:, :, other]
    model = np.concatenate([np.ones_like(tangent[:, :, :1]), tangent, quadratic], axis=2)
    return np.linalg.qr(model)[0][:, :, dimensions + 1:]


def _lowest(matrix: sparse.csc_array, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` lowest eigenvalues, ascending, and eigenvectors of a positive semidefinite matrix."""
    size = matrix.shape[0]
    shift = SHIFT * matrix.max()
    inverse = None
    if matrix.nnz > DENSE * size**2:
        factor = linalg.cho_factor(matrix.toarray() + shift * np.eye(size), overwrite_a=True, check_finite=False)
        inverse = sparse.linalg.LinearOperator(
            matrix.shape, lambda v: linalg.cho_solve(factor, v, check_finite=False), dtype=np.float64)
    start = np.random.default_rng(0).standard_normal(size)
    values, vectors = sparse.linalg.eigsh(matrix, count, sigma=-shift, OPinv=inverse, v0=start)
    order = values.argsort()
    return values[order].clip(min=0), vectors[:, order]


def _graph(table: np.ndarray) -> sparse.csr_array:
    """The neighbour graph of a table (N, k) as a sparse matrix (N, N)."""
    count, k = table.shape
    ends = np.arange(0, count * k + 1, k)
    return sparse.csr_array((np.ones(count * k), table.ravel(), ends), (count, count))
