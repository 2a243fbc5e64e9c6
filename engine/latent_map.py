"""Maps of a latent space: a picture becomes a point, and pictures with similar codes become neighbours.

McInnes, Healy, Melville, "UMAP: Uniform Manifold Approximation and Projection", 2018,
https://arxiv.org/abs/1802.03426 [UMAP], by umap-learn, which is imported while a map is made and never later.

    python -m engine.latent_map [FOLDER ...] [--count 10000]

makes the map of every shipped model, or of the folders given, into assets/maps. A map holds, besides its
coordinates, the codes it was made from, so that a new picture can be placed among its neighbours at once.
How far a map may be trusted is measured and kept with it: no flat picture of ten dimensions keeps everything.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError

from engine import checkpoint
from engine.data import Dataset, load
from engine.files import Damaged, read_verified, write_atomically, write_manifest
from engine.method import Method, Slot
from engine.serve import MODELS, Refusal

MAPS = Path(__file__).parents[1] / "assets" / "maps"
NEIGHBOURS = 15        # of a point, as umap-learn's default
SPREAD = 0.1           # umap-learn's min_dist
JUDGED = 2000          # points on which a map is judged
USUAL = 0.99           # quantile of the map's own distances beyond which a code is far from all of them
FILE = "{name}.safetensors"


@dataclass(frozen=True)
class LatentMap:
    """Where N pictures of a data set lie by their codes."""

    model: str                  # folder name of the model
    data: str                   # its data set, as engine.data.load knows it
    part: str                   # 'code', or the role or name of the slots it was made from
    index: np.ndarray           # (N,) numbers of the pictures in the data set, in random order
    codes: np.ndarray           # (N, P) float32, standardised: what distances are taken of
    centre: np.ndarray          # (P,) and ...
    scale: np.ndarray           # (P,) ... what they were standardised by
    columns: np.ndarray         # (P,) numbers of the model's code that they are
    flat: np.ndarray            # (N, 2) float32
    solid: np.ndarray           # (N, 3) float32
    cluster: np.ndarray         # (N,) int64, -1 where a point belongs to none
    figures: dict[str, float]   # how far it may be trusted
    seed: int = 0               # of its pictures and of UMAP
    command: str = ""           # that made it, if it came from a file

    def standard(self, codes: np.ndarray) -> np.ndarray:
        """The model's codes (B, D) -> what distances are taken of (B, P)."""
        return ((codes[:, self.columns] - self.centre) / self.scale).astype(np.float32)

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
        """Distance of a code to its neighbours that few exceed."""
        some = self.codes[:JUDGED]
        return float(np.quantile(self._tree.query(some, NEIGHBOURS + 1)[0][:, 1:].mean(1), USUAL))

    @cached_property
    def _gap(self) -> dict[int, float]:
        """Distance on the map of 2 and of 3 dims to the next point that few exceed."""
        from scipy.spatial import cKDTree
        spaces = {dims: self.places(dims) for dims in (2, 3)}
        return {dims: float(np.quantile(cKDTree(places).query(places[:JUDGED], 2)[0][:, 1], USUAL))
                for dims, places in spaces.items()}


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


def parts(layout: tuple[Slot, ...]) -> dict[str, np.ndarray]:
    """What there are maps of, as numbers of the code: the whole of what is not residual; content and style
    where the model tells them apart; and every factor that is a vector."""
    roles = [slot for slot in layout if slot.role != "residual"]
    numbers = lambda slots: np.concatenate([np.arange(s.start, s.stop) for s in slots])  # noqa: E731
    found = {"code": numbers(roles)}
    for role in ("content", "style"):
        if any(s.role == role for s in roles):
            found[role] = numbers([s for s in roles if s.role == role])
    vectors = [(k, s) for k, s in enumerate(layout) if s.role == "factor" and s.stop - s.start > 2]
    return found | {f"z{k}": numbers([s]) for k, s in vectors}


