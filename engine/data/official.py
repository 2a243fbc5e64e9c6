"""The published benchmark files, in their authors' own formats.

dSprites    https://github.com/deepmind/dsprites-dataset (Apache-2.0): npz `imgs`, `latents_classes`,
            `latents_values`, or the HDF5 file with the same arrays
3D Shapes   https://github.com/deepmind/3d-shapes (Apache-2.0): HDF5 `images`, `labels`; also as npz with the
            six factors as leading axes (disentanglement_lib), or with `images` alone (DisDiff)
MPI3D       https://github.com/rr-learning/disentanglement_dataset (CC-BY 4.0): npz `images`
Cars3D      Reed et al., Deep Visual Analogy-Making, NeurIPS 2015: `list.txt` and one .mat file per car

Factors are in the official order, the last one fastest. Sizes come from the labels in the file; where a
file has none, the number of images decides. dSprites' `metadata` is a pickle and stays unread.
"""

from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from engine.data.arrays import ArrayGrid, DataError, Stored, stored_arrays
from engine.data.dataset import SIZE, KnownFactor
from engine.data.dsprites import DSprites
from engine.data.shapes3d import Shapes3D

MPI3D_NAMES = (
    "object color",
    "object shape",
    "object size",
    "camera height",
    "background color",
    "horizontal axis",
    "vertical axis",
)
MPI3D_SIZES = {
    1_036_800: (6, 6, 2, 3, 3, 40, 40),  # toy, realistic, real
    460_800: (4, 4, 2, 3, 3, 40, 40),    # complex: everyday objects instead of geometric ones
}


def read_arrays(path: Path) -> ArrayGrid:
    """Reads an official .npz or HDF5 file, recognised by the arrays in it.

    Raises DataError where the file is damaged or is none of dSprites, 3D Shapes and MPI3D.
    """
    arrays = stored_arrays(path)
    if "imgs" in arrays:
        return _dsprites(path, arrays)
    if "images" not in arrays:
        found = ", ".join(sorted(arrays)) or "nothing"
        raise DataError(f"{path.name} has neither imgs (dSprites) nor images (3D Shapes, MPI3D) but {found}.")
    if "labels" in arrays or prod(arrays["images"].shape[:-3]) == len(Shapes3D()):
        return _shapes3d(path, arrays)
    return _mpi3d(path, arrays)


def read_cars3d(path: Path) -> ArrayGrid:
    """Reads the folder `cars` of nips2015-analogy-data.tar.gz: elevation 4, azimuth 24, car 183.

    Cars are numbered as in list.txt (disentanglement_lib takes the order of the directory, which differs
    between machines) and shrunk from 128x128 by Lanczos' filter, as disentanglement_lib does.
    Raises DataError where a car is missing or damaged.
    """
    cars = (path / "list.txt").read_text(errors="replace").split()
    if not cars:
        raise DataError(f"{path.name}/list.txt is empty, expected the name of one car_XXX_mesh.mat per line.")
    images = None
    for number, car in enumerate(tqdm(cars, desc=f"Reading {path.name}", unit="car", disable=len(cars) < 20)):
        views = _read_car(path / f"{Path(car).name.removesuffix('.mat')}.mat")  # (E, A, 128, 128, 3)
        if images is None:
            elevations, azimuths = views.shape[:2]
            images = np.empty((elevations, azimuths, len(cars), SIZE, SIZE, 3), np.uint8)
        if views.shape[:2] != (elevations, azimuths):
            raise DataError(f"{car} has {views.shape[:2]} views, cars before it {(elevations, azimuths)}.")
        for view in np.ndindex(elevations, azimuths):
            picture = Image.fromarray(views[view])
            images[*view, number] = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    factors = (
        KnownFactor("elevation", _steps(elevations)),
        KnownFactor("azimuth", _steps(azimuths), circular=True),
        KnownFactor("car", _steps(len(cars))),
    )
    origin = f"Cars3D (Reed et al. 2015, no licence stated), read from {path.name} and shrunk from 128x128."
    return ArrayGrid(path.name, images.reshape(-1, SIZE, SIZE, 3), factors, origin)


def _read_car(path: Path) -> np.ndarray:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError("Reading Cars3D needs scipy: pip install scipy.") from error
    try:
        views = loadmat(path, variable_names=["im"])["im"]
    except Exception as error:  # scipy's parser raises whatever a damaged file trips
        raise DataError(f"{path.name}, named in list.txt, is missing or no MATLAB file with im.") from error
    if views.ndim != 5 or views.shape[:3] != (128, 128, 3) or views.dtype != np.uint8:
        raise _unlike(path, "im", views, "(128, 128, 3, 24, 4) of uint8")
    return np.ascontiguousarray(views.transpose(4, 3, 0, 1, 2))


