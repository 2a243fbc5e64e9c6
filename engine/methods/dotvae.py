"""DOT-VAE: disentangled factors beside an entangled rest, learnt one at a time.

Patil, Evanusa, JaJa, "DOT-VAE: Disentangling One Factor at a Time", 2022,
https://arxiv.org/abs/2210.10920. Only its abstract could be read. The method is taken from the full
text of "Disentangling One Factor at a Time" (submission to ICLR 2022,
https://openreview.net/forum?id=DXU0DQUDWLA), which has the same title, latent sets and algorithm:
[OAT] below. Not the "DotVae" (data overlap triplet) of the library disent.

The code is (c, z): c_1 ... c_K hidden by a mask, to be opened one after another, and z, which
carries everything at first. z is trained alone until it reconstructs. Then a factor c_k is opened,
and two steps alternate as in wake-sleep:
  wake   on data: reconstruct, while z grows dearer than c, so that information moves into c_k;
  sleep  on pictures of our own making: replace one open c_i, decode, and recover the whole code
         from the picture, which a discriminator holds to the data.
When c_k has stopped changing the next one is opened.

Departures and completions, as the text leaves them open:
  * a factor opened untrained stayed unused in our trials, as z knows everything already
    (`--no-handed`). So an opened factor starts as the dimension of z that carries most, and z gets a fresh one in
    its place; price and interventions then tell the two apart;
  * a scalar that is alone in being cheap winds through two equal factors at once. So the code is
    pushed to independence from the start by its total correlation (`beta_tc`);
  * when a factor counts as learnt, when it is kept, and when to stop (`Schedule`): the paper says
    "as training proceeds". The number of factors kept is the estimate of their number;
  * a kept factor must carry information, be read back from a picture, and change the picture;
  * both steps are one update of the sum of their losses;
  * the recovered code is compared by squared error, a Gaussian of unit variance as in InfoGAN-CR
    (Lin et al., ICML 2020), and the bases of interventions are posterior means;
  * a closed factor is 0 for the decoder too: without that it would be a channel free of charge. Scores read the
    whole code (c, z); by modularity's protocol a closed factor, which knows nothing, counts 0;
  * when weights change places in handing over, Adam's moments stay where they were. Those of a closed factor are
    near 0, so the dimension that moved there makes some longer steps at first.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus
from torch.nn.utils.parametrizations import spectral_norm

from engine import gaussian
from engine.method import Paper, Slot, register


@dataclass(frozen=True)
class Config:
    """Options of DOT-VAE."""

    factors: int = 10                     # K, most factors that can be found
    latents: int = 10                     # dimensions of the entangled z
    beta: float = 8.0                     # weight of KL(z) in the end; 1 while z is alone
    gamma: float = 1.0                    # weight of KL(c_k) once open
    beta_tc: float = 15.0                 # weight of the total correlation of (c, z) beyond its 1 in the KL
    handed: bool = True                   # an opened factor starts as the dimension of z that carries most
    encoder_width: int = 32               # channels of the first convolution
    decoder_width: int = 32               # channels of the last hidden layer
    recover_weight: float = 5.0           # lambda_c, of reading back the intervened code
    realism_weight: float = 1.0           # lambda_adv, of the discriminator's verdict
    interventions: Literal["prior", "posterior"] = "prior"  # where the new value of c_i comes from
    alone: int = 3_000                    # steps of z without any c
    beta_full: int = 5_000                # step at which KL(z) has its full weight
    settle: int = 1_000                   # fewest steps of a factor's trial
    give_up: int = 1_500                  # most steps of it
    check: int = 250                      # steps between two looks at whether it still changes
    keep_kl: float = 0.2                  # nats a kept factor carries
    keep_r2: float = 0.5                  # share of its variance that can be read from a picture
    keep_change: float = 0.01             # change per unit, in changes between two random pictures
    raise_beta: float = 1.25              # factor on the weight of KL(z) after a rejected factor
    rejects: int = 2                      # rejected in a row: the search is over


class Discriminator(nn.Module):
    """Images (B, C, 64, 64) -> logits (B,), high for data. InfoGAN-CR's, spectral norm throughout."""

    def __init__(self, channels: int):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels, 32), (32, 32), (32, 64), (64, 64)):
            layers += [spectral_norm(nn.Conv2d(inputs, outputs, 4, 2, 1)), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(),
            spectral_norm(nn.Linear(64 * 16, 128)), nn.LeakyReLU(0.2), spectral_norm(nn.Linear(128, 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).float().squeeze(1)


class Schedule(nn.Module):
    """Which factors are open, which of them on trial, and what became of the others.

    Tensors throughout, so that the decisions are taken inside a captured graph and resume with it.
    """

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        zeros = lambda: torch.zeros(config.factors)  # noqa: E731
        for name in ("open", "kept", "error", "energy", "change", "reach"):
            self.register_buffer(name, zeros())
        self.register_buffer("kl", torch.zeros(config.factors + config.latents))
        self.register_buffer("pair", torch.zeros(()))                     # change between two random pictures
        self.register_buffer("trial", torch.full((), -1.0))               # number of the factor on trial
        self.register_buffer("since", torch.zeros(()))                    # steps since it was opened
        self.register_buffer("rejected", torch.zeros(()))                 # in a row
        self.register_buffer("boost", torch.ones(()))                     # on the weight of KL(z)
        self.register_buffer("before", torch.zeros(2))                    # KL and R2 at the last check

    def r2(self) -> Tensor:
        """Share of the variance of each factor's new values that is read back from pictures (K,)."""
        return 1 - self.error / self.energy.clamp(min=1e-6)

    def know(self, kl: Tensor) -> None:
        """Follow the KL of all dimensions of the code (K + D,)."""
        self.kl.lerp_(kl, 0.01)

    def watch(
        self, chosen: Tensor, value: Tensor, step: Tensor, error: Tensor, change: Tensor, pair: Tensor
    ) -> None:
        """Follow what interventions do. chosen (B, K) one-hot, the factor that was moved; value, step,
        error and change (B,): where to, by how much, how wrongly that was read back, what it did."""
        share = chosen.sum(0)
        rate = 0.01 * (share > 0)
        mean = lambda values: (chosen * values[:, None]).sum(0) / share.clamp(min=1)  # noqa: E731
        self.error.copy_(torch.lerp(self.error, mean(error**2), rate))
        self.energy.copy_(torch.lerp(self.energy, mean(value**2), rate))
        self.change.copy_(torch.lerp(self.change, mean(change), rate))
        self.reach.copy_(torch.lerp(self.reach, mean(step.abs()), rate))
        self.pair.lerp_(pair, 0.01)

    def decide(self) -> None:
        """Count the step; at the end of a trial keep or reject the factor and open the next one."""
        config = self.config
        number = torch.arange(config.factors, device=self.kl.device)
        mine = (number == self.trial).float()
        kl, r2 = (self.kl[:config.factors] * mine).sum(), (self.r2() * mine).sum()
        per_unit = ((self.change / self.reach.clamp(min=1e-6)) * mine).sum()
        on_trial = self.trial >= 0

        self.since += 1
        look = self.since % config.check == 0
        still = ((kl - self.before[0]).abs() < 0.05 * kl) & ((r2 - self.before[1]).abs() < 0.01)
        self.before.copy_(torch.where(look, torch.stack([kl, r2]), self.before))
        ended = on_trial & ((look & still & (self.since >= config.settle)) | (self.since >= config.give_up))

        good = (kl > config.keep_kl) & (r2 > config.keep_r2) & (per_unit > config.keep_change * self.pair)
        self.kept.copy_(torch.where(ended & good, torch.maximum(self.kept, mine), self.kept))
        self.rejected.copy_(torch.where(ended, torch.where(good, 0, self.rejected + 1), self.rejected))
        self.boost.copy_(torch.where(ended & ~good, self.boost * config.raise_beta, self.boost))

        over = self.rejected >= config.rejects
        first = ~on_trial & ~over & (self.trial > -2)
        following = torch.where(over, torch.full_like(self.trial, -2), self.trial + 1)  # -2: the search is over
        following = torch.where(following >= config.factors, -2, following)
        moves = ended | first
        self.trial.copy_(torch.where(moves, following, self.trial))
        self.since.copy_(torch.where(moves, 0, self.since))
        self.open.copy_(torch.maximum(self.kept, (number == self.trial).float()))


@register
class DotVAE(gaussian.GaussianVAE):
    """Masked factors c beside an entangled z, wake and sleep."""

    paper = Paper(
        title="DOT-VAE: Disentangling One Factor at a Time",
        authors="Patil, Evanusa, JaJa",
        year=2022,
        link="https://arxiv.org/abs/2210.10920",
        not_to_confuse="the DotVae (data overlap triplet) of disent",
    )
    Config = Config
    ordered = True
    training_only: ClassVar[tuple[str, ...]] = ("discriminator",)
    stored: ClassVar[torch.dtype] = torch.float16

    def __init__(self, config: Config, channels: int):
        super().__init__(config, channels, config.factors + config.latents)
        self.discriminator = Discriminator(channels)
        self.schedule = Schedule(config)

    @property
    def title(self) -> str:
        return "DOT-VAE"

    def layout(self) -> tuple[Slot, ...]:
        factors = tuple(Slot(k, k + 1) for k in range(self.config.factors))
        return (*factors, Slot(self.config.factors, self.code_size, "residual"))

    def stages(self) -> tuple[int, ...]:
        return (self.config.alone,)

    def groups(self) -> list[dict]:
        vae = [*self.encoder.parameters(), *self.decoder.parameters()]
        return [{"params": vae}, {"params": list(self.discriminator.parameters()), "betas": (0.5, 0.9)}]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images -> mean and log variance of q(c, z|x), each (B, K + D); closed factors are as in the prior."""
        mean, log_variance = super().posterior(x)
        return self.masked(mean), self.masked(log_variance)

    @torch.compiler.disable  # it moves weights, between the steps of the optimiser as it were
    @torch.no_grad()
    def hand_over(self) -> None:
        """Let a factor that was opened just now change places with the dimension of z that carries most."""
        schedule, factors = self.schedule, self.config.factors
        place = torch.arange(self.code_size, device=schedule.kl.device)
        most = factors + schedule.kl[factors:].argmax()
        mine = schedule.trial.long()
        now = (schedule.trial >= 0) & (schedule.since == 0)
        swapped = torch.where(place == mine, most, torch.where(place == most, mine, place))
        order = torch.where(now, swapped, place)
        schedule.kl.copy_(schedule.kl[order])
        rows = torch.cat([order, self.code_size + order])
        for tensor in (self.encoder.head.weight, self.encoder.head.bias):
            tensor.copy_(tensor[rows])
        columns = self.decoder.hidden[0].weight
        columns.copy_(columns[:, order])

    def masked(self, code: Tensor) -> Tensor:
        """Codes (B, K + D) with closed factors at 0."""
        return torch.cat([code[:, :self.config.factors] * self.schedule.open, code[:, self.config.factors:]], 1)

    def decode(self, code: Tensor) -> Tensor:
        return super().decode(self.masked(code))

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        config, factors = self.config, self.config.factors
        if stage == 1:  # before anything uses what these change
            self.schedule.decide()
            if config.handed:
                self.hand_over()
        mean, log_variance = self.posterior(x)
        code = gaussian.sample(mean, log_variance, generator)
        kl = gaussian.kl_to_prior(mean, log_variance)
        terms = {"reconstruction": gaussian.bernoulli_nll(self.decoder(self.masked(code)), x)}
        terms["kl"] = kl[factors:].sum()
        opened = self.schedule.open
        terms["tc"] = gaussian.total_correlation(code, mean, log_variance)  # closed factors cancel in it
        loss = terms["reconstruction"] + config.beta_tc * terms["tc"]
        self.schedule.know(kl.detach())
        if stage == 0:
            return {"loss": loss + terms["kl"]} | terms

        # Wake  [OAT, eq. 5]: z grows dearer than the open factors.
        ramp = ((step - config.alone) / max(config.beta_full - config.alone, 1)).clamp(0, 1)
        beta = (1 + (config.beta - 1) * ramp) * self.schedule.boost
        terms["kl_c"] = (kl[:factors] * opened).sum()
        loss = loss + beta * terms["kl"] + config.gamma * terms["kl_c"]
        recover, realism, discrimination = self.sleep(x, mean.detach(), generator)
        terms |= {"recover": recover, "realism": realism, "discrimination": discrimination}
        terms["open"] = opened.sum()
        loss = loss + config.recover_weight * recover + config.realism_weight * realism + discrimination
        return {"loss": loss} | terms

    def sleep(self, x: Tensor, mean: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Interventions  [OAT, eq. 6-8] on posterior means (B, K + D) of images x: the error of
        reading the code back, the decoder's loss against the discriminator, and the discriminator's."""
        chosen = self.choose(len(x), generator)                                        # (B, K) one-hot
        if self.config.interventions == "prior":
            value = torch.randn(len(x), generator=generator, device=x.device)
        else:
            value = (chosen * mean[:, :self.config.factors].roll(1, 0)).sum(1)
        step = value - (chosen * mean[:, :self.config.factors]).sum(1)
        moved = nn.functional.pad(chosen * step[:, None], (0, self.config.latents))
        target = mean + moved
        dreamt = self.decode(target)                                                   # x^k

        again = self.posterior(dreamt)[0]
        wrong = again - target
        recover = (wrong**2).sum(1).mean()
        frozen = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        realism = softplus(-functional_call(self.discriminator, frozen, (dreamt,))).mean()
        real, fake = self.discriminator(x), self.discriminator(dreamt.detach())
        discrimination = softplus(-real).mean() + softplus(fake).mean()

        with torch.no_grad():
            change = (dreamt - self.decode(mean)).abs().mean((1, 2, 3))
            pair = (x - x.roll(1, 0)).abs().mean()
            error = (chosen * wrong[:, :self.config.factors]).sum(1)
            self.schedule.watch(chosen, value, step, error, change, pair)
        return recover, realism, discrimination

    def choose(self, count: int, generator: Generator) -> Tensor:
        """One open factor for each of `count` rows, one-hot (count, K): the one on trial in half of
        them, the others evenly. All zero while none is open."""
        schedule = self.schedule
        number = torch.arange(self.config.factors, device=schedule.open.device)
        newest = (number == schedule.trial).float()
        others = schedule.open - newest
        weight = others + newest * others.sum().clamp(min=1)
        noise = torch.rand(count, len(weight), generator=generator, device=weight.device).clamp(1e-9, 1 - 1e-7)
        key = weight.clamp(min=1e-30).log() - (-noise.log()).log()                     # Gumbel: argmax draws by weight
        return (number == key.argmax(1, keepdim=True)) * schedule.open
