"""Latent arithmetic: the average of some pictures minus the average of others, as a way to go for a third.

Only what the factors with a slider say of that difference is kept, so that a picture moved along it is one that the
sliders can show. Whether it does the same in every picture is measured: it is added to many, and the model reads its
own pictures of them before and after.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from engine.factors import Factor
from engine.method import Method
from engine.serve import Engine, Refusal


@dataclass(frozen=True)
class Difference:
    """A difference of averages and what it does. Shares of the way: 1 is all of it."""

    steps: dict[str, float]     # along each factor, in its own units
    covered: float              # share of the squared length of the whole difference that the factors say
    mean: float                 # how much of the way pictures go, as the model reads them
    spread: float               # standard deviation of that over the pictures
    aside: float                # how far they go in other directions, as a share of the way; root mean square


def difference(
    engine: Engine, model: str, plus: ArrayLike, minus: ArrayLike, factors: Sequence[Factor], many: ArrayLike
) -> Difference:
    """Codes plus (N, D) and minus (M, D) -> the mean of the first less the mean of the second, along `factors`,
    measured on the codes `many` (B, D). Raises Refusal."""
    more, less, bases = (engine.codes(model, codes) for codes in (plus, minus, many))
    whole = more.mean(0) - less.mean(0)
    steps = {f.name: float(whole[slice(*f.where)] @ torch.tensor(f.axis)) for f in factors}
    kept = along(factors, steps, len(whole))
    if kept.norm() < 1e-6:
        raise Refusal("Both groups of pictures are the same on the average; choose others.")
    before, after = (torch.from_numpy(engine.perform(model, redrawn, rows).get()) for rows in (bases, bases + kept))
    scale = torch.tensor([f.high - f.low for f in factors])
    wanted = torch.tensor(list(steps.values())) / scale                                  # in shares of the ranges
    found = torch.stack([f.read(after) - f.read(before) for f in factors], 1) / scale    # (B, F)
    share = found @ wanted / wanted.square().sum()
    rest = (found - share[:, None] * wanted).norm(dim=1) / wanted.norm()
    return Difference(
        steps, float(kept.square().sum() / whole.square().sum()), float(share.mean()),
        float(share.std(correction=0)), float(rest.square().mean().sqrt()),
    )


def along(factors: Sequence[Factor], steps: dict[str, float], size: int) -> Tensor:
    """Steps along factors as a vector (size,)."""
    vector = torch.zeros(size)
    for f in factors:
        vector[slice(*f.where)] += steps[f.name] * torch.tensor(f.axis)
    return vector


def redrawn(net: Method, codes: Tensor) -> Tensor:
    """Codes (B, D) -> what the model reads off its quick pictures of them, in whole bytes (B, D)."""
    return net.encode((255 * net.decode(codes)).round() / 255)
