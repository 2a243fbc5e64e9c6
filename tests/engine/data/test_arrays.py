"""Arrays read from .npz and HDF5 files, whole, damaged and hostile."""

import sys
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import h5py
import numpy as np
import pytest

from engine.data import arrays as module
from engine.data.arrays import DataError, stored_arrays

SAVE = {"stored": np.savez, "compressed": np.savez_compressed}


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """`large` takes several pieces, the others are odd: by column, of zero rank, of objects."""
    monkeypatch.setattr(module, "PIECE", 10_000)
    random = np.random.default_rng(0)
    return {
        "objects": np.array([{"a": 1}], dtype=object),
        "large": random.integers(0, 256, (300, 8, 50), dtype=np.uint8),
        "columns": np.asfortranarray(random.normal(size=(5, 6))),
        "scalar": np.array(7),
    }


@pytest.mark.parametrize("how", SAVE)
def test_npz_arrays_are_listed_then_read(how: str, numbers: dict[str, np.ndarray], tmp_path: Path) -> None:
    SAVE[how](tmp_path / "x.npz", **numbers)
    arrays = stored_arrays(tmp_path / "x.npz")
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        name: (array.shape, array.dtype) for name, array in numbers.items()
    }
    for name in ("large", "columns", "scalar"):
        assert np.array_equal(arrays[name].read(), numbers[name])
    with pytest.raises(DataError, match=r"x\.npz keeps objects\.npy as pickled objects"):
        arrays["objects"].read()


def test_uncompressed_arrays_stay_on_disk(numbers: dict[str, np.ndarray], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **numbers)
    large = stored_arrays(tmp_path / "x.npz")["large"].read()
    assert isinstance(large, np.memmap) and not large.flags.writeable


def test_hdf5_groups_join_by_underscore(numbers: dict[str, np.ndarray], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("large", data=numbers["large"], chunks=(7, 8, 50), compression="gzip")
        file["latents/values"] = numbers["columns"]
    arrays = stored_arrays(tmp_path / "x.h5")
    assert set(arrays) == {"large", "latents_values"}
    assert np.array_equal(arrays["large"].read(), numbers["large"])
    assert np.array_equal(arrays["latents_values"].read(), numbers["columns"])


@pytest.mark.parametrize("how", SAVE)
def test_half_a_file_is_refused(how: str, numbers: dict[str, np.ndarray], tmp_path: Path) -> None:
    SAVE[how](tmp_path / "x.npz", **numbers)
    whole = (tmp_path / "x.npz").read_bytes()
    (tmp_path / "x.npz").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(DataError, match=r"x\.npz is not a readable \.npz or HDF5 file"):
        stored_arrays(tmp_path / "x.npz")
    (tmp_path / "x.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(DataError, match=r"x\.h5 is a damaged HDF5 file"):
        stored_arrays(tmp_path / "x.h5")


def test_a_header_that_promises_too_much_is_refused(tmp_path: Path) -> None:
    buffer = BytesIO()
    np.save(buffer, np.zeros((10, 8), np.uint8))
    with ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("imgs.npy", buffer.getvalue().replace(b"(10, 8)", b"(99, 8)"))
    with pytest.raises(DataError, match=r"imgs\.npy is not as long as its header says"):
        stored_arrays(tmp_path / "x.npz")


def test_garbled_values_are_refused(numbers: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, **numbers)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"x\.npz is damaged: large\.npy ends early or is garbled"):
        stored_arrays(path)["large"].read()
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("large", data=numbers["large"], chunks=(300, 8, 50), compression="gzip")
    data = bytearray((tmp_path / "x.h5").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "x.h5").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.h5 is damaged: large ends early or is garbled"):
        stored_arrays(tmp_path / "x.h5")["large"].read()


def test_a_missing_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file["images"] = np.zeros(3)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"Reading 3dshapes\.h5 needs h5py: pip install h5py\."):
        stored_arrays(tmp_path / "3dshapes.h5")
