"""When Is Unsupervised Disentanglement Possible? Local isometry, found by a spectral method, as a net.

Horan, Richardson, Weiss, NeurIPS 2021,
https://papers.neurips.cc/paper_files/paper/2021/hash/29586cb449c90e249f1f09a0a4ee245a-Abstract.html [LI].

Before the first step `engine.chart` finds the factors of some thousand training images, the landmarks, by
Hessian eigenmaps and independent components. Training distils them: the encoder learns the landmarks'
coordinates, the decoder to draw every training image from what the encoder says of it.

Departures: the paper has no net for its spectral method, whose coordinates exist for the images they were
computed from only. The coordinates end at the manifold's rim, so the decoder learns from slightly shaken
ones. The number of factors is given; `engine.hessian_lle.estimate_dimension` and the lowest eigenvalues,
which the model keeps as `spectrum`, tell how well that fits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from engine.gaussian import bernoulli_nll, like
from engine.method import Method, Paper, register
from engine.nets import Decoder, Encoder

BEYOND = 7          # eigenvalues that are kept besides one for each factor
CHECKED = 2000      # images whose reconstruction tells what is usual
USUAL = 0.99        # quantile of their error beyond which an image is off the manifold


@dataclass(frozen=True)
class Config:
    """Options of the spectral method and its distillation."""

    latents: int = 2                # d, factors to find; also the dimension of the manifold
    landmarks: int = 3000           # images that are charted; the time grows with their square and more
    neighbours: int = 0             # of each landmark; 0 chooses by the number of factors
    shake: float = 0.03             # standard deviation of the noise on codes that the decoder learns from
    encoder_width: int = 32         # channels of the first convolution
    decoder_width: int = 32         # channels of the last hidden layer


@register
class LocalIsometry(Method):
    """Hessian eigenmaps and independent components, distilled into an encoder and a decoder."""

    paper = Paper(
        title="When Is Unsupervised Disentanglement Possible?",
        authors="Horan, Richardson, Weiss",
        year=2021,
        link="https://papers.neurips.cc/paper_files/paper/2021/hash/29586cb449c90e249f1f09a0a4ee245a-Abstract.html",
    )
    Config = Config
    stored: ClassVar[torch.dtype] = torch.float16

    def __init__(self, config: Config, channels: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.code_size = config.latents
        self.encoder = Encoder(channels, config.latents, config.encoder_width)
        self.decoder = Decoder(config.latents, channels, config.decoder_width)
        self.register_buffer("spectrum", torch.zeros(config.latents + BEYOND))
        self.register_buffer("usual", torch.ones(()))
        self.register_buffer("images", None, persistent=False)          # (M, C, 64, 64) uint8, the landmarks
        self.register_buffer("coordinates", None, persistent=False)     # (M, D)
        self.register_buffer("found", None, persistent=False)           # (D + BEYOND,) the landmarks' eigenvalues

    @property
    def title(self) -> str:
        return "HLLE + ICA"

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x).float()

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code).float().sigmoid()

    def prepare(self, pictures: Callable[[int], Tensor]) -> None:
        from engine import chart  # what only training needs must not slow down the start of the page

        images = pictures(self.config.landmarks)
        found = chart.fit(images, self.config.latents, self.config.neighbours or None)
        self.images = images[torch.from_numpy(found.index).to(images.device)]
        self.coordinates = torch.from_numpy(found.codes).float().to(images.device)
        self.found = torch.from_numpy(found.flat.spectrum)

    @torch.no_grad()
    def finish(self, pictures: Callable[[int], Tensor]) -> None:
        self.spectrum.copy_(self.found)  # not before: another start of the training restores all buffers
        self.usual.fill_(1)
        errors = [self.strangeness(part.float() / 255) for part in pictures(CHECKED).split(500)]
        self.usual.copy_(torch.cat(errors).quantile(USUAL))

    def strangeness(self, x: Tensor) -> Tensor:
        """How far images (B, C, 64, 64) in [0, 1] are from the manifold: (B,), the error of their reconstruction
        in units of what one training image in a hundred exceeds. More than 1 is a reason to warn."""
        return ((self.decode(self.encode(x)) - x) ** 2).mean((1, 2, 3)).sqrt() / self.usual

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        """The squared error of coordinates, of unit variance, plus the pictures' negative log likelihood.

        The decoder learns the landmarks from their coordinates and x from what the encoder says of it, but
        does not teach the encoder: nothing but the landmarks decides what the axes are.
        """
        pick = torch.randint(len(self.images), (len(x),), generator=generator, device=x.device)
        known, coordinates = self.images[pick].float() / 255, self.coordinates[pick]
        codes = self.encode(torch.cat([known, x]))
        shown = torch.cat([coordinates, codes[len(x):].detach()])
        logits = self.decoder(shown + self.config.shake * like(shown, generator))
        terms = {
            "coordinates": ((codes[:len(x)] - coordinates) ** 2).mean(),
            "reconstruction": bernoulli_nll(logits, torch.cat([known, x])),
        }
        return {"loss": terms["coordinates"] + terms["reconstruction"]} | terms
