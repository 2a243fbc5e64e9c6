"""What is in the table: edit here. A cell is one method with fixed options on one data set."""

import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase

SEEDS = (0, 1, 2, 3, 4)

# Data sets by the name that engine.data.load knows: title, optimiser steps of every cell.
DATA = {
    "dsprites": ("dSprites, re-rendered", 60_000),
    "shapes3d": ("3D Shapes, re-rendered", 60_000),
    "faces": ("Faces, drawn here", 60_000),
}

# Rows of every table: name, label, method of engine.train, its options.
METHODS = (
    ("vae", "VAE", "vae", "--beta 1"),
    ("beta-vae", "β-VAE", "vae", "--beta 16"),
    ("beta-tcvae", "β-TCVAE", "vae", "--objective tc --beta 16"),
    ("annealed", "AnnealedVAE", "annealed", ""),
    ("factorvae", "FactorVAE", "factorvae", ""),
    ("dipvae", "DIP-VAE", "dipvae", ""),
    ("qlae", "QLAE", "qlae", ""),
    ("protovae", "ProtoVAE", "protovae", ""),
    ("dotvae", "DOT-VAE", "dotvae", ""),
)

# Options of one method on one data set only, after those above; of two values the last counts.
ONLY_ON: dict[tuple[str, str], str] = {}

# Changes to one row of METHODS on one data set: name, label, row, data set, options after that row's own.
ABLATIONS = (
    ("no-prototypes", "without prototypes", "protovae", "shapes3d", "--prototype-weight 0"),
    ("no-reencoding", "without re-encoding", "protovae", "shapes3d", "--reencoding-weight 0"),
)

# Time per step in units of the VAE's, where it is not near 1: long cells are begun first.
COST = {"protovae": 3.0, "dotvae": 3.0, "factorvae": 2.0}


@dataclass(frozen=True)
class Cell:
    """A method with fixed options on one data set, trained for several seeds."""

    name: str          # of its folder, and what --only matches
    label: str         # what the table calls it
    method: str        # of engine.train
    data: str
    options: str = ""  # further options of engine.train
    steps: int = 60_000
    full: str = ""     # name of the cell it is an ablation of; empty for a row of the main table

    def arguments(self, seeds: tuple[int, ...], out: str) -> list[str]:
        """What engine.train is given."""
        return [
            self.method, "--data", self.data, "--seeds", *map(str, seeds), "--steps", str(self.steps),
            "--out", out, *shlex.split(self.options),
        ]

    def command(self, seeds: tuple[int, ...]) -> str:
        """The command as it is stored and shown, wherever the run is."""
        return shlex.join(["python", "-m", "engine.train", *self.arguments(seeds, f"runs/results/{self.name}")])

    @property
    def cost(self) -> float:
        return self.steps * COST.get(self.method, 1.0)


def table() -> tuple[Cell, ...]:
    """All cells, in the order of the report."""
    rows = {
        f"{name}-{data}": Cell(f"{name}-{data}", label, method, data,
                               f"{options} {ONLY_ON.get((name, data), '')}".strip(), steps)
        for data, (_, steps) in DATA.items() for name, label, method, options in METHODS
    }
    ablations = []
    for name, label, row, data, options in ABLATIONS:
        full = rows[f"{row}-{data}"]
        ablations.append(Cell(f"{row}-{name}-{data}", label, full.method, data,
                              f"{full.options} {options}".strip(), full.steps, full.name))
    return *rows.values(), *ablations


def chosen(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns, or none being given, asks for the cell called `name`."""
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
