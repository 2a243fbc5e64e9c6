"""Names for factors, from evidence: what a factor does to pictures, and which label its readings go with.

    python -m engine.naming [FOLDER ...]

names the factors of every shipped model, or of the folders given, into their names.json. The two kinds of
evidence never meet before the name is chosen, so each can be judged by the other: `engine.changes` sees no
label, and `fits` sees no picture. A label gives the name where there are labels and one or two account for
most of the readings; what is seen gives it everywhere else, by the plain rules of this file.
"""

import argparse
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine import changes, checkpoint, edits, factors, names, swaps
from engine.changes import Change
from engine.data import DataError, Dataset, KnownFactor, load, split
from engine.factors import FILM_FRAMES, VISIBLE, Factor
from engine.method import Method
from engine.metrics import mutual_information
from engine.names import LONGEST, SEEN, Evidence, Name
from engine.serve import MODELS

BASES = 32              # pictures that every factor is tried on
LABELLED = 1000         # pictures whose readings are held against their labels; held-out ones first
BINS = 20               # of a continuous label
FEW = 20                # pictures that every class of a label needs on average

TOLD = 0.5              # share of the readings' variance that labels must account for to give the name
SECOND = 0.15           # share from which a second thing makes a factor mixed

WAYS = {                # what is said of a motion whose measurement rises, and falls; and what it changes
    "right": ("moves {} right", "moves {} left", "place"),
    "down": ("moves {} down", "moves {} up", "place"),
    "larger": ("makes {} larger", "makes {} smaller", "size"),
    "wider": ("makes {} wider", "makes {} narrower", "size"),
    "taller": ("makes {} taller", "makes {} shorter", "size"),
    "turn": ("turns {} clockwise", "turns {} anticlockwise", "angle"),
}


# ------------------------------------------------------------------------------------------------
# By pictures

def describe(change: Change) -> tuple[str, tuple[Evidence, ...]]:
    """What is said of a change, in LONGEST characters, and the measurements it rests on."""
    if change.effect < VISIBLE:
        return "nothing visible", ()
    evidence = tuple(_evidence(change, what) for what in change.found)
    if sum(change.found.values()) < SEEN:
        return f"changes {place(change)}", evidence
    kinds: dict[str, float] = {}
    for what, share in change.found.items():
        kind = "colour" if what == "colour" else WAYS[what][2]
        kinds[kind] = kinds.get(kind, 0) + share
    main = [kind for kind, share in kinds.items() if share >= SECOND]
    main = sorted(main, key=kinds.get, reverse=True)[:2] or [max(kinds, key=kinds.get)]
    if len(main) == 1:
        return _only(change, main[0]), evidence
    short = [_tone(change) if kind == "colour" else kind for kind in main]
    full = [f"{name} of {place(change)}" if kind == "colour" else name for kind, name in zip(main, short, strict=True)]
    return fitting(f"{' and '.join(full)} (mixed)", f"{' and '.join(short)} (mixed)"), evidence


def place(change: Change) -> str:
    """Where a change is, with its article."""
    right, down = change.offset
    if change.on_object >= 0.5:
        if max(abs(right), abs(down)) < 0.35:
            return "the object" if change.covers >= 0.3 else "the object's middle"
        side = ("left", "right")[right > 0] if abs(right) > abs(down) else ("upper", "lower")[down > 0]
        return f"the object's {side} part"
    cells = np.array(change.cells)
    rows, columns, half = cells.sum(1), cells.sum(0), len(cells) // 2
    for name, share in (("upper", rows[:half].sum()), ("lower", rows[half:].sum()),
                        ("left", columns[:half].sum()), ("right", columns[half:].sum())):
        if share >= 0.75:
            return f"the {name} half"
    if cells[1:-1, 1:-1].sum() >= 0.6:
        return "the centre"
    if rows[1:-1].sum() >= 0.8:
        return "the middle band"
    return "the background" if change.on_object < 0.2 and change.area >= 0.25 else "the picture"


