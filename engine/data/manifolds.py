"""Manifolds: pictures made from two to four continuous factors and nothing else, drawn at random.

Made as the image manifolds of Horan, Richardson, Weiss, "When Is Unsupervised Disentanglement Possible?"
(NeurIPS 2021) are: a generator, a few of its inputs uniform and independent, the others fixed, 3,000
pictures. Here the generators are renderers; `engine.manifolds` has those whose generator is a trained model.

Two switches break what the theory needs, and leave everything else alone: `law='gaussian'` draws Gaussian
factors; `warped=True` turns the plane of the first two by an angle that grows from the middle outwards before
they are rendered, so that the pictures are as smooth and as many as before, but no isometry of the factors.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from engine.data.arrays import DataError
from engine.data.dataset import SIZE, Dataset, KnownFactor
from engine.data.face_paint import hue
from engine.data.faces import FACTORS, Faces

COUNT = 3000             # pictures, as many as the paper has of two factors
GAUSSIAN = 0.4           # standard deviation of a Gaussian factor, where the uniform one goes from -1 to 1
TURN = 2.0              # radians by which the plane is turned at distance 1 from the middle, if warped
PREFIX = "manifold-"     # of the names that `engine.data.load` knows these by

Render = Callable[[Tensor], Tensor]
Law = Literal["uniform", "gaussian"]


class Manifold(Dataset):
    """`count` pictures whose factors are independent, drawn by `seed`; each is rendered once, when first asked for."""

    def __init__(
        self,
        name: str,                   # without prefix and variant
        factors: tuple[str, ...],    # what moves, d names
        render: Render,              # factors (B, d), mostly in [-1, 1] -> (B, C, 64, 64) uint8
        origin: str,                 # who made these pixels, under which licence
        channels: int = 3,
        count: int = COUNT,
        seed: int = 0,
        law: Law = "uniform",
        warped: bool = False,
    ):
        variant = ("-gaussian" if law == "gaussian" else "") + ("-warped" if warped else "")
        self.name = PREFIX + name + variant
        self.channels = channels
        self.factors = tuple(KnownFactor(f, low=-1) for f in factors)
        self.origin = origin
        self.render = render
        generator = torch.Generator().manual_seed(seed)
        shape = count, len(factors)
        if law == "gaussian":
            self.values = GAUSSIAN * torch.randn(shape, generator=generator)
        else:
            self.values = 2 * torch.rand(shape, generator=generator) - 1
        self.moved = warp(self.values) if warped else self.values
        self._stores: dict[torch.device, tuple[Tensor, Tensor]] = {}    # pictures, and which of them are there

    def __len__(self) -> int:
        return len(self.values)

    def images(self, index: Tensor) -> Tensor:
        shape = len(self), self.channels, SIZE, SIZE
        with torch.inference_mode(False), torch.no_grad():
            pictures, there = self._stores.setdefault(index.device, (
                torch.empty(shape, dtype=torch.uint8, device=index.device),
                torch.zeros(len(self), dtype=torch.bool, device=index.device),
            ))
            missing = index[~there[index]].unique()
            for part in missing.split(500) if len(missing) else ():  # nothing, split, is one empty part
                pictures[part] = self.render(self.moved[part.cpu()].to(index.device))
                there[part] = True
            return pictures[index]

    def labels(self, index: Tensor) -> Tensor:
        return self.values.to(index.device)[index]


def warp(values: Tensor) -> Tensor:
    """Factors (B, d) -> (B, d): the plane of the first two turned by an angle proportional to the distance from
    the middle, and made smaller by sqrt(2), so that the corners of the square stay within it."""
    x, y = values[:, 0], values[:, 1]
    angle = TURN * torch.hypot(x, y)
    turned = torch.stack([angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y], 1)
    return torch.cat([turned / 2**0.5, values[:, 2:]], 1)


# ------------------------------------------------------------------------------------------------
# Renderers: factors (B, d) in [-1, 1] and some beyond -> (B, C, 64, 64) uint8.

def blob(values: Tensor) -> Tensor:
    """A soft grey spot at (x, y): white on black, one channel. Moving it is an isometry but for the rim."""
    return _bytes(_spot(14 * values[:, :1], 14 * values[:, 1:2], 6.0))


def spots(values: Tensor) -> Tensor:
    """A soft red and a soft blue spot, (x, y) each: they never meet in a channel."""
    red, blue = (_spot(14 * values[:, k:k + 1], 14 * values[:, k + 1:k + 2], 8.0) for k in (0, 2))
    return _bytes(torch.cat([red, torch.zeros_like(red), blue], 1))


def coloured_disc(values: Tensor) -> Tensor:
    """A soft disc at x, with a hue between red and blue."""
    return _bytes(_disc(14 * values[:, :1], torch.full_like(values[:, :1], 11.0)) * _colour(values[:, 1]))


def sized_disc(values: Tensor) -> Tensor:
    """A soft disc at x, with a size: a larger one moves more pixels, so no units are the same everywhere."""
    return _bytes(_disc(14 * values[:, :1], 10 + 4 * values[:, 1:2]) * _colour(torch.zeros_like(values[:, 1])))


def placed_disc(values: Tensor) -> Tensor:
    """A soft disc at (x, y), with a hue between red and blue."""
    disc = _disc(14 * values[:, :1], torch.full_like(values[:, :1], 11.0), 14 * values[:, 1:2])
    return _bytes(disc * _colour(values[:, 2]))


def face(ranges: dict[str, tuple[float, float]]) -> Render:
    """A renderer of Faces in which the factors named move over `ranges`, and the others rest in the middle of
    theirs. What a Gaussian factor puts beyond the limits of Faces is drawn at the limit."""
    numbers = [next(k for k, f in enumerate(FACTORS) if f.name == name) for name in ranges]
    low, high = torch.tensor([(f.low, f.high) for f in FACTORS], dtype=torch.float32).unbind(1)
    first, last = torch.tensor(list(ranges.values()), dtype=torch.float32).unbind(1)

    def render(values: Tensor) -> Tensor:
        everything = ((low + high) / 2).repeat(len(values), 1)
        everything[:, numbers] = torch.lerp(first, last, (values.cpu() + 1) / 2)
        return Faces().render(everything.clamp(low, high).to(values.device))

    return render


# Ranges within which no factor has a kink and all change the picture by similar amounts: along a manifold
# that is much narrower in one direction than it is curved in another, 3,000 pictures do not show its width.
FACES = {
    "pose": {"yaw": (-20, 20), "pitch": (-12, 12)},
    "pose-light": {"yaw": (-12, 12), "lamp": (-65, 65)},
    "age-smile": {"age": (0.55, 0.95), "smile": (0.05, 0.95)},
    "light-background": {"lamp": (-65, 65), "background hue": (0.0, 0.3)},
    "skin-hair": {"skin tone": (0.05, 0.95), "hair length": (0.1, 0.9)},
    "pose-light-age": {"yaw": (-12, 12), "lamp": (-65, 65), "age": (0.55, 0.95)},
}
DRAWN = "Drawn here from closed forms."
RENDERED: dict[str, tuple[tuple[str, ...], Render, str, int]] = {
    "blob": (("x", "y"), blob, DRAWN, 1),
    "disc-hue": (("x", "hue"), coloured_disc, DRAWN, 3),
    "disc-size": (("x", "size"), sized_disc, DRAWN, 3),
    "disc-place-hue": (("x", "y", "hue"), placed_disc, DRAWN, 3),
    "spots": (("red x", "red y", "blue x", "blue y"), spots, DRAWN, 3),
} | {f"faces-{label}": (tuple(ranges), face(ranges), Faces.origin, 3) for label, ranges in FACES.items()}


def rendered(name: str, count: int = COUNT, seed: int = 0, law: Law = "uniform", warped: bool = False) -> Manifold:
    """The rendered manifold called `name`, with or without prefix; DataError lists the known ones otherwise."""
    plain = name.removeprefix(PREFIX)
    if plain not in RENDERED:
        raise DataError(f"There is no manifold called {plain!r}; known are {', '.join(RENDERED)}.")
    factors, render, origin, channels = RENDERED[plain]
    return Manifold(plain, factors, render, origin, channels, count, seed, law, warped)


def _offsets(at: Tensor) -> Tensor:
    """Pixels' distance (B, 64) from places (B, 1), which are in pixels from the middle."""
    return torch.arange(SIZE, device=at.device) - (SIZE - 1) / 2 - at


def _spot(x: Tensor, y: Tensor, width: float) -> Tensor:
    """Gaussian spots at (x, y), each (B, 1) in pixels from the middle: (B, 1, 64, 64) in [0, 1]."""
    across, down = (torch.exp(-(_offsets(at) / width) ** 2 / 2) for at in (x, y))
    return (down[:, :, None] * across[:, None])[:, None]


def _disc(x: Tensor, radius: Tensor, y: Tensor | None = None) -> Tensor:
    """Discs with soft edges, eight pixels wide: (B, 1, 64, 64) in [0, 1]."""
    down = _offsets(torch.zeros_like(x) if y is None else y)
    distance = (_offsets(x)[:, None] ** 2 + down[:, :, None] ** 2).sqrt()
    return torch.sigmoid((radius[:, :, None] - distance) / 2)[:, None]


def _colour(values: Tensor) -> Tensor:
    """Hues (B, 3, 1, 1) from red at -1 to blue at 1."""
    return hue((values + 1) / 3, 1.0, 1.0)[:, :, None, None]


def _bytes(pictures: Tensor) -> Tensor:
    return (255 * pictures).round().to(torch.uint8)
