"""A map of a latent space, and where newcomers go on it; made by engine.latent_map.

McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018,
https://arxiv.org/abs/1802.03426 [UMAP]. Nothing here needs umap-learn: a map holds, besides its coordinates, the
codes it was made from, so that a new picture can be placed among its neighbours at once.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

OWN = "your pictures"  # the `data` of a map of pictures that are of no data set
NEIGHBOURS = 15        # of a point, as umap-learn's default
SPREAD = 0.1           # umap-learn's min_dist
JUDGED = 2000          # points on which a map is judged
LEAST = 1e-6           # distance, of standard codes
USUAL = 0.99           # quantile of the map's own distances beyond which a code is far from all of them


@dataclass(frozen=True)
class LatentMap:
    """Where N pictures of a data set lie by their codes."""

    model: str                  # folder name of the model
    data: str                   # its data set, as engine.data.load knows it, or OWN
    part: str                   # 'code', or the role or name of the slots it was made from
    index: np.ndarray           # (N,) numbers of the pictures in the data set, in random order
    codes: np.ndarray           # (N, K) float32: what distances are taken of
    centre: np.ndarray          # (P,) and ...
    scale: np.ndarray           # (P,) ... what the model's numbers were standardised by
    columns: np.ndarray         # (P,) which of the model's numbers they are
    axes: np.ndarray            # (P, K) directions of them that `codes` keep, orthonormal; the identity if all
    flat: np.ndarray            # (N, 2) float32
    solid: np.ndarray           # (N, 3) float32
    cluster: np.ndarray         # (N,) int64, -1 where a point belongs to none
    figures: dict[str, float]   # how far it may be trusted
    seed: int = 0               # of its pictures and of UMAP
    command: str = ""           # that made it, if it came from a file

    @property
    def name(self) -> str:
        """What it is called among the maps of its data set."""
        return called(self.model, self.part)

    def standard(self, codes: np.ndarray) -> np.ndarray:
        """The model's codes (B, D) -> what distances are taken of (B, K)."""
        return (((codes[:, self.columns] - self.centre) / self.scale) @ self.axes).astype(np.float32)

    def restored(self, codes: np.ndarray) -> np.ndarray:
        """The way back as far as there is one: (B, K) -> the model's numbers `columns` (B, P)."""
        return codes @ self.axes.T * self.scale + self.centre

    def place(self, codes: np.ndarray, dims: int = 2) -> tuple[np.ndarray, np.ndarray]:
        """Codes (B, D) -> their places on the map of 2 or 3 `dims` (B, dims), and how strange they are (B,).

        A place is where the nearest neighbours lie densest, weighted as UMAP weights the edges to them [UMAP,
        section 3.1]. Their mean, where umap-learn's transform begins, lies between the regions of neighbours that
        the map had to tear apart, and keeps half as many of them; `python -m benchmarks.placement` measures both.
        Strangeness is the distance to the neighbours in units of what one code of the map in a hundred exceeds;
        more than 1 is a reason to warn.
        """
        distance, near = self._tree.query(self.standard(codes), NEIGHBOURS)
        places = densest(self.places(dims)[near], membership(distance), 2 * self._gap[dims])
        return places.astype(np.float32), distance.mean(1) / self._usual

    def places(self, dims: int) -> np.ndarray:
        """Where the pictures lie: `flat` for 2 dims, `solid` for 3."""
        return {2: self.flat, 3: self.solid}[dims]

    def nearest(self, places: np.ndarray, count: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Places (B, 2) on the flat map -> numbers of the nearest points (B, count), their weights (B, count)
        and how empty the map is there (B,): more than 1 where it shows nothing."""
        distance, near = self._plane.query(places, count)
        gap = self._gap[2]
        weight = 1 / (distance + 1e-3 * gap)
        return near, weight / weight.sum(1, keepdims=True), distance[:, 0] / gap

    @cached_property
    def _tree(self):
        from scipy.spatial import cKDTree
        return cKDTree(self.codes)

    @cached_property
    def _plane(self):
        from scipy.spatial import cKDTree
        return cKDTree(self.flat)

    @cached_property
    def _usual(self) -> float:
        """Distance of a code to its neighbours that few exceed; above 0 also where pictures come in many copies."""
        some = self.codes[:JUDGED]
        return float(max(np.quantile(self._tree.query(some, NEIGHBOURS + 1)[0][:, 1:].mean(1), USUAL), LEAST))

    @cached_property
    def _gap(self) -> dict[int, float]:
        """Distance on the map of 2 and of 3 dims to the next point that few exceed."""
        from scipy.spatial import cKDTree
        spaces = {dims: self.places(dims) for dims in (2, 3)}
        return {dims: float(np.quantile(cKDTree(places).query(places[:JUDGED], 2)[0][:, 1], USUAL))
                for dims, places in spaces.items()}


def called(model: str, part: str) -> str:
    """What the map of a model by `part` of its code is called."""
    return model if part == "code" else f"{model}-{part}"


def membership(distance: np.ndarray) -> np.ndarray:
    """Weights (B, k) of neighbours at ascending distances (B, k) of a newcomer: exp(-d / sigma), where sigma is
    such that those of all but the nearest sum to log2 k, as in umap-learn's transform  [UMAP, section 3.1,
    with rho = 0, since a newcomer is not its own neighbour]."""
    low, high = np.full(len(distance), 1e-8), np.full(len(distance), 1e8)
    for _ in range(64):
        middle = np.sqrt(low * high)
        larger = np.exp(-distance[:, 1:] / middle[:, None]).sum(1) < np.log2(distance.shape[1])
        low, high = np.where(larger, middle, low), np.where(larger, high, middle)
    return np.exp(-distance / np.sqrt(low * high)[:, None])


def densest(points: np.ndarray, weight: np.ndarray, width: float, steps: int = 10) -> np.ndarray:
    """The mode of each of B weighted clouds (B, k, D), weights (B, k), smoothed by a Cauchy kernel of `width`: (B, D).
    From the point in the densest place the mode is climbed by mean shift, the kernel's derivative its weights
    (Comaniciu & Meer, PAMI 2002)."""
    away = ((points[:, :, None] - points[:, None]) ** 2).sum(3) / width**2
    places = points[np.arange(len(points)), (weight[:, None] / (1 + away)).sum(2).argmax(1)]
    for _ in range(steps):
        pull = weight / (1 + ((points - places[:, None]) ** 2).sum(2) / width**2) ** 2
        places = (pull[:, :, None] * points).sum(1) / pull.sum(1, keepdims=True)
    return places


def apart(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What sets some points apart: for each column of values (N, K), how far the mean of those `chosen` (N,)
    bool lies from the mean of the others, in standard deviations of all (Cohen's d): (K,)."""
    if not chosen.any() or chosen.all():
        return np.zeros(values.shape[1])
    spread = values.std(0)
    return (values[chosen].mean(0) - values[~chosen].mean(0)) / np.where(spread > 0, spread, np.inf)


def settings(seed: int = 0) -> dict[str, float]:
    """What umap-learn is told for every map."""
    return {"n_neighbors": NEIGHBOURS, "min_dist": SPREAD, "random_state": seed, "n_jobs": 1}