def _only(change: Change, kind: str) -> str:
    """What is said of a change of one kind."""
    if kind == "colour":
        return f"{_tone(change)} of {place(change)}"
    found = [what for what in WAYS if what in change.found and WAYS[what][2] == kind]
    if kind == "size" and len(found) > 1:
        found = ["larger"]
    elif min(change.found[what] for what in found) < SECOND:
        found = [max(found, key=change.found.get)]
    said = [WAYS[what][change.measured[what].agreement < 0].format("the object") for what in found]
    return said[0] if len(said) == 1 else f"{said[0]} and {said[1].rsplit(' ', 1)[1]}"


def _tone(change: Change) -> str:
    """The word for a change of colour: what most of it is, or 'colour'."""
    kind = max(change.colour, key=change.colour.get)
    return kind if change.colour[kind] >= 0.6 else "colour"


def _evidence(change: Change, what: str) -> Evidence:
    """One measurement that accounts for a change."""
    share = round(change.found[what], 4)
    if what == "colour":
        kind = max(change.colour, key=change.colour.get)
        seen = change.measured[kind]
        amount = f"{seen.amount:.0f}°" if kind == "hue" else f"{abs(seen.amount):.0%}"
        return Evidence(f"{_tone(change)} of {place(change)}", amount, "R²" if kind == "hue" else "r",
                        round(seen.agreement, 4), share)
    seen = change.measured[what]
    rising, falling, kind = WAYS[what]
    said, size = (falling if seen.agreement < 0 else rising).format("the object"), abs(seen.amount)
    amount = {"angle": f"{size:.0f}°", "place": f"{size:.0f} px", "size": f"×{np.exp(size):.1f}"}[kind]
    return Evidence(said, amount, "r", round(abs(seen.agreement), 4), share)


# ------------------------------------------------------------------------------------------------
# By labels

def fits(readings: np.ndarray, labels: np.ndarray, known: tuple[KnownFactor, ...]) -> tuple[Evidence, ...]:
    """Readings (N,) of one factor against labels (N, K) as a data set gives them -> the evidence, best first.

    R²: the share of the readings' variance that lies between the classes of a label, or BINS of a continuous
    one, corrected for their number. Any dependence counts, so a circular label needs no other fit than an
    ordered one. How much is said of a label without an order is given in bits as well (mutual information).
    """
    found = []
    for column, factor in enumerate(known):
        classes = labels[:, column].astype(np.int64)
        if not factor.values:
            share = (labels[:, column] - factor.low) / (factor.high - factor.low)
            classes = (share * BINS).astype(np.int64).clip(0, BINS - 1)
        if factor.size == 1 or len(readings) < FEW * (factor.size or BINS):
            continue
        value = round(max(0.0, between(readings, classes)), 4)
        told = f"{bits(readings, classes):.1f} bits of {np.log2(factor.size):.1f}" if factor.categorical else ""
        found.append(Evidence(factor.name, told, "R²", value, value))
    return tuple(sorted(found, key=lambda e: -e.value))


def between(readings: np.ndarray, classes: np.ndarray) -> float:
    """Share of the variance of readings (N,) that is between classes (N,), corrected for their number."""
    _, inverse, count = np.unique(classes, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, readings) / count
    total = ((readings - readings.mean())**2).sum()
    free = len(readings) - len(count)
    if total <= 1e-12 or free < 1:
        return 0.0
    return float(1 - ((readings - means[inverse])**2).sum() / free / (total / (len(readings) - 1)))


def bits(readings: np.ndarray, classes: np.ndarray) -> float:
    """Mutual information of readings (N,), cut into BINS of equal count, and classes (N,)."""
    edges = np.quantile(readings, np.linspace(0, 1, BINS + 1)[1:-1])
    return mutual_information(np.searchsorted(edges, readings, "right"), classes) / np.log(2)


# ------------------------------------------------------------------------------------------------
# The name

