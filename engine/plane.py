"""Two factors at once: the pictures of a square of their values, in one batch."""

from collections.abc import Hashable, Sequence

import torch
from numpy.typing import ArrayLike

from engine import edits
from engine.serve import MAX_ROWS, Answer, Engine, Refusal


def plane(
    engine: Engine, model: str, code: ArrayLike, names: Sequence[str], count: int, lane: Hashable = None
) -> Answer:
    """One code (D,) and the names of two factors -> pictures (count, count, 64, 64, 3) uint8: in row r and column c
    the first factor at the c-th and the second at the r-th of `count` even positions from low to high."""
    try:
        if not isinstance(names, (list, tuple)) or len(names) != 2 or names[0] == names[1]:
            raise Refusal("A plane has two different factors.")
        if type(count) is not int or not 2 <= count <= MAX_ROWS**0.5:
            raise Refusal(f"A plane has from 2 to {int(MAX_ROWS**0.5)} pictures a side.")
        across, up = (engine.factor(model, name) for name in names)
        column = edits.traverse(engine.codes(model, [code])[0], up, count)
        rows = torch.cat([edits.traverse(one, across, count) for one in column])
    except Refusal as refusal:
        return Answer(0, error=str(refusal))
    answer = engine.perform(model, "decode", rows, lane)
    if answer.value is None:
        return answer
    return Answer(**{**vars(answer), "value": answer.value.reshape(count, count, *answer.value.shape[1:])})
