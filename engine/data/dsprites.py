"""dSprites, regenerated: 737,280 white sprites on black, drawn from closed forms.

The data set is Matthey, Higgins, Hassabis and Lerchner's (https://github.com/deepmind/dsprites-dataset,
Apache-2.0), drawn with LOVE 2D by a script that was never published. The shapes here were recovered from
the lossless frames of the repository's animation and notebook. Drawing is plain point sampling at pixel
centres, without anti-aliasing; nearly all images come out bit for bit, the others differ by a few pixels
on an edge. Factors, order and labels are the official ones, pixels are 0 and 255 instead of 0 and 1.
"""

import math

import torch
from torch import Tensor

from engine.data.dataset import SIZE, Grid, KnownFactor

SCALES = tuple(0.5 + 0.1 * k for k in range(6))
ANGLES = tuple(2 * math.pi * k / 39 for k in range(40))  # both ends included: 0 and 39 look the same
POSITIONS = tuple(k / 31 for k in range(32))

# Every sprite stays within 16 pixels of its centre, and centres within 16 pixels of the image's, so only
# a window that moves with the sprite has to be evaluated.
WINDOW = 32

# At scale 1, in pixels.
SQUARE = 9.6                                   # half side
ELLIPSE = (9.6 * 1.33, 9.6 / 1.33)             # half axes
HEART_WIDTH, HEART_UNIT, HEART_RISE = 9.595, 0.662, 1.438


class DSprites(Grid):
    """737,280 images, 1 channel: colour (always white), shape, scale, orientation, x and y position."""

    name = "dsprites"
    channels = 1
    factors = (
        KnownFactor("color", (1.0,)),
        KnownFactor("shape", (1.0, 2.0, 3.0), categorical=True),  # square, ellipse, heart
        KnownFactor("scale", SCALES),
        KnownFactor("orientation", ANGLES, circular=True),
        KnownFactor("position x", POSITIONS),
        KnownFactor("position y", POSITIONS),
    )
    origin = (
        "Regenerated after dSprites (Matthey et al., DeepMind, Apache-2.0): same factors, order and labels; "
        "37 of 43 official images match bit for bit, the others within 6 of 4096 pixels."
    )

    def images(self, index: Tensor) -> Tensor:
        out = torch.zeros(len(index), 1, SIZE, SIZE, dtype=torch.uint8, device=index.device)
        chunk = 16384 if index.is_cuda else 512  # some 60 kB of temporaries an image
        for numbers, pictures in zip(index.split(chunk), out.split(chunk), strict=True):
            self._draw(numbers, pictures[:, 0])
        return out

    def _draw(self, index: Tensor, out: Tensor) -> None:
        """Draw the images of index (B,) into out (B, 64, 64), all zero before."""
        _, shape, scale, orientation, column, row = self.classes(index).unbind(1)
        size = torch.tensor(SCALES, dtype=torch.float64, device=index.device)[scale, None, None]
        angle = torch.tensor(ANGLES, dtype=torch.float64, device=index.device)[orientation, None, None]

        # Positions lie 32/31 pixels apart: whole pixels move the window, the fraction moves the sprite in it.
        # Double precision, because a pixel centre often falls within 1e-6 of an edge.
        centres = torch.arange(WINDOW, dtype=torch.float64, device=index.device) + 0.5 - WINDOW / 2
        x = centres - (column[:, None, None] * WINDOW % 31) / 31
        y = centres[:, None] - (row[:, None, None] * WINDOW % 31) / 31
        u = (angle.cos() * x - angle.sin() * y) / size                  # (B, 32, 32), y and v point down
        v = (angle.sin() * x + angle.cos() * y) / size

        inside = torch.empty_like(u, dtype=torch.bool)
        for number, shape_contains in enumerate((_square, _ellipse, _heart)):
            chosen = shape == number
            inside[chosen] = shape_contains(u[chosen], v[chosen])

        pixel = torch.arange(SIZE * SIZE, device=index.device).view(SIZE, SIZE)
        corner = pixel[row * WINDOW // 31, column * WINDOW // 31]
        place = (corner[:, None, None] + pixel[:WINDOW, :WINDOW]).flatten(1)
        out.view(-1, SIZE * SIZE).scatter_(1, place, inside.flatten(1).byte() * 255)


# ------------------------------------------------------------------------------------------------
# Whether points of the upright sprite at scale 1 are inside it: u to the right, v down, in pixels.

def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= SQUARE


def _ellipse(u: Tensor, v: Tensor) -> Tensor:
    return (u / ELLIPSE[0]).square() + (v / ELLIPSE[1]).square() <= 1


def _heart(u: Tensor, v: Tensor) -> Tensor:
    """The curve x = sin(t)^3, y = 13 cos(t) - 5 cos(2t) - 2 cos(3t) - cos(4t).

    At one x only t and pi - t meet it. With p = |cos(t)| the two heights are even(p) + odd(p) and
    even(p) - odd(p); beyond the heart's width p is NaN, which compares as outside.
    """
    p2 = 1 - (u.abs() / HEART_WIDTH) ** (2 / 3)
    p = p2.sqrt()
    even = 4 - 2 * p2 - 8 * p2.square()
    odd = 19 * p - 8 * p * p2
    height = -(v + HEART_RISE) / HEART_UNIT
    return (height - even).abs() <= odd
