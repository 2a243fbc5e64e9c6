"""What the diffusion methods share: an autoencoder, and a code that carries the picture with it.

They diffuse latents of 16x16, after Rombach et al., "High-Resolution Image Synthesis with Latent
Diffusion Models", CVPR 2022 [LDM]; the autoencoder is its KL variant without the perceptual and the
adversarial loss, which need a pre-trained net or a discriminator.

The code of such a method is

    z        the factors, to be moved;
    home     the factors as the picture has them;
    rest     what the quick sampler lacks of the picture's latents when it starts from home;
    latents  of the picture, which tell the same of the slow one.

A decoder adds what its sampler lacks, less of it the further z was moved. So where nothing was
moved the picture is the autoencoder's to rounding, whatever sampler is used, and a moved one is tied
to it: nothing flickers when a slider leaves its neutral place. Scores must look at z only, which
`represent` is for: the rest of the code is a copy of the picture.

All pictures start from one noise. From the noise that DDIM's inversion finds for a picture, the sampler
makes that picture again almost whatever the factors say: the noise knows it already.
"""

from abc import abstractmethod
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor, nn

from engine import gaussian
from engine.method import Method, Slot, staged_rate
from engine.unet import GROUPS

SIDE = 16       # of the latents
LATENTS = 4     # channels of the latents
LIMIT = 4.0     # largest latent, in standard deviations of its channel
FOLLOW = 0.01   # share of a batch in running statistics
FADE = 4.0      # standard deviations that factors move until 1/e of what a sampler lacks is left; see benchmarks.fade


class Autoencoder(nn.Module):
    """Images (B, C, 64, 64) in [0, 1] <-> latents (B, 4, 16, 16) of mean 0 and variance 1 in every channel."""

    def __init__(self, channels: int, encoder_width: int, decoder_width: int):
        super().__init__()
        a, b, c = (encoder_width * m for m in (1, 2, 3))
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, a, 3, 1, 1), nn.SiLU(), nn.Conv2d(a, b, 4, 2, 1),
            *_layer(b, nn.Conv2d(b, b, 3, 1, 1)), *_layer(b, nn.Conv2d(b, c, 4, 2, 1)),
            *_layer(c, nn.Conv2d(c, c, 3, 1, 1)), *_layer(c, nn.Conv2d(c, c, 3, 1, 1)),
            *_layer(c, nn.Conv2d(c, 2 * LATENTS, 3, 1, 1)),
        )
        a, b, c = (decoder_width * m for m in (1, 2, 3))
        grow = nn.Upsample(scale_factor=2.0)
        self.decoder = nn.Sequential(
            nn.Conv2d(LATENTS, c, 3, 1, 1),
            *_layer(c, nn.Conv2d(c, c, 3, 1, 1)), *_layer(c, nn.Conv2d(c, c, 3, 1, 1)),
            grow, *_layer(c, nn.Conv2d(c, b, 3, 1, 1)), *_layer(b, nn.Conv2d(b, b, 3, 1, 1)),
            grow, *_layer(b, nn.Conv2d(b, a, 3, 1, 1)), *_layer(a, nn.Conv2d(a, a, 3, 1, 1)),
            *_layer(a, nn.Conv2d(a, channels, 3, 1, 1)),
        )
        self.register_buffer("centre", torch.zeros(LATENTS, 1, 1))  # running statistics of the encoder's means
        self.register_buffer("spread", torch.ones(LATENTS, 1, 1))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> mean and log variance of the latents before they are standardised."""
        mean, log_variance = self.encoder(2 * x - 1).float().chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def encode(self, x: Tensor) -> Tensor:
        """Images -> latents in [-LIMIT, LIMIT]."""
        return ((self.posterior(x)[0] - self.centre) / self.spread).clamp(-LIMIT, LIMIT)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images in [0, 1]."""
        return self.decoder(latents * self.spread + self.centre).float().clamp(0, 1)

    def loss(self, x: Tensor, kl_weight: float, generator: Generator) -> dict[str, Tensor]:
        """Absolute and squared error of the pixels, and the KL of the latents to N(0, 1) weighted as
        against errors summed over the pixels  [LDM, appendix G]."""
        mean, log_variance = self.posterior(x)
        self._follow(mean.detach())
        wrong = self.decoder(gaussian.sample(mean, log_variance, generator)).float() - x
        terms = {"absolute": wrong.abs().mean(), "squared": (wrong**2).mean()}
        terms["kl"] = gaussian.kl_to_prior(mean, log_variance).sum()
        return {"loss": terms["absolute"] + terms["squared"] + kl_weight / x[0].numel() * terms["kl"]} | terms

    @torch.no_grad()
    def _follow(self, mean: Tensor) -> None:
        self.centre.lerp_(mean.mean((0, 2, 3))[:, None, None], FOLLOW)
        self.spread.lerp_(mean.std((0, 2, 3))[:, None, None].clamp(min=1e-3), FOLLOW)


