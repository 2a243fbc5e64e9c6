"""One name for every data set, and images brought to a device in batches."""

import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engine.data import (
    DataError,
    Dataset,
    Grid,
    KnownFactor,
    batches,
    load,
    materialise,
    sample,
    sample_classes,
    split,
)
from engine.data.folder import ImageFolder


class Ramp(Grid):
    """Image k is k everywhere; notes how many images each call asked for."""

    name, channels, origin = "ramp", 2, "made up"

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __len__(self) -> int:
        return 100

    def images(self, index: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(index))
        return index.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 2, 64, 64)


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (64, 64), (1, 2, 3)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["dsprites", "shapes3d", "faces"])
def test_rendered_sets_load_by_name(name: str) -> None:
    data = load(name)
    assert isinstance(data, Dataset) and data.name == name and data.factors


def test_a_broken_set_does_not_break_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "engine.data.faces", None)
    monkeypatch.setitem(sys.modules, "engine.data.shapes3d", None)
    assert load("dsprites").name == "dsprites"


def test_an_unknown_name_lists_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("1,2")
    for name in ("dsprite", str(tmp_path / "missing.npz"), str(tmp_path / "table.csv"), ""):
        with pytest.raises(DataError) as error:
            load(name)
        for known in (repr(name), "dsprites", "shapes3d", "faces", "MPI3D", "Cars3D", "folder or zip"):
            assert known in str(error.value)


def test_files_are_recognised_by_content(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(picture())
    assert isinstance(load(str(tmp_path / "pictures")), ImageFolder)
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr("a.png", picture())
    assert isinstance(load(str(tmp_path / "archive")), ImageFolder)
    arrays = {"imgs": np.ones((2, 64, 64), np.uint8), "latents_classes": np.array([[0] * 6, [0] * 5 + [1]])}
    np.savez(tmp_path / "renamed.npz", **arrays)
    (tmp_path / "renamed.npz").rename(tmp_path / "renamed")
    assert load(str(tmp_path / "renamed")).factors[5].size == 2


def test_relative_paths_and_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(picture())
    monkeypatch.chdir(tmp_path)
    data = load(".", limit=2)
    assert data.name == tmp_path.name and len(data) == 2


def test_materialise_keeps_order_and_batches() -> None:
    data, index = Ramp(), torch.tensor([7, 3, 99, 3, 0, 50, 8])
    images = materialise(data, index, "cpu", batch=3)
    assert images.shape == (7, 2, 64, 64) and images.dtype == torch.uint8
    assert images[:, 1, 63, 0].tolist() == index.tolist()
    assert data.calls == [3, 3, 1]


def test_materialise_shows_progress_only_when_it_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    materialise(Ramp(), torch.arange(4), "cpu", batch=4)
    assert capsys.readouterr().err == ""
    materialise(Ramp(), torch.arange(5), "cpu", batch=4)
    assert "ramp: 0.00 GB to cpu" in capsys.readouterr().err


def test_batches_are_of_training_images_only_and_drawn_by_the_generator_alone() -> None:
    data = Ramp()
    draw, (train, held_out) = batches(data, 32, torch.device("cpu")), split(len(data))
    first, second = (draw(torch.Generator().manual_seed(seed)) for seed in (0, 0))
    assert first.shape == (32, 2, 64, 64) and first.dtype == torch.float32 and torch.equal(first, second)
    many = torch.cat([draw(torch.Generator().manual_seed(seed)) for seed in range(40)])[:, 1, 0, 0]
    seen = set((255 * many).round().long().tolist())
    assert seen == set(train.tolist()) and not seen & set(held_out.tolist())


def test_classes_are_those_of_the_sampled_pictures():
    class Digits(Ramp):
        factors = KnownFactor("tens", tuple(range(10))), KnownFactor("ones", tuple(range(10))), KnownFactor("free")

        def labels(self, index: torch.Tensor) -> torch.Tensor:
            return torch.stack([index // 10, index % 10, index / 7], 1).float()

    data = Digits()
    for count in (30, 1000):
        numbers = sample(data, count, "cpu")[:, 0, 0, 0].long()
        assert len(numbers) == min(count, 98) and not set(numbers.tolist()) & set(split(100)[1].tolist())
        assert torch.equal(sample_classes(data, "ones", count, "cpu"), numbers % 10)
        assert torch.equal(sample_classes(data, "tens", count, "cpu"), numbers // 10)
    for name in ("free", "other"):
        with pytest.raises(ValueError, match="but tens, ones"):
            sample_classes(data, name, 30, "cpu")
