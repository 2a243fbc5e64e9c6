"""Pictures a little different from those of the data, so that what learns from few of them reads others, too."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate, max_pool2d

TURN, SLANT, STRETCH, MOVE, BEND = 0.15, 0.2, 0.12, 0.06, 0.04  # radians, shares of the half side, at strength 1
FIELD = 4           # points to a side of the field that bends pictures


def warped(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Images (B, C, H, W), each turned, slanted, stretched, moved and bent at random; the border is continued.
    All channels of an image are moved alike."""
    u = strength * (2 * torch.rand(6, len(x), generator=generator, device=x.device) - 1)
    turn, slant = TURN * u[0], SLANT * u[1]
    wide, high = (STRETCH * u[2:4]).exp()
    rows = [torch.stack(row, 1) for row in ((wide * turn.cos(), slant - turn.sin(), MOVE * u[4]),
                                            (turn.sin(), high * turn.cos(), MOVE * u[5]))]
    bends = torch.randn(len(x), 2, FIELD, FIELD, generator=generator, device=x.device)
    bends = interpolate(bends, x.shape[2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False) + BEND * strength * bends
    return grid_sample(x, grid, padding_mode="border", align_corners=False)


def thickened(x: Tensor, strength: float, generator: Generator) -> Tensor:
    """Images (B, C, H, W) in [0, 1] whose dark or bright parts, one or the other at random, have grown by up to
    `strength` pixels, 1 at most."""
    u = strength * (2 * torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) - 1)
    bright, dark = max_pool2d(x, 3, 1, 1), -max_pool2d(-x, 3, 1, 1)
    return x + u.clamp(min=0) * (bright - x) - u.clamp(max=0) * (dark - x)


def mirrored(x: Tensor, generator: Generator) -> Tensor:
    """Images (B, C, H, W), each or its mirror image, at random."""
    return torch.where(_coins(x, generator), x.flip(3), x)


def turned(x: Tensor, generator: Generator) -> Tensor:
    """Images (B, C, H, H), each in one of its eight positions: mirrored, upside down, on its side, at random."""
    x = mirrored(x, generator)
    x = torch.where(_coins(x, generator), x.flip(2), x)
    return torch.where(_coins(x, generator), x.transpose(2, 3), x)


def _coins(x: Tensor, generator: Generator) -> Tensor:
    return torch.randint(2, (len(x), 1, 1, 1), generator=generator, device=x.device) > 0
