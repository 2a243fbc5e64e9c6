"""DisDiff: the gradient field of a diffusion model, split into one field for each factor.

Yang, Wang, Lu, Zheng, "DisDiff: Unsupervised Disentanglement of Diffusion Probabilistic Models",
NeurIPS 2023, https://arxiv.org/abs/2301.13721 [DisDiff]. Only its abstract and introduction could be
read; the losses are those of the authors' code. Not the image protection of the same name.

An unconditional diffusion model on latents is trained, then frozen. An encoder E reads N factors z^c
from a picture, and a decoder G answers each of them with a sub-gradient, G^c = grad log p(z^c | x_t).
By Bayes' rule their sum turns the model into a conditional one,

    eps(x_t, t, z) = eps(x_t, t) - noise_t (G^1 + ... + G^N),

which must reconstruct the picture. And the prediction of x_0 by one sub-gradient alone, read again by
E, must differ from the unconditional one in that factor only (invariance), and by becoming what E reads
from the picture (variance).

Departures from the authors' code, all for training in minutes and for sliders:
  * E reads latents, so that the losses need no decoder of images; the latents are of a KL autoencoder
    (theirs: mainly VQ), the nets are small, and G has decoder blocks of its own on the frozen features;
  * factors are standardised, and normalised by groups within E. With free codes their scale would be
    the temperature of the two cross-entropies;
  * the same coefficient, noise_t, in training and sampling (theirs differs within the first twenty times);
  * squared error, in stage 2 with PDAE's weight, where theirs is the absolute one without a weight;
  * the two losses count at medium times only (`between`), to which half of the pictures of stage 2 are noised
    whereas times are uniform in theirs, from the moment that G says something (`ramp`),
    and their weight has a bound (`most`): it grows like 1 / signal_t^2;
  * a factor is left out of the sum in a share of the pictures (`omitted`), so that partial sums are known;
  * embeddings of the factors' identities start orthonormal and are free then (theirs stay so);
  * G knows the time by an embedding of its own; z has 12 factors of 16 numbers, theirs 6 of 32;
  * pictures are drawn by a deterministic solver of second order in 10 steps, theirs by DDIM with noise in 200;
  * no moving averages: the learning rate of every stage falls to 0, which has their effect.

The student is ours: one net of all factors at once, which learns the straight way from noise to data
[Liu, Gong, Liu, "Flow Straight and Fast", ICLR 2023: FSF], first on data, then on what the model makes
of the noise that all pictures start from, only where its own steps begin: the second one begins where the first
one led to, and learns to mend it. What the model made is remembered, and learnt from again and again. What the
student arrives at is what is seen while a slider moves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, interpolate

from engine import gaussian
from engine.diffusion import Schedule
from engine.latent import LATENTS, LIMIT, SIDE, LatentMethod
from engine.method import Paper, register
from engine.unet import GROUPS, TIME, Block, TimeEmbedding, Tokens, UNet, zeroed


@dataclass(frozen=True)
class Config:
    """Options of DisDiff."""

    factors: int = 12                      # N
    size: int = 16                         # numbers in the code z^c of each
    encoder_width: int = 32                # of the autoencoder: channels of the first convolution
    decoder_width: int = 32                # channels of its last hidden layer
    unet_width: int = 48                   # of the diffusion model, at 16 pixels
    field_width: int = 48                  # of G
    student_width: int = 48                # of the student, at 16 pixels
    kl_weight: float = 1e-6                # of the autoencoder's latents
    gamma: float = 0.05                    # weight of the disentangling losses
    invariance_weight: float = 1.0         # share of that for invariance
    variance_weight: float = 1.0           # and for variance
    stop_gradient: bool = True             # their weight is a number, not to be trained
    temperature: float = 1.0               # of their cross-entropies
    most: float = 0.25                     # largest squared change of x_0 that counts as weight
    between: tuple[float, float] = (0.1, 0.8)  # times, as shares of T, at which they count
    ramp: tuple[int, int] = (500, 1_500)   # steps of the stage in which gamma is reached
    omitted: float = 0.1                   # share of pictures with one factor left out of the sum
    autoencoder_until: int = 5_000         # steps: the autoencoder
    diffusion_until: int = 25_000          # the diffusion model
    disentangled_until: int = 50_000       # E and G
    data_until: int = 55_000               # the student, on data; then on the model's own pictures
    rates: tuple[float, float, float, float, float] = (1.0, 0.8, 0.5, 0.8, 0.8)  # peaks, as shares of --lr
    warm_up: int = 300                     # steps from the start of a stage to its peak
    quick_steps: int = 1                   # of the student
    slow_steps: int = 10                   # of the model
    taught: int = 64                       # pictures that the model makes for the student in each step
    remembered: int = 65_536               # of these, from which it draws what it learns from


class FactorEncoder(nn.Module):
    """E: latents (B, 4, 16, 16) -> factors before they are standardised (B, N, d)."""

    def __init__(self, count: int, size: int, width: int = 48):
        super().__init__()
        wide = 2 * width
        self.layers = nn.Sequential(
            nn.Conv2d(LATENTS, width, 3, 1, 1), nn.GroupNorm(GROUPS, width), nn.SiLU(),
            nn.Conv2d(width, wide, 4, 2, 1), nn.GroupNorm(GROUPS, wide), nn.SiLU(),    # 8x8
            nn.Conv2d(wide, wide, 4, 2, 1), nn.GroupNorm(GROUPS, wide), nn.SiLU(),     # 4x4
            nn.Conv2d(wide, wide, 3, 1, 1), nn.GroupNorm(GROUPS, wide), nn.SiLU(),
            nn.Flatten(), nn.Linear(wide * SIDE, count * size), nn.Unflatten(1, (count, size)),
        )

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents).float()


class SubGradients(nn.Module):
    """G: features of the frozen model, times (B,) and factors (B, N, d) -> sub-gradients
    (B, N, 4, 16, 16), 0 before training.

    One net for all factors, which are folded into the batch: none can see another one. What tells
    them apart is an embedding of their number.
    """

    def __init__(self, features: list[int], count: int, size: int, width: int):
        super().__init__()
        self.time = TimeEmbedding()
        self.identity = nn.Parameter(nn.init.orthogonal_(torch.empty(count, TIME)) * TIME**0.5)
        self.value = nn.Sequential(nn.Linear(size, TIME), nn.SiLU(), nn.Linear(TIME, TIME))
        self.projections = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in features)
        self.blocks = nn.ModuleList(Block(width, width) for _ in features)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), zeroed(nn.Conv2d(width, LATENTS, 3, 1, 1)))

    def forward(self, features: tuple[Tensor, ...], t: Tensor, z: Tensor) -> Tensor:
        count = z.shape[1]
        condition = self.time(t)[:, None] + self.identity + self.value(z)              # (B, N, TIME)
        condition, h = condition.flatten(0, 1), None
        for feature, projection, block in list(zip(features, self.projections, self.blocks, strict=True))[::-1]:
            seen = projection(feature).repeat_interleave(count, 0)                     # (B * N, w, s, s)
            h = block(seen if h is None else seen + interpolate(h, scale_factor=2.0), condition)
        return self.out(h).float().unflatten(0, (-1, count))


class Lessons(nn.Module):
    """The last `room` of what the model has made for the student, in half precision: factors (N, d) and the latents
    (4, 16, 16) that they led to. Each took many evaluations of the model, so it is learnt from more than once."""

    def __init__(self, room: int, count: int, size: int):
        super().__init__()
        self.register_buffer("factors", torch.zeros(room, count, size, dtype=torch.half))
        self.register_buffer("latents", torch.zeros(room, LATENTS, SIDE, SIDE, dtype=torch.half))
        self.register_buffer("made", torch.zeros((), dtype=torch.int64))

    def add(self, z: Tensor, latents: Tensor) -> None:
        """Remember factors (B, N, d) and latents (B, 4, 16, 16) in place of the oldest."""
        at = (self.made + torch.arange(len(z), device=z.device)) % len(self.factors)
        self.factors[at] = z.half()
        self.latents[at] = latents.half()
        self.made += len(z)

    def draw(self, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Factors (count, N, d) and latents (count, 4, 16, 16), each of a random one of those there are."""
        share = torch.rand(count, generator=generator, device=self.made.device)
        at = (share * self.made.clamp(max=len(self.factors))).long()
        return self.factors[at].float(), self.latents[at].float()


