"""Arrays in .npz and HDF5 files: shapes before values, no unpickling, one copy in memory at most.

`stored_arrays` reads headers only, so a file of 12 GB or one of the wrong kind is recognised at once. An
array kept uncompressed in an .npz is mapped from disk, everything else is read in pieces with a bar.
"""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from engine.data.dataset import Grid, KnownFactor

PIECE = 1 << 24    # bytes read between two steps of the progress bar
LARGE = 1 << 28    # bytes from which a bar is worth showing


class DataError(ValueError):
    """A file or name that cannot become a data set; the message is one sentence fit for the user."""


@dataclass(frozen=True)
class Stored:
    """An array inside a file; `read` brings its values in."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class ArrayGrid(Grid):
    """A grid of factors whose images are kept in an array (N, 64, 64) or (N, 64, 64, 3) of uint8.

    `gain` multiplies every pixel: 255 for images stored as 0 and 1.
    """

    def __init__(
        self,
        name: str,
        images: np.ndarray,
        factors: tuple[KnownFactor, ...],
        origin: str,
        gain: int = 1,
    ):
        self.name = name
        self.channels = 1 if images.ndim == 3 else images.shape[3]
        self.factors = factors
        self.origin = origin
        self._images = images
        self._gain = gain

    def images(self, index: Tensor) -> Tensor:
        pixels = torch.from_numpy(self._images[index.cpu().numpy()])
        pixels = pixels.unsqueeze(1) if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)  # (B, C, 64, 64)
        return pixels.to(index.device).contiguous() * self._gain


def bar(path: Path, size: int) -> tqdm:
    """A progress bar over `size` bytes of memory, silent for small arrays."""
    label = f"Reading {path.name} into memory"
    return tqdm(total=size, unit="B", unit_scale=True, disable=size < LARGE, desc=label)


def stored_arrays(path: Path) -> dict[str, Stored]:
    """The arrays of an .npz or HDF5 file by name, HDF5 groups joined by an underscore.

    Arrays of Python objects are listed but refuse to be read. Raises DataError where the file is
    damaged or h5py is missing.
    """
    return _hdf5_arrays(path) if is_hdf5(path) else _npz_arrays(path)


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as HDF5 does."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89HDF\r\n\x1a\n"


# ------------------------------------------------------------------------------------------------
# .npz: a zip of .npy members, https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html

def _npz_arrays(path: Path) -> dict[str, Stored]:
    found = {}
    try:
        with ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    shape, column_major, dtype = _npy_header(file)
                    start = file.tell()
                if not dtype.hasobject and start + dtype.itemsize * prod(shape) != member.file_size:
                    raise ValueError(f"{member.filename} is not as long as its header says")
                read = partial(_read_npy, path, member, shape, column_major, dtype, start)
                found[member.filename.removesuffix(".npy")] = Stored(shape, dtype, read)
    except (OSError, ValueError, EOFError, RuntimeError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path.name} is not a readable .npz or HDF5 file: {error}.") from error
    return found


def _npy_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _read_npy(
    path: Path,
    member: ZipInfo,
    shape: tuple[int, ...],
    column_major: bool,
    dtype: np.dtype,
    start: int,  # length of the .npy header
) -> np.ndarray:
    if dtype.hasobject:
        raise DataError(f"{path.name} keeps {member.filename} as pickled objects, which are never read.")
    shape = shape[::-1] if column_major else shape
    if member.compress_type == ZIP_STORED:
        with path.open("rb") as file:
            file.seek(member.header_offset + 26)  # lengths in the local header, whose extra field may differ
            name_length, extra_length = struct.unpack("<HH", file.read(4))
        start += member.header_offset + 30 + name_length + extra_length
        values = np.memmap(path, dtype, "r", start, shape)
    else:
        values = np.empty(shape, dtype)
        target = memoryview(values.reshape(-1).view(np.uint8))
        try:
            with ZipFile(path) as archive, archive.open(member) as file, bar(path, len(target)) as progress:
                file.read(start)
                for first in range(0, len(target), PIECE):
                    piece = target[first:first + PIECE]
                    piece[:] = file.read(len(piece))
                    progress.update(len(piece))
        except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(f"{path.name} is damaged: {member.filename} ends early or is garbled.") from error
    return values.T if column_major else values


# ------------------------------------------------------------------------------------------------
# HDF5

def _hdf5_arrays(path: Path) -> dict[str, Stored]:
    try:
        import h5py
    except ImportError as error:
        raise DataError(f"Reading {path.name} needs h5py: pip install h5py.") from error
    found = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            read = partial(_read_hdf5, path, name)
            found[name.replace("/", "_")] = Stored(item.shape, item.dtype, read)

    try:
        with h5py.File(path, "r") as file:
            file.visititems(note)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path.name} is a damaged HDF5 file: {error}.") from error
    return found


def _read_hdf5(path: Path, name: str) -> np.ndarray:
    import h5py
    try:
        with h5py.File(path, "r") as file:
            stored = file[name]
            values = np.empty(stored.shape, stored.dtype)
            rows = max(1, PIECE * len(values) // values.nbytes)
            with bar(path, values.nbytes) as progress:
                for first in range(0, len(values), rows):
                    piece = values[first:first + rows]
                    piece[...] = stored[first:first + rows]
                    progress.update(piece.nbytes)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path.name} is damaged: {name} ends early or is garbled.") from error
    return values
