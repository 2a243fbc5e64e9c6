"""AnnealedVAE: a VAE whose code is given a capacity in nats that grows during training.

Burgess, Higgins, Pal, Matthey, Watters, Desjardins, Lerchner, "Understanding disentangling in
beta-VAE", 2018, https://arxiv.org/abs/1804.03599

Departures: nets, optimiser and Bernoulli pixels are those of `vae.py`; the capacity is full after
20,000 steps, a third of our runs as 100,000 is of the 300,000 of disentanglement_lib.
"""

from dataclasses import dataclass

from torch import Generator, Tensor

from engine import gaussian
from engine.method import Paper, register


@dataclass(frozen=True)
class Config:
    """Options of AnnealedVAE."""

    latents: int = 10              # D, dimensions of the code
    gamma: float = 1000.0          # strength with which the KL is held at the capacity
    c_max: float = 25.0            # largest capacity, in nats
    capacity_full: int = 20_000    # step at which the capacity is largest
    encoder_width: int = 32        # channels of the first convolution
    decoder_width: int = 32        # channels of the last hidden layer


def capacity(step: Tensor, c_max: float, full: int) -> Tensor:
    """C of eq. 8, in nats, at `step` (0-d): from 0 in a straight line to `c_max` at step `full`, and
    constant after it."""
    return c_max * (step / max(full, 1)).clamp(max=1)


@register
class AnnealedVAE(gaussian.GaussianVAE):
    """VAE with controlled capacity increase."""

    paper = Paper(
        title="Understanding disentangling in β-VAE",
        authors="Burgess, Higgins, Pal, Matthey, Watters, Desjardins, Lerchner",
        year=2018,
        link="https://arxiv.org/abs/1804.03599",
    )
    Config = Config

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        z = gaussian.sample(mean, log_variance, generator)
        terms = {
            "reconstruction": gaussian.bernoulli_nll(self.decoder(z), x),
            "kl": gaussian.kl_to_prior(mean, log_variance).sum(),
            "capacity": capacity(step, self.config.c_max, self.config.capacity_full),
        }
        regulariser = self.config.gamma * (terms["kl"] - terms["capacity"]).abs()     # eq. 8
        return {"loss": terms["reconstruction"] + regulariser} | terms
