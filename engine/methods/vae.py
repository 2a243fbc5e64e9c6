"""The variational autoencoder and its two most used disentangling objectives.

Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014, https://arxiv.org/abs/1312.6114
Higgins et al., "beta-VAE", ICLR 2017, https://openreview.net/forum?id=Sy2fzU9gl
Chen et al., "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018, https://arxiv.org/abs/1802.04942

Departures: TC is the minibatch estimate of disentanglement_lib (constants dropped); the learning
rate, 1e-3 with cosine decay, is ten times the library's, which finds the factors in minutes; the
whole regulariser may be relaxed once axes exist, which sharpens pictures (`relax_to`).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from engine import gaussian
from engine.method import Paper, register


@dataclass(frozen=True)
class Config:
    """Options of the VAE family."""

    latents: int = 10                       # D, dimensions of the code
    objective: Literal["beta", "tc"] = "beta"  # beta-VAE or beta-TCVAE
    beta: float = 1.0                       # strength of the regulariser; 1 is the plain VAE
    relax_to: float = 1.0                   # share of the regulariser left at the end
    relax_during: tuple[int, int] = (20_000, 50_000)  # steps in which it falls to that
    encoder_width: int = 32                 # channels of the first convolution
    decoder_width: int = 32                 # channels of the last hidden layer


@register
class VAE(gaussian.GaussianVAE):
    """Diagonal Gaussian posterior, Bernoulli pixels."""

    paper = Paper(
        title="Isolating Sources of Disentanglement in Variational Autoencoders",
        authors="Chen, Li, Grosse, Duvenaud",
        year=2018,
        link="https://arxiv.org/abs/1802.04942",
    )
    Config = Config
    stored = torch.float16

    @property
    def title(self) -> str:
        if self.config.objective == "tc":
            return "β-TCVAE"
        return "VAE" if self.config.beta == 1 else "β-VAE"

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        z = gaussian.sample(mean, log_variance, generator)
        weight = gaussian.relaxed(step, self.config.relax_to, self.config.relax_during)
        return gaussian.evidence_bound(
            self.decoder(z), x, z, mean, log_variance, self.config.objective, self.config.beta, weight
        )
