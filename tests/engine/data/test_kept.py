"""Pictures drawn once for all processes: the same ones, drawn again only when they must be."""

import os
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.data import DataError, Dataset, KnownFactor, kept, load
from engine.data.faces import SOURCES, Faces
from engine.data.kept import VARIABLE, Kept, made, read

CPU = torch.device("cpu")


class Bright(Dataset):
    """Image k is bright from column k on, as bright as `light`; notes how many pictures were drawn, `slowly` if so."""

    name, channels, origin = "bright", 1, "made up"
    factors = (KnownFactor("place", high=64),)

    def __init__(self, light: int = 100, slowly: float = 0.0):
        self.light, self.slowly, self.drawn = light, slowly, 0

    def __len__(self) -> int:
        return 64

    def images(self, index: Tensor) -> Tensor:
        self.drawn += len(index)
        time.sleep(self.slowly if len(index) == 64 else 0)
        at = torch.arange(64, device=index.device) >= index[:, None]
        return (at * self.light).byte()[:, None, None, :].expand(-1, 1, 64, 64)

    def labels(self, index: Tensor) -> Tensor:
        return index[:, None].float()


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "new" / "bright-1.bytes"


def test_pictures_and_labels_are_those_of_the_drawn_set(file):
    found, index = Kept(Bright(), made(Bright(), file, CPU)), torch.tensor([5, 63, 0, 5])
    assert len(found) == 64 and (found.name, found.channels, found.factors) == ("bright", 1, Bright.factors)
    assert found.images(index).equal(Bright().images(index)) and found.labels(index).equal(Bright().labels(index))


def test_a_second_reader_draws_next_to_nothing(file):
    first, second = Bright(), Bright()
    for bright in (first, second):
        made(bright, file, CPU)
    assert first.drawn >= 64 and second.drawn < 16


def short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def blank(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


@pytest.mark.parametrize("harm", [short, blank, Path.unlink])
def test_a_file_that_is_damaged_is_drawn_again(file, harm):
    made(Bright(), file, CPU)
    harm(file)
    assert read(Bright(), file) is None
    assert made(Bright(), file, CPU).equal(Bright().images(torch.arange(64)))


def test_nothing_is_left_of_a_file_that_could_not_be_finished(file, monkeypatch):
    def full(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        made(Bright(), file, CPU)
    assert [p.suffix for p in file.parent.iterdir()] == [".lock"]


def share(folder: Path, ready) -> int:
    """How many pictures a process had to draw that begins at the same time as others."""
    bright = Bright(slowly=1.0)
    ready.wait()
    made(bright, folder / "bright-1.bytes", CPU)
    return bright.drawn


def test_of_several_processes_one_draws_and_the_others_wait(tmp_path):
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(3) as pool:
        ready = manager.Barrier(3)
        drawn = sorted(pool.starmap(share, [(tmp_path, ready)] * 3, chunksize=1))
    assert drawn[0] == drawn[1] < 16 < 64 <= drawn[2]


# --- where the variable is set

def test_faces_are_drawn_where_there_is_no_variable_and_where_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert isinstance(load("faces"), Faces)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "new"))
    assert isinstance(load("faces"), Faces) and not list(tmp_path.iterdir())


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A CPU that is taken for a GPU, and a folder for pictures."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kept, "made", lambda drawn, file, device: made(drawn, file, CPU))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "pictures"))
    return monkeypatch


def test_a_gpu_draws_faces_for_all_who_come_later(gpu, tmp_path):
    gpu.setattr(Faces, "__len__", lambda self: 12)
    index = torch.tensor([11, 2])
    assert isinstance(load("faces"), Kept) and load("faces").images(index).equal(Faces().images(index))
    [file] = (tmp_path / "pictures").glob("faces-*.bytes")
    assert file.stat().st_size == 12 * 3 * 64 * 64
    gpu.setattr(kept, "made", None)  # with its lock: who only reads, must be able to do without
    gpu.setattr(torch.cuda, "is_available", lambda: False)
    assert isinstance(load("faces"), Kept)


def test_pictures_of_another_drawing_are_other_files(gpu, tmp_path):
    source = tmp_path / "source.py"
    for text in ("one", "two", "one"):
        source.write_text(text)
        kept.kept(Bright(), (source,))
    assert len(list((tmp_path / "pictures").glob("*.bytes"))) == 2
    assert all(path.is_file() for path in SOURCES) and {p.name for p in SOURCES} >= {"faces.py", "head.safetensors"}


def test_a_folder_that_cannot_be_is_one_sentence(gpu, tmp_path):
    (tmp_path / "pictures").write_text("a file")
    with pytest.raises(DataError, match="cannot be kept: "):
        kept.kept(Bright(), ())