def name(change: Change, labels: tuple[Evidence, ...] = ()) -> Name:
    """A name from what is seen and from how labels fit."""
    seen, evidence = describe(change)
    chosen = [e for e in labels[:2] if e.value >= SECOND]
    where = tuple(tuple(round(cell, 3) for cell in row) for row in change.cells)
    if change.effect < VISIBLE or sum(e.value for e in chosen) < TOLD:
        source = "pictures" if change.effect >= VISIBLE else "nothing"
        return Name(seen, source, seen, evidence, labels[:3], where)
    called = [e.what for e in chosen]
    mixed = f"{' and '.join(called)} (mixed)"
    return Name(fitting(mixed, f"{called[0]} (mixed)") if len(called) > 1 else fitting(called[0]), "labels", seen,
                evidence, labels[:3], where)


def fitting(*options: str) -> str:
    """The first of some texts that is short enough for a name; the last is cut to be."""
    return next((text for text in options if len(text) <= LONGEST), options[-1][:LONGEST - 1] + "…")


@torch.inference_mode()
def measure(method: Method, table: Iterable[Factor], bases: Tensor, codes: Tensor | None = None,
            labels: np.ndarray | None = None, known: tuple[KnownFactor, ...] = ()) -> dict[str, Name]:
    """The names of the factors of a table.

    bases (B, D): codes of pictures to try them on. codes (N, D) and labels (N, K) of one sample, where there
    are labels of the factors `known`.
    """
    found = {}
    for factor in table:
        evidence = ()
        if codes is not None:
            evidence = fits(factor.read(codes).double().cpu().numpy(), labels, known)
        films = torch.stack([method.decode(edits.traverse(base, factor, FILM_FRAMES)) for base in bases])
        found[factor.name] = name(changes.measure(films), evidence)
    return found


@lru_cache(maxsize=1)
def _sample(data: str) -> tuple[Dataset, Tensor, Tensor]:
    """A data set, with LABELLED of its images (N, C, 64, 64) uint8 and their numbers: held-out ones, and where these
    are too few, training images after them."""
    dataset = load(data)
    trained, held_out = split(len(dataset))
    number = torch.cat([held_out, trained])[:LABELLED]
    return dataset, dataset.images(number), number


def write(folder: Path) -> dict[str, Name]:
    """Measure and write the names of the visible factors of a model folder. Where its data set cannot be loaded
    they are tried on random images and held against no labels. Raises files.Damaged."""
    method, table, config = checkpoint.load(folder)
    shown = factors.visible(table)
    codes = labels = None
    try:
        dataset, images, number = _sample(config["data"])
        with torch.inference_mode():
            codes = torch.cat([method.encode(part.float() / 255) for part in images.split(256)])
    except DataError:
        bases = torch.stack([edits.draw(table, torch.tensor(config["mean"]), seed) for seed in range(BASES)])
        found = measure(method, shown, bases)
    else:
        bases, known = codes[:BASES], dataset.factors
        if any(swaps.sides(method.layout())):  # no single number of content or style is to mean anything
            known = ()
        labels = dataset.labels(number).numpy() if known else np.zeros((len(number), 0))
        found = measure(method, shown, bases, codes, labels, known)
    names.save(folder, found, 0 if codes is None else len(codes), len(bases))
    return found


def main(argv: list[str] | None = None) -> None:
    """Name the factors of models."""
    parser = argparse.ArgumentParser(description="Name factors by what they do to pictures and by labels.")
    parser.add_argument("folders", nargs="*", type=Path, help="model folders; all shipped ones if none is given")
    folders = parser.parse_args(argv).folders
    for folder in folders or sorted(p for p in MODELS.iterdir() if p.is_dir()):
        print(folder.name)
        try:
            found = write(folder)
        except ValueError as error:
            raise SystemExit(str(error)) from None
        for factor, given in found.items():
            print(f"  {factor:6} {given.name:40} {given.source:8} {given.strongest:10} seen: {given.seen}", flush=True)


if __name__ == "__main__":
    main()
