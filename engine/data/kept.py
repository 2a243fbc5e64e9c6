"""Pictures that take long to draw, drawn once for all processes that want them.

Faces are drawn at some hundred to some thousand a second, and trainings and scorings that share a machine would all
draw the same ones. If the environment variable UNRAVEL_PICTURES names a folder, the first of them draws the whole
set into a file there, 2.5 GB, while the others wait, and everybody reads that file.
"""

import os
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from engine.data.dataset import SIZE, Dataset
from engine.files import locked

VARIABLE = "UNRAVEL_PICTURES"
BATCH = 2048
PROBED, CLOSE = 8, 2.0  # pictures that tell whether a file is of this drawing, and grey levels they may be off


class Kept(Dataset):
    """The pictures of `drawn`, kept in `folder`, which is made if it is not there.

    A file of other pictures, as an older version would draw them, is replaced. Devices round differently: the
    pictures are those of the device that drew them, a GPU's if there is one.
    """

    def __init__(self, drawn: Dataset, folder: Path):
        self.name, self.channels, self.factors, self.origin = drawn.name, drawn.channels, drawn.factors, drawn.origin
        self._drawn = drawn
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{drawn.name}.bytes"
        with locked(file.with_suffix(".lock"), wait=True):
            store = self._read(file)
            if store is None:
                self._draw(file)
                store = self._read(file)
        if store is None:
            raise OSError(f"{file} is not what was written to it.")
        self._store = store

    def __len__(self) -> int:
        return len(self._drawn)

    def images(self, index: Tensor) -> Tensor:
        return self._store[index.cpu()].to(index.device)

    def labels(self, index: Tensor) -> Tensor:
        return self._drawn.labels(index)

    def _read(self, file: Path) -> Tensor | None:
        """All pictures, mapped into memory; None if there is no such file, or if it has others."""
        shape = len(self), self.channels, SIZE, SIZE
        size = torch.Size(shape).numel()
        if not file.exists() or file.stat().st_size != size:
            return None
        store = torch.from_file(str(file), size=size, dtype=torch.uint8).view(shape)
        some = torch.linspace(0, len(self) - 1, PROBED).long()
        off = (store[some].float() - self._drawn.images(some).float()).abs().mean((1, 2, 3))
        return store if off.max() <= CLOSE else None

    def _draw(self, file: Path) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        partial = file.with_suffix(".partial")
        with open(partial, "wb") as out, tqdm(total=len(self), unit=" images", desc=f"drawing {self.name}") as progress:
            for index in torch.arange(len(self), device=device).split(BATCH):
                out.write(self._drawn.images(index).cpu().numpy().tobytes())
                progress.update(len(index))
            out.flush()
            os.fsync(out.fileno())
        if device.type == "cuda":
            torch.cuda.empty_cache()  # drawing takes gigabytes, which others may want
        os.replace(partial, file)


def kept(dataset: Dataset) -> Dataset:
    """`dataset`, from a file if UNRAVEL_PICTURES says where that is to be."""
    folder = os.environ.get(VARIABLE)
    return Kept(dataset, Path(folder)) if folder else dataset
