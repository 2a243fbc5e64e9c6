"""Files of a few images, written exactly as the official ones are: same arrays, types, order of axes."""

from math import pi
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from engine.data import DataError, Grid, load, official
from engine.data.dsprites import DSprites
from engine.data.shapes3d import Shapes3D

SPRITE_LADDERS = [
    [1.0],
    [1.0, 2.0, 3.0],
    [0.5, 1.0],
    np.linspace(0, 2 * pi, 4).tolist(),
    [0.0, 0.5, 1.0],
    [0.0, 1.0],
]
SHAPE_LADDERS = [[0.0, 0.1], [0.0, 0.1, 0.2], [0.0, 0.1], [0.75, 1.25], [0.0, 1.0], [-30.0, 0.0, 30.0]]


def grid(ladders: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers and values (N, K) of every combination, the last factor fastest."""
    sizes = [len(ladder) for ladder in ladders]
    classes = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), axis=1)
    values = [np.array(ladder)[column] for ladder, column in zip(ladders, classes.T, strict=True)]
    return classes, np.stack(values, axis=1)


def noise(*shape: int, high: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape, dtype=np.uint8)


def sprite_arrays() -> dict[str, np.ndarray]:
    classes, values = grid(SPRITE_LADDERS)
    metadata = {"title": "dSprites dataset", "latents_sizes": np.array([len(x) for x in SPRITE_LADDERS])}
    return {
        "metadata": np.array(metadata, dtype=object),
        "imgs": noise(len(classes), 64, 64, high=2),
        "latents_classes": classes.astype(np.int64),
        "latents_values": values,
    }


@pytest.fixture(params=["stored", "compressed"])
def dsprites(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    path, arrays = tmp_path / "dsprites_ndarray.npz", sprite_arrays()
    (np.savez if request.param == "stored" else np.savez_compressed)(path, **arrays)
    return path, arrays


def test_dsprites_pixels_factors_and_labels(dsprites: tuple[Path, dict[str, np.ndarray]]) -> None:
    path, arrays = dsprites
    data = load(str(path))
    assert isinstance(data, Grid) and len(data) == 144 and data.channels == 1
    assert [factor.name for factor in data.factors] == [factor.name for factor in DSprites.factors]
    assert [list(factor.values) for factor in data.factors] == SPRITE_LADDERS
    assert [factor.circular for factor in data.factors] == [False, False, False, True, False, False]
    index = torch.tensor([143, 0, 77, 77])
    images = data.images(index)
    assert images.dtype == torch.uint8 and images.shape == (4, 1, 64, 64)
    assert np.array_equal(images[:, 0].numpy(), arrays["imgs"][index.numpy()] * 255)
    assert np.array_equal(data.labels(torch.arange(144)).numpy(), arrays["latents_classes"])


def test_dsprites_hdf5_twin(tmp_path: Path) -> None:
    arrays = sprite_arrays()
    with h5py.File(tmp_path / "dsprites.hdf5", "w") as file:
        file["imgs"] = arrays["imgs"]
        file["latents/classes"] = arrays["latents_classes"]
        file["latents/values"] = arrays["latents_values"]
    data = load(str(tmp_path / "dsprites.hdf5"))
    assert np.array_equal(data.images(torch.tensor([9]))[0, 0].numpy(), arrays["imgs"][9] * 255)
    assert [list(factor.values) for factor in data.factors] == SPRITE_LADDERS


def test_metadata_is_never_unpickled(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "unpickled",)

    arrays = sprite_arrays() | {"metadata": np.array(Bomb(), dtype=object)}
    np.savez(tmp_path / "x.npz", **arrays)
    load(str(tmp_path / "x.npz"))
    arrays["latents_classes"] = np.array([[Bomb()] * 6] * 144, dtype=object)
    np.savez(tmp_path / "y.npz", **arrays)
    with pytest.raises(DataError, match=r"y\.npz holds latents_classes \(144, 6\) of object"):
        load(str(tmp_path / "y.npz"))
    assert not (tmp_path / "unpickled").exists()


def test_shapes3d_h5(tmp_path: Path) -> None:
    classes, values = grid(SHAPE_LADDERS)
    images = noise(len(classes), 64, 64, 3)
    with h5py.File(tmp_path / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=images, chunks=(7, 64, 64, 3), compression="gzip")
        file["labels"] = values
    data = load(str(tmp_path / "3dshapes.h5"))
    assert isinstance(data, Grid) and len(data) == 144 and data.channels == 3
    assert [factor.name for factor in data.factors] == [factor.name for factor in Shapes3D.factors]
    assert [list(factor.values) for factor in data.factors] == SHAPE_LADDERS
    index = torch.tensor([100, 3])
    assert np.array_equal(data.images(index).permute(0, 2, 3, 1).numpy(), images[[100, 3]])
    assert np.array_equal(data.labels(torch.arange(144)).numpy(), classes)


def test_shapes3d_npz_with_factors_as_axes(tmp_path: Path) -> None:
    classes, values = grid(SHAPE_LADDERS)
    images = noise(2, 3, 2, 2, 2, 3, 64, 64, 3)
    np.savez(tmp_path / "3dshapes.npz", images=images, labels=values.reshape(2, 3, 2, 2, 2, 3, 6))
    data = load(str(tmp_path / "3dshapes.npz"))
    picture = data.images(data.index(torch.tensor([[1, 2, 0, 1, 0, 2]])))[0]
    assert np.array_equal(picture.permute(1, 2, 0).numpy(), images[1, 2, 0, 1, 0, 2])


def test_shapes3d_without_labels_is_known_by_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "3dshapes.npz", images=noise(144, 64, 64, 3))
    with pytest.raises(DataError, match=r"3dshapes\.npz has 144 images without labels, expected 1,036,800"):
        load(str(tmp_path / "3dshapes.npz"))
    monkeypatch.setattr(Shapes3D, "__len__", lambda self: 144)
    assert load(str(tmp_path / "3dshapes.npz")).factors == Shapes3D.factors


def test_mpi3d_sizes_follow_the_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {count: int(np.prod(sizes)) for count, sizes in official.MPI3D_SIZES.items()} == {
        1_036_800: 1_036_800,
        460_800: 460_800,
    }
    monkeypatch.setitem(official.MPI3D_SIZES, 96, (2, 2, 2, 3, 1, 2, 2))
    images = noise(96, 64, 64, 3)
    np.savez(tmp_path / "mpi3d_toy.npz", images=images)
    data = load(str(tmp_path / "mpi3d_toy.npz"))
    assert [factor.size for factor in data.factors] == [2, 2, 2, 3, 1, 2, 2]
    assert data.factors[0].name == "object color" and data.factors[6].name == "vertical axis"
    assert data.classes(torch.tensor([1])).tolist() == [[0, 0, 0, 0, 0, 0, 1]]
    assert np.array_equal(data.images(torch.tensor([95]))[0].permute(1, 2, 0).numpy(), images[95])


@pytest.fixture
def cars(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """Three cars of 2 elevations and 3 azimuths, listed in an order that is not that of their names."""
    folder = tmp_path / "cars"
    folder.mkdir()
    meshes = {}
    for k, name in enumerate(["car_002_mesh", "car_001_mesh", "car_003_mesh"]):
        coarse = np.random.default_rng(k).integers(0, 256, (16, 16, 3, 3, 2), dtype=np.uint8)
        meshes[name] = coarse.repeat(8, axis=0).repeat(8, axis=1)  # (128, 128, 3, azimuth, elevation)
        savemat(folder / f"{name}.mat", {"im": meshes[name], "mask": np.zeros((128, 128, 3, 2), np.uint8)})
    (folder / "list.txt").write_text("\n".join(meshes) + "\n")
    return folder, meshes


def test_cars3d_order_and_pixels(cars: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, meshes = cars
    data = load(str(folder))
    assert isinstance(data, Grid) and len(data) == 18
    assert [factor.name for factor in data.factors] == ["elevation", "azimuth", "car"]
    assert [factor.size for factor in data.factors] == [2, 3, 3]
    for elevation, azimuth, car in [(0, 0, 0), (1, 2, 1), (0, 1, 2)]:
        image = data.images(data.index(torch.tensor([[elevation, azimuth, car]])))[0]
        view = list(meshes.values())[car][..., azimuth, elevation]
        expected = np.asarray(Image.fromarray(view).resize((64, 64), Image.Resampling.LANCZOS))
        assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_cars3d_refusals(cars: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, _ = cars
    (folder / "car_001_mesh.mat").write_bytes(b"not MATLAB")
    with pytest.raises(DataError, match=r"car_001_mesh\.mat, named in list\.txt, is missing or no MATLAB"):
        load(str(folder))
    savemat(folder / "car_001_mesh.mat", {"im": np.zeros((64, 64, 3, 3, 2), np.uint8)})
    with pytest.raises(DataError, match=r"expected \(128, 128, 3, 24, 4\) of uint8"):
        load(str(folder))
    savemat(folder / "car_001_mesh.mat", {"im": np.zeros((128, 128, 3, 3, 1), np.uint8)})
    with pytest.raises(DataError, match=r"car_001_mesh has \(1, 3\) views, cars before it \(2, 3\)"):
        load(str(folder))
    (folder / "list.txt").write_text("\n")
    with pytest.raises(DataError, match=r"cars/list\.txt is empty"):
        load(str(folder))


def test_list_txt_cannot_name_files_elsewhere(cars: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, meshes = cars
    savemat(folder.parent / "car_009_mesh.mat", {"im": meshes["car_001_mesh"]})
    (folder / "list.txt").write_text("../car_009_mesh\n")
    with pytest.raises(DataError, match="missing"):
        load(str(folder))


def test_shuffled_rows_are_refused(tmp_path: Path) -> None:
    arrays = sprite_arrays()
    arrays["latents_classes"] = arrays["latents_classes"][::-1]
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=r"x\.npz is not every combination"):
        load(str(tmp_path / "x.npz"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"imgs": np.zeros((144, 32, 32), np.uint8)}, r"\(144, 32, 32\) of uint8, expected \(N, 64, 64\)"),
        ({"imgs": np.zeros((144, 64, 64))}, r"of float64, expected \(N, 64, 64\) of uint8"),
        ({"imgs": np.zeros((64, 64), np.uint8)}, r"expected \(N, 64, 64\)"),
        ({"latents_classes": np.zeros((143, 6), int)}, r"\(143, 6\) of int64, expected \(144, 6\)"),
        ({"latents_classes": np.full((144, 6), 2**40)}, "not every combination"),
        ({"latents_classes": np.full((144, 6), -1)}, "not every combination"),
    ],
)
def test_unfitting_arrays_are_named(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "x.npz", **(sprite_arrays() | change))
    with pytest.raises(DataError, match=message):
        load(str(tmp_path / "x.npz"))


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", imgs=noise(4, 64, 64))
    with pytest.raises(DataError, match=r"x\.npz has imgs but no latents_classes"):
        load(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", weights=np.zeros(3), bias=np.zeros(3))
    with pytest.raises(DataError, match=r"y\.npz has neither imgs .* but bias, weights\."):
        load(str(tmp_path / "y.npz"))
