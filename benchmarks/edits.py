"""python -m benchmarks.edits [FOLDER ...]: edits by a diffusion model, quick against slow, and the time they take.

One random factor of a random held-out picture is set to a random place of its range. Compared are the
picture while a slider moves (the quick sampler) and at rest (the slow one): PSNR, and whether reading both
again names the same factor as the one that has moved most since the unmoved picture; of all edits and of those
that change the slow one's picture by a grey level or more, since nothing moves most where nothing is seen to
move. How often the slow sampler agrees with itself in twice the steps says how far such agreement can be asked.
Then the same edits from the noise that all pictures share and from each picture's own, found by DDIM's
inversion: how many grey levels they change the picture by.

Times are of one edit at a time by the engine that serves the page: from the edited code to the picture's
bytes, both ways in turn, the median of `--timed` edits after a few that do not count.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import Generator, Tensor

from engine import Engine, alignment, checkpoint, factors
from engine.data import load, split
from engine.factors import Factor
from engine.latent import LIMIT, LatentMethod
from engine.metrics import psnr
from engine.serve import MODELS

PART = 20  # edits at a time
ENOUGH = 28.0  # dB of quick against slow
SEEN = 1.0     # grey levels on average that an edit must change the picture by to be seen
FIRST = 5      # timed edits that do not count


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


def finer(model: LatentMethod, codes: Tensor) -> Tensor:
    """What `refine` makes of codes (B, D) in twice its steps: images (B, C, 64, 64)."""
    known = model.config
    model.config = replace(known, slow_steps=2 * known.slow_steps)
    try:
        return model.refine(codes)
    finally:
        model.config = known


def changes(model: LatentMethod, codes: Tensor, moved: Tensor, noise: Tensor) -> Tensor:
    """Grey levels (B,) by which the slow sampler's picture, begun at `noise`, differs between two codes (B, D)."""
    still, after = (model.autoencoder.decode(model.slow(noise, model.parts(c)[0])) for c in (codes, moved))
    return 255 * (after - still).abs().mean((1, 2, 3))


@torch.inference_mode()
def measure(folder: Path, count: int, device: str = "cpu", seed: int = 0) -> dict[str, float]:
    """The figures of one model folder over `count` edits."""
    model, table, config = checkpoint.load(folder)
    if not isinstance(model, LatentMethod):
        raise SystemExit(f"{folder.name} has no quick and no slow sampler.")
    model.to(device)
    data, generator = load(config["data"]), Generator().manual_seed(seed)
    held_out = split(len(data))[1]
    numbers = held_out[torch.randint(len(held_out), (count,), generator=generator)]
    rows = {"psnr": [], "same": [], "finer": [], "seen": [], "shared": [], "own": []}
    for part in numbers.split(PART):
        codes = model.encode((data.images(part).float() / 255).to(device))
        moved = edited(codes.cpu(), factors.visible(table), generator).to(device)
        still, pictures = model.decode(codes), (model.decode(moved), model.refine(moved), finer(model, moved))
        rows["psnr"].append(psnr(*pictures[:2]))
        home = model.represent(still)  # not the code itself, as which the autoencoder's picture is not quite read
        shifts = [(model.represent(p) - home).unflatten(1, (model.count, model.size)).norm(dim=2).argmax(1)
                  for p in pictures]
        for name, other in (("same", shifts[0]), ("finer", shifts[2])):
            rows[name].append((other == shifts[1]).float())
        moves = 255 * (pictures[1] - still).abs().mean((1, 2, 3))
        rows["seen"].append((moves >= SEEN).float())
        rows["shared"].append(changes(model, codes, moved, model.start(moved)))
        rows["own"].append(changes(model, codes, moved, own_noise(model, codes)))
    found = {name: torch.cat(values) for name, values in rows.items()}
    seen = found["seen"] > 0
    return {
        "PSNR of quick against slow, mean, dB": found["psnr"].mean().item(),
        f"share of edits of {ENOUGH:g} dB or more": (found["psnr"] >= ENOUGH).float().mean().item(),
        "share in which both move the same factor most": found["same"].mean().item(),
        "share in which slow does in twice the steps": found["finer"].mean().item(),
        f"share that changes the picture by {SEEN:g} grey level or more": found["seen"].mean().item(),
        f"share of those of {ENOUGH:g} dB or more": (found["psnr"][seen] >= ENOUGH).float().mean().item(),
        "share of those in which both move the same factor most": found["same"][seen].mean().item(),
        "share of those in which slow does in twice the steps": found["finer"][seen].mean().item(),
        "change by an edit from the common noise, grey levels": found["shared"].mean().item(),
        "change by the same edit from a picture's own noise": found["own"].mean().item(),
    }


def times(folder: Path, count: int, device: str, seed: int = 0) -> dict[str, float]:
    """What one edit takes, in milliseconds: the medians of `count`, and the longest of nine in ten."""
    engine, generator = Engine(folder.parent, device), Generator().manual_seed(seed)
    try:
        known = engine.model(folder.name)
        codes = torch.stack([torch.from_numpy(engine.draw(folder.name, n)) for n in range(FIRST + count)])
        moved = edited(codes, known.sliders, generator)[:, None].numpy()
        found = {}
        for name, draw in zip(known.ways, (engine.decode, engine.refine), strict=True):
            taken = [draw(folder.name, code) for code in moved]
            ms = sorted(answer.computed_ms for answer in taken[FIRST:] if answer.get() is not None)
            found |= {f"one edit, {name}, median, ms": median(ms), f"one edit, {name}, nine in ten, ms":
                      ms[len(ms) * 9 // 10]}
        print(f"  on {alignment.device(engine)}")
    finally:
        engine.close()
    return found


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, default=[MODELS / "disdiff-shapes3d"], metavar="FOLDER")
    parser.add_argument("--count", type=int, default=500, help="edits that are compared; 0 for none")
    parser.add_argument("--timed", type=int, default=100, help="edits that are timed")
    parser.add_argument("--device", default="cpu", help="on which all is done: cpu, cuda, ...")
    options = parser.parse_args()
    for folder in options.folders:
        print(folder.name)
        found = measure(folder, options.count, options.device) if options.count else {}
        for name, value in (found | times(folder, options.timed, options.device)).items():
            print(f"  {name}: {value:.3g}")


if __name__ == "__main__":
    main()
