"""Which factors of several models mean the same, and how fast each model is, for seeing them side by side.

Two factors are taken for the same if the strongest label of both is the same; failing that, if both models know one
data set and their readings go together over its sample pictures, or the same is seen to happen to pictures. A better
reason goes before a weaker one, and no model has two factors in one row.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from statistics import median

import numpy as np
import torch

from engine.factors import Factor
from engine.gallery import gallery
from engine.serve import Engine, Refusal

TOGETHER = 0.8      # rank correlation of readings from which two factors are taken for the same
FRAMES = 9          # of the film that is timed
REPEATS = 5         # timings, of which the median counts
MOST = 4            # models side by side

Where = tuple[int, str]     # a model by its place in the list, and one of its factors
REASONS = ("label", "readings", "pictures")


@dataclass(frozen=True)
class Row:
    """Factors of several models that are taken for the same."""

    factors: tuple[str | None, ...]     # by the place of the model; None where it has no such factor
    reason: str                         # the weakest of REASONS that was needed
    strength: float                     # of that reason at its weakest: R², rank correlation, or 0 for pictures


@dataclass(frozen=True)
class Speed:
    """What one picture, or a film of FRAMES, takes: the median of REPEATS in milliseconds, on `device`."""

    encode: float
    decode: float
    refine: float       # the exact picture; once
    film: float
    device: str


def align(engine: Engine, models: Sequence[str]) -> list[Row]:
    """The factors that two or more of `models` share, in the order of the first model that has them. Raises Refusal."""
    if not isinstance(models, (list, tuple)) or not 1 <= len(models) <= MOST or len(set(models)) < len(models):
        raise Refusal(f"From 1 to {MOST} different models can stand side by side.")
    shown = [engine.model(name).sliders for name in models]
    table = {(i, f.name): f for i, factors in enumerate(shown) for f in factors}
    together = _readings(engine, models, shown)
    told = [{label for f in factors if (label := _label(engine, name, f.name))}
            for name, factors in zip(models, shown, strict=True)]
    links = []
    for (a, one), (b, other) in combinations(table, 2):
        if a != b:
            link = _link(engine, (models[a], one), (models[b], other), together.get(((a, one), (b, other)), 0.0))
            # What is seen says little of a factor whose label the other model has elsewhere.
            elsewhere = {_label(engine, models[a], one)} & told[b] | {_label(engine, models[b], other)} & told[a]
            if link and not (link[0] == "pictures" and elsewhere):
                gap = abs(table[a, one].rank - table[b, other].rank)
                links.append((REASONS.index(link[0]), -link[1], gap, (a, one), (b, other)))
    groups: dict[Where, set[Where]] = {where: {where} for where in table}
    reasons: dict[Where, tuple[int, float]] = {}
    for tier, strength, _, one, other in sorted(links):
        if {i for i, _ in groups[one]} & {i for i, _ in groups[other]}:
            continue
        joined = groups[one] | groups[other]
        for where in joined:
            groups[where] = joined
            reasons[where] = (tier, -strength)
    rows = {frozenset(g) for g in groups.values() if len(g) > 1}
    order = sorted(rows, key=lambda g: min((i, table[i, name].rank) for i, name in g))
    return [_row(group, len(models), reasons) for group in order]


def speed(engine: Engine, model: str, image: np.ndarray) -> Speed:
    """Time a model on a picture (64, 64, 3) uint8, as the worker computes it, without the wait. Raises Refusal."""
    code, shown = engine.encode(model, image[None]).get(), engine.model(model).sliders
    if not shown:
        raise Refusal(f"{model} has no factor to film.")

    def timed(work: object, times: int = REPEATS) -> float:
        answers = [work() for _ in range(times)]
        for answer in answers:
            answer.get()
        return round(median(answer.computed_ms for answer in answers), 2)

    return Speed(
        timed(lambda: engine.encode(model, image[None])), timed(lambda: engine.decode(model, code)),
        timed(lambda: engine.refine(model, code), 1),
        timed(lambda: engine.films(model, code[0], [shown[0].name], FRAMES)), device(engine),
    )


def device(engine: Engine) -> str:
    """What the engine computes on, in words."""
    if engine.device.type == "cuda":
        return torch.cuda.get_device_name(engine.device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' if threads > 1 else ''} of {os.cpu_count()} cores"


def _link(engine: Engine, one: tuple[str, str], other: tuple[str, str], together: float) -> tuple[str, float] | None:
    """The best reason to take two factors for the same, and its strength."""
    names = [engine.model(model).names.get(factor) for model, factor in (one, other)]
    labels = {_label(engine, model, factor) for model, factor in (one, other)}
    if len(labels) == 1 and None not in labels:
        return "label", min(name.labels[0].value for name in names)
    if together >= TOGETHER:
        return "readings", together
    common = engine.model(one[0]).data == engine.model(other[0]).data  # else "the object" is another object
    if common and all(names) and names[0].seen == names[1].seen and "nothing" not in (name.source for name in names):
        return "pictures", 0.0
    return None


def _label(engine: Engine, model: str, factor: str) -> str | None:
    """The label that gave a factor its name, if one did."""
    name = engine.model(model).names.get(factor)
    return name.labels[0].what if name and name.source == "labels" else None


def _readings(
    engine: Engine, models: Sequence[str], shown: Sequence[Sequence[Factor]]
) -> dict[tuple[Where, Where], float]:
    """|Rank correlation| of the readings of factors of models of the same data set, over its sample pictures."""
    ranks: dict[Where, np.ndarray] = {}
    for i, (name, factors) in enumerate(zip(models, shown, strict=True)):
        images = gallery(engine.model(name).data)
        if len(images):
            codes = torch.from_numpy(engine.encode(name, images).get())
            for factor in factors:
                order = factor.read(codes).numpy().argsort().argsort().astype(float)
                ranks[i, factor.name] = (order - order.mean()) / (order.std() * np.sqrt(len(order)))
    found = {}
    for one, other in product(ranks, ranks):
        if one[0] < other[0] and engine.model(models[one[0]]).data == engine.model(models[other[0]]).data:
            found[one, other] = float(abs(ranks[one] @ ranks[other]))
    return found


def _row(group: frozenset[Where], count: int, reasons: dict[Where, tuple[int, float]]) -> Row:
    named = dict(group)
    tier, strength = min((reasons[where] for where in group), key=lambda r: (-r[0], r[1]))
    return Row(tuple(named.get(i) for i in range(count)), REASONS[tier], round(strength, 2))
