"""Autoencoders pushed to local isometry, and the plain ones they are compared with; independent components last.

Horan, Richardson, Weiss, "When Is Unsupervised Disentanglement Possible?", NeurIPS 2021,
https://papers.neurips.cc/paper_files/paper/2021/hash/29586cb449c90e249f1f09a0a4ee245a-Abstract.html [LI]
Lee, Yoon, Son, Park, "Regularized Autoencoders for Isometric Representation Learning", ICLR 2022,
https://openreview.net/forum?id=mQxt8l7JL04 [IRAE]
Jing, Zbontar, LeCun, "Implicit Rank-Minimizing Autoencoder", NeurIPS 2020,
https://arxiv.org/abs/2010.00679 [IRMAE]

[LI] encourages autoencoders to find locally isometric encodings, but its loss could not be read. Two forms
stand for it: 'neighbours' asks that codes of neighbouring images are as far apart as the images, up to one
scale that is learnt; 'decoder' is the relaxed distortion of [IRAE]. 'none' is the plain autoencoder, and
with `linear_layers` IRMAE.

[IRMAE]'s code is wider than what it is to find, and loses rank in training: `wide` numbers, of whose principal
components `latents` are kept. A code that has no more numbers than factors loses rank that was needed.

Departures: nets and optimiser are those of `vae.py`, where [IRMAE]'s are larger; the distortion is divided
by its least value, so that it is 0 for an isometry up to scale, and its random directions have unit mean
square exactly; pixels are Bernoulli, since the squared error of a sigmoid was seen to stay black for ever. The
divergence is measured in units of the images' total variance, so that `weight` means the same for all. The axes
are settled after training by `engine.ica`, as [LI] does after its spectral method, and kept in the model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from engine.gaussian import bernoulli_nll, like
from engine.method import Method, Paper, register
from engine.nets import Decoder, Encoder

LANDMARKS = 3000        # images among which neighbours are looked for
NEIGHBOURS = 8          # of each landmark
BEYOND = 0.2            # how far beyond a pair of codes the decoder is pushed to isometry [IRAE, section 3.3]
UNMIXED = 5000          # images whose codes are unmixed


@dataclass(frozen=True)
class Config:
    """Options of the autoencoders."""

    latents: int = 2                # D, dimensions of the code
    isometry: Literal["neighbours", "decoder", "none"] = "neighbours"  # what is pushed to local isometry
    weight: float = 1.0             # of that
    linear_layers: int = 0          # square ones without bias between encoder and code; IRMAE has 8
    wide: int = 0                   # numbers in the code that is trained, if not D
    encoder_width: int = 32         # channels of the first convolution
    decoder_width: int = 32         # channels of the last hidden layer


def divergence(logits: Tensor, x: Tensor) -> Tensor:
    """KL(x || p) of Bernoulli pixels: the negative log likelihood of images x less what the best answer has."""
    least = -(torch.xlogy(x, x) + torch.xlogy(1 - x, 1 - x)).sum() / len(x)
    return bernoulli_nll(logits, x) - least


def neighbour_distortion(codes_apart: Tensor, apart: Tensor, log_scale: Tensor) -> Tensor:
    """mean (e^a |z_i - z_j| / |x_i - x_j| - 1)^2 over pairs of neighbours. 0 for an isometry up to scale.

    codes_apart: z_i - z_j (B, D). apart: |x_i - x_j| (B,). log_scale: a, 0-d.
    """
    length = (codes_apart.square().sum(1) + 1e-12).sqrt()  # whose gradient is finite where codes coincide
    return ((log_scale.exp() * length / apart - 1) ** 2).mean()


@torch.compiler.disable  # which cannot fuse a derivative of a derivative
def decoder_distortion(decode: Callable[[Tensor], Tensor], z: Tensor, generator: Generator) -> Tensor:
    """D E|J^T J v|^2 / (E|J v|^2)^2 - 1 for the Jacobian J of `decode` at codes z (B, D) and v on the sphere of
    radius sqrt(D): 0 for an isometry up to scale, positive otherwise  [IRAE, eq. 9]."""
    v = like(z, generator)
    v = v * (z.shape[1] / v.square().sum(1, keepdim=True)).sqrt()
    pictures, pull = torch.func.vjp(decode, z)                                        # pull: u -> J^T u
    # Transposed again it is v -> J v, without forward-mode derivatives, which not every layer has.
    _, pushed = torch.func.vjp(lambda u: pull(u)[0], torch.zeros_like(pictures))
    [push] = pushed(v)
    [back] = pull(push)
    stretch = push.square().flatten(1).sum(1).mean()
    return z.shape[1] * back.square().sum(1).mean() / stretch.square() - 1


@register
class Isometric(Method):
    """Autoencoder with an isometry term or none."""

    paper = Paper(
        title="When Is Unsupervised Disentanglement Possible?",
        authors="Horan, Richardson, Weiss",
        year=2021,
        link="https://papers.neurips.cc/paper_files/paper/2021/hash/29586cb449c90e249f1f09a0a4ee245a-Abstract.html",
    )
    Config = Config

    def __init__(self, config: Config, channels: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.code_size = size = config.latents
        wide = config.wide or size
        if wide < size:
            raise ValueError(f"--wide must be --latents, {size}, or more.")
        self.encoder = Encoder(channels, wide, config.encoder_width)
        self.linear = nn.Sequential(*(nn.Linear(wide, wide, bias=False) for _ in range(config.linear_layers)))
        self.decoder = Decoder(wide, channels, config.decoder_width)
        if config.isometry == "neighbours":
            self.log_scale = nn.Parameter(torch.zeros(()))
        self.register_buffer("centre", torch.zeros(wide))
        self.register_buffer("unmixing", torch.eye(size, wide))
        self.register_buffer("mixing", torch.eye(wide, size))
        self.register_buffer("variance", torch.ones(()), persistent=False)  # of the images, all pixels together
        self.register_buffer("images", None, persistent=False)              # (M, C, 64, 64) uint8, the landmarks
        self.register_buffer("table", None, persistent=False)               # (M, k) their neighbours
        self.register_buffer("apart", None, persistent=False)               # (M, k) the distance to those

    @property
    def title(self) -> str:
        plain = "IRMAE" if self.config.linear_layers else "AE"
        return plain if self.config.isometry == "none" else f"LI-{plain} ({self.config.isometry})"

    def mixed(self, x: Tensor) -> Tensor:
        """Images -> codes (B, D), or (B, `wide`), before ICA: what is trained."""
        return self.linear(self.encoder(x)).float()

    def drawn(self, mixed: Tensor) -> Tensor:
        """Codes before ICA -> images."""
        return self.decoder(mixed).float().sigmoid()

    def encode(self, x: Tensor) -> Tensor:
        return ((self.mixed(x) - self.centre)[:, None] * self.unmixing).sum(2)  # in full precision on a GPU, too

    def decode(self, code: Tensor) -> Tensor:
        return self.drawn((code[:, None] * self.mixing).sum(2) + self.centre)

    def prepare(self, pictures: Callable[[int], Tensor]) -> None:
        from engine.chart import neighbours_of  # what only training needs must not slow down the start of the page

        images = pictures(LANDMARKS)
        self.variance.copy_((images.float() / 255).var(0, correction=0).sum())
        if self.config.isometry == "neighbours":
            index, table, apart = neighbours_of(images, NEIGHBOURS)
            self.images = images[torch.from_numpy(index).to(images.device)]
            self.table = torch.from_numpy(table).to(images.device)
            self.apart = torch.from_numpy(apart).to(images.device)

    @torch.no_grad()
    def finish(self, pictures: Callable[[int], Tensor]) -> None:
        from engine.ica import unmix

        codes = torch.cat([self.mixed(part.float() / 255) for part in pictures(UNMIXED).split(500)]).cpu().double()
        axes = torch.eye(codes.shape[1], dtype=codes.dtype)
        if self.config.wide > self.code_size:
            axes = torch.linalg.eigh(torch.cov(codes.T))[1][:, -self.code_size:].T  # of the largest variances
        found = unmix((codes @ axes.T).numpy())
        matrix = torch.from_numpy(found.matrix)
        # What the other components have on average stays in every picture.
        rest = codes.mean(0) - axes.T @ (axes @ codes.mean(0))
        self.centre.copy_(rest + axes.T @ torch.from_numpy(found.centre))
        self.unmixing.copy_(matrix @ axes)
        self.mixing.copy_(axes.T @ matrix.inverse())

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        z = self.mixed(x)
        terms = {"reconstruction": divergence(self.decoder(z), x) / self.variance}
        if self.config.isometry == "none":
            return {"loss": terms["reconstruction"]} | terms
        if self.config.isometry == "neighbours":
            terms["distortion"] = neighbour_distortion(*self._pairs(len(x), generator), self.log_scale)
        else:
            terms["distortion"] = decoder_distortion(self.drawn, self._between(z, generator), generator)
        return {"loss": terms["reconstruction"] + self.config.weight * terms["distortion"]} | terms

    def _pairs(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """What separates `count` random landmarks from one of their neighbours each: codes (B, D), and the
        images' distances (B,)."""
        one = torch.randint(len(self.table), (count,), generator=generator, device=self.table.device)
        pick = torch.randint(self.table.shape[1], (count,), generator=generator, device=self.table.device)
        both = torch.cat([one, self.table[one, pick]])
        first, second = self.mixed(self.images[both].float() / 255).chunk(2)
        return first - second, self.apart[one, pick]

    def _between(self, z: Tensor, generator: Generator) -> Tensor:
        """Codes (B, D) on the lines through pairs of codes, `BEYOND` of their distance beyond either."""
        share = torch.rand(len(z), 1, generator=generator, device=z.device) * (1 + 2 * BEYOND) - BEYOND
        return share * z + (1 - share) * z.roll(1, 0)  # a batch is in no order
