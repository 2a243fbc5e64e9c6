"""How long a traversal sheet takes, from the request to the file: python -m benchmarks.sheet [--runs 7]

For every shipped model ten factors by eleven values at 64 pixels, or as many factors as it has, drawn by the engine and
written as PNG and as SVG. `drawing` is the model's own share; `of drawing` is the whole PNG against it, so that 1.0
would be a sheet that costs nothing but its pictures. `CPU` is what the PNG took of all cores together, which tells the
sheet's cost on a machine that has other work too. The aim is 400 ms on two cores for models that draw directly; a
diffusion model takes as long as its steps take.
"""

import argparse
import os
import statistics
from pathlib import Path
from time import perf_counter, process_time

import torch

from engine import MODELS, Engine, figures, provenance

ROWS, COLUMNS = 10, 11


def measure(engine: Engine, model: str, runs: int) -> tuple[int, dict[str, float]]:
    """The number of factors, and medians over `runs` in ms: drawing, PNG and SVG from the request on, CPU."""
    code = engine.draw(model, 0)
    own = provenance.origin(engine, model, "seed:0", code, {}, made={"kind": "sheet"})
    shown = [factor.name for factor in engine.model(model).sliders[:ROWS]]
    taken: dict[str, list[float]] = {"drawing": [], "PNG": [], "SVG": [], "CPU": []}
    for run in range(runs + 1):
        begun, spent = perf_counter(), process_time()
        made = figures.sheet(engine, model, code, shown, COLUMNS)
        drawn = perf_counter()
        figures.as_png(made, own)
        written, spent = perf_counter(), process_time() - spent
        figures.as_svg(made, own)
        ended = perf_counter()
        if run:  # the first one warms up
            seconds = (drawn - begun, written - begun, ended - written + drawn - begun, spent)
            for name, value in zip(taken, seconds, strict=True):
                taken[name].append(1e3 * value)
    return len(shown), {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--models", type=Path, default=MODELS)
    options = parser.parse_args()
    engine = Engine(options.models)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads; median of {options.runs}\n")
    print("| model | sheet | drawing, ms | PNG, ms | of drawing | SVG, ms | CPU, ms |\n|---|---|---|---|---|---|---|")
    for model in engine.models:
        rows, ms = measure(engine, model, options.runs)
        print(f"| `{model}` | {rows} x {COLUMNS} | {ms['drawing']:.0f} | {ms['PNG']:.0f} | "
              f"{ms['PNG'] / ms['drawing']:.2f} | {ms['SVG']:.0f} | {ms['CPU']:.0f} |", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
