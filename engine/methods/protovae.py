"""ProtoVAE: a VAE whose latents are constrained by a self-supervised prototypical network.

Patil, Evanusa, JaJa, "ProtoVAE: Prototypical Networks for Unsupervised Disentanglement", 2023,
https://arxiv.org/abs/2305.09092. Not the supervised "ProtoVAE" of Gautam et al. (NeurIPS 2022).

What the paper's public text fixes: a prototypical network (Snell et al., NeurIPS 2017,
https://arxiv.org/abs/1703.05175) is trained beside the VAE without labels; the model intervenes
on its own latents, so that each dimension changes the data uniquely (different dimensions,
different changes) and consistently (one dimension, one change, whatever the base image); the
map that is constrained is the decoder; the number of factors is not given.

Everything else is a completion of ours, because neither equations nor code could be read:
  * the episode: for each dimension, pairs (decoded base, decoded base with that dimension moved),
    each from its own base image with its own step;
  * the embedder sees of a pair only how much each pixel changed, not the pair itself
    (`view="pair"`), so that it cannot name a dimension by the colours before and after;
  * the new value is the same dimension of another image of the batch, at least `gap` away;
  * noise and a common shift of up to `shift` pixels on the pairs, so that the decoder gains
    nothing from printing a faint pattern that names the dimension;
  * re-encoding the intervened image must give the intervened code back (as in the authors'
    earlier "Disentangling One Factor at a Time", step 2);
  * dimensions take part while their KL exceeds a threshold (the active set);
  * the base objective is beta-TC, which may be relaxed as in `vae.py`. Prototypes enter while axes
    still form: formed ones they did not turn in the 300 steps of `benchmarks/rotation.py`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from engine import gaussian
from engine.method import Paper, register
from engine.nets import scale_gradient


@dataclass(frozen=True)
class Config:
    """Options of ProtoVAE."""

    latents: int = 10                     # D, dimensions of the code
    objective: Literal["beta", "tc"] = "tc"  # base objective: beta-VAE or beta-TCVAE
    beta: float = 16.0                    # strength of the base regulariser
    relax_to: float = 1.0                 # share of the regulariser left at the end
    relax_during: tuple[int, int] = (20_000, 50_000)  # steps in which it falls to that
    encoder_width: int = 32               # channels of the first convolution
    decoder_width: int = 32               # channels of the last hidden layer
    prototype_weight: float = 3.0         # lambda_p
    reencoding_weight: float = 0.1        # lambda_z
    shots: int = 3                        # support pairs per dimension
    queries: int = 2                      # query pairs per dimension
    gap: float = 0.5                      # smallest intervention, in prior standard deviations
    interventions: Literal["posterior", "prior"] = "posterior"  # where the new value comes from
    mask: bool = True                     # only active dimensions take part in episodes
    view: Literal["change", "pair"] = "change"  # what the embedder sees of a pair of images
    noise: float = 0.05                   # standard deviation of the pixel noise on pairs
    shift: int = 2                        # largest common shift of a pair, in pixels
    embedding: int = 64                   # size of the metric space
    active_on: float = 0.1                # KL in nats above which a dimension joins the episodes
    active_off: float = 0.05              # KL in nats below which it leaves them
    embedder_from: int = 1_500            # step at which the prototypical network starts to learn
    prototypes_from: int = 2_000          # step at which it starts to teach the VAE
    prototypes_full: int = 4_000          # step at which its weight has ramped up to 1


NEVER = -1e9  # logit of a prototype that is not offered; finite, as inactive rows are multiplied by 0


class PairEmbedder(nn.Module):
    """Pairs of images (N, C, 64, 64) each -> points of the metric space (N, embedding).

    view: 'change', the absolute difference alone, or 'pair', both images and their difference.
    The trunk of InfoGAN-CR's pair classifier (Lin et al., ICML 2020), with batch normalisation and
    the difference: squared distances between the nearly equal embeddings of an untrained net carry
    almost no gradient otherwise.
    """

    def __init__(self, channels: int, embedding: int, view: str):
        super().__init__()
        self.view = view
        layers: list[nn.Module] = []
        for inputs, outputs in ((channels if view == "change" else 3 * channels, 32), (32, 32), (32, 64), (64, 64)):
            layers += [
                nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False),
                nn.BatchNorm2d(outputs, track_running_stats=False),  # only ever used on episodes
                nn.LeakyReLU(0.2),
            ]
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(64 * 16, 128), nn.LeakyReLU(0.2), nn.Linear(128, embedding))

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        change = after - before
        seen = change.abs() if self.view == "change" else torch.cat([before, after, change], dim=1)
        h = self.trunk(seen)
        return self.head(h.flatten(1)).float()


def interventions(z: Tensor, values: Tensor, pairs: int, gap: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Codes (B, D) -> codes before and after moving one dimension, each (D * pairs, D).

    Rows k * pairs ... (k + 1) * pairs - 1 move dimension k to its value in a random row of `values`
    (B, D), or by `gap` in that direction if the two are closer than that.
    """
    count, dims = z.shape[1] * pairs, z.shape[1]
    draw = torch.randint(len(z), (2, count), generator=generator, device=z.device)
    before, other = z[draw[0]], values[draw[1]]
    moved = torch.eye(dims, device=z.device, dtype=z.dtype).repeat_interleave(pairs, dim=0)  # (D * pairs, D)
    step = other - before
    step = torch.where(step.abs() < gap, torch.where(step >= 0, gap, -gap), step)
    return before, before + moved * step


