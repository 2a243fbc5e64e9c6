"""What every data set looks like to the rest of the engine.

A data set is a numbered list of 64x64 images with, where they are known, the factors that made
each one. `images` and `labels` take a tensor of numbers and answer on the device that tensor
lives on, so the same renderer fills a GPU before training and makes single batches on a laptop.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

SIZE = 64  # every data set is served at 64x64, the format of the published benchmarks


@dataclass(frozen=True)
class KnownFactor:
    """One ground-truth factor: a finite ladder of `values`, or any number in [low, high]."""

    name: str
    values: tuple[float, ...] = ()  # empty for a continuous factor
    low: float = 0.0
    high: float = 1.0
    circular: bool = False          # hue or a full turn: the ends meet
    categorical: bool = False       # classes without an order, as the shape of an object

    @property
    def size(self) -> int:
        """Number of values; 0 for a continuous factor."""
        return len(self.values)


class Dataset(ABC):
    """Images by number. Subclasses set `name`, `channels`, `factors` and `origin`."""

    name: str                               # what it is called
    path: str = ""                          # where it was read from, if `load` does not know it by its name
    channels: int                           # 1 or 3
    factors: tuple[KnownFactor, ...] = ()   # empty where nothing is known
    origin: str                             # one sentence: who made these pixels, under which licence

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def images(self, index: Tensor) -> Tensor:
        """index (B,) int64 in [0, len) -> (B, C, 64, 64) uint8, on `index`'s device."""

    @abstractmethod
    def labels(self, index: Tensor) -> Tensor:
        """index (B,) int64 -> (B, K) float32: one column per entry of `factors`.

        A factor with a ladder answers its class number, a continuous one its value.
        """

    def alike(self, kind: str) -> "Dataset":
        """The data set that tells which pictures are of one `kind`, a factor with classes: this one, unless it has
        none of that name and another one shows the same things so."""
        return self


class Grid(Dataset):
    """Every combination of K discrete factors in row-major order, the last factor fastest."""

    def __len__(self) -> int:
        return prod(f.size for f in self.factors)

    def classes(self, index: Tensor) -> Tensor:
        """index (B,) -> class numbers (B, K) int64."""
        columns = []
        for factor in reversed(self.factors):
            columns.append(index % factor.size)
            index = index // factor.size
        return torch.stack(columns[::-1], dim=1)

    def index(self, classes: Tensor) -> Tensor:
        """class numbers (B, K) -> index (B,), the inverse of `classes`."""
        index = torch.zeros_like(classes[:, 0])
        for k, factor in enumerate(self.factors):
            index = index * factor.size + classes[:, k]
        return index

    def labels(self, index: Tensor) -> Tensor:
        return self.classes(index).float()


def split(n: int, held_out: float = 0.02) -> tuple[Tensor, Tensor]:
    """Fixed split of n images: numbers to train on, numbers never trained on.

    The permutation is drawn on the CPU with a fixed seed, so every machine agrees on it.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    cut = max(1, round(n * held_out))
    return order[cut:].sort().values, order[:cut]
