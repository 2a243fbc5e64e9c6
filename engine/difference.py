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
    start, end = less.mean(0, keepdim=True), more.mean(0, keepdim=True)
    shares = torch.tensor([f.way(f.read(start).item(), f.read(end).item()) for f in factors])
    kept = along(factors, shares, start) - start
    if kept.norm() < 1e-6:
        raise Refusal("Both groups of pictures are the same on the average; choose others.")
    before, after = (torch.from_numpy(engine.perform(model, redrawn, rows).get())
                     for rows in (bases, along(factors, shares, bases)))
    found = torch.stack([f.way(f.read(before), f.read(after)) for f in factors], 1)      # (B, F)
    share = found @ shares / shares.square().sum()
    rest = (found - share[:, None] * shares).norm(dim=1) / shares.norm()
    return Difference(
        {f.name: float(part) * (f.high - f.low) for f, part in zip(factors, shares, strict=True)},
        float(kept.square().sum() / (end - start).square().sum()), float(share.mean()),
        float(share.std(correction=0)), float(rest.square().mean().sqrt()),
    )


def along(factors: Sequence[Factor], shares: Tensor, codes: Tensor) -> Tensor:
    """Codes (B, D) moved along each factor by a share of its range, shares (F,): (B, D)."""
    for f, part in zip(factors, shares.tolist(), strict=True):
        codes = f.write(codes, f.read(codes) + part * (f.high - f.low))
    return codes


def redrawn(net: Method, codes: Tensor) -> Tensor:
    """Codes (B, D) -> what the model reads off its quick pictures of them, in whole bytes (B, D)."""
    return net.encode((255 * net.decode(codes)).round() / 255)