def disentangling_losses(
    alone: Tensor, moved: Tensor, target: Tensor, chosen: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Cross-entropies of naming the factor whose sub-gradient was applied, each (B,), and whether the
    first one names it (B,)  [DisDiff, the invariant and the variant loss].

    alone, moved (B, N, d): what E reads from the unconditional prediction of x_0, and from that with one
    sub-gradient; target: from x_0 itself. chosen (B,): the number of the sub-gradient.
    Invariance: which factor has changed? Variance: which one has come nearer to its target?
    """
    changed = (moved - alone).norm(dim=2)                                              # (B, N)
    nearer = (alone - target).norm(dim=2) - (moved - target).norm(dim=2)
    invariance, variance = (cross_entropy(v / temperature, chosen, reduction="none") for v in (changed, nearer))
    return invariance, variance, (changed.argmax(1) == chosen).float()


@register
class DisDiff(LatentMethod):
    """Autoencoder, frozen diffusion model, factors with their sub-gradients, and a student of one step."""

    paper = Paper(
        title="DisDiff: Unsupervised Disentanglement of Diffusion Probabilistic Models",
        authors="Yang, Wang, Lu, Zheng",
        year=2023,
        link="https://arxiv.org/abs/2301.13721",
        not_to_confuse="the DisDiff that protects images from diffusion models",
    )
    Config = Config
    training_only = ("lessons",)

    def __init__(self, config: Config, channels: int):
        if not 1 <= config.taught <= config.remembered:
            raise ValueError("--taught must be 1 or more, and --remembered as much or more.")
        super().__init__(config, channels, config.factors, config.size)
        self.schedule = Schedule("linear")
        self.base = UNet(LATENTS, config.unet_width)
        self.encoder = FactorEncoder(config.factors, config.size)
        self.fields = SubGradients(self.base.widths, config.factors, config.size, config.field_width)
        self.tokens = Tokens(config.factors, config.size, 64, 32)
        self.student = UNet(LATENTS, config.student_width, (1, 2, 2), context=32)
        self.lessons = Lessons(config.remembered, config.factors, config.size)
        self.fused = None  # `predict` with its kernels fused, while the student is taught

    @property
    def ways(self) -> tuple[str, str]:
        quick, slow = super().ways
        return f"student, {quick}", f"refined, {slow}"

    def stages(self) -> tuple[int, ...]:
        config = self.config
        return config.autoencoder_until, config.diffusion_until, config.disentangled_until, config.data_until

    def read(self, x: Tensor, latents: Tensor) -> Tensor:
        return self.standard(self.encoder(latents))

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        if stage == 0:
            return self.autoencoder.loss(x, self.config.kl_weight, generator)
        if stage == 4:
            z, latents = self.lesson(x[:self.config.taught], len(x), generator)
            return self.straighten(self.start(z), latents, z, generator, asked=True)
        with torch.no_grad():
            latents = self.autoencoder.encode(x)
        if stage == 1:
            return self.diffuse(latents, generator)
        if stage == 2:
            return self.disentangle(latents, step, generator)
        with torch.no_grad():
            z = self.read(x, latents)
        return self.straighten(gaussian.like(latents, generator), latents, z, generator)

    # --- stage 1: the unconditional model

    def diffuse(self, latents: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Error of the noise that `base` predicts [Ho et al., NeurIPS 2020, eq. 14]."""
        t = torch.randint(self.schedule.steps, (len(latents),), generator=generator, device=latents.device)
        eps = gaussian.like(latents, generator)
        loss = ((self.base(self.schedule.noised(latents, t, eps), t)[0] - eps) ** 2).mean()
        return {"loss": loss, "diffusion": loss}

    # --- stage 2: factors and sub-gradients

    def disentangle(self, latents: Tensor, step: Tensor, generator: Generator) -> dict[str, Tensor]:
        """Reconstruction by all sub-gradients, and the disentangling losses of one of them."""
        config, schedule, rows = self.config, self.schedule, len(latents)
        t = self.times(rows, generator)
        eps = gaussian.like(latents, generator)
        x_t = schedule.noised(latents, t, eps)
        raw = self.encoder(latents)
        centre, spread = self.standard.follow(raw)
        z = (raw - centre) / spread
        with torch.no_grad():
            base, features = self.base(x_t, t)
        fields = self.fields(features, t, z)
        noise = schedule.noise[t][:, None, None, None]

        draw = torch.randint(config.factors, (2, rows), generator=generator, device=t.device)
        share = torch.rand(rows, 1, generator=generator, device=t.device)
        number = torch.arange(config.factors, device=t.device)
        on = 1 - (number == draw[0, :, None]) * (share < config.omitted).float()       # (B, N)
        reconstruction = schedule.error(base - noise * summed(fields, on), eps, t).mean()

        chosen = draw[1]
        one = summed(fields, (number == chosen[:, None]).float())                      # G^c
        alone = schedule.clean(x_t, t, base)
        moved = schedule.clean(x_t, t, base - noise * one)
        frozen = {name: p.detach() for name, p in self.encoder.named_parameters()}
        again = lambda x_0: (functional_call(self.encoder, frozen, (x_0,)) - centre.detach()) / spread.detach()  # noqa: E731
        invariance, variance, right = disentangling_losses(
            again(alone), again(moved), z.detach(), chosen, config.temperature
        )
        weight = ((alone - moved) ** 2).mean((1, 2, 3))
        weight = (weight.detach() if config.stop_gradient else weight).clamp(max=config.most)
        first, last = config.ramp
        ramp = ((step - config.diffusion_until - first) / max(last - first, 1)).clamp(0, 1)
        low, high = (share * schedule.steps for share in config.between)
        weight = config.gamma * ramp * ((t >= low) & (t <= high)) * weight
        both = config.invariance_weight * invariance + config.variance_weight * variance
        return {
            "loss": reconstruction + (weight * both).mean(), "reconstruction": reconstruction,
            "invariance": invariance.mean(), "variance": variance.mean(),
            "weight": weight.mean(), "right": right.mean(),
        }

    def times(self, count: int, generator: Generator) -> Tensor:
        """Times (count,): half of them from all, half from those at which the disentangling losses count."""
        total, device = self.schedule.steps, self.schedule.noise.device
        anywhere = torch.randint(total, (count,), generator=generator, device=device)
        low, high = (round(share * total) for share in self.config.between)
        within = torch.randint(low, high, (count,), generator=generator, device=device)
        return torch.where(torch.arange(count, device=device) % 2 == 0, anywhere, within)

    def predict(self, x: Tensor, t: Tensor, z: Tensor, on: Tensor | None = None) -> Tensor:
        """The noise in latents x (B, 4, 16, 16) at times t (B,), given factors z (B, N, d).

        on (N,) or (B, N): strength of each sub-gradient, 1 if not given; 0 switches it off alone.
        """
        base, features = self.base(x, t)
        on = torch.ones_like(z[:, :, 0]) if on is None else on
        return base - self.schedule.noise[t][:, None, None, None] * summed(self.fields(features, t, z), on)

    def slow(
        self, noise: Tensor, z: Tensor, on: Tensor | None = None, predict: Callable[..., Tensor] | None = None
    ) -> Tensor:
        """Noise and factors -> latents by the diffusion model itself; `on` as in `predict`, or in what is its like."""
        predict = predict or self.predict
        return self.schedule.dpm(lambda x, t: predict(x, t, z, on), noise, self.config.slow_steps, LIMIT)

    # --- what one sub-gradient does

    def alone(self, z: Tensor, on: Tensor) -> Tensor:
        """Images (B, C, 64, 64) that the model makes of the common noise by factors z (B, N, d) whose sub-gradients
        are as strong as `on` says, as in `predict`: one of them alone, say, or none."""
        return self.autoencoder.decode(self.slow(self.start(z), z, on))

    def touched(self, latents: Tensor, z: Tensor, t: Tensor) -> Tensor:
        """Where each sub-gradient of z (B, N, d) acts on latents (B, 4, 16, 16) at times t (B,): (B, N, 64, 64).

        The latents are hidden in the common noise. Compared are what the frozen model then takes for the picture and
        what it does with that sub-gradient alone: mean over colours of the absolute difference, in grey levels of 255.
        """
        x = self.schedule.noised(latents, t, self.start(z))
        base, features = self.base(x, t)
        steps = self.schedule.noise[t][:, None, None, None, None] * self.fields(features, t, z)
        each, count = torch.cat([base[:, None], base[:, None] - steps], 1), z.shape[1] + 1
        clean = self.schedule.clean(x.repeat_interleave(count, 0), t.repeat_interleave(count), each.flatten(0, 1))
        pictures = self.autoencoder.decode(clean.clamp(-LIMIT, LIMIT)).unflatten(0, (-1, count))
        return 255 * (pictures[:, 1:] - pictures[:, :1]).abs().mean(2)

    # --- stages 3 and 4: the student

    def velocity(self, x: Tensor, time: Tensor, z: Tensor) -> Tensor:
        """Which way data lies from x (B, 4, 16, 16) at `time` (B,), 0 at the noise and 1 at the data."""
        return self.student(x, self.schedule.steps * time, self.tokens(z))[0]

    def quick(self, noise: Tensor, z: Tensor) -> Tensor:
        return self.walk(noise, z, self.config.quick_steps)[-1]

    def walk(self, noise: Tensor, z: Tensor, count: int) -> list[Tensor]:
        """The noise, and where each of the first `count` steps of `quick` leads to."""
        path, steps = [noise], self.config.quick_steps
        for k in range(count):
            time = torch.full_like(noise[:, 0, 0, 0], k / steps)
            path.append(path[-1] + self.velocity(path[-1], time, z) / steps)
        return path

    def straighten(
        self, noise: Tensor, latents: Tensor, z: Tensor, generator: Generator, asked: bool = False
    ) -> dict[str, Tensor]:
        """Error of the student's velocity on straight lines from noise to latents  [FSF, eq. 1], as a
        pseudo-Huber of its root mean square. In half of the rows at the noise itself, where the one step
        begins; in the others mostly near both ends, by the arcsine law. With `asked` where `quick` is before one
        of its steps, each as often, and straight from there."""
        rows, steps = len(latents), self.config.quick_steps
        number = torch.arange(rows, device=latents.device)
        share = torch.rand(rows, generator=generator, device=latents.device)
        if asked:
            passed = (steps * share).long()
            time = passed / steps
            with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):  # as a page will
                x = torch.stack(self.walk(noise, z, steps - 1))[passed, number]
        else:
            time = torch.where(number % 2 == 0, 0, (torch.pi / 2 * share).sin() ** 2)
            x = torch.lerp(noise, latents, time[:, None, None, None])
        way = (latents - x) / (1 - time)[:, None, None, None] if asked else latents - noise
        wrong = ((self.velocity(x, time, z) - way) ** 2).mean((1, 2, 3))
        loss = ((wrong + 0.01**2).sqrt() - 0.01).mean()
        first = (time == 0).float()
        return {"loss": loss, "velocity": wrong.mean(), "one_step": (first * wrong).sum() / first.sum().clamp(min=1)}

    def fuse(self) -> None:
        self.fused = torch.compile(self.predict)

    @torch.compiler.disable  # its many evaluations would be fused for minutes; one of them is enough
    @torch.no_grad()
    def lesson(self, x: Tensor, count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Factors (count, N, d) and the latents (count, 4, 16, 16) that the model makes of them from the common noise,
        drawn from those it has made so far, now also of the factors of images x (B, C, 64, 64), mixed."""
        # It is to be what a page will show. Half precision changes it about as little as being remembered does.
        with torch.autocast(x.device.type, torch.float16, enabled=x.is_cuda):
            z = mixed(self.read(x, self.autoencoder.encode(x)), generator)
            self.lessons.add(z, self.slow(self.start(z), z, predict=self.fused))
        return self.lessons.draw(count, generator)


def summed(fields: Tensor, on: Tensor) -> Tensor:
    """Sub-gradients (B, N, 4, 16, 16), each times its strength in `on` (N,) or (B, N): their sum (B, 4, 16, 16)."""
    return (fields * on[..., None, None, None]).sum(1)


def mixed(z: Tensor, generator: Generator) -> Tensor:
    """Factors (B, N, d) with none, one or two of every row moved, one in half of the rows, as sliders and swaps move
    them: half of these become its neighbour's, half move as far as two others lie apart, and so off what pictures have.
    Three in eight go all that way, half stop on it, and the others go the opposite way, by a quarter at most."""
    order = torch.rand(z.shape[:2], generator=generator, device=z.device).argsort(1)
    number = (torch.randint(4, (len(z), 1), generator=generator, device=z.device) + 1) // 2
    share = (2 * torch.rand(z.shape[:2], generator=generator, device=z.device) - 0.25).clamp(max=1)
    share = torch.where(order < number, share, 0)[:, :, None]
    become = torch.rand(z.shape[:2], generator=generator, device=z.device)[:, :, None] < 0.5
    return z + share * (z.roll(1, 0) - torch.where(become, z, z.roll(2, 0)))
