"""Tiny seeded models, for tests that need a model but not a good one."""

from pathlib import Path

import torch

from engine import checkpoint, factors
from engine.methods.vae import VAE, Config


def tiny_vae(seed: int = 0, channels: int = 3, latents: int = 4) -> VAE:
    """An untrained VAE whose latents all change the picture visibly."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VAE(Config(latents=latents, encoder_width=4, decoder_width=4), channels)
        model.stored = torch.float32  # so that it comes back from a folder bit for bit
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.mul_(3 if name.endswith("weight") else 0)  # torch's default lets the signal fade
    return model.eval().requires_grad_(False)


def noise(count: int, channels: int = 3, seed: int = 0) -> torch.Tensor:
    """Smooth random images (count, channels, 64, 64) uint8."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    return (255 * torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bilinear")).to(torch.uint8)


def save_tiny(folder: Path, seed: int = 0, channels: int = 3, data: str = "shapes3d") -> Path:
    """A model folder with a tiny VAE; returns it."""
    model = tiny_vae(seed, channels)
    images = noise(256, channels)
    mean = model.encode(images.float() / 255).mean(0)
    figures = {"psnr_held_out_db": 12.3, "mig": 0.4}
    checkpoint.save(folder, model, factors.fit(model, images), mean, data, "# A tiny model\n", figures)
    return folder


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gradients(term: torch.Tensor, module: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    """Gradient of a term by parameter name; None where it has no path."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True), strict=True))
