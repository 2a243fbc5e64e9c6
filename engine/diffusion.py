"""Gaussian diffusion: noise schedules, and deterministic solvers from noise to data and back.

Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020 [DDPM];
Nichol, Dhariwal, "Improved Denoising Diffusion Probabilistic Models", ICML 2021 [IDDPM];
Song, Meng, Ermon, "Denoising Diffusion Implicit Models", ICLR 2021 [DDIM];
Lu et al., "DPM-Solver++", 2022, https://arxiv.org/abs/2211.01095 [DPM++];
Zhang, Zhao, Lin, "Unsupervised Representation Learning from Pre-trained Diffusion Probabilistic
Models", NeurIPS 2022 [PDAE].

x_t = signal_t x_0 + noise_t eps with signal_t^2 + noise_t^2 = 1, t = 0 ... T - 1. A solver takes a
network as a function (x (B, ...), t (B,) int64) -> predicted eps of the shape of x. Its grid and its
coefficients are plain numbers, so that it can be captured in a CUDA graph.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Network = Callable[[Tensor, Tensor], Tensor]
FAINTEST = math.exp(-5.1)  # signal over noise below which no solver starts: there x_0 is all rounding error


class Schedule(nn.Module):
    """How much of the data is left at every time.

    kind: 'linear', the square root of beta being linear as in latent diffusion models, or 'cosine'
    [IDDPM, eq. 17]. steps: T.
    """

    def __init__(self, kind: Literal["linear", "cosine"] = "linear", steps: int = 1000):
        super().__init__()
        if kind == "linear":
            beta = torch.linspace(0.0015**0.5, 0.0155**0.5, steps, dtype=torch.float64) ** 2
        else:
            angle = (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2
            left = torch.cos(angle) ** 2
            beta = (1 - left[1:] / left[:-1]).clamp(max=0.999)
        kept = (1 - beta).cumprod(0)                                              # [DDPM, above eq. 4]
        self.steps = steps
        self.scales = [(a, b) for a, b in zip(kept.sqrt().tolist(), (1 - kept).sqrt().tolist(), strict=True)]
        self.start = max(t for t, (signal, noise) in enumerate(self.scales) if signal >= FAINTEST * noise)
        snr = kept / (1 - kept)
        weight = snr**0.1 / (1 + snr)
        for name, values in (("signal", kept.sqrt()), ("noise", (1 - kept).sqrt()), ("weight", weight / weight.mean())):
            self.register_buffer(name, values.float(), persistent=False)          # (T,)

    def noised(self, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """A sample of q(x_t | x_0)  [DDPM, eq. 4]: data and noise (B, ...), times (B,) -> (B, ...)."""
        return _at(self.signal, t, x) * x + _at(self.noise, t, x) * eps

    def clean(self, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """The x_0 that a prediction of eps means, the inverse of `noised` [DDIM, eq. 9]."""
        return (x - _at(self.noise, t, x) * eps) / _at(self.signal, t, x)

    def error(self, predicted: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Squared error of a prediction of eps, mean over everything but the batch, with the weight
        SNR^0.1 / (1 + SNR) [PDAE, the redesigned weighting] of mean 1 over all times: (B,)."""
        return _at(self.weight, t, t) * ((predicted - eps) ** 2).flatten(1).mean(1)

    def grid(self, steps: int) -> list[int]:
        """steps + 1 times from noise to data, evenly spaced; the last one, -1, is the data itself."""
        count = self.start + 1
        return [round(count - count * k / steps) - 1 for k in range(steps + 1)]

    def scale(self, t: int) -> tuple[float, float]:
        """Signal and noise at the time t of a grid."""
        return self.scales[t] if t >= 0 else (1.0, 0.0)

    def ddim(self, network: Network, x: Tensor, steps: int, limit: float = math.inf) -> Tensor:
        """Noise (B, ...) -> data, in first-order steps  [DDIM, eq. 12 with sigma = 0].

        limit: x_0 is known to lie in [-limit, limit].
        """
        grid = self.grid(steps)
        for now, then in pairwise(grid):
            eps = network(x, _times(x, now))
            x = self._move(x, eps, now, then, limit)
        return x

    def invert(
        self, network: Network, x: Tensor, steps: int, corrections: int = 0, limit: float = math.inf
    ) -> Tensor:
        """Data (B, ...) -> the noise that `ddim` would make it from, on the same grid  [DDIM, section 4.3].

        A step from one time to a noisier one needs eps at its far end, which is guessed at its near
        end and evaluated again `corrections` times.
        """
        grid = self.grid(steps)[::-1]
        for now, then in pairwise(grid):
            near = x
            for _ in range(1 + corrections):
                eps = network(x, _times(x, then))
                x = self._move(near, eps, now, then, limit)
        return x

    def dpm(self, network: Network, x: Tensor, steps: int, limit: float = math.inf) -> Tensor:
        """Noise (B, ...) -> data, in second-order multistep steps of x_0  [DPM++, algorithm 2]; the first
        and the last are of first order. limit: x_0 is known to lie in [-limit, limit]."""
        grid, last, last_h = self.grid(steps), x, 0.0
        for now, then in pairwise(grid):
            data = self._clean(x, network(x, _times(x, now)), now, limit)
            if then < 0:
                return data
            (a, b), (a_then, b_then) = self.scale(now), self.scale(then)
            h = math.log(a_then / b_then) - math.log(a / b)
            slope = (data - last) * (h / (2 * last_h)) if last_h else 0.0
            x = b_then / b * x - a_then * math.expm1(-h) * (data + slope)
            last, last_h = data, h
        return x

    def _clean(self, x: Tensor, eps: Tensor, t: int, limit: float) -> Tensor:
        signal, noise = self.scale(t)
        return ((x - noise * eps) / signal).clamp(-limit, limit)

    def _move(self, x: Tensor, eps: Tensor, now: int, then: int, limit: float) -> Tensor:
        signal, noise = self.scale(then)
        return signal * self._clean(x, eps, now, limit) + noise * eps


def _at(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Entries t (B,) of values (T,), shaped to multiply `like` (B, ...)."""
    return values[t].view(-1, *[1] * (like.dim() - 1))


def _times(x: Tensor, t: int) -> Tensor:
    return torch.full((len(x),), t, dtype=torch.int64, device=x.device)