def make(
    model: Method, name: str, data: Dataset, part: str = "code", count: int = 10_000, seed: int = 0,
    progress: Callable[[float, str], None] = lambda share, what: None,
) -> LatentMap:
    """The map of `count` random pictures of `data` by `part` of their codes; the same bits for the same seed
    on one machine. progress: told the share done and what is being done. Half a minute for 10,000 on two cores.

    Raises Refusal for an unknown part or too few pictures.
    """
    known = parts(model.layout())
    if part not in known:
        raise Refusal(f"There is no map of '{part}'; there are maps of {', '.join(known)}.")
    count = min(count, len(data))
    if count < 4 * NEIGHBOURS:
        raise Refusal(f"A map needs at least {4 * NEIGHBOURS} pictures; these are {count}.")
    index = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]
    codes = []
    for first in range(0, count, 256):
        progress(0.4 * first / count, "reading the pictures")
        codes.append(encoded(model, data, index[first:first + 256]))
    chosen = known[part]
    raw = np.concatenate(codes)[:, chosen]
    centre, scale = raw.mean(0), raw.std(0)
    live = scale > 0.05 * scale.max()  # a collapsed dimension is noise, which standardising would blow up
    raw, chosen, centre, scale = raw[:, live], chosen[live], centre[live], scale[live]
    standard = ((raw - centre) / scale).astype(np.float32)
    return arranged(standard, model=name, data=data.name, part=part, index=index.numpy(), centre=centre,
                    scale=scale, columns=chosen, seed=seed, progress=progress)


