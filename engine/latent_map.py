"""Maps of a latent space: a picture becomes a point, and pictures with similar codes become neighbours.

By UMAP (https://arxiv.org/abs/1802.03426), by umap-learn, which is imported while a map is made and never later.

    python -m engine.latent_map [FOLDER ...] [--part content] [--count 10000]

makes the maps of every shipped model, or of the folders given, into assets/maps: of the whole code, of content and
of style where the model tells them apart. How far a map may be trusted is measured and kept with it: no flat picture
of ten dimensions keeps everything. What a file holds is packed: places in 16 bits, of which the page shows no more,
and codes in 8, whose steps are a thirtieth of what they vary by.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from safetensors import SafetensorError

from engine import checkpoint
from engine.data import Dataset, load
from engine.files import Damaged, read_verified, write_atomically, write_manifest
from engine.latent_place import JUDGED, NEIGHBOURS, LatentMap, called
from engine.method import Method, Slot
from engine.serve import MODELS, Refusal

MAPS = Path(__file__).parents[1] / "assets" / "maps"
SPREAD = 0.1           # umap-learn's min_dist
SHIPPED = ("code", "content", "style")  # parts of a code of which there are maps, if a model has them
MOST = 11              # directions of the codes that a map keeps for newcomers
FILE = "{name}.safetensors"


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
    if not scale.max() > 1e-5 * max(1.0, np.abs(centre).max()):  # no more than rounding
        raise Refusal("All these pictures have the same code: there is nothing to arrange.")
    live = scale > 0.05 * scale.max()  # a collapsed dimension is noise, which standardising would blow up
    raw, chosen, centre, scale = raw[:, live], chosen[live], centre[live], scale[live]
    standard = ((raw - centre) / scale).astype(np.float32)
    return arranged(standard, model=name, data=data.name, part=part, index=index.numpy(), centre=centre,
                    scale=scale, columns=chosen, seed=seed, progress=progress)


def arranged(standard: np.ndarray, seed: int, progress: Callable[[float, str], None], **rest) -> LatentMap:
    """The map of standardised codes (N, P) and what is known of them. It is made, and judged, by all of them; of
    more than MOST it keeps the principal directions."""
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
    axes = principal(standard, MOST)
    progress(1.0, "done")
    return LatentMap(codes=(standard @ axes).astype(np.float32), axes=axes, flat=flat.astype(np.float32),
                     solid=solid.astype(np.float32), cluster=cluster.astype(np.int64), figures=figures, seed=seed,
                     **rest)


def principal(standard: np.ndarray, most: int) -> np.ndarray:
    """The `most` directions along which codes (N, P) vary most, orthonormal (P, K); the identity for no more."""
    if standard.shape[1] <= most:
        return np.eye(standard.shape[1], dtype=np.float32)
    _, vectors = np.linalg.eigh(np.cov(standard.T.astype(np.float64)))
    return vectors[:, :-most - 1:-1].astype(np.float32)


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
    """Codes (B, D) of the pictures numbered `index` (B,), in grey for a model that knows no colours."""
    x = data.images(index).float() / 255
    return model.encode(x.mean(1, keepdim=True) if model.channels == 1 else x).numpy()


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
        "index": made.index.astype(np.min_scalar_type(made.index.max())), "cluster": made.cluster.astype(np.int8),
        "centre": made.centre.astype(np.float32), "scale": made.scale.astype(np.float32),
        "columns": made.columns.astype(np.int32), "axes": made.axes.astype(np.float16),
        **packed("codes", made.codes, np.uint8), **packed("flat", made.flat, np.uint16),
        **packed("solid", made.solid, np.uint16),
    }
    about = {"model": made.model, "data": made.data, "part": made.part, "figures": json.dumps(made.figures),
             "seed": str(made.seed), "command": command}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE.format(name=made.name)
    # safetensors writes the bytes as they lie, which for columns chosen from an array is not row by row.
    tensors = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    write_atomically(path, safetensors.numpy.save(tensors, about))
    write_manifest(folder)
    return path


def packed(name: str, array: np.ndarray, kind: type) -> dict[str, np.ndarray]:
    """An array (N, K) as whole numbers of `kind` by its name, with where each column begins and what its steps are."""
    low, high = array.min(0), array.max(0)
    step = np.maximum(high - low, 1e-12) / np.iinfo(kind).max
    return {name: np.round((array - low) / step).astype(kind), f"{name}.low": low.astype(np.float32),
            f"{name}.step": step.astype(np.float32)}


def unpacked(name: str, tensors: dict[str, np.ndarray]) -> np.ndarray:
    """The way back, float32."""
    return tensors[name] * tensors[f"{name}.step"] + tensors[f"{name}.low"]


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
            about["model"], about["data"], about["part"], t["index"].astype(np.int64), unpacked("codes", t),
            t["centre"], t["scale"], t["columns"].astype(np.int64), t["axes"].astype(np.float32), unpacked("flat", t),
            unpacked("solid", t), t["cluster"].astype(np.int64), json.loads(about["figures"]), int(about["seed"]),
            about["command"],
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


def maps_of(model: str) -> list[LatentMap]:
    """The shipped maps of a model: of its whole code, of content, of style, as far as there are."""
    found = []
    for part in SHIPPED:
        try:
            found.append(map_of(called(model, part)))
        except Refusal:
            continue
    return found


def main() -> None:
    """Entry point of `python -m engine.latent_map`."""
    parser = argparse.ArgumentParser(description="Make the maps of models.")
    parser.add_argument("folders", nargs="*", type=Path, help="model folders; all shipped ones if none is given")
    parser.add_argument("--part", help="code, content, style or z0, ...; code, content and style if none is named")
    parser.add_argument("--count", type=int, default=10_000, help="pictures on a map")
    parser.add_argument("--out", type=Path, default=MAPS)
    options = parser.parse_args()
    for folder in options.folders or sorted(p for p in MODELS.iterdir() if p.is_dir()):
        try:
            chart(folder, options.part, options.count, options.out)
        except ValueError as error:
            raise SystemExit(str(error)) from None


def chart(folder: Path, part: str | None, count: int, out: Path) -> None:
    """Make and save the map of one part of a model's code, or of all that are shipped, and tell how far it is."""
    model, _, config = checkpoint.load(folder)
    data = load(config["data"])
    known = parts(model.layout())
    for chosen in [part] if part else [p for p in SHIPPED if p in known]:
        tell = lambda share, what, chosen=chosen: print(  # noqa: E731
            f"\r{folder.name}, {chosen}: {100 * share:3.0f} % {what:<40}", end="", flush=True)
        made = make(model, folder.name, data, chosen, count, progress=tell)
        command = f"python -m engine.latent_map assets/models/{folder.name} --part {chosen} --count {count}"
        print(f"\n{save(out, made, command)}  {made.figures}")


if __name__ == "__main__":
    main()