# ------------------------------------------------------------------------------------------------
# Files of arrays

def _dsprites(path: Path, arrays: dict[str, Stored]) -> ArrayGrid:
    count = _check_images(path, "imgs", arrays, (SIZE, SIZE))
    if "latents_classes" not in arrays:
        raise DataError(f"{path.name} has imgs but no latents_classes, expected both as in dSprites.")
    classes = _table(path, "latents_classes", arrays, count)
    values = _table(path, "latents_values", arrays, count) if "latents_values" in arrays else classes
    factors = _ladders(path, DSprites.factors, classes.astype(np.int64), values)
    origin = f"Official dSprites images (DeepMind, Apache-2.0), read from {path.name}."
    return ArrayGrid(path.name, arrays["imgs"].read(), factors, origin, gain=255)


def _shapes3d(path: Path, arrays: dict[str, Stored]) -> ArrayGrid:
    count = _check_images(path, "images", arrays, (SIZE, SIZE, 3))
    factors = Shapes3D.factors
    if "labels" in arrays:
        values = _table(path, "labels", arrays, count)
        classes = np.stack([np.unique(column, return_inverse=True)[1] for column in values.T], axis=1)
        factors = _ladders(path, factors, classes, values)
    images = arrays["images"].read().reshape(-1, SIZE, SIZE, 3)
    origin = f"Official 3D Shapes images (Burgess and Kim, DeepMind, Apache-2.0), read from {path.name}."
    return ArrayGrid(path.name, images, factors, origin)


def _mpi3d(path: Path, arrays: dict[str, Stored]) -> ArrayGrid:
    count = _check_images(path, "images", arrays, (SIZE, SIZE, 3))
    if count not in MPI3D_SIZES:
        known = " or ".join(f"{size:,}" for size in MPI3D_SIZES)
        raise DataError(
            f"{path.name} has {count:,} images without labels, expected {known} (MPI3D) "
            f"or {len(Shapes3D()):,} (3D Shapes)."
        )
    sizes = zip(MPI3D_NAMES, MPI3D_SIZES[count], strict=True)
    factors = tuple(KnownFactor(name, _steps(size)) for name, size in sizes)
    images = arrays["images"].read().reshape(-1, SIZE, SIZE, 3)
    origin = f"Official MPI3D images (Gondal et al. 2019, CC-BY 4.0), read from {path.name}."
    return ArrayGrid(path.name, images, factors, origin)


def _check_images(path: Path, name: str, arrays: dict[str, Stored], pixels: tuple[int, ...]) -> int:
    """The number of images in the array `name`, whose last axes must be `pixels`."""
    stored = arrays[name]
    lead = stored.shape[:-len(pixels)]
    if stored.dtype != np.uint8 or stored.shape != (*lead, *pixels) or prod(lead) == 0 or not lead:
        raise _unlike(path, name, stored, f"(N, {', '.join(map(str, pixels))}) of uint8")
    return prod(lead)


def _table(path: Path, name: str, arrays: dict[str, Stored], count: int) -> np.ndarray:
    """The labels as (count, 6), one row per image."""
    stored = arrays[name]
    if stored.shape[-1:] != (6,) or prod(stored.shape) != 6 * count or stored.dtype.kind not in "iuf":
        raise _unlike(path, name, stored, f"({count}, 6) of numbers")
    return stored.read().reshape(-1, 6)


def _ladders(
    path: Path,
    official: tuple[KnownFactor, ...],
    classes: np.ndarray,  # (N, 6) int
    values: np.ndarray,   # (N, 6)
) -> tuple[KnownFactor, ...]:
    """The official factors with as many values as the file has."""
    sizes = (classes.max(axis=0) + 1).tolist()
    rows = np.arange(len(classes))
    if prod(sizes) != len(rows) or not np.array_equal(classes.T, np.unravel_index(rows, sizes)):
        raise DataError(f"{path.name} is not every combination of its factors with the last one fastest.")
    factors = []
    for k, (factor, size) in enumerate(zip(official, sizes, strict=True)):
        stride = prod(sizes[k + 1:])
        factors.append(replace(factor, values=tuple(values[:size * stride:stride, k].tolist())))
    return tuple(factors)


def _steps(size: int) -> tuple[float, ...]:
    return tuple(float(k) for k in range(size))


def _unlike(path: Path, name: str, found: Stored | np.ndarray, expected: str) -> DataError:
    return DataError(f"{path.name} holds {name} {tuple(found.shape)} of {found.dtype}, expected {expected}.")
