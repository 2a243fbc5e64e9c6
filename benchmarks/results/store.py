"""The numbers behind the table: one JSON file, merged by every run that adds to it.

    {"cells": {CELL: {SEED: entry}}, "floors": {DATA: {CODE: {DRAW: scores}}}}

An entry has the scores of engine.evaluate, what selects a seed without labels, and what made it.
"""

import json
import re
from copy import deepcopy
from pathlib import Path

from engine.files import locked, write_atomically

RESULTS = Path(__file__).parents[1] / "results.json"


def load(path: Path) -> dict:
    """The stored results; empty if there are none yet."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": {}, "floors": {}}


def same_options(command: str, other: str) -> bool:
    """Whether two training commands differ in their seeds at most."""
    one, two = (re.sub(r" --seeds( \d+)+", "", c) for c in (command, other))
    return one == two


def merged(old: dict, new: dict) -> dict:
    """Both results; where both have an entry, the new one, unless only the old one has all scores. Seeds of a
    cell that were made with other options than a new one are dropped: no mean is over two configurations."""
    result = deepcopy(old)
    for cell, entries in new["cells"].items():
        kept = result["cells"].setdefault(cell, {})
        for seed, entry in entries.items():
            for other in [s for s, e in kept.items() if not same_options(e["command"], entry["command"])]:
                del kept[other]
            if entry.get("scored", True) or not kept.get(seed, entry).get("scored", True):
                kept[seed] = entry
    for data, codes in new["floors"].items():
        for code, draws in codes.items():
            result["floors"].setdefault(data, {}).setdefault(code, {}).update(draws)
    return result


def update(path: Path, new: dict) -> dict:
    """Merge `new` into the file at `path`, whoever else is writing to it; returns all results."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent, wait=True):
        old = load(path)
        result = merged(old, new)
        if result != old or not path.exists():
            text = json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            write_atomically(path, text.encode())
    return result
