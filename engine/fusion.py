"""The nets of content and style: a generator whose content a style transforms, and encoders that read both.

Ren et al., "Rethinking Content and Style", 2021, https://arxiv.org/abs/2102.10544 [CS];
Gabbay & Hoshen, "Demystifying Inter-Class Disentanglement", ICLR 2020, https://arxiv.org/abs/1906.11796 [LORD];
Gabbay & Hoshen, "Scaling-up Disentanglement for Image Translation", ICCV 2021,
https://arxiv.org/abs/2103.14017 [OverLORD], from which a style that is blind to place comes.
"""

from itertools import pairwise

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from engine.augment import mirrored, turned

SLOPE = 0.2         # of the leaky rectifiers


class Affine(nn.Module):
    """Style's customisation of content or of what came of it: (1 + f_sigma(s)) * h + f_mu(s)  [CS, figure 2].

    h (B, F) or (B, F, H, W), style (B, S) -> as h.
    """

    def __init__(self, style: int, features: int):
        super().__init__()
        self.map = nn.Linear(style, 2 * features)

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        scale, shift = (part.view(*part.shape, *[1] * (h.dim() - 2)) for part in self.map(style).chunk(2, 1))
        return (1 + scale) * h + shift


class Layer(nn.Module):
    """Twice the height and width: features (B, F, H, W) -> (B, outputs, 2H, 2W), transformed by style if
    `affine`."""

    def __init__(self, inputs: int, outputs: int, style: int, affine: bool):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.affine = Affine(style, outputs) if affine else None

    def forward(self, h: Tensor, style: Tensor) -> Tensor:
        h = leaky_relu(self.convolution(interpolate(h, scale_factor=2.0, mode="nearest")), SLOPE)
        return h if self.affine is None else self.affine(standardised(h, (2, 3)).to(h.dtype), style)


class Synthesis(nn.Module):
    """G: contents (B, C) as the shared distribution has them, styles (B, S) -> image logits (B, channels, 64, 64)."""

    def __init__(self, content: int, style: int, channels: int, width: int, fusion: str):
        super().__init__()
        self.customise = Affine(style, content) if fusion == "vector" else None
        wide = 4 * width
        self.hidden = nn.Sequential(
            nn.Linear(content, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, 512), nn.LeakyReLU(SLOPE),
            nn.Linear(512, wide * 16), nn.LeakyReLU(SLOPE), nn.Unflatten(1, (wide, 4, 4)),
        )
        sizes = (wide, wide, wide, 2 * width, width)
        self.layers = nn.ModuleList(
            Layer(inputs, outputs, style, fusion == "layers")
            for inputs, outputs in pairwise(sizes)  # 8x8, 16x16, 32x32, 64x64
        )
        self.last = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1), nn.LeakyReLU(SLOPE), nn.Conv2d(width, channels, 5, 1, 2)
        )

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        h = self.hidden(content if self.customise is None else self.customise(content, style))
        for layer in self.layers:
            h = layer(h, style)
        return self.last(h)


class Patches(nn.Module):
    """Images (B, channels, 64, 64) -> styles (B, style) that know of no place: an average over what can be seen of
    the picture through windows 22 pixels wide.

    With a generator, as in training, each picture is mirrored at random or, with `turns`, in one of its eight
    positions, and the average is over a random square of it, `window` of 8 places to a side: what a style can tell
    is then what does not change with either, as a thickness, a texture or a colour; a shape cannot be told. A
    label-free form of [OverLORD]'s style of a picture that was disturbed in space.
    """

    def __init__(self, channels: int, style: int, width: int, window: int = 4, turns: bool = True):
        super().__init__()
        self.window = window
        self.disturbed = turned if turns else mirrored
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, width, 2 * width, 4 * width)):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.features = nn.Sequential(*layers, nn.Conv2d(4 * width, 4 * width, 1), nn.LeakyReLU(SLOPE))
        self.weight = nn.Conv2d(4 * width, 1, 1, bias=False)  # empty paper says nothing of how letters are drawn
        self.head = nn.Sequential(nn.Linear(4 * width, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, style))

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        h = self.features(x if generator is None else self.disturbed(x, generator))
        weight = self.weight(h).float().flatten(1)
        if generator is not None:
            side = h.shape[2]
            first = torch.randint(side - self.window + 1, (2, len(x), 1), generator=generator, device=x.device)
            place = torch.arange(side, device=x.device)
            rows, columns = (place >= first) & (place < first + self.window)
            weight = weight.masked_fill(~(rows[:, :, None] & columns[:, None]).flatten(1), -torch.inf)
        return self.head(torch.einsum("bfp,bp->bf", h.flatten(2).float(), weight.softmax(1)))


class Encoders(nn.Module):
    """Images (B, channels, 64, 64) -> contents before they are normalised (B, C) and styles (B, S): two heads on
    one trunk, unless `patches` reads the style, to which a generator goes."""

    def __init__(self, channels: int, content: int, style: int, width: int, patches: Patches | None = None):
        super().__init__()
        layers: list[nn.Module] = []
        sizes = (channels, width, 2 * width, 4 * width, 4 * width)
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        self.trunk = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width * 16, 256), nn.LeakyReLU(SLOPE))
        self.content, self.style = (
            nn.Sequential(nn.Linear(256, 256), nn.LeakyReLU(SLOPE), nn.Linear(256, size)) for size in (content, style)
        )
        self.blind = patches is not None
        if patches is not None:
            self.style = patches

    def forward(self, x: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        h = self.trunk(x)
        style = self.style(x, generator) if self.blind else self.style(h)
        return self.content(h).float(), style.float()


def standardised(h: Tensor, dims: tuple[int, ...], floor: float = 1e-5) -> Tensor:
    """h with mean 0 and variance 1 over `dims`, in full precision. A variance near `floor` stays below 1."""
    h = h.float()
    return (h - h.mean(dims, keepdim=True)) / (h.var(dims, correction=0, keepdim=True) + floor).sqrt()