def prototype_loss(embedded: Tensor, shots: int, active: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log probability of the right prototype  [Snell et al., eq. 1-2, algorithm 1].

    embedded (D, shots + queries, M); active (D,) in {0, 1}: the others are neither asked nor
    offered. Returns the mean over active queries and the accuracy of each dimension (D,).
    """
    dims = len(embedded)
    prototypes = embedded[:, :shots].mean(1)                                   # (D, M)   eq. 1
    queries = embedded[:, shots:]                                              # (D, Q, M)
    distance = ((queries[:, :, None] - prototypes) ** 2).sum(-1)               # (D, Q, D)
    logits = (-distance).masked_fill(active == 0, NEVER)
    right = torch.arange(dims, device=embedded.device)
    log_p = logits.log_softmax(-1)[right, :, right]                            # (D, Q)   eq. 2
    accuracy = (logits.argmax(-1) == right[:, None]).float().mean(1)
    return -(log_p.mean(1) * active).sum() / active.sum().clamp(min=1), accuracy * active


def shift_pairs(images: Tensor, most: int, generator: Generator) -> Tensor:
    """Images (P, N, C, H, W): each of the N moves by one random whole-pixel shift of up to `most`
    in both axes, the same for its P versions. Borders are repeated."""
    count, height = images.shape[1], images.shape[-1]
    offset = torch.randint(-most, most + 1, (2, count, 1), generator=generator, device=images.device)
    line = torch.arange(height, device=images.device)
    rows, columns = (line + offset).clamp(0, height - 1)                       # (N, H) each
    images = images.gather(3, rows[None, :, None, :, None].expand_as(images))
    return images.gather(4, columns[None, :, None, None, :].expand_as(images))


@register
class ProtoVAE(gaussian.GaussianVAE):
    """VAE, prototypical network, active set."""

    paper = Paper(
        title="ProtoVAE: Prototypical Networks for Unsupervised Disentanglement",
        authors="Patil, Evanusa, JaJa",
        year=2023,
        link="https://arxiv.org/abs/2305.09092",
        not_to_confuse="the supervised ProtoVAE of Gautam et al., NeurIPS 2022",
    )
    Config = Config
    stored = torch.float16
    training_only: ClassVar[tuple[str, ...]] = ("embedder",)

    def __init__(self, config: Config, channels: int):
        super().__init__(config, channels)
        self.embedder = PairEmbedder(channels, config.embedding, config.view)
        self.register_buffer("kl", torch.zeros(config.latents))        # running KL of each dimension
        self.register_buffer("active", torch.zeros(config.latents))    # 1 while in the episodes
        self.register_buffer("accuracy", torch.zeros(config.latents))  # running query accuracy

    def groups(self) -> list[dict]:
        vae = [*self.encoder.parameters(), *self.decoder.parameters()]
        return [{"params": vae}, {"params": list(self.embedder.parameters()), "betas": (0.5, 0.9)}]

    def stages(self) -> tuple[int, ...]:
        return (self.config.embedder_from,)

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        mean, log_variance = self.posterior(x)
        z = gaussian.sample(mean, log_variance, generator)
        config = self.config
        relaxation = gaussian.relaxed(step, config.relax_to, config.relax_during)
        terms = gaussian.evidence_bound(
            self.decoder(z), x, z, mean, log_variance, config.objective, config.beta, relaxation
        )
        self.watch(gaussian.kl_to_prior(mean, log_variance).detach())
        if stage == 0:
            return terms

        ramp = max(config.prototypes_full - config.prototypes_from, 1)
        weight = ((step - config.prototypes_from) / ramp).clamp(0, 1)
        prototype, reencoding = self.episode(z.detach(), weight, generator)
        terms["prototype"], terms["reencoding"] = prototype, reencoding
        terms["loss"] = (
            terms["loss"] + config.prototype_weight * prototype + weight * config.reencoding_weight * reencoding
        )
        return terms

    def watch(self, kl: Tensor) -> None:
        """Follow the KL of each dimension and let it join or leave the active set."""
        self.kl.lerp_(kl, 0.01)
        joined = (self.kl > self.config.active_on).float()
        kept = self.active * (self.kl > self.config.active_off)
        self.active.copy_(torch.maximum(joined, kept) if self.config.mask else torch.ones_like(self.active))

    def episode(self, z: Tensor, weight: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Prototype loss and re-encoding error of one round of interventions on codes z (B, D).

        z comes detached: the prototypes constrain the map from codes to images. The embedder
        learns at full strength throughout, the decoder by `weight`.
        """
        config = self.config
        pairs = config.shots + config.queries
        values = z if config.interventions == "posterior" else gaussian.like(z, generator)
        before, after = interventions(z, values, pairs, config.gap, generator)
        images = self.decode(torch.cat([before, after]))                  # (2 * D * pairs, C, 64, 64)

        seen = scale_gradient(images, weight).unflatten(0, (2, -1))
        seen = shift_pairs(seen, config.shift, generator)
        noise = torch.randn(seen.shape, generator=generator, device=seen.device, dtype=seen.dtype)
        first, second = seen + config.noise * noise
        embedded = self.embedder(first, second).unflatten(0, (-1, pairs))
        prototype, accuracy = prototype_loss(embedded, config.shots, self.active)
        self.accuracy.lerp_(accuracy.detach(), 0.01)

        # Local isometry: a step in the code is the same step after a round through the image.
        again = self.encode(images[len(before):])
        reencoding = (((again - after) ** 2) * self.active).sum(1).mean()
        return prototype, reencoding
