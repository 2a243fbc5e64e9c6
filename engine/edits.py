"""Edits of codes, written once for every method: pure functions, the given code is never changed."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from engine.factors import Factor


def edit(code: Tensor, table: Sequence[Factor], values: Mapping[str, float]) -> Tensor:
    """Codes (B, D) with the factors named in `values` set to the given positions."""
    factors = {f.name: f for f in table}
    for name, value in values.items():
        code = factors[name].write(code, torch.full((len(code),), float(value)).to(code))
    return code


def traverse(code: Tensor, factor: Factor, count: int) -> Tensor:
    """One code (D,) -> `count` codes (count, D) along `factor` from low to high."""
    return factor.write(code.expand(count, -1), factor.ladder(count).to(code))


def draw(table: Sequence[Factor], mean: Tensor, seed: int) -> Tensor:
    """A random code (D,): every factor drawn by itself from the data's distribution.

    Slices without a visible factor stay at `mean` (D,). The draw is made on the CPU, so one seed
    is one image on every device.
    """
    generator = torch.Generator().manual_seed(seed)
    code = mean[None].clone()
    for factor in table:
        position = torch.rand(1, generator=generator).item() * (len(factor.quantiles) - 1)
        left = min(int(position), len(factor.quantiles) - 2)
        a, b = factor.quantiles[left:left + 2]
        value = a + (b - a) * (position - left)
        if factor.rank >= 0:
            code = factor.place(code, torch.tensor([value]).to(code))
    return code[0]
