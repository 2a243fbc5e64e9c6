"""EncDiff: a diffusion model that attends to scalar factors, trained with its encoder from the start.

Yang, Lan, Lu, Zheng, "Diffusion Model with Cross Attention as an Inductive Bias for Disentanglement",
NeurIPS 2024, https://arxiv.org/abs/2402.09712 [EncDiff]. The strong successor of DisDiff, and its
control: no pre-trained model, no sub-gradients, one loss. An encoder reads N scalars from a picture,
each becomes a token by a net of its own, and a U-Net on latents attends to the tokens. Nothing asks for
disentanglement; the bottleneck of tokens and the task at many levels of noise bring it about.

Departures: nets are small, the encoder is the one of `vae.py`; scalars are standardised; the latents are
of a KL autoencoder (theirs: VQ); the error of the noise is squared (theirs: absolute); attention at 8 and 4
pixels only; every token has a learnt name added; no moving averages, as the learning rate of each stage falls
to 0; samplers are deterministic and take a few steps of second order instead of 200.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from engine import gaussian
from engine.diffusion import Schedule
from engine.latent import LATENTS, LIMIT, LatentMethod
from engine.method import Paper, register
from engine.nets import Encoder
from engine.unet import Tokens, UNet


@dataclass(frozen=True)
class Config:
    """Options of EncDiff."""

    factors: int = 20                  # N, scalars and tokens
    token: int = 32                    # size of a token
    encoder_width: int = 32            # first convolution, of the autoencoder and of the scalars' encoder
    decoder_width: int = 32            # last hidden layer of the autoencoder
    unet_width: int = 64               # of the diffusion model, at 16 pixels
    schedule: Literal["linear", "cosine"] = "cosine"  # of its noise
    kl_weight: float = 1e-6            # of the autoencoder's latents
    autoencoder_until: int = 5_000     # steps: the autoencoder; then the rest
    rates: tuple[float, float] = (1.0, 0.6)  # peaks of the learning rate, as shares of --lr
    warm_up: int = 300                 # steps from the start of a stage to its peak
    quick_steps: int = 4               # of the sampler while a slider moves
    slow_steps: int = 10               # of the sampler at rest


@register
class EncDiff(LatentMethod):
    """Autoencoder, scalar factors, and a diffusion model that attends to them."""

    paper = Paper(
        title="Diffusion Model with Cross Attention as an Inductive Bias for Disentanglement",
        authors="Yang, Lan, Lu, Zheng",
        year=2024,
        link="https://arxiv.org/abs/2402.09712",
    )
    Config = Config

    def __init__(self, config: Config, channels: int):
        super().__init__(config, channels, config.factors, 1)
        self.schedule = Schedule(config.schedule)
        self.encoder = Encoder(channels, config.factors, config.encoder_width)
        self.tokens = Tokens(config.factors, 1, 64, config.token)
        self.unet = UNet(LATENTS, config.unet_width, (1, 2, 2), context=config.token)

    def stages(self) -> tuple[int, ...]:
        return (self.config.autoencoder_until,)

    def raw(self, x: Tensor) -> Tensor:
        """Images -> scalars before they are standardised (B, N, 1)."""
        return self.encoder(x).float()[:, :, None]

    def read(self, x: Tensor, latents: Tensor) -> Tensor:
        return self.standard(self.raw(x))

    def represent(self, x: Tensor) -> Tensor:
        return self.standard(self.raw(x)).flatten(1)  # which needs no latents

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        if stage == 0:
            return self.autoencoder.loss(x, self.config.kl_weight, generator)
        with torch.no_grad():
            latents = self.autoencoder.encode(x)
        raw = self.raw(x)
        centre, spread = self.standard.follow(raw)
        t = torch.randint(self.schedule.steps, (len(x),), generator=generator, device=x.device)
        eps = gaussian.like(latents, generator)
        predicted = self.predict(self.schedule.noised(latents, t, eps), t, (raw - centre) / spread)
        loss = ((predicted - eps) ** 2).mean()                                       # [EncDiff, its one loss]
        return {"loss": loss, "diffusion": loss}

    def predict(self, x: Tensor, t: Tensor, z: Tensor) -> Tensor:
        """The noise in latents x (B, 4, 16, 16) at times t (B,), given scalars z (B, N, 1)."""
        return self.unet(x, t, self.tokens(z))[0]

    def quick(self, noise: Tensor, z: Tensor) -> Tensor:
        return self.schedule.dpm(lambda x, t: self.predict(x, t, z), noise, self.config.quick_steps, LIMIT)

    def slow(self, noise: Tensor, z: Tensor) -> Tensor:
        return self.schedule.dpm(lambda x, t: self.predict(x, t, z), noise, self.config.slow_steps, LIMIT)
