"""What the Gaussian VAE family shares: its nets, and its losses with the equations they come from.

Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014 [AEVB];
Higgins et al., "beta-VAE", ICLR 2017 [beta];
Chen et al., "Isolating Sources of Disentanglement in VAEs", NeurIPS 2018 [TC].
All losses are per-image sums over pixels or latent dimensions, averaged over the batch, in nats.
"""

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from engine.method import Method
from engine.nets import Decoder, Encoder


class GaussianVAE(Method):
    """An encoder to a diagonal Gaussian posterior, a decoder to Bernoulli pixels, and one slot for
    each latent. `loss` is what the methods of the family differ in.

    config: any with `latents`, `encoder_width` and `decoder_width`. code_size: D, the number of
    latents if None.
    """

    def __init__(self, config: Any, channels: int, code_size: int | None = None):
        super().__init__()
        self.config = config
        self.channels = channels
        self.code_size = code_size or config.latents
        self.encoder = Encoder(channels, 2 * self.code_size, config.encoder_width)
        self.decoder = Decoder(self.code_size, channels, config.decoder_width)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> mean and log variance of q(z|x), each (B, D)."""
        mean, log_variance = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_variance

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x)[0]

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code).float().sigmoid()


def sample(mean: Tensor, log_variance: Tensor, generator: Generator) -> Tensor:
    """z = mu + sigma * eps  [AEVB, section 2.4]. All tensors (B, D)."""
    return mean + (0.5 * log_variance).exp() * like(mean, generator)


def like(z: Tensor, generator: Generator) -> Tensor:
    """A sample of the prior N(0, 1) of the shape and on the device of z."""
    return torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)


def noisy(h: Tensor, spread: float, generator: Generator | None) -> Tensor:
    """h with Gaussian noise of standard deviation `spread`; as it is without a generator."""
    return h if generator is None else h + spread * like(h, generator)


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) of independent Bernoulli pixels, x in [0, 1]  [AEVB, appendix C.1]."""
    nll = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum")
    return nll / len(x)


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z|x) || N(0, 1)) of each latent dimension, averaged over the batch: (D,)
    [AEVB, appendix B]."""
    return 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).mean(0)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, exp(log_variance)), elementwise."""
    return -0.5 * ((z - mean) ** 2 / log_variance.exp() + log_variance + math.log(2 * math.pi))


def total_correlation(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z) || prod_j q(z_j)) estimated on the minibatch  [TC, eq. 2 (ii) and eq. 3].


    The estimator's constants (the log of batch and data set size) are dropped, as in
    disentanglement_lib: they have no gradient. The value is therefore not a TC in nats but the
    TC up to a constant that depends on the batch size and on D.
    """
    pairs = log_normal(z[:, None], mean[None], log_variance[None])  # (B, B, D): log q(z_j(i) | x_k)
    log_joint = pairs.sum(2).logsumexp(1)                           # (B,)
    log_marginals = pairs.logsumexp(1).sum(1)                       # (B,)
    return (log_joint - log_marginals).mean()


def relaxed(step: Tensor, to: float, during: tuple[int, int]) -> Tensor:
    """The weight of a regulariser at `step` (0-d): 1 before the interval of steps `during`, `to`
    after it, and geometric between them."""
    first, last = during
    return to ** ((step - first) / max(last - first, 1)).clamp(0, 1)


def evidence_bound(
    logits: Tensor,
    x: Tensor,
    z: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    objective: str,
    beta: float,
    weight: Tensor,
) -> dict[str, Tensor]:
    """The regularised negative evidence bound as named terms, their sum under 'loss'.

    objective 'beta': reconstruction + beta * KL                 [beta, eq. 4]; beta = 1 is the VAE
    objective 'tc':   reconstruction + KL + (beta - 1) * TC      [TC, eq. 4 with alpha = gamma = 1]

    `weight` (0-d) multiplies all but the reconstruction; 1 in the papers.
    """
    terms = {"reconstruction": bernoulli_nll(logits, x), "kl": kl_to_prior(mean, log_variance).sum()}
    if objective == "tc":
        terms["tc"] = total_correlation(z, mean, log_variance)
        regulariser = terms["kl"] + (beta - 1) * terms["tc"]
    else:
        regulariser = beta * terms["kl"]
    return {"loss": terms["reconstruction"] + weight * regulariser} | terms
