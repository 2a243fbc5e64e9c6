"""python -m benchmarks.fade [FOLDER ...]: how much of what is a picture's own stays when its factors move.

A diffusion model's sampler lacks something of every picture, and that is added to what it makes, less of it the
further the factors have moved (engine.latent, FADE). Here the right answer is known: held-out pictures are given
the factors of another one that differs in one known factor, and compared with that one, by PSNR, for several rates
of fading. `inf` keeps all of it. The autoencoder's own picture of the other one is the bound.
"""

import argparse
import math
from pathlib import Path

import torch
from torch import Generator, Tensor

from engine import checkpoint
from engine.data import load, split
from engine.data.dataset import Grid
from engine.latent import FADE, LIMIT, LatentMethod, left
from engine.metrics import psnr
from engine.serve import MODELS

PART = 20  # pairs at a time
RATES = (0.5, 1.0, 2.0, FADE, 8.0, math.inf)  # in standard deviations


def pairs(data: Grid, held_out: Tensor, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Numbers of `count` of the pictures `held_out`, each with that of one which differs in one factor at random."""
    numbers = held_out[torch.randint(len(held_out), (count,), generator=generator)]
    classes = data.classes(numbers)
    for row, k in zip(classes, torch.randint(len(data.factors), (count,), generator=generator).tolist(), strict=True):
        step = torch.randint(1, data.factors[k].size, (), generator=generator)
        row[k] = (row[k] + step) % data.factors[k].size
    return numbers, data.index(classes)


@torch.inference_mode()
def measure(folder: Path, count: int, device: str = "cpu", seed: int = 0) -> dict[str, float]:
    """PSNR in dB of one model folder over `count` pairs, for both samplers and every rate."""
    model, _, config = checkpoint.load(folder)
    if not isinstance(model, LatentMethod):
        raise SystemExit(f"{folder.name} has no sampler that could lack something.")
    data = load(config["data"])
    if not isinstance(data, Grid):
        raise SystemExit(f"{config['data']} does not hold every combination of its factors.")
    model.to(device)
    samplers = dict(zip(model.ways, (model.quick, model.slow), strict=True))
    rows = {f"{way}, {rate:g}": [] for way in samplers for rate in RATES} | {"bound": []}
    numbers = pairs(data, split(len(data))[1], count, Generator().manual_seed(seed))
    for part in zip(*(of.split(PART) for of in numbers), strict=True):
        x, wanted = ((data.images(of).float() / 255).to(device) for of in part)
        latents, there = model.autoencoder.encode(x), model.autoencoder.encode(wanted)
        home, z = model.read(x, latents), model.read(wanted, there)
        rows["bound"].append(psnr(model.autoencoder.decode(there), wanted))
        for way, sampler in samplers.items():
            moved, still = sampler(model.start(z), z), sampler(model.start(z), home)
            for rate in RATES:
                picture = moved + left(z, home, rate) * (latents - still)
                rows[f"{way}, {rate:g}"].append(psnr(model.autoencoder.decode(picture.clamp(-LIMIT, LIMIT)), wanted))
    return {name: torch.cat(values).mean().item() for name, values in rows.items()}


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[MODELS / "disdiff-shapes3d"], metavar="FOLDER")
    parser.add_argument("--count", type=int, default=1_000, help="pairs of pictures")
    parser.add_argument("--device", default="cpu", help="on which all is done: cpu, cuda, ...")
    options = parser.parse_args()
    for folder in options.folders:
        print(folder.name)
        for name, value in measure(folder, options.count, options.device).items():
            print(f"  {name}: {value:.2f} dB")


if __name__ == "__main__":
    main()
