"""The convolutional encoder and decoder that all 64x64 methods share.

At width 32 these are `conv_encoder` and `deconv_decoder` of disentanglement_lib (Locatello et al.,
"Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations",
ICML 2019, appendix C; Apache-2.0), the nets of nearly every published table. A larger width
multiplies every channel count and leaves the shape of the net alone.
"""

from torch import Tensor, nn


class Encoder(nn.Module):
    """Images (B, C, 64, 64) -> features (B, outputs)."""

    def __init__(
        self,
        channels: int,      # of the image
        outputs: int,       # size of the last linear layer
        width: int = 32,    # channels of the first convolution
    ):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU(),        # 32x32
            nn.Conv2d(width, width, 4, 2, 1), nn.ReLU(),           # 16x16
            nn.Conv2d(width, 2 * width, 2, 2), nn.ReLU(),          # 8x8
            nn.Conv2d(2 * width, 2 * width, 2, 2), nn.ReLU(),      # 4x4
        )
        self.hidden = nn.Linear(2 * width * 16, 256)
        self.head = nn.Linear(256, outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolutions(x).flatten(1)  # (B, 2w * 16)
        return self.head(self.hidden(h).relu())


class Decoder(nn.Module):
    """Codes (B, D) -> image logits (B, C, 64, 64)."""

    def __init__(
        self,
        inputs: int,        # size of the code
        channels: int,      # of the image
        width: int = 32,    # channels of the last hidden layer
    ):
        super().__init__()
        self.width = width
        self.hidden = nn.Sequential(
            nn.Linear(inputs, 256), nn.ReLU(),
            nn.Linear(256, 2 * width * 16), nn.ReLU(),
        )
        self.deconvolutions = nn.Sequential(
            nn.ConvTranspose2d(2 * width, 2 * width, 4, 2, 1), nn.ReLU(),  # 8x8
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU(),      # 16x16
            nn.ConvTranspose2d(width, width, 4, 2, 1), nn.ReLU(),          # 32x32
            nn.ConvTranspose2d(width, channels, 4, 2, 1),                  # 64x64
        )

    def forward(self, code: Tensor) -> Tensor:
        h = self.hidden(code).unflatten(1, (2 * self.width, 4, 4))
        return self.deconvolutions(h)


def scale_gradient(x: Tensor, weight: Tensor) -> Tensor:
    """The value of x, with `weight` times its gradient: lets a later net learn while an earlier
    one is shielded from it, by an amount that may change inside a captured graph."""
    return x.detach() + weight * (x - x.detach())
