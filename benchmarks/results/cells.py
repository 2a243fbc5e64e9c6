"""What is in the table: edit here. A cell is one method with fixed options on one data set."""

import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase

SEEDS = (0, 1, 2, 3, 4)

# Data sets by the name that engine.data.load knows: title, optimiser steps and further options of every cell.
DATA = {
    "dsprites": ("dSprites, re-rendered", 15_000, "--starts 6 --start-steps 3000"),
    "shapes3d": ("3D Shapes, re-rendered", 25_000, "--starts 6 --start-steps 1500"),
    "faces": ("Faces, drawn here", 10_000, ""),
}

# Rows of every table: name, label, method of engine.train, its options.
METHODS = (
    ("vae", "VAE", "vae", ""),
    ("beta-vae", "β-VAE", "vae", "--beta 16"),
    ("annealed", "AnnealedVAE", "annealed", "--gamma 100 --capacity-full 8000"),
    ("factorvae", "FactorVAE", "factorvae", "--gamma 20"),
    ("beta-tcvae", "β-TCVAE", "vae", "--objective tc --beta 16"),
    ("dipvae", "DIP-VAE-II", "dipvae", ""),
    ("qlae", "QLAE", "qlae", ""),
    ("protovae", "ProtoVAE", "protovae", ""),
    ("dotvae", "DOT-VAE", "dotvae", ""),
)

# Options of one method on one data set only, after those above; of two values the last counts.
AXES_FIRST = "--beta 24 --relax-to 0.25 --relax-during 4000 8000"  # dSprites: first few axes, then their detail
ONLY_ON = {
    ("annealed", "faces"): "--gamma 30",  # at 100 nothing is ever encoded, at 30 by some seeds
    ("beta-vae", "dsprites"): "--beta 4",
    ("factorvae", "dsprites"): "--gamma 35",
    ("beta-tcvae", "dsprites"): AXES_FIRST,
    ("protovae", "dsprites"): f"{AXES_FIRST} --embedder-from 3000 --prototypes-from 3500 --prototypes-full 5500",
    ("beta-tcvae", "shapes3d"): "--beta 32 --relax-to 0.5 --relax-during 6000 12000",
    ("protovae", "shapes3d"): "--beta 32 --relax-to 0.5 --relax-during 6000 12000",
    ("qlae", "shapes3d"): "--latents 12",
}

# Rows of another training, on one data set: name, label, method, data set, steps, options.
FIELDS = ("--batch 256 --autoencoder-until 4000 --diffusion-until 16000 --disentangled-until 34000 --data-until 37000 "
          "--save-every 2000")
FEWER = ("--batch 256 --autoencoder-until 4000 --diffusion-until 12000 --disentangled-until 24000 --data-until 24000 "
         "--save-every 2000")  # as all rows of Faces have, and no student, which no score looks at
DIFFUSION = (
    ("disdiff", "DisDiff", "disdiff", "shapes3d", 40_000, FIELDS),
    ("disdiff", "DisDiff", "disdiff", "faces", 24_000, FEWER),
    ("encdiff", "EncDiff", "encdiff", "shapes3d", 36_000, "--batch 256 --autoencoder-until 4000 --save-every 2000"),
)

# What the objective reaches with a wider decoder, more initialisations and more steps, with and without prototypes.
MORE = "--decoder-width 64 --starts 12 --start-steps 2000"
JUDGED = "--decoder-width 64 --starts 4 --start-steps 15000"
LATE = "--embedder-from 20000 --prototypes-from 20500 --prototypes-full 23000"
STRICT, EVEN = (f"--beta {b} --relax-to {to} --relax-during 8000 24000" for b, to in ((32, 0.25), (16, 0.5)))
MORE_BUDGET = (
    ("beta-tcvae-more", "β-TCVAE, more budget", "vae", "shapes3d", 40_000, f"{MORE} --objective tc {STRICT}"),
    ("protovae-more", "ProtoVAE late, more budget", "protovae", "shapes3d", 40_000, f"{MORE} {STRICT} {LATE}"),
    ("beta-tcvae-even", "β-TCVAE, more budget, β 16", "vae", "shapes3d", 40_000, f"{MORE} --objective tc {EVEN}"),
    ("protovae-even", "ProtoVAE late, more budget, β 16", "protovae", "shapes3d", 40_000, f"{MORE} {EVEN} {LATE}"),
    ("beta-tcvae-long", "β-TCVAE, 60,000 steps, β 16", "vae", "shapes3d", 60_000, f"{MORE} --objective tc --beta 16"),
    ("protovae-long", "ProtoVAE late, 60,000 steps, β 16", "protovae", "shapes3d", 60_000, f"{MORE} --beta 16 {LATE}"),
    # As many steps in all, fewer starts, judged later: after 2,000 steps losses tell little of the final ones.
    ("beta-tcvae-judged", "β-TCVAE, starts judged late, β 16", "vae", "shapes3d", 40_000,
     f"{JUDGED} --objective tc {EVEN}"),
    ("protovae-judged", "ProtoVAE late, starts judged late, β 16", "protovae", "shapes3d", 40_000,
     f"{JUDGED} {EVEN} {LATE}"),
)

