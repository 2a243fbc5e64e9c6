"""Readers: small nets that tell the known factors of a picture, or of a code. For measuring only.

A factor is read as a vector: classes without an order as one probability for each, what goes round as cosine
and sine, everything else as one number from -1 to 1. So one correlation serves for all.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, mse_loss, one_hot

from engine.augment import thickened, warped
from engine.data import KnownFactor

STEPS, BATCH = 4_000, 128   # of a reader's training
WIDE, NARROW = 64, 16       # channels first made of a picture, on a GPU; and on a CPU, where the wide net takes hours
SOFT = 0.05                 # standard deviation of the noise on pictures in training
BENT = 0.5                  # how much they are warped and thickened where all factors are classes


class Reader(nn.Module):
    """A net and the factors that its outputs stand for, (B, `width`) in all."""

    def __init__(self, net: nn.Module, factors: Sequence[KnownFactor]):
        super().__init__()
        self.net = net
        self.factors = tuple(factors)

    def columns(self, x: Tensor) -> tuple[Tensor, ...]:
        """What the net says of inputs, a tensor (B, W_k) for each factor: logits of classes, or coordinates."""
        return self.net(x).float().split([width(factor) for factor in self.factors], 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Inputs (B, ...) -> what they say of each factor, (B, W_k) as `targets` has it."""
        return [column.softmax(1) if factor.categorical else column
                for factor, column in zip(self.factors, self.columns(x), strict=True)]

    def loss(self, x: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of classes and squared error of coordinates, of labels (B, K): 0-d."""
        terms = []
        for factor, column, label in zip(self.factors, self.columns(x), labels.unbind(1), strict=True):
            if factor.categorical:
                terms.append(cross_entropy(column, label.long()))
            else:
                terms.append(mse_loss(column, target(factor, label)))
        return torch.stack(terms).sum()


def width(factor: KnownFactor) -> int:
    """Numbers that a factor is read as."""
    return factor.size if factor.categorical else 2 if factor.circular else 1


def target(factor: KnownFactor, label: Tensor) -> Tensor:
    """A factor's labels (B,) as the vectors (B, W) that a perfect reader would say."""
    if factor.categorical:
        return one_hot(label.long(), factor.size).float()
    if factor.circular:
        turns = label / factor.size if factor.values else (label - factor.low) / (factor.high - factor.low)
        return torch.stack([torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)], 1)
    low, high = (0, factor.size - 1) if factor.values else (factor.low, factor.high)
    return (2 * (label - low) / (high - low) - 1)[:, None]


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation of vectors (N, W), over all their columns together. 0 if either does not vary."""
    a, b = a.double() - a.double().mean(0), b.double() - b.double().mean(0)
    length = (a.square().sum() * b.square().sum()).sqrt()
    return ((a * b).sum() / length).item() if length > 0 else 0.0


def explained(told: Tensor, true: Tensor) -> float:
    """Share of the variance of vectors `true` (N, W) that vectors `told` explain, R2; below 0 for worse than
    the mean."""
    rest = (told.double() - true.double()).square().sum()
    return 1 - (rest / (true.double() - true.double().mean(0)).square().sum().clamp(min=1e-12)).item()


def picture_net(channels: int, outputs: int, base: int) -> nn.Module:
    """Images (B, channels, 64, 64) -> (B, outputs), of `base` channels at first."""
    layers: list[nn.Module] = []
    sizes = (channels, base, 2 * base, 4 * base, 4 * base)
    for here, there in pairwise(sizes):
        layers += [nn.Conv2d(here, there, 4, 2, 1, bias=False), nn.BatchNorm2d(there), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * base, 512), nn.ReLU(), nn.Dropout(0.3),
                         nn.Linear(512, outputs))


def code_net(inputs: int, outputs: int) -> nn.Module:
    """Codes (B, inputs), of any scale, -> (B, outputs)."""
    return nn.Sequential(nn.BatchNorm1d(inputs, affine=False), nn.Linear(inputs, 256), nn.ReLU(),
                         nn.Linear(256, 256), nn.ReLU(), nn.Dropout(0.1), nn.Linear(256, outputs))


def of_pictures(images: Tensor, labels: Tensor, factors: Sequence[KnownFactor], steps: int = STEPS) -> Reader:
    """A reader of images (N, C, 64, 64) uint8, trained on them and their labels (N, K), on their device.

    In training pictures are softened and made noisy by a random amount, as reconstructions are, and where all factors
    are classes, as letters are, warped and thickened: such data have few pictures, and unseen letters are read better
    for it. A CPU trains a narrower net: what it reads of real pictures says how much that costs.
    """
    outputs, base = sum(map(width, factors)), WIDE if images.is_cuda else NARROW
    bend = all(factor.categorical for factor in factors)

    def build() -> nn.Module:
        return picture_net(images.shape[1], outputs, base).to(memory_format=torch.channels_last)  # faster by a fifth

    def draw(pick: Tensor, generator: Generator) -> Tensor:
        x = images[pick].float() / 255
        if bend:
            x = thickened(warped(x, BENT, generator), BENT, generator)
        share, noise = torch.rand(2, len(x), 1, 1, 1, generator=generator, device=x.device)
        softened = avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.lerp(x, softened, share) + SOFT * noise * torch.randn(
            x.shape, generator=generator, device=x.device)

    return _trained(build, draw, labels, factors, steps)


def of_codes(codes: Tensor, labels: Tensor, factors: Sequence[KnownFactor], steps: int = STEPS) -> Reader:
    """A reader of codes (N, D), trained on them and their labels (N, K), on their device."""
    outputs = sum(map(width, factors))
    return _trained(lambda: code_net(codes.shape[1], outputs), lambda pick, _: codes[pick], labels, factors, steps)


def _trained(
    build: Callable[[], nn.Module],
    draw: Callable[[Tensor, Generator], Tensor],  # numbers (B,) of samples -> inputs
    labels: Tensor,
    factors: Sequence[KnownFactor],
    steps: int,
) -> Reader:
    device = labels.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)  # the nets' weights, and dropout
        reader = Reader(build(), factors).to(device)
        generator = Generator(device).manual_seed(0)
        optimizer = torch.optim.AdamW(reader.parameters(), lr=1e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            pick = torch.randint(len(labels), (BATCH,), generator=generator, device=device)
            optimizer.zero_grad()
            reader.loss(draw(pick, generator), labels[pick]).backward()
            optimizer.step()
            schedule.step()
    return reader.eval().requires_grad_(False)
