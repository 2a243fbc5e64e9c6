"""Maps of a latent space: a picture becomes a point, and pictures with similar codes become neighbours.

By UMAP (https://arxiv.org/abs/1802.03426), by umap-learn, which is imported while a map is made and never later.

    python -m engine.latent_map [FOLDER ...] [--part content] [--count 10000]

makes the maps of every shipped model, or of the folders given, into assets/maps: of the whole code, of content and
of style where the model tells them apart. How far a map may be trusted is measured and kept with it: no flat picture
of ten dimensions keeps everything.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from engine import checkpoint
from engine.data import Dataset, load
from engine.latent_place import JUDGED, NEIGHBOURS, LatentMap, settings
from engine.map_store import MAPS, SHIPPED, save
from engine.method import Method, Slot
from engine.serve import MODELS, Refusal

MOST = 11              # directions of the codes that a map keeps for newcomers


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
    return next(make_each(model, name, data, (part,), count, seed, progress))


def make_each(
    model: Method, name: str, data: Dataset, chosen: Sequence[str], count: int, seed: int,
    progress: Callable[[float, str], None],
) -> Iterator[LatentMap]:
    """As `make`, the maps by each of several parts in turn; the pictures are read once."""
    known = parts(model.layout())
    for part in chosen:
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
    whole = np.concatenate(codes)
    for part in chosen:
        columns = known[part]
        raw = whole[:, columns]
        centre, scale = raw.mean(0), raw.std(0)
        if not scale.max() > 1e-5 * max(1.0, np.abs(centre).max()):  # no more than rounding
            raise Refusal("All these pictures have the same code: there is nothing to arrange.")
        live = scale > 0.05 * scale.max()  # a collapsed dimension is noise, which standardising would blow up
        raw, columns, centre, scale = raw[:, live], columns[live], centre[live], scale[live]
        standard = ((raw - centre) / scale).astype(np.float32)
        yield arranged(standard, model=name, data=data.name, part=part, index=index.numpy(), centre=centre,
                       scale=scale, columns=columns, seed=seed, progress=progress)


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
    known = parts(model.layout())
    chosen = [part] if part else [p for p in SHIPPED if p in known]
    tell = lambda share, what: print(  # noqa: E731
        f"\r{folder.name}: {100 * share:3.0f} % {what:<40}", end="", flush=True)
    for made in make_each(model, folder.name, load(config["data"]), chosen, count, 0, tell):
        command = f"python -m engine.latent_map assets/models/{folder.name} --part {made.part} --count {count}"
        print(f"\n{save(out, made, command)}  {made.figures}")


if __name__ == "__main__":
    main()
