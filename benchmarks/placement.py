"""How well a map places newcomers: its weighted neighbours against umap-learn's own transform.

    python -m benchmarks.placement --model protovae-shapes3d --count 500

The map's codes are arranged anew in the plane, as umap-learn needs its fitted object to transform. Then both ways place
the same pictures, none of which is on the map. `kept` is the share of a newcomer's 15 nearest codes that are among the
15 points nearest to its place; `ratio` is that of placing over that of transform, the target is 0.8 and more.
Takes half a minute on two cores.
"""

import argparse
import warnings
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from scipy.spatial import cKDTree

from engine import MODELS, LatentMap, checkpoint, map_of
from engine.data import load
from engine.latent_map import encoded
from engine.latent_place import NEIGHBOURS, settings


def held_out(made: LatentMap, size: int, count: int, seed: int = 1) -> torch.Tensor:
    """Numbers (count,) of random pictures of a data set of `size` that are not on the map."""
    random = np.random.default_rng(seed)
    numbers = random.choice(size, min(size, count + 2 * len(made.index)), replace=False)
    return torch.from_numpy(numbers[~np.isin(numbers, made.index)][:count])


def kept(made: LatentMap, codes: np.ndarray, places: np.ndarray) -> float:
    """Share of the 15 nearest codes of newcomers (B, P) that are among the 15 points nearest to places (B, 2)."""
    by_code = cKDTree(made.codes).query(codes, NEIGHBOURS)[1]
    by_place = cKDTree(made.flat).query(places, NEIGHBOURS)[1]
    return float(np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in zip(by_code, by_place, strict=True)]))


def compared(made: LatentMap, codes: np.ndarray) -> dict[str, float]:
    """Both ways on the codes (B, D) of newcomers: shares kept, their ratio, and milliseconds a picture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its part for TensorFlow is not to be had
        import umap

        reducer = umap.UMAP(n_components=2, **settings(made.seed)).fit(made.codes)
        fresh, standard = replace(made, flat=reducer.embedding_), made.standard(codes)
        reducer.transform(standard[:2])  # compiled by the first call
        fresh.place(codes[:1])           # its tree is built by the first call
        begun = perf_counter()
        theirs = reducer.transform(standard)
        between = perf_counter()
    ours = fresh.place(codes)[0]
    ended = perf_counter()
    shares = kept(fresh, standard, ours), kept(fresh, standard, theirs)
    return {"kept by place": shares[0], "kept by transform": shares[1], "ratio": shares[0] / shares[1],
            "place, ms": 1e3 * (ended - between) / len(codes), "transform, ms": 1e3 * (between - begun) / len(codes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="protovae-shapes3d")
    parser.add_argument("--count", type=int, default=500, help="pictures to place")
    options = parser.parse_args()

    made = map_of(options.model)
    model, _, config = checkpoint.load(MODELS / options.model)
    data = load(config["data"])
    codes = np.concatenate([encoded(model, data, part) for part in held_out(made, len(data), options.count).split(256)])
    print(f"{options.model}: {len(codes)} pictures among {len(made.index):,} on the map")
    for what, value in compared(made, codes).items():
        print(f"{what:<18} {value:.3f}")


if __name__ == "__main__":
    main()
