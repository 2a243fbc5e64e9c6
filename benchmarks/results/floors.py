"""What each score gives to codes of known worth: the floors and ceilings beside which to read a table.

    python -m benchmarks.results.floors DATA CODE DRAW FILE

scores one of `CODES` made from the true factors of DATA as engine.evaluate scores a model's, and
writes the scores to FILE. Several scores are far from the scale of 0 to 1 that they seem to have.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from engine.data import Dataset, load
from engine.evaluate import score_codes
from engine.files import write_atomically

Code = Callable[[np.ndarray, int], np.ndarray]  # standardised factors (N, K) and a seed -> codes (N, D)


def perfect(factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """The truth, mirrored and in another order, beside two collapsed latents."""
    return np.pad(-factors[:, ::-1], ((0, 0), (1, 1)))


def rotated(factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """All of the truth, on axes turned at random."""
    size = factors.shape[1]
    return factors @ np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def bent(factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Ten outputs of a random tanh net with a hidden layer of 64: entangled, not linearly."""
    rng = np.random.default_rng(seed)
    hidden = np.tanh(factors @ rng.normal(size=(factors.shape[1], 64)) / np.sqrt(factors.shape[1]))
    return np.tanh(hidden @ rng.normal(size=(64, 10)) / 8)


def doubled(factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Every factor in two latents."""
    return np.tile(factors, 2)


def noise(factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Ten latents that know nothing."""
    return np.random.default_rng(seed).normal(size=(len(factors), 10))


# By name: label, code, draws.
CODES: dict[str, tuple[str, Code, int]] = {
    "perfect": ("perfect, and two dead latents", perfect, 1),
    "doubled": ("every factor in two latents", doubled, 1),
    "rotated": ("random rotation of the truth", rotated, 3),
    "bent": ("random tanh net of the truth, 10 latents", bent, 3),
    "noise": ("noise, 10 latents", noise, 1),
}


@dataclass(frozen=True)
class Floor:
    """One draw of one code on one data set."""

    code: str
    data: str
    draw: int

    @property
    def name(self) -> str:
        return f"floor-{self.code}-{self.data}"


def floors(data: tuple[str, ...]) -> list[Floor]:
    """All draws of all codes."""
    return [Floor(code, d, draw) for d in data for code, (*_, draws) in CODES.items() for draw in range(draws)]


def standard(data: Dataset, index: Tensor) -> np.ndarray:
    """The true factors (N, K) of the images numbered `index`, each with mean 0 and variance 1."""
    columns = []
    for factor, column in zip(data.factors, data.labels(index).numpy().astype(np.float64).T, strict=True):
        if factor.values:
            middle, spread = (factor.size - 1) / 2, np.sqrt((factor.size**2 - 1) / 12)
        else:
            middle, spread = (factor.low + factor.high) / 2, (factor.high - factor.low) / np.sqrt(12)
        columns.append((column - middle) / (spread or 1))
    return np.stack(columns, 1)


def main() -> None:
    """Entry point of `python -m benchmarks.results.floors`."""
    data, code, draw, file = sys.argv[1:]
    dataset, make = load(data), CODES[code][1]
    scores = score_codes(lambda index: make(standard(dataset, index), int(draw)), dataset)
    write_atomically(Path(file), json.dumps(scores, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
