"""The names of a model's factors, with their evidence: names.json in its folder.

Written by `python -m engine.naming`, read here. A name is what was measured and never more; by whom it was
given is kept with it: by the data set's labels, by what happens to pictures, or by nothing.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.files import Damaged, read_verified, write_atomically, write_manifest

FILE = "names.json"
LONGEST = 40            # characters of a name: it stands above a slider
SEEN = 0.3              # share of the visible change that must be accounted for to give a name
SOURCES = ("labels", "pictures", "nothing")


@dataclass(frozen=True)
class Evidence:
    """One measurement behind a name."""

    what: str           # "moves right", "wall hue"
    amount: str         # with its unit: "32 px", "295°"; "" if there is none
    measure: str        # of `value`: "r", "R²"
    value: float        # how well the factor tells it, or is told by it
    share: float        # of the visible change that it accounts for; of the readings' variance for a label

    @property
    def measured(self) -> str:
        """The value in a few characters, as "R² .93"."""
        return f"{self.measure} {'−' if self.value < 0 else ''}{f'{abs(self.value):.2f}'.removeprefix('0')}"


@dataclass(frozen=True)
class Name:
    """What a factor is called, and why."""

    name: str                           # at most LONGEST characters
    source: str                         # one of SOURCES
    seen: str                           # the name by what happens to pictures, whatever the source
    pictures: tuple[Evidence, ...]      # strongest first
    labels: tuple[Evidence, ...]        # strongest first
    where: tuple[tuple[float, ...], ...]  # shares of the change in the cells of the picture, rows from the top

    @property
    def strongest(self) -> str:
        """The best evidence in a few characters, as "R² .93"; "" if there is none or too little to be the name's."""
        evidence = {"labels": self.labels, "pictures": self.pictures}.get(self.source, ())
        return evidence[0].measured if sum(e.share for e in evidence) >= SEEN else ""


def save(folder: Path, names: dict[str, Name], images: int, bases: int) -> None:
    """Write the names of a model's factors into its folder, by factor; images and bases: what was measured."""
    record = {
        "factors": hashlib.sha256((folder / "factors.json").read_bytes()).hexdigest(),
        "images": images, "bases": bases,
        "names": {factor: asdict(name) for factor, name in names.items()},
    }
    write_atomically(folder / FILE, json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n")
    write_manifest(folder)


def load(folder: Path) -> dict[str, Name]:
    """The names in a model's folder, by factor; none where the file is missing, or is of another table of
    factors. Raises Damaged if it is not what its manifest says or not a record of names."""
    if not (folder / FILE).exists():
        return {}
    try:
        record = json.loads(read_verified(folder, FILE))
        if record["factors"] != hashlib.sha256((folder / "factors.json").read_bytes()).hexdigest():
            return {}
        return {factor: _name(entry) for factor, entry in record["names"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(f"{folder / FILE} is not a record of names.") from None


def _name(entry: dict) -> Name:
    evidence = {part: tuple(Evidence(**row) for row in entry[part]) for part in ("pictures", "labels")}
    name = Name(**{**entry, **evidence, "where": tuple(tuple(map(float, row)) for row in entry["where"])})
    short = isinstance(name.name, str) and 0 < len(name.name) <= LONGEST and isinstance(name.seen, str)
    texts = [t for e in (*name.pictures, *name.labels) for t in (e.what, e.amount, e.measure)]
    numbers = [n for e in (*name.pictures, *name.labels) for n in (e.value, e.share)]
    if not short or name.source not in SOURCES or not all(isinstance(t, str) for t in texts):
        raise ValueError
    if not all(type(n) in (int, float) and abs(n) < 1e6 for n in (*numbers, *sum(name.where, ()))):
        raise ValueError
    return name
