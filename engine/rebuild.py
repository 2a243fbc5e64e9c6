"""A target to rebuild, and how near one has come: the rules of the task, without a page and without a model.

A target is the start picture with a few of its factors set elsewhere, so the model's own sliders can reach it. How near
a picture is, is the share of the starting distance that is gone: 0 at the start, 1 at the target, negative for what
has become worse. It is measured twice. In pictures, which is what a player sees, at three sizes, so that an object
almost in its place counts for more than one at the other side. In codes, as a share of every slider's range, which
also tells of sliders that are wrong and cannot be seen.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from engine.factors import Factor

SIZES = (64, 32, 16)     # pixels a side at which pictures are compared
FAR = 0.35               # of its range by which a factor of the target is away from the start, at least
FAINT = 0.2              # of the strongest effect: a factor that changes less is not asked for
WON = 0.9                # share of the distance between pictures that must be gone
ROUNDS = (1, 2, 3)       # factors changed in each round


def deal(table: Sequence[Factor], positions: Mapping[str, float], count: int, seed: int) -> dict[str, float]:
    """The target's values of `count` factors out of a table with a slider for each, at `positions` in the start
    picture, by name; fewer if so many cannot be seen well. The same for the same seed."""
    random = np.random.default_rng([seed, count])
    strongest = max((factor.evidence.get("effect", 0.0) for factor in table), default=0.0)
    clear = [factor for factor in table if factor.evidence.get("effect", 0.0) >= FAINT * strongest]
    chosen = random.permutation(len(clear))[:count]
    return {clear[k].name: elsewhere(clear[k], positions[clear[k].name], random.random()) for k in sorted(chosen)}


def elsewhere(factor: Factor, position: float, share: float) -> float:
    """A place in the range of a factor at least FAR of it away from `position`, round either way if it is closed;
    `share` in [0, 1) chooses evenly among all of them."""
    at = float(np.clip((position - factor.low) / (factor.high - factor.low), 0, 1))
    if factor.closed:
        return factor.low + (factor.high - factor.low) * ((at + FAR + share * (1 - 2 * FAR)) % 1)
    below, above = max(0.0, at - FAR), max(0.0, 1 - at - FAR)
    place = share * (below + above)
    return factor.low + (factor.high - factor.low) * (place if place < below else at + FAR + place - below)


def between_pictures(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """How far pictures (..., 64, 64, 3) uint8 are apart, in grey levels (...): root mean squares at all of SIZES,
    averaged."""
    apart = one.astype(np.float32) - other.astype(np.float32)
    found = []
    for size in SIZES:
        step = apart.shape[-2] // size
        small = apart.reshape(*apart.shape[:-3], size, step, size, step, 3).mean((-4, -2))
        found.append(np.sqrt((small**2).mean((-3, -2, -1))))
    return np.mean(found, 0)


def between_codes(table: Sequence[Factor], one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """How far two sets of slider positions are apart: the root of the sum of squares, each in its slider's range."""
    return float(np.sqrt(sum(f.way(one[f.name], other[f.name]) ** 2 for f in table)))


def removed(now: float, begin: float) -> float:
    """The share of the starting distance that is gone: 1 if nothing is left, below 0 if it has grown."""
    return 1 - now / begin if begin > 0 else float(now <= 0)
