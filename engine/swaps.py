"""Swaps, blends and matrices of codes, written once for every method: pure functions, no given code is changed.

What is exchanged are parts of a code: slots of the method's layout, whole, or factors of its table, along
their axis only. Where content and style are slots, `sides` says which parts make which side; elsewhere any
subset of parts is one side, and what is left of the code the other.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.factors import Factor
from engine.method import Slot

Part = Slot | Factor


def sides(layout: Sequence[Slot]) -> tuple[tuple[Slot, ...], tuple[Slot, ...]]:
    """The slots of content and those of style; both empty for a method that does not tell them apart."""
    content, style = (tuple(slot for slot in layout if slot.role == role) for role in ("content", "style"))
    return (content, style) if content and style else ((), ())


def slots(table: Sequence[Factor]) -> tuple[Slot, ...]:
    """The slots that a table of factors was measured on, in the order of the code."""
    return tuple(sorted({Slot(*f.where, f.role) for f in table}, key=lambda slot: slot.start))


def blend(a: Tensor, b: Tensor, parts: Sequence[Part], share: float = 1.0, rest: float = 0.0) -> Tensor:
    """Codes a (B, D) with `parts` moved the `share` of the way to b (B, D), and all else the share `rest`.

    Shares of 1 and 0 are a with b's parts, 0 and 1 the reverse swap, and each may be anywhere between, or
    beyond. Where a whole slot and a factor within it are given, the slot is taken first.
    """
    code = torch.lerp(a, b, rest)
    for part in sorted(parts, key=lambda part: isinstance(part, Factor)):
        if isinstance(part, Factor):
            code = part.write(code, part.between(a, b, share))
        else:
            inside = slice(part.start, part.stop)
            code[:, inside] = torch.lerp(a[:, inside], b[:, inside], share)
    return code


def swap(a: Tensor, b: Tensor, parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Codes a and b (B, D) with their `parts` exchanged: a with b's, and b with a's."""
    return blend(a, b, parts), blend(b, a, parts)


def matrix(contents: Tensor, styles: Tensor, parts: Sequence[Part]) -> Tensor:
    """Every one of the codes `contents` (N, D) with the `parts`, those of style, of every one of `styles` (M, D):
    (N, M, D)."""
    count, wide = len(contents), len(styles)
    rows, columns = contents.repeat_interleave(wide, 0), styles.repeat(count, 1)
    return blend(rows, columns, parts).unflatten(0, (count, wide))


def nearest(codes: Tensor, query: Tensor, parts: Sequence[Slot], count: int) -> Tensor:
    """Numbers of the `count` codes (N, D) nearest to each of `query` (B, D) in `parts` alone, the nearest first:
    (B, count)."""
    inside = torch.cat([torch.arange(part.start, part.stop, device=codes.device) for part in parts])
    return torch.cdist(query[:, inside], codes[:, inside]).topk(count, largest=False).indices
