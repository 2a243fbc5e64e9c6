"""What an edit carries along: factors that nobody touched and that the model reads differently afterwards.

A model is asked twice what it sees: in its own picture of a code, and in its own picture of the edited code.
What the two answers differ in has moved. As the unedited picture is read in the same way, a model that reads its
pictures badly, but steadily, is not blamed for that.
"""

from collections.abc import Hashable, Iterable

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from engine.factors import Factor
from engine.method import Method
from engine.serve import Answer, Engine, Refusal


def read_back(net: Method, codes: Tensor) -> Tensor:
    """Codes (B, D) -> the codes (B, D) that the model reads off its own exact pictures of them, in whole bytes."""
    return net.encode((255 * net.refine(codes)).round() / 255)


def reading(engine: Engine, model: str, code: ArrayLike, lane: Hashable = None) -> Answer:
    """One code (D,) -> what `model` reads off its exact picture of it: (1, D) float32."""
    try:
        rows = engine.codes(model, [code])
    except Refusal as refusal:
        return Answer(0, error=str(refusal))
    return engine.perform(model, read_back, rows, lane)


def shifts(factors: Iterable[Factor], before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """How far each factor is from one code (D,) to another, by its name: 1 is the way from its low to its high end."""
    both = np.stack([before, after]).astype(np.float64)
    return {f.name: f.way(*f.positions(both).tolist()) for f in factors}
