"""python -m benchmarks.isometry: which encodings find the factors of a manifold, and how isometric they are.

On every manifold of `engine.manifolds`: Hessian eigenmaps and principal components, each before and after
ICA; autoencoders of the same nets, plain, implicitly rank-minimising, variational and with either isometry
term, with ICA after training; and the spectral coordinates distilled into a net, with pictures it never saw.
Some manifolds also with Gaussian factors and with an isometry broken on purpose; and points on half circles, which
need no pictures, in as many dimensions. Labels are used to score.

Writes isometry.json and isometry.md beside this package, the figure assets/isometry/figure.webp with the nets'
codes for the page beside it, and under --out every code that was scored and a model folder of each distilled
net. Stop it at any moment; the same command goes on, and several runs may share the manifolds among them. The
nets want a GPU; --nets without a name leaves them out, for a CPU.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from tqdm import tqdm

from benchmarks.isometry import figure, planes, work
from benchmarks.isometry.report import report
from benchmarks.isometry.store import Store
from engine import manifolds
from engine.device import chosen_device
from engine.files import write_atomically

RESULTS = Path(__file__).parents[1] / "isometry.json"
FIGURE = Path(__file__).parents[2] / "assets" / "isometry" / "figure.webp"


@dataclass(frozen=True)
class Options:
    """Embed, train and score; then write the table and the figure."""

    manifolds: tuple[str, ...] = ()            # by name; all if none is given
    nets: tuple[str, ...] = tuple(work.NETS)   # which are trained
    seeds: tuple[int, ...] = (0, 1, 2)         # one net for each, trained side by side
    steps: int = 5000                          # optimiser steps of a net
    count: int = 3000                          # pictures of a manifold
    samples: int = 3                           # draws of the pictures for the Gaussian and the warped variants
    device: str = "auto"                       # for the nets and the pictures; the embeddings take the CPU
    out: Path = Path("runs/isometry")          # folder of codes and distilled models
    results: Path = RESULTS                    # the stored numbers; the table is written beside them
    figure: Path = FIGURE                      # the picture; its folder gets a manifest
    report: bool = False                       # only write the table and the figure again


def main(options: Options) -> int:
    """Do what the options say; returns the exit code."""
    chosen = options.manifolds or manifolds.names()
    store = Store(options.results, options.out)
    if not options.report:
        device = chosen_device(options.device)
        setting = work.Setting(options.seeds, options.steps, options.count, device, options.out / "models")
        tasks = [work.Timing(), *map(work.Arcs, work.CURVED)]
        for name in chosen:
            tasks.append(work.Spectral(name))
            if name in work.VARIED:
                tasks += [work.Spectral(name, law, warped, sample) for sample in range(options.samples)
                          for law, warped in (("gaussian", False), ("uniform", True))]
        tasks += [work.Net(name, net) for name in chosen for net in options.nets]
        for task in tqdm([t for t in tasks if not store.has(t.key, t.made_with(setting))], unit="cell"):
            tqdm.write(task.key)
            store.add(task.key, task.made_with(setting), *task.run(setting))
    page = options.results.with_suffix(".md")
    write_atomically(page, report(store.entries).encode())
    figure.write(options.figure, store, [name for name in figure.SHOWN if name in chosen])
    planes.write(options.figure.parent, store, list(manifolds.names()))
    print(f"{page} and {options.figure} are written.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Options, prog="python -m benchmarks.isometry", description=__doc__)))
    except ValueError as error:
        raise SystemExit(str(error)) from None
