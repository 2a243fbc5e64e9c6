"""What the tests of training and of maps share."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from engine.latent_map import arranged
from engine.latent_place import LatentMap
from tests.tiny import noise


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of forty small PNGs, all dark, so that there is something to learn at once."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(noise(40, seed=3).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image // 2).save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="session")
def groups() -> tuple[np.ndarray, np.ndarray]:
    """Five hundred codes in four groups of six dimensions, and which group each is in."""
    random = np.random.default_rng(0)
    group = random.integers(0, 4, 500)
    codes = 6 * np.eye(6)[group] + random.normal(size=(500, 6))
    return codes.astype(np.float32), group


@pytest.fixture(scope="session")
def grouped(groups: tuple[np.ndarray, np.ndarray]) -> LatentMap:
    """Their map."""
    codes, _ = groups
    return arranged(codes, 0, lambda share, what: None, model="m", data="d", part="code", index=np.arange(500),
                    centre=np.zeros(6, np.float32), scale=np.ones(6, np.float32), columns=np.arange(6))


@pytest.fixture(scope="session")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An HDF5 file laid out as the package's, with small random weights."""
    sizes = 64, 64, 128, 128, 256, 256, 256, 512, 512, 512
    path, inputs, number = tmp_path_factory.mktemp("weights") / "hed.h5", 3, 0
    generator = torch.Generator().manual_seed(0)
    with h5py.File(path, "w") as file:
        for block, depth in enumerate((2, 2, 3, 3), start=1):
            for k in range(depth):
                layer = file.create_group(f"block{block}/layers/conv2d{f'_{k}' if k else ''}/vars")
                scale = (2 / (9 * inputs)) ** 0.5
                layer["0"] = (scale * torch.randn(3, 3, inputs, sizes[number], generator=generator)).numpy()
                layer["1"] = torch.zeros(sizes[number]).numpy()
                inputs, number = sizes[number], number + 1
    return path
