"""What every method is to the rest of the house: an encoder, a decoder and a layout of its code.

Sliders, strips, swaps, maps and metrics are written once against this file. A new method is one
file in `engine/methods/` whose class carries `@register`; its name is the file's name.
"""

import importlib
import math
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Paper:
    """The publication a method implements, as its card and the page cite it."""

    title: str
    authors: str
    year: int
    link: str
    not_to_confuse: str = ""


@dataclass(frozen=True)
class Slot:
    """A slice [start, stop) of the code and what it is for, before anything was measured.

    role: 'factor', 'content', 'style', or 'residual' (needed by the decoder, not to be dragged).
    """

    start: int
    stop: int
    role: str = "factor"


class Method(nn.Module, ABC):
    """A trainable model with a flat code of `code_size` floats.

    Subclasses take `(config, channels)` and keep both. `encode` and `decode` are deterministic;
    all randomness of `loss` comes from the generator it is given, so that a run can be resumed
    and captured in a CUDA graph.
    """

    name: ClassVar[str]    # set by `register`
    paper: ClassVar[Paper]
    Config: ClassVar[type]  # frozen dataclass: drives the command line, saved beside the weights
    training_only: ClassVar[tuple[str, ...]] = ()  # submodules that only `loss` needs; model folders lack them
    ordered: ClassVar[bool] = False  # slots come in an order that means something, which the page keeps
    discrete: ClassVar[bool] = False  # each number of the code takes a few values only
    stored: ClassVar[torch.dtype] = torch.float32  # of the weights in a model folder; torch.int8: `engine.eight_bits`

    channels: int
    code_size: int

    @property
    def title(self) -> str:
        """What the field calls this model."""
        return type(self).__name__

    @property
    def ways(self) -> tuple[str, str]:
        """What the quick and the slow way of drawing are called; nothing where `refine` is `decode`."""
        return "", ""

    def layout(self) -> tuple[Slot, ...]:
        """The slots of the code; together they cover it once. One for each number if a method has no other."""
        return tuple(Slot(j, j + 1) for j in range(self.code_size))

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Images (B, C, 64, 64) in [0, 1] -> codes (B, D)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Codes (B, D) -> images (B, C, 64, 64) in [0, 1]."""

    def refine(self, code: Tensor) -> Tensor:
        """What `decode` answers, with more care where a method has a quick way and a slow one."""
        return self.decode(code)

    def represent(self, x: Tensor) -> Tensor:
        """Images (B, C, 64, 64) -> what scores look at (B, R): their codes, or as many of the first slots
        as are factors where the rest is a copy of the picture."""
        return self.encode(x)

    @abstractmethod
    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        """Images (B, C, 64, 64) in [0, 1] and the step number (a 0-d tensor, so that schedules
        live inside a captured graph) -> named scalar terms, 'loss' being the one to minimise.

        `stage` counts the boundaries of `stages` already passed.
        """

    def prepare(self, pictures: Callable[[int], Tensor]) -> None:
        """Look at training images before the first step, also before the first after an interruption.

        pictures: a function of a number n that answers with n of them, or all if there are fewer, the same
        whenever it is asked: (n, C, 64, 64) uint8. What is kept here is not saved with the run.
        """

    @property
    def asks(self) -> str:
        """The kind of which it wants to be told, in training, which pictures are of one, see `Dataset.alike`: a weak
        label; '' for none, as nearly all."""
        return ""

    @property
    def supposes(self) -> str:
        """What it takes for granted of each of those, after "that each KIND"; '' for nothing."""
        return ""

    def group(self, classes: Callable[[int], Tensor]) -> None:
        """Take note, after `prepare`, of what it asks for: `classes` is as `pictures`, with their classes (n,)."""

    def fuse(self) -> None:
        """Called before the first step of a training run that fuses the kernels of `loss`: for what `loss` calls
        outside of what is fused, as what would take too long to be."""

    def finish(self, pictures: Callable[[int], Tensor]) -> None:
        """Look at them again after the last step, and settle what the code's axes are."""

    def stages(self) -> tuple[int, ...]:
        """Steps at which `loss` changes its form; the trainer captures a new graph there."""
        return ()

    def rate(self, step: Tensor, steps: int, stage: int) -> Tensor:
        """Share of the peak learning rate at `step` (0-d) of a run of `steps`: a cosine to 0."""
        return 0.5 * (1 + torch.cos(math.pi * step / steps))

    def groups(self) -> list[dict]:
        """Optimiser groups; an entry may carry its own `betas`."""
        return [{"params": list(self.parameters())}]


def staged_rate(
    step: Tensor, steps: int, stage: int, boundaries: tuple[int, ...], peak: float, warm_up: int, floor: float = 0.0
) -> Tensor:
    """What `Method.rate` is where every stage begins anew: `peak` after a linear warm-up of `warm_up` steps, then a
    cosine to 0, or to the share `floor` of the peak at the end of all stages but the last."""
    first, last = (0, *boundaries, steps)[stage:stage + 2]
    done = ((step - first) / max(last - first, 1)).clamp(0, 1)
    warm = ((step - first + 1) / max(warm_up, 1)).clamp(max=1)
    low = 0.0 if last == steps else floor
    return peak * warm * (low + (1 - low) * 0.5 * (1 + torch.cos(math.pi * done)))


_registry: dict[str, type[Method]] = {}


def register(cls: type[Method]) -> type[Method]:
    """Class decorator: list a method under the name of its file."""
    cls.name = cls.__module__.rpartition(".")[2]
    _registry[cls.name] = cls
    return cls


def methods() -> dict[str, type[Method]]:
    """Every method by name."""
    from engine import methods as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_registry.items()))


def method(name: str) -> type[Method]:
    """The method called `name`; ValueError lists the known ones otherwise."""
    known = methods()
    if name not in known:
        raise ValueError(f"There is no method called '{name}'; known are {', '.join(known)}.")
    return known[name]


def initialised(cls: type[Method], config: object, channels: int, number: int) -> Method:
    """A model whose initial weights are those numbered `number`, drawn on the CPU: the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        return cls(config, channels)


def named_slots(layout: tuple[Slot, ...]) -> Iterator[tuple[str, Slot]]:
    """Slots with the names they carry until something better is known: z0, z1, ..."""
    return ((f"z{number}", slot) for number, slot in enumerate(layout))
