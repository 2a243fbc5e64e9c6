"""FactorVAE: a VAE that pays for the total correlation of its code, as a discriminator sees it.

Kim & Mnih, "Disentangling by Factorising", ICML 2018, https://arxiv.org/abs/1802.05983

Departures, all but the last two those of disentanglement_lib: the permuted codes are those of the
same batch (one encoder pass), not of a second one; the discriminator is trained at the learning
rate of the VAE, 1e-4 in the library and the trainer's schedule here; VAE and discriminator step
at the same time, from one backward pass that keeps their gradients apart. The probabilities are
not clipped, since their logarithms are taken of the logits; nets and optimiser are as in `vae.py`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from engine import gaussian
from engine.method import Paper, register


@dataclass(frozen=True)
class Config:
    """Options of FactorVAE."""

    latents: int = 10                  # D, dimensions of the code
    gamma: float = 20.0                # strength of the total correlation
    discriminator_width: int = 1000    # units of each of its hidden layers
    encoder_width: int = 32            # channels of the first convolution
    decoder_width: int = 32            # channels of the last hidden layer


JOINT, PERMUTED = 0, 1  # the discriminator's two classes


class Discriminator(nn.Module):
    """Codes (B, D) -> logits of having been drawn from q(z) or from prod_j q(z_j): (B, 2)
    [appendix A]."""

    def __init__(self, latents: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (latents, *[width] * 5):
            layers += [nn.Linear(inputs, width), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z).float()


def permute_dimensions(z: Tensor, generator: Generator) -> Tensor:
    """Codes (B, D) with each dimension shuffled over the batch on its own  [algorithm 1]."""
    order = torch.rand(z.shape, generator=generator, device=z.device).argsort(0)
    return z.gather(0, order)


def density_ratio(logits: Tensor) -> Tensor:
    """Mean of log D(z) - log(1 - D(z)) over codes of q(z), an estimate of their total correlation
    in nats  [eq. 3]. logits (B, 2)."""
    return (logits[:, JOINT] - logits[:, PERMUTED]).mean()


def discrimination_loss(joint: Tensor, permuted: Tensor) -> Tensor:
    """Cross entropy of telling codes from permuted codes, by the logits (B, 2) of both
    [algorithm 2, the discriminator's step]."""
    right, wrong = joint.log_softmax(1)[:, JOINT], permuted.log_softmax(1)[:, PERMUTED]
    return -0.5 * (right.mean() + wrong.mean())


@register
class FactorVAE(gaussian.GaussianVAE):
    """VAE and discriminator."""

    paper = Paper(
        title="Disentangling by Factorising",
        authors="Kim, Mnih",
        year=2018,
        link="https://arxiv.org/abs/1802.05983",
    )
    Config = Config
    training_only: ClassVar[tuple[str, ...]] = ("discriminator",)

    def __init__(self, config: Config, channels: int):
        super().__init__(config, channels)
        self.discriminator = Discriminator(config.latents, config.discriminator_width)

    def groups(self) -> list[dict]:
        vae = [*self.encoder.parameters(), *self.decoder.parameters()]
        return [{"params": vae}, {"params": list(self.discriminator.parameters()), "betas": (0.5, 0.9)}]

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        z = gaussian.sample(mean, log_variance, generator)
        terms = {
            "reconstruction": gaussian.bernoulli_nll(self.decoder(z), x),
            "kl": gaussian.kl_to_prior(mean, log_variance).sum(),
            "tc": self.total_correlation(z),
            "discriminator": self.discrimination(z.detach(), generator),
        }
        bound = terms["reconstruction"] + terms["kl"]
        loss = bound + self.config.gamma * terms["tc"] + terms["discriminator"]     # eq. 2, algorithm 2
        return {"loss": loss} | terms

    def total_correlation(self, z: Tensor) -> Tensor:
        """What the VAE is told: a gradient to the codes (B, D), none to the discriminator."""
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        return density_ratio(functional_call(self.discriminator, frozen, (z,)))

    def discrimination(self, z: Tensor, generator: Generator) -> Tensor:
        """What the discriminator is told, by codes (B, D) that come detached."""
        return discrimination_loss(self.discriminator(z), self.discriminator(permute_dimensions(z, generator)))
