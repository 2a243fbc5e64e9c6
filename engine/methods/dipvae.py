"""DIP-VAE-II: a VAE whose codes, over all images, are to have the identity as their covariance.

Kumar, Sattigeri, Balakrishnan, "Variational Inference of Disentangled Latent Concepts from
Unlabeled Observations", ICLR 2018, https://arxiv.org/abs/1711.00848

Departures: nets, optimiser and Bernoulli pixels are those of `vae.py`; the covariance is that of
the minibatch, divided by its size, as in disentanglement_lib.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from engine import gaussian
from engine.method import Paper, register


@dataclass(frozen=True)
class Config:
    """Options of DIP-VAE-II."""

    latents: int = 10           # D, dimensions of the code
    lambda_od: float = 10.0     # strength of the penalty on covariances
    lambda_d: float = 10.0      # strength of the penalty on variances that are not 1
    encoder_width: int = 32     # channels of the first convolution
    decoder_width: int = 32     # channels of the last hidden layer


def aggregate_covariance(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Cov_q(z)[z] = E[Sigma(x)] + Cov[mu(x)] over a batch of posteriors (B, D): (D, D)  [eq. 5].

    Summed elementwise, since a matrix product would be rounded to half precision on a GPU.
    """
    centred = mean - mean.mean(0)
    between = (centred[:, :, None] * centred[:, None]).mean(0)
    return between + torch.diag(log_variance.exp().mean(0))


@register
class DIPVAE(gaussian.GaussianVAE):
    """VAE with disentangled inferred prior, second form."""

    paper = Paper(
        title="Variational Inference of Disentangled Latent Concepts from Unlabeled Observations",
        authors="Kumar, Sattigeri, Balakrishnan",
        year=2018,
        link="https://arxiv.org/abs/1711.00848",
    )
    Config = Config

    @property
    def title(self) -> str:
        return "DIP-VAE-II"

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        z = gaussian.sample(mean, log_variance, generator)
        covariance = aggregate_covariance(mean, log_variance)
        variances = covariance.diagonal()
        terms = {
            "reconstruction": gaussian.bernoulli_nll(self.decoder(z), x),
            "kl": gaussian.kl_to_prior(mean, log_variance).sum(),
            "covariances": ((covariance - variances.diag()) ** 2).sum(),
            "variances": ((variances - 1) ** 2).sum(),
        }
        penalty = (                                                                 # eq. 7
            self.config.lambda_od * terms["covariances"] + self.config.lambda_d * terms["variances"]
        )
        return {"loss": terms["reconstruction"] + terms["kl"] + penalty} | terms
