"""Maps of latent spaces as files, and those that are shipped; made by engine.latent_map.

What a file holds is packed: places in 16 bits, of which the page shows no more, and codes in 8, whose steps are a
thirtieth of what they vary by.
"""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from engine.files import Damaged, read_verified, write_atomically, write_manifest
from engine.latent_place import LatentMap, called
from engine.serve import Refusal

MAPS = Path(__file__).parents[1] / "assets" / "maps"
SHIPPED = ("code", "content", "style")  # parts of a code of which there are maps, if a model has them
FILE = "{name}.safetensors"


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
