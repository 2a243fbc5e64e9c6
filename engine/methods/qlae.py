"""QLAE: an autoencoder whose latents may each take only a few values, under strong weight decay.

Hsu, Dorrell, Whittington, Wu, Finn, "Disentanglement via Latent Quantization", NeurIPS 2023,
https://arxiv.org/abs/2305.18378 [QLAE]. The form of its losses is that of van den Oord, Vinyals,
Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS 2017,
https://arxiv.org/abs/1711.00937 [VQ].

Scale of the losses: the authors' code takes the mean of the reconstruction over pixels and
channels, and of the two others over latents, each weighted by .01. Our reconstruction is the sum,
so the two others are multiplied by the number of pixels and channels, and the options mean what
they mean there. Weight decay is not part of the loss and needs no scale; as in that code it is
decoupled from Adam and spares the biases and the codebooks.

Departures: the nets are those of `vae.py`, where the authors' decoder is modulated by the code
and both are larger; the trainer's learning rate decays (theirs is 1e-3 throughout, for 200,000
steps of 128 images), and the decay of weights with it; no gradient is clipped. Latents are 10,
theirs twice the number of sources: 12 for 3D Shapes, and 10 for dSprites, which has five.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from engine import gaussian
from engine.method import Method, Paper, register
from engine.nets import Decoder, Encoder


@dataclass(frozen=True)
class Config:
    """Options of QLAE."""

    latents: int = 10                    # D, dimensions of the code
    values: int = 10                     # n_v, that each of them may take
    quantisation_weight: float = 0.01    # how strongly values are drawn to what the encoder says
    commitment_weight: float = 0.01      # how strongly the encoder is drawn to the values
    weight_decay: float = 0.1            # share of the weights lost per step and learning rate
    encoder_width: int = 32              # channels of the first convolution
    decoder_width: int = 32              # channels of the last hidden layer


class Quantiser(nn.Module):
    """Numbers (B, D) -> for each the nearest of its dimension's values (B, D)."""

    def __init__(self, latents: int, values: int):
        super().__init__()
        self.values = nn.Parameter(torch.linspace(-0.5, 0.5, values).repeat(latents, 1))  # (D, n_v)

    def forward(self, continuous: Tensor) -> Tensor:
        index = (continuous[:, :, None] - self.values).abs().argmin(2, keepdim=True)  # (B, D, 1)
        return self.values.expand(len(continuous), -1, -1).gather(2, index).squeeze(2)


@register
class QLAE(Method):
    """Autoencoder with a quantised code and no noise anywhere."""

    paper = Paper(
        title="Disentanglement via Latent Quantization",
        authors="Hsu, Dorrell, Whittington, Wu, Finn",
        year=2023,
        link="https://arxiv.org/abs/2305.18378",
    )
    Config = Config
    discrete = True

    def __init__(self, config: Config, channels: int):
        super().__init__()
        self.config = config
        self.channels = channels
        self.code_size = config.latents
        self.encoder = Encoder(channels, config.latents, config.encoder_width)
        self.quantiser = Quantiser(config.latents, config.values)
        self.decoder = Decoder(config.latents, channels, config.decoder_width)

    def groups(self) -> list[dict]:
        named = list(self.named_parameters())
        decayed = [p for name, p in named if name.endswith("weight")]
        spared = [p for name, p in named if not name.endswith("weight")]
        return [
            {"params": decayed, "weight_decay": self.config.weight_decay, "decoupled_weight_decay": True},
            {"params": spared},
        ]

    def continuous(self, x: Tensor) -> Tensor:
        """Images -> what the encoder says before it is quantised, (B, D)."""
        return self.encoder(x).float()

    def encode(self, x: Tensor) -> Tensor:
        return self.quantiser(self.continuous(x))

    def decode(self, code: Tensor) -> Tensor:
        return self.decoder(code).float().sigmoid()

    def loss(self, x: Tensor, step: Tensor, generator: Generator, stage: int = 0) -> dict[str, Tensor]:
        continuous = self.continuous(x)
        quantised = self.quantiser(continuous)                                        # [VQ, eq. 1-2]
        straight = continuous + (quantised - continuous).detach()  # the gradient passes as if unquantised
        terms = {
            "reconstruction": gaussian.bernoulli_nll(self.decoder(straight), x),
            "quantisation": ((continuous.detach() - quantised) ** 2).mean(),          # [VQ, eq. 3]
            "commitment": ((continuous - quantised.detach()) ** 2).mean(),            # [VQ, eq. 3]
        }
        attraction = (
            self.config.quantisation_weight * terms["quantisation"]
            + self.config.commitment_weight * terms["commitment"]
        )
        return {"loss": terms["reconstruction"] + x[0].numel() * attraction} | terms  # [QLAE, section 3]
