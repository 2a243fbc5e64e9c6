"""A tiny seeded model that tells content from style, for tests that need one but not a good one."""

import json
from pathlib import Path

import torch

from engine import checkpoint, factors
from engine.files import write_atomically, write_manifest
from engine.methods.csdismo import Config, CSDisMo
from tests.tiny import noise

CONTENT, STYLE = slice(0, 8), slice(8, 12)
SCORES = {
    "read letter": 0.93, "read letter right": 0.9, "swap letter content": 0.8, "swap letter style": 0.02,
    "read face": 0.8, "swap face content": 0.1, "swap face style": 0.6,
    "read slant": 0.8, "swap slant content": 0.2, "swap slant style": 0.15,
}


def save_two_sided(folder: Path, scores: dict[str, float] | None = None) -> Path:
    """A model folder with an untrained grey C-S DisMo of glyphs, and `scores` as if it had been measured."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Config(content=8, style=4, encoder_width=4, decoder_width=4, embedded=False)
        model = CSDisMo(config, 1).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            parameter.mul_(3 if name.endswith("weight") else 0)  # torch's default lets the signal fade
    images = noise(256, 1)
    model.finish(lambda count: images[:count])
    mean = model.encode(images.float() / 255).mean(0)
    checkpoint.save(folder, model, factors.fit(model, images), mean, "glyphs", "# Tiny\n", {"psnr_held_out_db": 9.0})
    if scores:
        write_atomically(folder / checkpoint.METRICS, json.dumps(scores).encode())
        write_manifest(folder)
    return folder