class Standard(nn.Module):
    """Running mean of every number of a code (B, N, d), and root mean variance of each of its N factors."""

    def __init__(self, count: int, size: int):
        super().__init__()
        self.register_buffer("centre", torch.zeros(count, size))
        self.register_buffer("spread", torch.ones(count, 1))

    def forward(self, raw: Tensor) -> Tensor:
        """Codes (B, N, d) standardised by what was seen in training."""
        return (raw - self.centre) / self.spread

    def follow(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The same statistics of this batch, with their gradient; the running ones move towards them."""
        centre = raw.mean(0)
        spread = (((raw - centre) ** 2).mean((0, 2)) + 1e-6).sqrt()[:, None]
        with torch.no_grad():
            self.centre.lerp_(centre.detach(), FOLLOW)
            self.spread.lerp_(spread.detach(), FOLLOW)
        return centre, spread


class LatentMethod(Method):
    """An autoencoder, factors (B, count, size), and two deterministic samplers conditioned on them.

    config: any with `encoder_width`, `decoder_width`, `kl_weight`, `quick_steps` and `slow_steps` of the samplers,
    `rates`, the peak learning rate of each stage as a share of the run's, and `warm_up`, the steps in which it is
    reached.
    Stage 0 trains the autoencoder; nothing changes it later.
    """

    stored = torch.int8

    def __init__(self, config: Any, channels: int, count: int, size: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.count, self.size = count, size
        self.sizes = [count * size] * 2 + [LATENTS * SIDE * SIDE] * 2
        self.code_size = sum(self.sizes)
        noise = torch.randn(LATENTS, SIDE, SIDE, generator=Generator().manual_seed(0))
        self.register_buffer("noise", noise, persistent=False)  # from which samplers start
        self.autoencoder = Autoencoder(channels, config.encoder_width, config.decoder_width)
        self.standard = Standard(count, size)

    @abstractmethod
    def read(self, x: Tensor, latents: Tensor) -> Tensor:
        """Images (B, C, 64, 64) and their latents (B, 4, 16, 16) -> factors z (B, count, size)."""

    @abstractmethod
    def quick(self, noise: Tensor, z: Tensor) -> Tensor:
        """Noise and factors -> latents, fast enough to be dragged."""

    @abstractmethod
    def slow(self, noise: Tensor, z: Tensor) -> Tensor:
        """Noise and factors -> latents, as well as the model can."""

    @property
    def ways(self) -> tuple[str, str]:
        return _steps(self.config.quick_steps), _steps(self.config.slow_steps)

    def layout(self) -> tuple[Slot, ...]:
        factors = tuple(Slot(k * self.size, (k + 1) * self.size) for k in range(self.count))
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        return factors + tuple(Slot(a, b, "residual") for a, b in pairwise(ends))

    def rate(self, step: Tensor, steps: int, stage: int) -> Tensor:
        config = self.config
        return staged_rate(step, steps, stage, self.stages(), config.rates[stage], config.warm_up)

    def represent(self, x: Tensor) -> Tensor:
        return self.read(x, self.autoencoder.encode(x)).flatten(1)

    def encode(self, x: Tensor) -> Tensor:
        latents = self.autoencoder.encode(x)
        z = self.read(x, latents)
        rest = latents - self.quick(self.start(z), z)
        return torch.cat([part.flatten(1) for part in (z, z, rest, latents)], 1)

    def decode(self, code: Tensor) -> Tensor:
        z, home, rest, _ = self.parts(code)
        return self.autoencoder.decode((self.quick(self.start(z), z) + left(z, home) * rest).clamp(-LIMIT, LIMIT))

    def refine(self, code: Tensor) -> Tensor:
        return self.autoencoder.decode(self.refined(code))

    def refined(self, code: Tensor) -> Tensor:
        """Codes (B, D) -> the latents (B, 4, 16, 16) of what `refine` answers."""
        z, home, _, latents = self.parts(code)
        both = torch.cat([z, home])
        moved, still = self.slow(self.start(both), both).chunk(2)
        return (moved + left(z, home) * (latents - still)).clamp(-LIMIT, LIMIT)

    def start(self, z: Tensor) -> Tensor:
        """The common noise for every row of factors (B, count, size): (B, 4, 16, 16)."""
        return self.noise.expand(len(z), -1, -1, -1)

    def parts(self, code: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Codes (B, D) -> factors z and home (B, count, size), rest and latents (B, 4, 16, 16)."""
        z, home, rest, latents = code.split(self.sizes, 1)
        factors = (part.unflatten(1, (self.count, self.size)) for part in (z, home))
        return *factors, *(part.unflatten(1, (LATENTS, SIDE, SIDE)) for part in (rest, latents))


def left(z: Tensor, home: Tensor, fade: float = FADE) -> Tensor:
    """Share (B, 1, 1, 1) of what a sampler lacks of a picture that is added when its factors are z instead of
    home (B, count, size): 1 where they are the same, 1/e where they are `fade` standard deviations apart."""
    moved = (z - home).flatten(1).norm(dim=1) / z.shape[2]**0.5
    return (-moved / fade).exp()[:, None, None, None]


def _steps(count: int) -> str:
    return f"{count} step{'s' if count > 1 else ''}"


def _layer(inputs: int, convolution: nn.Conv2d) -> tuple[nn.Module, ...]:
    return nn.GroupNorm(GROUPS, inputs), nn.SiLU(), convolution
