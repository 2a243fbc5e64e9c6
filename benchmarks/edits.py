"""python -m benchmarks.edits [FOLDER ...]: what a diffusion model's edits are worth, quick against slow.

One random factor of a random held-out picture is set to a random place of its range. Compared are the
picture while a slider moves (the quick sampler) and at rest (the slow one): PSNR, and whether reading both
again names the same factor as the one that moved most. Then the same edits from the noise that all pictures
share and from each picture's own, found by DDIM's inversion: how many grey levels they change the picture by.
"""

import argparse
from pathlib import Path
from time import perf_counter

import torch
from torch import Generator, Tensor

from engine import checkpoint, factors
from engine.data import load, split
from engine.factors import Factor
from engine.latent import LIMIT, LatentMethod
from engine.metrics import psnr
from engine.serve import MODELS

PART = 20  # edits at a time
ENOUGH = 28.0  # dB of quick against slow


def edited(codes: Tensor, table: list[Factor], generator: Generator) -> Tensor:
    """Codes (B, D) with one factor of `table` each, drawn at random, at a random place of its range."""
    pick = torch.randint(len(table), (len(codes),), generator=generator)
    place = torch.rand(len(codes), generator=generator)
    rows = []
    for code, k, share in zip(codes, pick.tolist(), place, strict=True):
        low, high = torch.tensor([[table[k].low], [table[k].high]])
        rows.append(table[k].write(code[None], torch.lerp(low, high, share)))
    return torch.cat(rows)


def own_noise(model: LatentMethod, codes: Tensor) -> Tensor:
    """The noise (B, 4, 16, 16) from which the slow sampler all but makes the pictures of codes (B, D), scaled to
    mean square 1, as the sampler knows noise."""
    _, home, _, latents = model.parts(codes)
    noise = model.schedule.invert(lambda x, t: model.predict(x, t, home), latents, model.config.slow_steps, limit=LIMIT)
    return noise / (noise**2).mean((1, 2, 3), keepdim=True).sqrt()


def changes(model: LatentMethod, codes: Tensor, moved: Tensor, noise: Tensor) -> Tensor:
    """Grey levels (B,) by which the slow sampler's picture, begun at `noise`, differs between two codes (B, D)."""
    still, after = (model.autoencoder.decode(model.slow(noise, model.parts(c)[0])) for c in (codes, moved))
    return 255 * (after - still).abs().mean((1, 2, 3))


@torch.inference_mode()
def measure(folder: Path, count: int, seed: int = 0) -> dict[str, float]:
    """The figures of one model folder over `count` edits."""
    model, table, config = checkpoint.load(folder)
    if not isinstance(model, LatentMethod):
        raise SystemExit(f"{folder.name} has no quick and no slow sampler.")
    data, generator = load(config["data"]), Generator().manual_seed(seed)
    held_out = split(len(data))[1]
    numbers = held_out[torch.randint(len(held_out), (count,), generator=generator)]
    rows, seconds = {"psnr": [], "same": [], "shared": [], "own": []}, {"quick": 0.0, "slow": 0.0}
    for part in numbers.split(PART):
        codes = model.encode(data.images(part).float() / 255)
        moved = edited(codes, factors.visible(table), generator)
        pictures = {}
        for name, draw in (("quick", model.decode), ("slow", model.refine)):
            begun = perf_counter()
            pictures[name] = draw(moved)
            seconds[name] += perf_counter() - begun
        rows["psnr"].append(psnr(pictures["quick"], pictures["slow"]))
        home = codes[:, :model.count * model.size]
        shifts = [(model.represent(p) - home).unflatten(1, (model.count, model.size)).norm(dim=2).argmax(1)
                  for p in pictures.values()]
        rows["same"].append((shifts[0] == shifts[1]).float())
        rows["shared"].append(changes(model, codes, moved, model.start(moved)))
        rows["own"].append(changes(model, codes, moved, own_noise(model, codes)))
    found = {name: torch.cat(values) for name, values in rows.items()}
    return {
        "PSNR of quick against slow, mean, dB": found["psnr"].mean().item(),
        f"share of edits of {ENOUGH:g} dB or more": (found["psnr"] >= ENOUGH).float().mean().item(),
        "share in which both move the same factor most": found["same"].mean().item(),
        "change by an edit from the common noise, grey levels": found["shared"].mean().item(),
        "change by the same edit from a picture's own noise": found["own"].mean().item(),
        "time of slow over quick": seconds["slow"] / seconds["quick"],
    }


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[MODELS / "disdiff-shapes3d"], metavar="FOLDER")
    parser.add_argument("--count", type=int, default=500, help="edits")
    options = parser.parse_args()
    for folder in options.folders:
        print(folder.name)
        for name, value in measure(folder, options.count).items():
            print(f"  {name}: {value:.3g}")


if __name__ == "__main__":
    main()
