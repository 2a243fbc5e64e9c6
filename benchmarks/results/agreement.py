"""Which seed to prefer without labels: how much the models of one cell agree on their axes.

    python -m benchmarks.results.agreement FOLDER FILE

writes to FILE, for each model FOLDER/seed*, its UDR (Duan et al., ICLR 2020, Spearman) among them and how
many of its latents entered it. A latent of a Gaussian posterior enters if its KL to the prior
exceeds 0.01 nats, as in the paper. A model without a posterior has no KL: its latents enter if
their range exceeds a twentieth of the largest (the rule by which InfoMEC calls a latent active). A
latent that never moves does not enter.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from engine import checkpoint, factors, metrics
from engine.data import load, split
from engine.files import write_atomically
from engine.gaussian import kl_to_prior
from engine.method import Method

IMAGES = 2000  # held out from training, the same for every model


@torch.inference_mode()
def latents(model: Method, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray, str]:
    """What scores see (N, D) of images (N, C, 64, 64) uint8, the KL of each latent (D,) and where that is from.

    Without a posterior over exactly these latents the KL is infinite where their range counts, else 0.
    """
    device = next(model.parameters()).device
    parts = [part.to(device).float() / 255 for part in images.split(500)]
    codes = factors.readings(model.layout(), torch.cat([model.represent(part) for part in parts]).float())
    span = codes.amax(0) - codes.amin(0)
    kl, source = torch.where(span > span.max() / 20, torch.inf, 0.0), "range"
    if hasattr(model, "posterior"):
        mean, log_variance = (torch.cat(both) for both in zip(*map(model.posterior, parts), strict=True))
        if mean.shape == codes.shape:
            kl, source = torch.where(span > 0, kl_to_prior(mean, log_variance), 0.0), "KL"
    return codes.cpu().numpy(), kl.cpu().numpy(), source


def agreement(folders: list[Path], device: torch.device | str = "cpu") -> dict[str, dict]:
    """For each model folder by its name: 'udr' (None for a single model), 'informative', 'informative by'."""
    models = [checkpoint.load(folder) for folder in folders]
    data = load(models[0][2]["data"])
    images = data.images(split(len(data))[1][:IMAGES])
    codes, kls, sources = zip(*(latents(model.to(device), images) for model, *_ in models), strict=True)
    ranks = metrics.udr(codes, kls) if len(models) > 1 else [None]
    return {
        folder.name: {
            "udr": None if rank is None else round(float(rank), 4),
            "informative": int((kl > metrics.INFORMATIVE).sum()),
            "informative by": source,
        }
        for folder, rank, kl, source in zip(folders, ranks, kls, sources, strict=True)
    }


def main() -> None:
    """Entry point of `python -m benchmarks.results.agreement`."""
    folder, file = map(Path, sys.argv[1:])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    seeds = sorted((p for p in folder.glob("seed*") if p.is_dir()), key=lambda p: int(p.name[4:]))
    write_atomically(file, json.dumps(agreement(seeds, device), indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
