"""A critic of swapped pictures, for training without labels: do they look like pictures, and like their style's giver?

A generator that need only draw the pictures it is given may draw anything from a content and a style that never met,
and encoders that learn beside it may agree to read it. A critic asks for more. It tells real pictures from swapped
ones, and whether two random pieces are of one picture or one of a swapped picture and one of the picture that gave
the style: the co-occurrence of patches in Park et al., "Swapping Autoencoder for Deep Image Manipulation", NeurIPS
2020, https://arxiv.org/abs/2007.00653. Hinge losses; the critic's own gradient and the generator's are kept apart.
"""

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from engine.fusion import SLOPE, Patches

PIECE = 64          # numbers that a piece of a picture is compared by


class Critic(nn.Module):
    """Images x and y (B, channels, 64, 64) -> logits (B, 2): that x is real, and that pieces of x and of y are of one
    picture. window: side of a piece, of 8; turns: whether pieces are turned, or mirrored only."""

    def __init__(self, channels: int, width: int, window: int = 4, turns: bool = True):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, width, 2 * width, 4 * width, 4 * width)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.real = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 4), nn.Flatten())
        self.piece = Patches(channels, PIECE, width, window, turns)
        self.alike = nn.Sequential(nn.Linear(2 * PIECE, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, 1))

    def forward(self, x: Tensor, y: Tensor, generator: Generator) -> Tensor:
        a, b = self.piece(x, generator), self.piece(y, generator)
        return torch.cat([self.real(x), self.alike(torch.cat([(a - b).abs(), a * b], 1))], 1).float()

    def lesson(self, swapped: Tensor, known: Tensor, giver: Tensor, generator: Generator) -> Tensor:
        """What the critic learns from swapped pictures, real ones and those that gave the styles: 0-d."""
        real, fake = self(known, known, generator), self(swapped.detach(), giver, generator)
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def verdict(self, swapped: Tensor, giver: Tensor, generator: Generator) -> Tensor:
        """What the generator of swapped pictures learns from the critic, which learns nothing from it: 0-d."""
        return -frozen(self, swapped, giver, generator).mean()


def frozen(module: nn.Module, *inputs: Tensor | Generator) -> Tensor:
    """What a module answers, with gradients to its inputs and none to its parameters."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, inputs)
