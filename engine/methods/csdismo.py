"""C-S DisMo: content from a distribution that all pictures share, style as the affine map that customises it.

Ren, Yang, Wang, Zeng, "Rethinking Content and Style: Exploring Bias for Unsupervised Disentanglement", 2021,
https://arxiv.org/abs/2102.10544 [CS]. Only its abstract, first page and official figure could be read, and no
code was released. What they leave open follows LORD, whose class labels [CS] does without:
Gabbay & Hoshen, "Demystifying Inter-Class Disentanglement", ICLR 2020, https://arxiv.org/abs/1906.11796 [LORD].

Every training picture i has an embedding c_i of its content and s_i of its style. A generator G and these free
parameters are trained together to draw the pictures,

    min  sum_i distance(G(f_sigma(s_i) * c_i + f_mu(s_i)), x_i)   where the c_i share one distribution,

with no labels and no adversary [CS, figure 2]. Then encoders learn to read both from a picture, also from
one that has no embedding. What content means is what dominates the reconstruction: it has to be measured.

Departures and completions:
  * the shared distribution is forced by normalising every c_i to mean 0 and variance 1 over its numbers
    (`--shared image`) or every number over the data set (`population`), and by noise on it, which limits what
    content can carry (`content_noise`). New content is drawn from a Gaussian of the population's moments;
  * the affine map acts on every feature map of G after its normalisation, as LORD's adaptive instance
    normalisation (`--fusion layers`), or once on the vector c as in the figure (`vector`); it is 1 + f_sigma(s);
  * the distance is the absolute error of pixels and of features, VGG-16's (`engine.perceptual`) or a pyramid's;
  * the encoders learn beside the embeddings from the first step, which those do not notice; each stage warms up;
  * with `--alone style` styles learn first, contents are left what no style tells; `--alone content` is the reverse.
    Begun together both tell a part of the largest factors, and a swapped picture follows neither side;
  * in the second stage swapped pictures, too, must be read as what they were made of (`consistency_weight`); with
    `--swaps-teach generator` that is the generator's task, in both stages, and with `all` everybody's;
  * with `apart` contents must not correlate with styles, from the moment that both learn: what both could tell is
    left to the style;
  * with `critic_weight` swapped pictures have to look real, and like the picture that gave the style, to a critic
    that learns beside them (`engine.critic`);
  * `--style-from patches` has no embeddings of style but a net that is blind to place (`engine.fusion.Patches`);
  * with `augment` and `thicken` pictures of the second stage are warped, lest encoders learn them by heart;
  * `--no-embedded` trains the encoders alone: an ablation;
  * `--groups KIND` gives all pictures of one typeface, one person or one class of a known factor one embedding of
    style. That is [LORD]'s setting, with its weak labels, and no longer [CS]: what labels buy. Encoders then see
    embedded pictures only. With `matched` each group has the shared distribution for itself: the contents of any two
    are paired at the least cost and drawn together, once they mean something. That wants groups of the same
    contents, as typefaces are of letters; which letter a picture shows, nobody is told.
The instance discrimination and the information bottleneck that the paper may have had are not here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss

from engine.augment import thickened, warped
from engine.common import SMALL, in_common, matched
from engine.critic import Critic, frozen
from engine.fusion import Encoders, Patches, Synthesis, standardised
from engine.gaussian import like, noisy
from engine.method import Method, Paper, Slot, register, staged_rate
from engine.perceptual import Perceptual, pyramid

CHECKED = 2000      # pictures that tell what is usual, and what content is drawn from
CALIBRATED = 256    # pictures that tell how large features are
USUAL = 0.99        # quantile of their error beyond which a picture is far from what the model has seen
COMPARED, RAMP = 64, 600  # pairs of groups whose contents are matched in a step, steps until that has its weight
FLOOR = 0.02        # learning rate left at the end of the first stage, as share of its peak


@dataclass(frozen=True)
class Config:
    """Options of C-S DisMo."""

    content: int = 64                     # numbers in a content embedding
    style: int = 64                       # numbers in a style embedding
    shared: Literal["image", "population", "none"] = "image"  # over what contents are normalised
    fusion: Literal["layers", "vector"] = "layers"            # where style transforms content
    features: Literal["pyramid", "vgg"] = "pyramid"           # compared, too; the pyramid's is blurrier
    embedded: bool = True                 # embeddings first; otherwise encoders alone
    style_from: Literal["embeddings", "patches"] = "embeddings"  # or what a net that is blind to place reads
    window: int = 4                       # side, of 8, of what it sees of a picture at once in training
    turns: bool = True                    # it sees pictures turned and mirrored, else mirrored only
    groups: str = ""                      # kind of which those of one share an embedding of style: weak labels
    swaps_teach: Literal["encoders", "generator", "all"] = "encoders"  # what learns from how swaps are read
    alone: Literal["neither", "content", "style"] = "neither"  # which embeddings learn first, without the others
    alone_until: int = 2_000              # steps of the first stage
    critic_weight: float = 0.0            # of a critic of swapped pictures; without one at 0
    images: int = 20_000                  # most training pictures that get embeddings
    embeddings_until: int = 10_000        # steps: embeddings and generator; then the encoders with it
    content_noise: float = 0.1            # standard deviation of the noise on normalised contents in training
    style_noise: float = 0.05             # and on styles
    pixel_noise: float = 0.02             # and on what the encoders see
    augment: float = 0.0                  # how much the second stage's pictures are warped; 1 is 9 degrees, 12 % ...
    thicken: float = 0.0                  # pixels, up to 1, by which their strokes grow or shrink
    style_decay: float = 1e-3             # weight of the squared length of styles
    apart: float = 0.0                    # weight of contents' correlation with styles
    matched: float = 0.0                  # and of how far contents of two groups are from being the same
    matched_from: int = 1_200             # step of the first stage
    feature_weight: float = 1.0           # of features, beside the pixels' 1
    code_weight: float = 10.0             # of the encoders' errors in the second stage
    consistency_weight: float = 0.5       # of their errors on swapped pictures
    embedding_rate: float = 10.0          # learning rate of embeddings, as multiple of --lr
    rates: tuple[float, float] = (1.0, 0.3)  # peak of each stage, as shares of --lr
    warm_up: int = 500                    # steps from the start of a stage to its peak
    encoder_width: int = 32               # channels of the first convolution
    decoder_width: int = 32               # channels of the last hidden layer


class Embeddings(nn.Module):
    """Content and style of pictures, as free parameters, `contents` and `styles` of them.

    They are kept divided by `rate`: Adam's steps have one length whatever the scale of a parameter, so
    embeddings move that many times faster than the nets.
    """

    def __init__(self, contents: int, styles: int, content: int, style: int, rate: float):
        super().__init__()
        self.rate = rate
        self.content = nn.Parameter(torch.empty(contents, content))
        self.style = nn.Parameter(torch.empty(styles, style))
        for table in (self.content, self.style):
            nn.init.uniform_(table, -0.05 / rate, 0.05 / rate)  # [LORD]


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
    training_only: ClassVar[tuple[str, ...]] = ("embeddings", "critic")
    stored: ClassVar[torch.dtype] = torch.int8

    def __init__(self, config: Config, channels: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.code_size = config.content + config.style
        blind, width = config.style_from == "patches", config.encoder_width
        patches = Patches(channels, config.style, width, config.window, config.turns) if blind else None
        self.encoders = Encoders(channels, config.content, config.style, width, patches)
        self.synthesis = Synthesis(config.content, config.style, channels, config.decoder_width, config.fusion)
        count = config.images if config.embedded else 0
        self.embeddings = Embeddings(count, 0 if blind else count, config.content, config.style, config.embedding_rate)
        critic = config.embedded and config.critic_weight > 0
        self.critic = Critic(channels, width, config.window, config.turns) if critic else None
        self.register_buffer("centre", torch.zeros(config.content))         # of contents, and a root of their
        self.register_buffer("spread", torch.eye(config.content))           # covariance: what new ones come from
        self.register_buffer("usual", torch.ones(()))                       # root mean square error
        self.register_buffer("fidelity", torch.zeros(2))                    # dB by embeddings, by encoders
        self.register_buffer("images", None, persistent=False)              # (M, C, 64, 64) uint8, with embeddings
        self.register_buffer("owners", None, persistent=False)              # (M,) groups, if these share styles
        for name in ("sizes", "first", "mates"):                            # of each group, how many, and where
            self.register_buffer(name, None, persistent=False)              # they are in the list (M,) of them all
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

    def read(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Images (B, C, 64, 64) in [0, 1] -> normalised contents (B, content) and styles (B, style).

        generator: of the windows through which styles are read in training, where they are read so.
        """
        content, style = self.encoders(x, generator)
        return self.share(content), style

    def draw(self, content: Tensor, style: Tensor) -> Tensor:
        """Normalised contents and styles -> images in [0, 1]."""
        return self.synthesis(content, style).float().sigmoid()

    def share(self, content: Tensor) -> Tensor:
        """Contents (B, content) normalised one by one, where that is how they share a distribution."""
        return standardised(content, (1,), SMALL) if self.config.shared == "image" else content

    def embedded(self, pick: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """Normalised contents and styles of the pictures numbered `pick` (B,); generator as of `read`."""
        table, rate = self.embeddings, self.config.embedding_rate
        content = rate * table.content[pick]
        if self.config.style_from == "patches":
            style = self.encoders.style(noisy(self.images[pick].float() / 255, self.config.pixel_noise, generator),
                                        generator).float()
        else:
            style = rate * table.style[pick if self.owners is None else self.owners[pick]]
        if self.config.shared == "population":
            everyone = rate * table.content[:len(self.images)]
            content = (content - everyone.mean(0)) / (everyone.var(0, correction=0) + SMALL).sqrt()
        return self.share(content), style

    def new_contents(self, count: int, seed: int) -> Tensor:
        """Contents (count, content) drawn from what all share; of one seed the same on every device."""
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
        if self.config.matched > 0 and not self.config.groups:
            raise ValueError("--matched is of two groups' contents; --groups says what these are.")
        if self.config.embedded:
            self.images = pictures(self.config.images)
        if self.config.features == "vgg":
            some = pictures(CALIBRATED)
            self.perceptual = Perceptual().to(some.device, memory_format=torch.channels_last)
            self.perceptual.calibrate(some.float() / 255)

    @property
    def asks(self) -> str:
        return self.config.groups

    @property
    def supposes(self) -> str:
        return "has the same contents" if self.config.matched > 0 else ""

    def group(self, classes: Callable[[int], Tensor]) -> None:
        if not self.config.embedded or self.config.style_from != "embeddings":
            raise ValueError("--groups shares embeddings of style, and there are none.")
        self.owners = classes(self.config.images).unique(return_inverse=True)[1]
        self.sizes, self.mates = self.owners.bincount(), self.owners.argsort(stable=True)
        self.first, self.most = self.sizes.cumsum(0) - self.sizes, int(self.sizes.max())

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
        """The first stage draws pictures from their embeddings, the second the given ones (with groups: embedded
        ones, exchanged within their group) from what the encoders read, while those learn to read the embeddings,
        which stay as they are.

        'pixels' and 'features' are the distance, 'decay' is the mean squared length of styles, 'common' is what
        contents have in common with them, 'matched' how far those of two groups are from being the same, 'content' and
        'style' are the encoders' squared errors, 'consistency' those on swapped pictures, 'critic' is what the critic
        learns and 'verdict' what it teaches.
        """
        config = self.config
        if not config.embedded:
            x = self.disturbed(x, generator)
            codes = self.read(noisy(x, config.pixel_noise, generator), generator)
            return self.drawn(*codes, x, generator, held=True)

        blind = config.style_from == "patches"
        pick = torch.randint(len(self.images), (len(x),), generator=generator, device=x.device)
        known = self.images[pick].float() / 255
        content, style = self.embedded(pick, generator)
        if stage == 0:
            everyone = None
            if config.apart > 0 and not blind:
                number = torch.arange(len(self.images), device=x.device)
                everyone = self.begun(*self.embedded(number), step, generator)
            begun = self.begun(content, style, step, generator)
            terms = self.drawn(*begun, known, generator, held=True, everyone=everyone)
            if config.matched > 0:
                terms["matched"], share = self.matched(generator), (step - config.matched_from) / RAMP
                terms["loss"] = terms["loss"] + config.matched * share.clamp(0, 1) * terms["matched"]
        elif self.owners is None:
            x = self.disturbed(x, generator)
            terms = self.drawn(*self.read(noisy(x, config.pixel_noise, generator), generator), x, generator, blind)
        else:
            terms = self.exchanged(pick, generator)
        codes = self.read(noisy(known, config.pixel_noise, generator))
        content, style = content.detach(), (codes[1] if blind else style).detach()
        terms["content"] = mse_loss(codes[0], content)
        errors = terms["content"]
        if not blind:
            terms["style"] = mse_loss(codes[1], style)
            errors = errors + terms["style"]
        loss = terms["loss"] + (1 if stage == 0 else config.code_weight) * errors
        read = config.swaps_teach != "encoders"         # the generator learns from how its swaps are read
        learns = read or self.critic is not None        # or from the critic
        if stage == 0 and not learns:
            return terms | {"loss": loss}
        other, giver = style.roll(1, 0), known.roll(1, 0)
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            swapped = self.draw(content, other)
        # There is nothing to be swapped while one kind learns alone.
        both = 1 if stage > 0 or config.alone == "neither" else (step >= config.alone_until).float()
        if stage > 0 or read:
            terms["consistency"] = self.consistency(swapped, content, other, generator)
            loss = loss + both * config.consistency_weight * terms["consistency"]
        if self.critic is not None:
            swapped, known, giver = (noisy(h, config.pixel_noise, generator) for h in (swapped, known, giver))
            terms["critic"] = self.critic.lesson(swapped, known, giver, generator)
            terms["verdict"] = self.critic.verdict(swapped, giver, generator)
            loss = loss + terms["critic"] + both * config.critic_weight * terms["verdict"]
        return terms | {"loss": loss}

    def begun(self, content: Tensor, style: Tensor, step: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Contents and styles of pictures as they are drawn at `step` of the first stage: while those of one kind
        learn alone, contents are noise or styles are nothing."""
        early = step < self.config.alone_until
        if self.config.alone == "style":
            content = torch.where(early, self.share(like(content, generator)), content)
        elif self.config.alone == "content":
            style = torch.where(early, torch.zeros_like(style), style)
        return content, style

    def mate(self, pick: Tensor, generator: Generator) -> Tensor:
        """For each of the pictures numbered `pick` (B,) one of its group, which may be itself."""
        group = self.owners[pick]
        share = torch.rand(len(pick), generator=generator, device=pick.device)
        place = torch.minimum((share * self.sizes[group]).long(), self.sizes[group] - 1)
        return self.mates[self.first[group] + place]

    def matched(self, generator: Generator) -> Tensor:
        """How far the contents of two groups are from being the same, over random pairs of them."""
        pair = torch.randint(len(self.sizes), (2, COMPARED), generator=generator, device=self.sizes.device)
        place = torch.arange(self.most, device=pair.device)
        there = place < self.sizes[pair][..., None]                                    # (2, P, N)
        number = self.mates[(self.first[pair][..., None] + place).clamp(max=len(self.mates) - 1)]
        sets = self.embedded(number.flatten())[0].float().view(*there.shape, -1)
        return matched(*sets, *there)

    def exchanged(self, pick: Tensor, generator: Generator) -> dict[str, Tensor]:
        """As `drawn`, of the pictures numbered `pick` (B,), each with the style that is read from another one of its
        group. Both are disturbed alike."""
        both = torch.cat([self.images[pick], self.images[self.mate(pick, generator)]], 1).float() / 255
        x, other = self.disturbed(both, generator).chunk(2, 1)
        content, _ = self.read(noisy(x, self.config.pixel_noise, generator))
        _, style = self.read(noisy(other, self.config.pixel_noise, generator))
        return self.drawn(content, style, x, generator)

    def consistency(self, swapped: Tensor, content: Tensor, style: Tensor, generator: Generator) -> Tensor:
        """Squared errors of what is read of pictures made of contents and styles; `swaps_teach` says who learns."""
        taught = self.config.swaps_teach
        x = noisy(swapped.detach() if taught == "encoders" else swapped, self.config.pixel_noise, generator)
        told = frozen(self.encoders, x) if taught == "generator" else self.encoders(x)
        return mse_loss(self.share(told[0]), content) + mse_loss(told[1], style)

    def disturbed(self, x: Tensor, generator: Generator) -> Tensor:
        """Images as the second stage has them: warped and thicker or thinner, if at all."""
        x = warped(x, self.config.augment, generator) if self.config.augment else x
        return thickened(x, self.config.thicken, generator) if self.config.thicken else x

    def drawn(self, content: Tensor, style: Tensor, x: Tensor, generator: Generator, held: bool = False,
              everyone: tuple[Tensor, Tensor] | None = None) -> dict[str, Tensor]:
        """The distance of what contents and styles, made noisy, look like from images x, the decay of styles if these
        are `held` in bounds, and what both have in common, if that counts: 'loss' and its terms.

        everyone: contents and styles of the whole population, if they are known, to tell what they have in common. A
        batch's correlations are mostly chance, which embeddings that are seen once in a while would follow.
        """
        config = self.config
        shown = self.draw(noisy(content, config.content_noise, generator), noisy(style, config.style_noise, generator))
        features = pyramid if self.perceptual is None else self.perceptual
        terms = {"pixels": (shown - x).abs().mean(), "features": features(shown, x).mean()}
        loss = terms["pixels"] + config.feature_weight * terms["features"]
        if held:
            terms["decay"] = (style**2).sum(1).mean()
            loss = loss + config.style_decay * terms["decay"]
        if config.apart > 0:
            content, style = everyone or (content, style)
            terms["common"] = in_common(content, style.detach())
            loss = loss + config.apart * terms["common"]
        return {"loss": loss} | terms
