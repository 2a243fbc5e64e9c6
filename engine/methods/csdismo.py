"""C-S DisMo: content from a distribution that all pictures share, style as the affine map that customises it.

Ren, Yang, Wang, Zeng, "Rethinking Content and Style: Exploring Bias for Unsupervised Disentanglement", 2021,
https://arxiv.org/abs/2102.10544 [CS]. Only its abstract, first page and official figure could be read, and no
code was released. What they leave open follows LORD, whose class labels [CS] does without:
Gabbay & Hoshen, "Demystifying Inter-Class Disentanglement", ICLR 2020, https://arxiv.org/abs/1906.11796 [LORD].

Every training picture i has an embedding c_i of its content and s_i of its style, free parameters both. A
generator G and the embeddings are trained together to draw the pictures,

    min  sum_i distance(G(f_sigma(s_i) * c_i + f_mu(s_i)), x_i)   where the c_i share one distribution,

with no labels and no adversary [CS, figure 2]. Then encoders learn to read both from a picture, also from
one that has no embedding. What content means is what dominates the reconstruction: it has to be measured.

Departures and completions:
  * the shared distribution is forced by normalising every c_i to mean 0 and variance 1 over its numbers
    (`--shared image`) or every number over the data set (`population`), and by noise on it, which limits what
    content can carry (`content_noise`). New content is drawn from a Gaussian of the population's moments;
  * the affine map acts on every feature map of G after its normalisation, as LORD's adaptive instance
    normalisation (`--fusion layers`), or once on the vector c as in the figure (`vector`); it is 1 + f_sigma(s);
  * the distance is the absolute error of pixels plus one of features: VGG-16's (`--features vgg`, see
    `engine.perceptual`) or a Laplacian pyramid's, which needs nothing and is blurrier;
  * the encoders learn beside the embeddings from the first step, which those do not notice; each stage warms up;
  * in the second stage swapped pictures, too, must be read as what they were made of (`consistency_weight`);
  * `--no-embedded` trains the encoders alone and has no embeddings: an ablation.
Neither the instance discrimination nor the information bottleneck that the paper may have had is here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, mse_loss

from engine.gaussian import like
from engine.method import Method, Paper, Slot, register, staged_rate
from engine.perceptual import Perceptual, pyramid

SLOPE = 0.2         # of the leaky rectifiers
CHECKED = 2000      # pictures that tell what is usual, and what content is drawn from
CALIBRATED = 256    # pictures that tell how large features are
USUAL = 0.99        # quantile of their error beyond which a picture is far from what the model has seen
SMALL = 1e-8        # variance at which a content counts as none
FLOOR = 0.02        # learning rate left at the end of the first stage, as share of its peak


@dataclass(frozen=True)
class Config:
    """Options of C-S DisMo."""

    content: int = 64                     # numbers in a content embedding
    style: int = 64                       # numbers in a style embedding
    shared: Literal["image", "population", "none"] = "image"  # over what contents are normalised
    fusion: Literal["layers", "vector"] = "layers"            # where style transforms content
    features: Literal["pyramid", "vgg"] = "pyramid"           # what the distance compares besides pixels
    embedded: bool = True                 # embeddings first; otherwise encoders alone
    images: int = 20_000                  # most training pictures that get embeddings
    embeddings_until: int = 10_000        # steps: embeddings and generator; then the encoders with it
    content_noise: float = 0.1            # standard deviation of the noise on normalised contents in training
    style_noise: float = 0.05             # and on styles
    pixel_noise: float = 0.02             # and on what the encoders see
    style_decay: float = 1e-3             # weight of the squared length of styles
    feature_weight: float = 1.0           # of features, beside the pixels' 1
    code_weight: float = 10.0             # of the encoders' errors in the second stage
    consistency_weight: float = 0.5       # of their errors on swapped pictures
    embedding_rate: float = 10.0          # learning rate of embeddings, as multiple of --lr
    rates: tuple[float, float] = (1.0, 0.3)  # peak of each stage, as shares of --lr
    warm_up: int = 500                    # steps from the start of a stage to its peak
    encoder_width: int = 32               # channels of the first convolution
    decoder_width: int = 32               # channels of the last hidden layer


class Affine(nn.Module):
    """Style's customisation of content or of what came of it: (1 + f_sigma(s)) * h + f_mu(s)  [CS, figure 2].

    h (B, F) or (B, F, H, W), style (B, S) -> as h.
    """

    def __init__(self, style: int, features: int):
        super().__init__()
        self.map = nn.Linear(style, 2 * features)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        scale, shift = (part.view(*part.shape, *[1] * (h.dim() - 2)) for part in self.map(style).chunk(2, 1))
        return (1 + scale) * h + shift


class Layer(nn.Module):
    """Twice the height and width: features (B, F, H, W) -> (B, outputs, 2H, 2W), transformed by style if
    `affine`."""

    def __init__(self, inputs: int, outputs: int, style: int, affine: bool):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.affine = Affine(style, outputs) if affine else None

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        h = leaky_relu(self.convolution(interpolate(h, scale_factor=2.0, mode="nearest")), SLOPE)
        return h if self.affine is None else self.affine(standardised(h, (2, 3)).to(h.dtype), style)


class Synthesis(nn.Module):
    """G: contents (B, C) as the shared distribution has them, styles (B, S) -> image logits (B, channels, 64, 64)."""

    def __init__(self, content: int, style: int, channels: int, width: int, fusion: str):
        super().__init__()
        self.customise = Affine(style, content) if fusion == "vector" else None
        wide = 4 * width
        self.hidden = nn.Sequential(
            nn.Linear(content, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, 512), nn.LeakyReLU(SLOPE),
            nn.Linear(512, wide * 16), nn.LeakyReLU(SLOPE), nn.Unflatten(1, (wide, 4, 4)),
        )
        sizes = (wide, wide, wide, 2 * width, width)
        self.layers = nn.ModuleList(
            Layer(inputs, outputs, style, fusion == "layers")
            for inputs, outputs in pairwise(sizes)  # 8x8, 16x16, 32x32, 64x64
        )
        self.last = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, channels, 5, 1, 2)
        )

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        h = self.hidden(content if self.customise is None else self.customise(content, style))
        for layer in self.layers:
            h = layer(h, style)
        return self.last(h)


class Encoders(nn.Module):
    """Images (B, channels, 64, 64) -> contents before they are normalised (B, C) and styles (B, S): two heads on
    one trunk."""

    def __init__(self, channels: int, content: int, style: int, width: int):
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (channels, width, 2 * width, 4 * width, 4 * width)
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * 16, 256), nn.LeakyReLU(SLOPE))
        self.content, self.style = (
            nn.Sequential(nn.Linear(256, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, size)) for size in (content, style)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        return self.content(h).float(), self.style(h).float()


class Embeddings(nn.Module):
    """Content and style of each of `count` pictures, as free parameters.

    They are kept divided by `rate`: Adam's steps have one length whatever the scale of a parameter, so
    embeddings move that many times faster than the nets.
    """

    def __init__(self, count: int, content: int, style: int, rate: float):
        super().__init__()
        self.rate = rate
        self.content, self.style = (nn.Parameter(torch.empty(count, size)) for size in (content, style))
        for table in (self.content, self.style):
            nn.init.uniform_(table, -0.05 / rate, 0.05 / rate)  # [LORD]


def standardised(h: Tensor, dims: tuple[int, ...], floor: float = 1e-5) -> Tensor:
    """h with mean 0 and variance 1 over `dims`, in full precision. A variance near `floor` stays below 1."""
    h = h.float()
    return (h - h.mean(dims, keepdim=True)) / (h.var(dims, correction=0, keepdim=True) + floor).sqrt()


@register
class CSDisMo(Method):
    """Embeddings of content and style, a generator that joins them, and encoders that read them."""

    paper = Paper(
        title="Rethinking Content and Style: Exploring Bias for Unsupervised Disentanglement",
        authors="Ren, Yang, Wang, Zeng",
        year=2021,
        link="https://arxiv.org/abs/2102.10544",
    )
    Config = Config
    training_only: ClassVar[tuple[str, ...]] = ("embeddings",)
    stored: ClassVar[torch.dtype] = torch.float16

    def __init__(self, config: Config, channels: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.code_size = config.content + config.style
        self.encoders = Encoders(channels, config.content, config.style, config.encoder_width)
        self.synthesis = Synthesis(config.content, config.style, channels, config.decoder_width, config.fusion)
        count = config.images if config.embedded else 0
        self.embeddings = Embeddings(count, config.content, config.style, config.embedding_rate)
        self.register_buffer("centre", torch.zeros(config.content))         # of contents, and a root of their
        self.register_buffer("spread", torch.eye(config.content))           # covariance: what new ones come from
        self.register_buffer("usual", torch.ones(()))                       # root mean square error
        self.register_buffer("fidelity", torch.zeros(2))                    # dB by embeddings, by encoders
        self.register_buffer("images", None, persistent=False)              # (M, C, 64, 64) uint8, with embeddings
        self.perceptual: Perceptual | None = None                           # only in training

    @property
    def title(self) -> str:
        return "C-S DisMo"

    def layout(self) -> tuple[Slot, ...]:
        return Slot(0, self.config.content, "content"), Slot(self.config.content, self.code_size, "style")

    def stages(self) -> tuple[int, ...]:
        return (self.config.embeddings_until,) if self.config.embedded else ()

    def rate(self, step: Tensor, steps: int, stage: int) -> Tensor:
        """As `staged_rate`. Without a warm-up the second stage would undo the first: Adam knows the encoders'
        gradients of one that asked little of them, and takes steps many times too long."""
        config = self.config
        return staged_rate(step, steps, stage, self.stages(), config.rates[stage], config.warm_up, FLOOR)

    def groups(self) -> list[dict]:
        return [{"params": list(self.parameters()), "betas": (0.5, 0.999)}]  # [LORD]

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat(self.read(x), 1)

    def decode(self, code: Tensor) -> Tensor:
        content, style = code.split([self.config.content, self.config.style], 1)
        return self.draw(self.share(content), style)

    def read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, 64, 64) in [0, 1] -> normalised contents (B, content) and styles (B, style)."""
        content, style = self.encoders(x)
        return self.share(content), style

    def draw(self, content: Tensor, style: Tensor) -> Tensor:
        """Normalised contents and styles -> images in [0, 1]."""
        return self.synthesis(content, style).float().sigmoid()

    def share(self, content: Tensor) -> Tensor:
        """Contents (B, content) normalised one by one, where that is how they share a distribution."""
        return standardised(content, (1,), SMALL) if self.config.shared == "image" else content

    def embedded(self, pick: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised contents and styles of the pictures numbered `pick` (B,)."""
        table, rate = self.embeddings, self.config.embedding_rate
        content, style = rate * table.content[pick], rate * table.style[pick]
        if self.config.shared == "population":
            everyone = rate * table.content[:len(self.images)]
            content = (content - everyone.mean(0)) / (everyone.var(0, correction=0) + SMALL).sqrt()
        return self.share(content), style

    def new_contents(self, count: int, seed: int) -> Tensor:
        """Contents (count, content) drawn from the distribution that all pictures share; the same for the same
        seed on every device."""
        noise = torch.randn(count, len(self.centre), generator=torch.Generator().manual_seed(seed))
        return self.share(self.centre + noise.to(self.centre.device) @ self.spread.T)

    def strangeness(self, x: Tensor) -> Tensor:
        """How far images (B, C, 64, 64) in [0, 1] are from what the model has seen: (B,), the error of their
        reconstruction in units of what one training image in a hundred exceeds. More than 1 is a reason to warn."""
        return self.wrong(x) / self.usual

    def wrong(self, x: Tensor) -> Tensor:
        """Root mean square error of the reconstruction of images (B, C, 64, 64): (B,)."""
        return ((self.decode(self.encode(x)) - x) ** 2).mean((1, 2, 3)).sqrt()

    def prepare(self, pictures: Callable[[int], Tensor]) -> None:
        if self.config.embedded:
            self.images = pictures(self.config.images)
        if self.config.features == "vgg":
            some = pictures(CALIBRATED)
            self.perceptual = Perceptual().to(some.device, memory_format=torch.channels_last)
            self.perceptual.calibrate(some.float() / 255)

    @torch.no_grad()
    def finish(self, pictures: Callable[[int], Tensor]) -> None:
        from engine.metrics import psnr  # what only training needs must not slow down the start of the page

        some = [part.float() / 255 for part in pictures(CHECKED).split(500)]
        self.usual.copy_(torch.cat([self.wrong(x) for x in some]).quantile(USUAL))
        contents = torch.cat([self.read(x)[0] for x in some])
        self.centre.copy_(contents.mean(0))
        variances, axes = torch.linalg.eigh(torch.cov(contents.T, correction=0))
        self.spread.copy_(axes * variances.clamp(min=0).sqrt())
        if self.config.embedded:
            sums, count = torch.zeros(2, device=contents.device), min(CHECKED, len(self.images))
            for pick in torch.arange(count, device=contents.device).split(500):
                x = self.images[pick].float() / 255
                both = self.draw(*self.embedded(pick)), self.decode(self.encode(x))
                sums += torch.stack([psnr(shown, x).sum() for shown in both])
            self.fidelity.copy_(sums / count)

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        """The first stage draws pictures from their embeddings, the second the given ones from what the encoders
        read, while those learn to read the embeddings, which stay as they are.

        'pixels' and 'features' are the distance, 'decay' is the mean squared length of styles, 'content' and
        'style' are the encoders' squared errors, 'consistency' those on swapped pictures.
        """
        config = self.config
        noisy = lambda h, spread: h + spread * like(h, generator)  # noqa: E731
        if not config.embedded:
            content, style = self.read(noisy(x, config.pixel_noise))
            return self.drawn(noisy(content, config.content_noise), noisy(style, config.style_noise), x, style)

        pick = torch.randint(len(self.images), (len(x),), generator=generator, device=x.device)
        known = self.images[pick].float() / 255
        content, style = self.embedded(pick)
        if stage == 0:
            terms = self.drawn(noisy(content, config.content_noise), noisy(style, config.style_noise), known, style)
        else:
            terms = self.drawn(*self.read(noisy(x, config.pixel_noise)), x)
        content, style = content.detach(), style.detach()
        codes = self.read(noisy(known, config.pixel_noise))
        terms |= {"content": mse_loss(codes[0], content), "style": mse_loss(codes[1], style)}
        if stage == 0:
            return terms | {"loss": terms["loss"] + terms["content"] + terms["style"]}

        other = style.roll(1, 0)
        with torch.no_grad():
            swapped = self.draw(content, other)
        again = self.read(swapped)
        terms["consistency"] = mse_loss(again[0], content) + mse_loss(again[1], other)
        loss = terms["loss"] + config.code_weight * (terms["content"] + terms["style"])
        return terms | {"loss": loss + config.consistency_weight * terms["consistency"]}

    def drawn(self, content: Tensor, style: Tensor, x: Tensor, held: Tensor | None = None) -> dict[str, Tensor]:
        """The distance of what contents and styles look like from images x, and the decay of styles `held` in
        bounds, if any: 'loss' and its terms."""
        shown = self.draw(content, style)
        features = pyramid if self.perceptual is None else self.perceptual
        terms = {"pixels": (shown - x).abs().mean(), "features": features(shown, x).mean()}
        loss = terms["pixels"] + self.config.feature_weight * terms["features"]
        if held is not None:
            terms["decay"] = (held**2).sum(1).mean()
            loss = loss + self.config.style_decay * terms["decay"]
        return {"loss": loss} | terms