# Changes to one row on one data set: name, label, row, data set, options after that row's own.
FEW = (0, 1, 2)  # seeds of an ablation, and of diffusion
ONE = (0,)       # seeds of an ablation of diffusion
# Ablations of diffusion have the autoencoder and the frozen model of the shipped seed 0, and no student, which no score
# looks at: a third of the steps that the full method takes for what it learns between these. CONTROL changes nothing
# else, so the others are compared with it.
CONTROL = "frozen"
FROZEN_STEPS = 6_000
FROZEN = ("--begin-from assets/models/disdiff-shapes3d --begin-parts autoencoder base --autoencoder-until 0 "
          f"--diffusion-until 0 --disentangled-until {FROZEN_STEPS} --data-until {FROZEN_STEPS}")
ABLATIONS = (
    ("no-reencoding", "without re-encoding", "protovae", "shapes3d", "--reencoding-weight 0"),
    ("no-mask", "all dimensions in the episodes", "protovae", "shapes3d", "--no-mask"),
    ("prior", "new values from the prior", "protovae", "shapes3d", "--interventions prior"),
    ("late", "prototypes from half of the steps on", "protovae", "shapes3d",
     "--embedder-from 12000 --prototypes-from 12500 --prototypes-full 14500"),
    ("fresh", "new factors start untrained, no total correlation", "dotvae", "shapes3d",
     "--no-handed --beta 16 --beta-tc 0"),
    (CONTROL, "DisDiff in a third of the steps", "disdiff", "shapes3d", FROZEN),
    ("no-invariance", "without the invariance loss", "disdiff", "shapes3d", f"{FROZEN} --invariance-weight 0"),
    ("no-variance", "without the variance loss", "disdiff", "shapes3d", f"{FROZEN} --variance-weight 0"),
    ("no-stop-gradient", "weight with its gradient", "disdiff", "shapes3d", f"{FROZEN} --no-stop-gradient"),
    ("6", "six factors", "disdiff", "shapes3d", f"{FROZEN} --factors 6"),
    ("16", "sixteen factors", "disdiff", "shapes3d", f"{FROZEN} --factors 16"),
)

# Time per step in units of the VAE's, where it is not near 1: long cells are begun first.
COST = {"protovae": 3.0, "dotvae": 4.5, "factorvae": 1.5, "disdiff": 40.0, "encdiff": 30.0}


@dataclass(frozen=True)
class Cell:
    """A method with fixed options on one data set, trained for several seeds."""

    name: str          # of its folder, and what --only matches
    label: str         # what the table calls it
    method: str        # of engine.train
    data: str
    options: str = ""  # further options of engine.train
    steps: int = 60_000
    seeds: tuple[int, ...] = SEEDS
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
                               " ".join(filter(None, (every, options, ONLY_ON.get((name, data))))), steps)
        for data, (_, steps, every) in DATA.items() for name, label, method, options in METHODS
    }
    rows |= {f"{name}-{data}": Cell(f"{name}-{data}", label, method, data, options, steps, seeds)
             for more, seeds in ((MORE_BUDGET, SEEDS), (DIFFUSION, FEW))
             for name, label, method, data, steps, options in more}
    ablations = []
    for name, label, row, data, options in ABLATIONS:
        full = rows[f"{row}-{data}"]
        frozen = FROZEN in options
        seeds, steps = ONE if full.seeds == FEW else FEW, FROZEN_STEPS if frozen else full.steps
        whole = f"{row}-{CONTROL}-{data}" if frozen and name != CONTROL else full.name
        ablations.append(Cell(f"{row}-{name}-{data}", label, full.method, data,
                              f"{full.options} {options}".strip(), steps, seeds, whole))
    return *rows.values(), *ablations


def chosen(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether one of the patterns, or none being given, asks for the cell called `name`."""
    return not patterns or urgency(name, patterns) < len(patterns)


def urgency(name: str, patterns: tuple[str, ...]) -> int:
    """Number of the first pattern that asks for the cell called `name`; their count if none does."""
    return next((i for i, pattern in enumerate(patterns) if fnmatchcase(name, pattern)), len(patterns))


def ordered(cells: tuple[Cell, ...], patterns: tuple[str, ...]) -> list[Cell]:
    """Those of `cells` that the patterns ask for, as they are to be begun: by pattern, then the long ones first."""
    asked = [cell for cell in cells if chosen(cell.name, patterns)]
    return sorted(asked, key=lambda cell: (urgency(cell.name, patterns), -cell.cost))
