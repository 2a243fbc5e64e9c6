"""python -m benchmarks.results: train, score and write the table, benchmarks/results.md.

Every cell of `cells.py` is trained for its seeds, five or three, side by side and scored while the next cells train.
On GPUs, pictures that take long to draw are drawn once, into OUT/pictures (2.5 GB). Stop it at any moment; the same
command goes on. Several machines can fill different cells (--only): --merge brings their results.json files together.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.results import store
from benchmarks.results.cells import DATA, SEEDS, chosen, ordered, table
from benchmarks.results.floors import floors
from benchmarks.results.report import report
from benchmarks.results.run import Runner, Tools, with_steps
from engine.files import write_atomically


@dataclass(frozen=True)
class Options:
    """Train, score and write the table of results."""

    out: Path = Path("runs/results")       # folder of the runs, one folder in it for each cell
    results: Path = store.RESULTS          # the stored numbers; the table is written beside them
    only: tuple[str, ...] = ()             # cells by name or pattern, such as 'protovae-*' or 'floor-*', in that order
    steps: int | None = None               # optimiser steps, instead of each cell's own
    seeds: tuple[int, ...] = SEEDS         # one model for each, trained side by side
    devices: tuple[str, ...] = ()          # such as cuda:0 cuda:1; all GPUs, or the CPU, if none is given
    jobs: int = 2                          # trainings at a time on one device
    evaluators: int = max(1, (os.cpu_count() or 1) // 2)  # scorings at a time
    share: float = 1.0                     # of each GPU's memory that is filled, where others use it, too
    until: float | None = None             # stop cleanly after so many seconds
    report: bool = False                   # only write the table again
    merge: tuple[Path, ...] = ()           # only add the numbers of these files and write the table again


def main(options: Options, tools: Tools | None = None) -> int:
    """Do what the options say; returns the exit code."""
    begun = time.monotonic()
    left, failed = [], []
    if not options.report and not options.merge:
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        cells = with_steps(ordered(table(), options.only), options.steps)
        fixed = [floor for floor in floors(tuple(DATA)) if chosen(floor.name, options.only)]
        if not cells and not fixed:
            raise SystemExit(f"There is no cell called {' or '.join(options.only)}; the table names them.")
        runner = Runner(
            cells=cells, floors=fixed,
            seeds=options.seeds, out=options.out, results=options.results,
            devices=options.devices or tuple(gpus) or ("cpu",), jobs=options.jobs, evaluators=options.evaluators,
            share=options.share,
            deadline=begun + options.until if options.until is not None else float("inf"),
            tools=tools or Tools(),
        )
        left, failed = runner.run(), runner.failed
    results = store.load(options.results)
    for path in options.merge:
        results = store.update(options.results, store.load(path))
    page = options.results.with_suffix(".md")
    write_atomically(page, report(results, table()).encode())
    print(f"\n{page} is written.")
    if left:
        print(f"Left ({len(left)}); the same command goes on:\n" + "\n".join(f"  {line}" for line in left))
    if failed:
        print(f"\nFailed ({len(failed)}):\n" + "\n".join(f"  {line}" for line in failed))
    return 1 if failed else 0


def ended(number: int, frame: object) -> None:
    """Let SIGTERM unwind the stack, so that no child outlives this process."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, ended)
    try:
        sys.exit(main(tyro.cli(Options, prog="python -m benchmarks.results", description=__doc__)))
    except KeyboardInterrupt:
        sys.exit(130)
