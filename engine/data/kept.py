"""Pictures that take long to draw, drawn once for all processes that want them.

A CPU draws tens of faces a second, a GPU thousands, and trainings and scorings that share a machine would all draw
the same ones. If the environment variable UNRAVEL_PICTURES names a folder, the first process with a GPU draws the
whole set into a file there, 2.5 GB, while the others wait, and everybody reads that file. A process without a GPU
never draws it: the few thousand pictures that it may need are drawn sooner.
"""

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from engine.data.arrays import DataError
from engine.data.dataset import SIZE, Dataset
from engine.files import locked

VARIABLE = "UNRAVEL_PICTURES"
BATCH = 2048
PROBED, CLOSE = 8, 2.0  # pictures that tell a damaged file, and grey levels that devices may differ by


class Kept(Dataset):
    """The pictures of `drawn`, read from a `store` of them all, (N, C, 64, 64) uint8."""

    def __init__(self, drawn: Dataset, store: Tensor):
        self.name, self.channels, self.factors, self.origin = drawn.name, drawn.channels, drawn.factors, drawn.origin
        self._drawn, self._store = drawn, store

    def __len__(self) -> int:
        return len(self._drawn)

    def images(self, index: Tensor) -> Tensor:
        return self._store[index.cpu()].to(index.device)

    def labels(self, index: Tensor) -> Tensor:
        return self._drawn.labels(index)

    def alike(self, kind: str) -> Dataset:
        told = self._drawn.alike(kind)
        return self if told is self._drawn else told


def kept(drawn: Dataset, sources: tuple[Path, ...]) -> Dataset:
    """`drawn`, read from a file if UNRAVEL_PICTURES says where that is, and it is there or a GPU can draw it.

    sources: the files that decide what the pictures are; of others, they are drawn into another file. Raises
    DataError if the folder or the file cannot be written.
    """
    folder, able = os.environ.get(VARIABLE), torch.cuda.is_available()
    if not folder:
        return drawn
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    file = Path(folder) / f"{drawn.name}-{digest[:12]}.bytes"
    try:
        store = read(drawn, file)
        if store is None and able:
            store = made(drawn, file, torch.device("cuda"))
    except OSError as error:
        raise DataError(f"{file} cannot be kept: {error.strerror or error}.") from None
    return drawn if store is None else Kept(drawn, store)


def read(drawn: Dataset, file: Path) -> Tensor | None:
    """All pictures of `drawn`, mapped into memory; None if there is no such file, or it is damaged."""
    shape = len(drawn), drawn.channels, SIZE, SIZE
    size = torch.Size(shape).numel()
    if not file.is_file() or file.stat().st_size != size:
        return None
    store = torch.from_file(str(file), size=size, dtype=torch.uint8).view(shape)
    some = torch.linspace(0, len(drawn) - 1, PROBED).long()
    off = (store[some].float() - drawn.images(some).float()).abs().mean((1, 2, 3))
    return store if off.max() <= CLOSE else None


def made(drawn: Dataset, file: Path, device: torch.device) -> Tensor:
    """As `read`, of a file that is drawn on `device` unless another process, for which this one waits, has drawn it.
    Raises OSError if it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.with_suffix(".lock"), wait=True):
        if (store := read(drawn, file)) is None:
            draw(drawn, file, device)
            store = read(drawn, file)
    if store is None:
        raise OSError("it is not what was written to it")
    return store


def draw(drawn: Dataset, file: Path, device: torch.device) -> None:
    """Write all pictures of `drawn`; nothing is left of a file that could not be finished."""
    partial = file.with_suffix(f".{os.getpid()}")  # one's own, where the system has no locks
    try:
        with open(partial, "wb") as out, tqdm(total=len(drawn), unit=" images", desc=f"drawing {drawn.name}") as bar:
            for index in torch.arange(len(drawn), device=device).split(BATCH):
                out.write(drawn.images(index).cpu().numpy().tobytes())
                bar.update(len(index))
            out.flush()
            os.fsync(out.fileno())
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # drawing takes gigabytes, which others may want
