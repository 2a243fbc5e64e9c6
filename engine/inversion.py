"""Codes that draw a given picture better than the encoder's, found by descent: for pictures unlike the data.

The optimisation of the code alone, as in Bojanowski et al., "Optimizing the Latent Space of Generative
Networks", ICML 2018; begun where the encoder points, so that some dozens of steps do.
"""

import torch
from torch import Tensor

from engine.method import Method
from engine.perceptual import pyramid


@torch.inference_mode(False)
@torch.enable_grad()
def approach(method: Method, x: Tensor, steps: int = 30, rate: float = 0.05, hold: float = 1e-3) -> Tensor:
    """Codes (B, D) of images x (B, C, 64, 64) in [0, 1], begun with `method.encode` and moved in `steps` steps of
    Adam towards what `decode` draws like x. Never worse than the encoder's: the best code on the way counts.

    rate: length of a first step, in standard deviations over the code. hold: weight of the squared distance
    from the encoder's code, in the same units, which keeps content and style where swaps are known to work.
    """
    x = x.clone()  # a picture from inference mode cannot be differentiated through
    with torch.no_grad():
        first = method.encode(x)
        unit = first.std(1, correction=0, keepdim=True).clamp(min=1e-6)
    offset = torch.zeros_like(first, requires_grad=True)
    optimizer = torch.optim.Adam([offset], lr=rate)
    best, lowest = first.clone(), torch.full_like(first[:, 0], torch.inf)
    for step in range(steps + 1):
        code = first + unit * offset
        apart = distance(method.decode(code), x)
        better = apart.detach() < lowest
        lowest = torch.where(better, apart.detach(), lowest)
        best = torch.where(better[:, None], code.detach(), best)
        if step < steps:
            loss = (apart + hold * (offset**2).mean(1)).sum()
            [offset.grad] = torch.autograd.grad(loss, [offset])
            optimizer.step()
    return best


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error plus that of the bands of a Laplacian pyramid, of each pair of images (B, C, 64, 64):
    (B,)."""
    return (a - b).abs().mean((1, 2, 3)) + pyramid(a, b)
