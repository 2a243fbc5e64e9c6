"""Pictures drawn once for all processes: the same ones, drawn again only when they must be."""

from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.data import Dataset, KnownFactor, load
from engine.data.faces import Faces
from engine.data.kept import VARIABLE, Kept


class Bright(Dataset):
    """Image k is bright from column k on, as bright as `light`; notes how many pictures were drawn."""

    name, channels, origin = "bright", 1, "made up"
    factors = (KnownFactor("place", high=64),)

    def __init__(self, light: int = 100):
        self.light, self.drawn = light, 0

    def __len__(self) -> int:
        return 64

    def images(self, index: Tensor) -> Tensor:
        self.drawn += len(index)
        at = torch.arange(64, device=index.device) >= index[:, None]
        return (at * self.light).byte()[:, None, None, :].expand(-1, 1, 64, 64)

    def labels(self, index: Tensor) -> Tensor:
        return index[:, None].float()


def test_pictures_and_labels_are_those_of_the_drawn_set(tmp_path):
    kept, index = Kept(Bright(), tmp_path / "new"), torch.tensor([5, 63, 0, 5])
    assert len(kept) == 64 and (kept.name, kept.channels, kept.factors) == ("bright", 1, Bright.factors)
    assert kept.images(index).equal(Bright().images(index)) and kept.labels(index).equal(Bright().labels(index))


def test_a_second_reader_draws_next_to_nothing(tmp_path):
    first, second = Bright(), Bright()
    for bright in (first, second):
        Kept(bright, tmp_path).images(torch.arange(64))
    assert first.drawn >= 64 and second.drawn < 16


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def replaced(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("harm", [damaged, replaced, Path.unlink])
def test_a_file_that_is_short_or_of_other_pictures_is_drawn_again(tmp_path, harm):
    file, index = tmp_path / "bright.bytes", torch.arange(64)
    Kept(Bright(), tmp_path)
    harm(file)
    assert Kept(Bright(), tmp_path).images(index).equal(Bright().images(index))
    assert Kept(Bright(200), tmp_path).images(index).equal(Bright(200).images(index))


def test_what_a_killed_process_left_is_no_file(tmp_path):
    (tmp_path / "bright.partial").write_bytes(bytes(100))
    assert Kept(Bright(), tmp_path).images(torch.tensor([3])).equal(Bright().images(torch.tensor([3])))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bright.bytes", "bright.lock"]


def share(folder: Path) -> int:
    """How many pictures a process had to draw."""
    bright = Bright()
    Kept(bright, folder)
    return bright.drawn


def test_of_several_processes_one_draws_and_the_others_wait(tmp_path):
    with get_context("spawn").Pool(3) as pool:
        drawn = sorted(pool.map(share, [tmp_path] * 3, chunksize=1))
    assert drawn[0] == drawn[1] < 16 < 64 <= drawn[2]


def test_faces_are_kept_where_the_variable_says_and_else_drawn(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    assert isinstance(load("faces"), Faces)
    monkeypatch.setattr(Faces, "__len__", lambda self: 12)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    index = torch.tensor([11, 2])
    assert load("faces").images(index).equal(Faces().images(index))
    assert (tmp_path / "faces.bytes").stat().st_size == 12 * 3 * 64 * 64