def arranged(standard: np.ndarray, seed: int, progress: Callable[[float, str], None], **rest) -> LatentMap:
    """The map of standardised codes (N, P) and what is known of them."""
    from sklearn.cluster import HDBSCAN

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its part for TensorFlow is not to be had
        import umap

    progress(0.45, "arranging them in the plane")
    options = settings(seed)
    flat = umap.UMAP(n_components=2, **options).fit_transform(standard)
    progress(0.65, "arranging them in space")
    solid = umap.UMAP(n_components=3, **options).fit_transform(standard)
    progress(0.85, "looking for groups and measuring")
    least = max(NEIGHBOURS, len(flat) // 50)
    cluster = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(flat)
    figures = {f"{what} {space}": value for space, places in (("2-D", flat), ("3-D", solid))
               for what, value in trust(standard, places).items()}
    progress(1.0, "done")
    return LatentMap(codes=standard, flat=flat.astype(np.float32), solid=solid.astype(np.float32),
                     cluster=cluster.astype(np.int64), figures=figures, seed=seed, **rest)


def settings(seed: int = 0) -> dict[str, float]:
    """What umap-learn is told for every map."""
    return {"n_neighbors": NEIGHBOURS, "min_dist": SPREAD, "random_state": seed, "n_jobs": 1}


def trust(codes: np.ndarray, places: np.ndarray) -> dict[str, float]:
    """How far a map may be trusted, on at most JUDGED of its points: `trustworthiness` (Venna & Kaski, ICANN
    2001), low where points are neighbours on the map that are none in codes; `kept`, the share of the 15
    nearest codes that are among the 15 nearest on the map, of all points."""
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, (len(codes) - 1) // 2)
    some = slice(JUDGED)
    tables = [NearestNeighbors(n_neighbors=count + 1).fit(a).kneighbors(a[some], return_distance=False)[:, 1:]
              for a in (codes, places)]
    kept = np.mean([len(set(a) & set(b)) / count for a, b in zip(*tables, strict=True)])
    return {"trustworthiness": round(float(trustworthiness(codes[some], places[some], n_neighbors=count)), 4),
            "kept": round(float(kept), 4)}


@torch.inference_mode()
def encoded(model: Method, data: Dataset, index: torch.Tensor) -> np.ndarray:
    """Codes (B, D) of the pictures numbered `index` (B,)."""
    return model.encode(data.images(index).float() / 255).numpy()


def apart(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """What sets some points apart: for each column of values (N, K), how far the mean of those `chosen` (N,)
    bool lies from the mean of the others, in standard deviations of all (Cohen's d): (K,)."""
    if not chosen.any() or chosen.all():
        return np.zeros(values.shape[1])
    spread = values.std(0)
    return (values[chosen].mean(0) - values[~chosen].mean(0)) / np.where(spread > 0, spread, np.inf)


def save(folder: Path, made: LatentMap, command: str) -> Path:
    """Write a map into `folder`, with the `command` that made it, and the manifest there; returns the file."""
    tensors = {
        "index": made.index.astype(np.int32), "codes": made.codes.astype(np.float16),
        "centre": made.centre.astype(np.float32), "scale": made.scale.astype(np.float32),
        "columns": made.columns.astype(np.int32), "cluster": made.cluster.astype(np.int16),
        "flat": made.flat.astype(np.float32), "solid": made.solid.astype(np.float16),
    }
    about = {"model": made.model, "data": made.data, "part": made.part, "figures": json.dumps(made.figures),
             "seed": str(made.seed), "command": command}
    folder.mkdir(parents=True, exist_ok=True)
    name = made.model if made.part == "code" else f"{made.model}-{made.part}"
    path = folder / FILE.format(name=name)
    # safetensors writes the bytes as they lie, which for columns chosen from an array is not row by row.
    tensors = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    write_atomically(path, safetensors.numpy.save(tensors, about))
    write_manifest(folder)
    return path


def read(name: str, folder: Path = MAPS) -> LatentMap:
    """The map in `folder` called `name`: a model's, or a model's and a part's. Raises Refusal if there is
    none, files.Damaged if it is not what the manifest says."""
    file = FILE.format(name=name)
    if not (folder / file).is_file():
        raise Refusal(f"There is no map of '{name[:60]}' here.")
    content = read_verified(folder, file)
    try:
        size = int.from_bytes(content[:8], "little")
        about = json.loads(content[8:8 + size])["__metadata__"]
        t = safetensors.numpy.load(content)
        return LatentMap(
            about["model"], about["data"], about["part"], t["index"].astype(np.int64), t["codes"].astype(np.float32),
            t["centre"], t["scale"], t["columns"].astype(np.int64), t["flat"], t["solid"].astype(np.float32),
            t["cluster"].astype(np.int64), json.loads(about["figures"]), int(about["seed"]), about["command"],
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise Damaged(f"{folder / file} is not a map ({error}).") from None


@lru_cache(maxsize=16)
def map_of(name: str) -> LatentMap:
    """The shipped map called `name`, read once. Raises Refusal if there is none or it is damaged."""
    try:
        return read(name)
    except Damaged as error:
        raise Refusal(str(error)) from None


def main() -> None:
    """Entry point of `python -m engine.latent_map`."""
    parser = argparse.ArgumentParser(description="Make the maps of models.")
    parser.add_argument("folders", nargs="*", type=Path, help="model folders; all shipped ones if none is given")
    parser.add_argument("--count", type=int, default=10_000, help="pictures on a map")
    parser.add_argument("--out", type=Path, default=MAPS)
    options = parser.parse_args()
    for folder in options.folders or sorted(p for p in MODELS.iterdir() if p.is_dir()):
        model, _, config = checkpoint.load(folder)
        data = load(config["data"])
        for part in parts(model.layout()):
            tell = lambda share, what, part=part, name=folder.name: print(  # noqa: E731
                f"\r{name}, {part}: {100 * share:3.0f} % {what:<40}", end="", flush=True)
            made = make(model, folder.name, data, part, options.count, progress=tell)
            command = f"python -m engine.latent_map assets/models/{folder.name} --count {options.count}"
            print(f"\n{save(options.out, made, command)}  {made.figures}")


if __name__ == "__main__":
    main()
