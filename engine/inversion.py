"""Codes that draw a given picture better than the encoder's, found by descent: for pictures unlike the data.

The optimisation of the code alone, as in Bojanowski et al., "Optimizing the Latent Space of Generative
Networks", ICML 2018; begun where the encoder points, so that some dozens of steps do.
"""

import numpy as np
import torch
from torch import Tensor

from engine.method import Method
from engine.perceptual import pyramid
from engine.serve import Engine, seen

STEPS, RATE, HOLD = 30, 0.1, 1e-3


class Search:
    """The descent from the encoder's codes of images x (B, C, 64, 64) in [0, 1], step by step. `best` are the codes
    (B, D) that have drawn x best so far.

    rate: length of a first step of Adam, in standard deviations over the code. hold: weight of the squared distance
    from the encoder's code, in the same units, which keeps content and style where swaps are known to work.
    """

    @torch.inference_mode(False)
    def __init__(self, method: Method, x: Tensor, rate: float = RATE, hold: float = HOLD):
        self.method, self.hold = method, hold
        self.x = x.clone()  # a picture from inference mode cannot be differentiated through
        with torch.no_grad():
            self.first = method.encode(self.x)
        self.unit = self.first.std(1, correction=0, keepdim=True).clamp(min=1e-6)
        self.offset = torch.zeros_like(self.first, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.offset], lr=rate)
        self.best, self.lowest = self.first.clone(), torch.full_like(self.first[:, 0], torch.inf)

    @torch.inference_mode(False)
    @torch.enable_grad()
    def look(self) -> Tensor:
        """How far the present codes are from drawing x, (B,); the best ones are kept."""
        code = self.first + self.unit * self.offset
        apart = distance(self.method.decode(code), self.x)
        better = apart.detach() < self.lowest
        self.lowest = torch.where(better, apart.detach(), self.lowest)
        self.best = torch.where(better[:, None], code.detach(), self.best)
        return apart

    @torch.inference_mode(False)
    @torch.enable_grad()
    def step(self) -> None:
        """Look, and move all codes towards what `decode` draws like x."""
        loss = (self.look() + self.hold * (self.offset**2).mean(1)).sum()
        [self.offset.grad] = torch.autograd.grad(loss, [self.offset])
        self.optimizer.step()


def approach(method: Method, x: Tensor, steps: int = STEPS, rate: float = RATE, hold: float = HOLD) -> Tensor:
    """Codes (B, D) that draw images x (B, C, 64, 64) in [0, 1], after `steps` steps of a `Search`. Never worse than
    the encoder's: the best code on the way counts."""
    search = Search(method, x, rate, hold)
    for _ in range(steps):
        search.step()
    search.look()
    return search.best


def closer(engine: Engine, model: str, image: np.ndarray, steps: int = STEPS) -> np.ndarray:
    """The code (D,) that `approach` finds for a picture (64, 64, 3) uint8 with a served model. Each step is a request
    of its own to the engine's worker, so that others wait for one at most. Raises Refusal."""
    rows = engine.images(np.asarray(image)[None])
    search = None

    def begun(net: Method, given: Tensor) -> Search:
        nonlocal search
        search = search or Search(net, seen(net, given))
        return search

    def work(net: Method, given: Tensor) -> Tensor:
        begun(net, given).step()
        return search.best

    def last(net: Method, given: Tensor) -> Tensor:
        begun(net, given).look()
        return search.best

    for _ in range(steps):
        engine.perform(model, work, rows).get()
    return engine.perform(model, last, rows).get()[0]


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute error plus that of the bands of a Laplacian pyramid, of each pair of images (B, C, 64, 64):
    (B,)."""
    return (a - b).abs().mean((1, 2, 3)) + pyramid(a, b)
