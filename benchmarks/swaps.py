"""How long content and style take to be exchanged: python -m benchmarks.swaps [--runs 9]

For every shipped model two sample pictures are encoded, exchanged and drawn, both swaps at once, as after an upload has
been decoded; then a matrix of eight contents by eight styles is drawn from codes. A model that does not tell content
from style exchanges the half of its factors that change pictures most. Medians in ms, and the share of the matrix
that one batch of as many random codes takes by the engine, so that 1.0 would be a matrix that costs nothing but
its pictures. The aims, on two cores, are 100 ms for a swap and one second for a matrix.
"""

import argparse
import os
import statistics
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from engine import MODELS, Engine, exchange
from engine.gallery import gallery

SIDE = 8    # of the matrix


def measure(engine: Engine, model: str, runs: int) -> dict[str, float]:
    """Medians over `runs`, in ms, of a swap of two pictures, a matrix, and a batch of as many codes."""
    known = engine.model(model)
    names = () if known.sides[1] else [factor.name for factor in known.sliders[:max(1, len(known.sliders) // 2)]]
    images = np.resize(gallery(known.data), (2, 64, 64, 3))
    codes = np.stack([engine.draw(model, seed) for seed in range(SIDE**2)])

    def swap() -> None:
        a, b = engine.encode(model, images).get()
        engine.decode(model, exchange.mixed(engine, model, a, b, names)).get()

    work = {
        "swap": swap,
        "matrix": lambda: exchange.matrix(engine, model, codes[:SIDE], codes[SIDE:2 * SIDE], names).get(),
        "batch": lambda: engine.decode(model, codes).get(),
    }
    taken: dict[str, list[float]] = {name: [] for name in work}
    for run in range(runs + 1):
        for name, do in work.items():
            begun = perf_counter()
            do()
            if run:  # the first one warms up
                taken[name].append(1e3 * (perf_counter() - begun))
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    engine = Engine(options.models, options.device)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads; median of {options.runs}\n")
    print(f"| model | swap of two, ms | {SIDE} x {SIDE}, ms | of one batch |\n|---|---|---|---|")
    for model in engine.models:
        ms = measure(engine, model, options.runs)
        print(f"| `{model}` | {ms['swap']:.0f} | {ms['matrix']:.0f} | {ms['matrix'] / ms['batch']:.2f} |", flush=True)
    engine.close()


if __name__ == "__main__":
    main()
