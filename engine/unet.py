"""The small U-Net of the diffusion methods and its blocks, for latents of 16x16.

After Ronneberger et al., "U-Net", 2015, with the residual blocks, attention and time embedding of
Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021 [ADM], one block per
resolution, and the cross-attention to tokens of Rombach et al., "High-Resolution Image Synthesis with
Latent Diffusion Models", CVPR 2022 [LDM, section 3.3].
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention, silu

GROUPS = 8   # of every group normalisation
TIME = 128   # size of the embedding of time
HEADS = 4    # of every attention


class TimeEmbedding(nn.Module):
    """Times (B,), from 0 to about 1000 -> (B, TIME)."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(TIME, TIME), nn.SiLU(), nn.Linear(TIME, TIME))

    def forward(self, t: Tensor) -> Tensor:
        frequency = torch.arange(TIME // 2, device=t.device) * (-math.log(10_000) / (TIME // 2))
        angle = t.float()[:, None] * frequency.exp()
        return self.layers(torch.cat([angle.cos(), angle.sin()], 1))


class Block(nn.Module):
    """Features (B, I, H, W) and a condition (B, TIME) -> (B, O, H, W): a residual block whose second
    normalisation is scaled and shifted by the condition  [ADM, section 3.1]."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, 1, 1))
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.film = nn.Linear(TIME, 2 * outputs)
        self.last = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(silu(condition))[:, :, None, None].chunk(2, 1)
        h = self.norm(self.first(x)) * (1 + scale) + shift
        return self.skip(x) + self.last(silu(h))


class Attention(nn.Module):
    """Features (B, C, H, W) attend to each other, or to tokens (B, N, context) if `context` is given."""

    def __init__(self, channels: int, context: int = 0):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(context or channels, 2 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        h = self.norm(x).flatten(2).mT                                            # (B, HW, C)
        key, value = self.key_value(h if tokens is None else tokens).chunk(2, 2)
        heads = [part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in (self.query(h), key, value)]
        h = scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)       # (B, HW, C)
        return x + self.out(h).mT.unflatten(2, x.shape[2:])


class Level(nn.Module):
    """A block, and attention below the full resolution: to itself, and to tokens where there are any."""

    def __init__(self, inputs: int, outputs: int, attends: bool, context: int):
        super().__init__()
        self.block = Block(inputs, outputs)
        self.own = Attention(outputs) if attends else None
        self.cross = Attention(outputs, context) if attends and context else None

    def forward(self, x: Tensor, condition: Tensor, tokens: Tensor | None) -> Tensor:
        x = self.block(x, condition)
        x = x if self.own is None else self.own(x)
        return x if self.cross is None else self.cross(x, tokens)


class UNet(nn.Module):
    """Noisy latents (B, C, 16, 16), times (B,) and, with `context`, tokens (B, N, context) -> a
    prediction of their shape, 0 before training, and the features of the way down: (B, w, 16, 16),
    (B, w', 8, 8) and (B, w'', 4, 4), the last after the middle."""

    def __init__(
        self,
        channels: int,                                # C, of the latents
        width: int,                                   # w, at full resolution
        multiples: tuple[int, int, int] = (1, 2, 3),  # of it at 16, 8 and 4 pixels
        context: int = 0,                             # size of the tokens; 0 without any
    ):
        super().__init__()
        self.widths = widths = [width * m for m in multiples]
        self.time = TimeEmbedding()
        self.enter = nn.Conv2d(channels, width, 3, 1, 1)
        self.down = nn.ModuleList(
            Level(inputs, outputs, i > 0, context)
            for i, (inputs, outputs) in enumerate(pairwise([width, *widths]))
        )
        self.shrink = nn.ModuleList(nn.Conv2d(w, w, 3, 2, 1) for w in widths[:-1])
        self.middle = nn.ModuleList([Level(widths[-1], widths[-1], True, context), Block(widths[-1], widths[-1])])
        self.up = nn.ModuleList(Level(2 * w, w, i > 0, context) for i, w in enumerate(widths))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, 1, 1) for a, b in pairwise(widths))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), zeroed(nn.Conv2d(width, channels, 3, 1, 1)))

    def forward(self, x: Tensor, t: Tensor, tokens: Tensor | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        condition, h, skips = self.time(t), self.enter(x), []
        for i, level in enumerate(self.down):
            h = level(h if i == 0 else self.shrink[i - 1](h), condition, tokens)
            skips.append(h)
        h = self.middle[1](self.middle[0](h, condition, tokens), condition)
        features = (*skips[:-1], h)
        for i in reversed(range(len(self.up))):
            h = self.up[i](torch.cat([h, skips[i]], 1), condition, tokens)
            if i > 0:
                h = self.grow[i - 1](interpolate(h, scale_factor=2.0))
        return self.out(h).float(), features


class Tokens(nn.Module):
    """Factors (B, N, inputs) -> tokens (B, N, outputs), each by a small net of its own."""

    def __init__(self, count: int, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.first = nn.Parameter(torch.randn(count, inputs, hidden) / inputs**0.5)
        self.bias = nn.Parameter(torch.randn(count, hidden))
        self.last = nn.Parameter(torch.randn(count, hidden, outputs) / hidden**0.5)
        self.name = nn.Parameter(torch.randn(count, outputs))  # tells the tokens apart also where z is 0

    def forward(self, z: Tensor) -> Tensor:
        h = silu(torch.einsum("bni,nih->bnh", z, self.first) + self.bias)
        return torch.einsum("bnh,nho->bno", h, self.last) + self.name


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights and biases of 0, so that what it ends says nothing at first."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
