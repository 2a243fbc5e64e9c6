"""Every data set by one name or path, and its images brought to a device.

Three sets are rendered and need no file, glyphs are shipped; the published ones and your own pictures or fonts
are read from disk.
"""

import os
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from engine.data.arrays import DataError, is_hdf5
from engine.data.dataset import SIZE, Dataset, Grid, KnownFactor, split
from engine.data.folder import LIMIT, SUFFIXES, ImageFolder

__all__ = ["SIZE", "DataError", "Dataset", "Grid", "KnownFactor", "batches", "kind", "load", "materialise", "sample",
           "sample_classes", "sample_numbers", "split"]

FONTS = {".ttf", ".otf", ".ttc"}  # suffixes that make a folder without pictures one of fonts


def load(name: str, crop: str = "d2c", limit: int = LIMIT) -> Dataset:
    """The data set called `name`, or the one at the path `name`, recognised by its content.

    `crop` and `limit` are for folders and zips of pictures, see `engine.data.folder.ImageFolder`.
    Raises DataError, in one sentence, for an unknown name or an unreadable file.
    """
    # Each is imported on demand: asking for one set must not cost, or break on, what another one needs.
    if name == "dsprites":
        from engine.data.dsprites import DSprites
        return DSprites()
    if name == "shapes3d":
        from engine.data.shapes3d import Shapes3D
        return Shapes3D()
    if name == "faces":
        from engine.data.faces import SOURCES, Faces
        from engine.data.kept import kept
        return kept(Faces(), SOURCES)
    if name == "glyphs":
        from engine.data.glyphs import Glyphs
        return Glyphs()
    if name.startswith("manifold-"):
        from engine.data.manifolds import rendered
        return rendered(name)
    path = Path(os.path.abspath(Path(name).expanduser()))  # so that "." has a name, too
    dataset = _read(path, kind(path) if name else "unknown", name, crop, limit)
    dataset.path = str(path)
    return dataset


def _read(path: Path, kind: str, name: str, crop: str, limit: int) -> Dataset:
    if kind == "pictures":
        return ImageFolder(path, crop, limit)
    if kind == "fonts":
        from engine.data.glyphs import Glyphs
        return Glyphs(path)
    if kind == "unknown":
        raise DataError(
            f"Unknown data set {name!r}: give dsprites, shapes3d, faces, glyphs, manifold-NAME, or the path of an "
            "official file (dSprites .npz, 3dshapes.h5, MPI3D .npz), of Cars3D's folder, of a folder of fonts, or of "
            "a folder or zip of pictures."
        )
    from engine.data.official import read_arrays, read_cars3d
    return read_cars3d(path) if kind == "cars3d" else read_arrays(path)


def sample(dataset: Dataset, count: int, device: torch.device | str) -> Tensor:
    """`count` training images, or all where there are fewer, drawn without repetition and the same every
    time: (n, C, 64, 64) uint8 on `device`."""
    return materialise(dataset, sample_numbers(dataset, count), device)


def sample_classes(dataset: Dataset, factor: str, count: int, device: torch.device | str) -> Tensor:
    """The classes (n,) of a known `factor` of the images that `sample` answers with. ValueError if there is no such
    factor, or it has no classes."""
    names = [f.name for f in dataset.factors if f.size > 1]
    if factor not in names:
        raise ValueError(f"'{dataset.name}' has no factor '{factor}' with classes, but {', '.join(names) or 'none'}.")
    column = [f.name for f in dataset.factors].index(factor)
    return dataset.labels(sample_numbers(dataset, count).to(device))[:, column].long()


def sample_numbers(dataset: Dataset, count: int) -> Tensor:
    """Numbers of `count` training images, or of all where there are fewer."""
    index, _ = split(len(dataset))
    return index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))[:count]]


def materialise(dataset: Dataset, index: Tensor, device: torch.device | str, batch: int = 2048) -> Tensor:
    """The images numbered `index` (N,) as (N, C, 64, 64) uint8 on `device`, rendered there in batches."""
    images = torch.empty(len(index), dataset.channels, SIZE, SIZE, dtype=torch.uint8, device=device)
    label = f"{dataset.name}: {images.nbytes / 1e9:.2f} GB to {images.device}"
    with tqdm(total=len(index), unit=" images", desc=label, disable=len(index) <= batch) as progress:
        for slot, numbers in zip(images.split(batch), index.to(device).split(batch), strict=True):
            slot.copy_(dataset.images(numbers))
            progress.update(len(numbers))
    return images


def batches(dataset: Dataset, batch: int, device: torch.device) -> Callable[[Generator], Tensor]:
    """A function of a generator that draws training images (batch, C, 64, 64) in [0, 1].

    A GPU holds the whole training split as bytes, so that drawing is part of the captured graph;
    a CPU makes each batch when it is asked for.
    """
    index, _ = split(len(dataset))
    store = materialise(dataset, index.to(device), device) if device.type == "cuda" else None

    def draw(generator: Generator) -> Tensor:
        pick = torch.randint(len(index), (batch,), generator=generator, device=device)
        images = store[pick] if store is not None else dataset.images(index[pick])
        return images.float() / 255

    return draw


def kind(path: Path) -> str:
    """What `load` would find at `path`: arrays, cars3d, fonts, pictures or unknown."""
    if path.is_dir():
        if (path / "list.txt").is_file() and any(path.glob("car_*_mesh.mat")):
            return "cars3d"
        suffixes = {p.suffix.lower() for p in path.rglob("*")}
        return "fonts" if suffixes & FONTS and not suffixes & SUFFIXES else "pictures"
    if not path.is_file():
        return "unknown"
    if path.suffix in {".npz", ".h5", ".hdf5"} or is_hdf5(path):
        return "arrays"
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, RuntimeError, BadZipFile):
        return "pictures" if path.suffix == ".zip" else "unknown"
    return "arrays" if any(name.endswith(".npy") for name in names) else "pictures"
