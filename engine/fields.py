"""What the field of each factor does to a picture, for a model that is one field for each of them (DisDiff).

Two answers to the same question. `alone` is partial sampling [Yang et al., "DisDiff", NeurIPS 2023]: the picture that
the model makes of the noise all pictures start from with one factor's sub-gradient switched on, beside the one that it
makes without any. `touched` is a heat map over the picture in hand: where that sub-gradient would change what the model
takes for the picture when it is hidden in noise (`DisDiff.touched`), mean over TIMES even times of those at which the
model was trained to keep its factors apart.

The work is done in parts of a fraction of a second each, so that other requests are answered in between.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from engine.latent import LATENTS, SIDE
from engine.methods.disdiff import DisDiff
from engine.serve import Engine, Refusal, pixels

TIMES = 6       # of a heat map
PART = 2        # pictures sampled at once


@dataclass(frozen=True)
class Field:
    """What one factor's field does."""

    alone: np.ndarray       # (64, 64, 3) uint8: the picture by this field alone
    touched: np.ndarray     # (64, 64) float32: grey levels of 255 by which it changes each pixel of the picture


@dataclass(frozen=True)
class Fields:
    """What the fields of a model do to one picture."""

    picture: np.ndarray         # (64, 64, 3) uint8: that picture, exact
    none: np.ndarray            # (64, 64, 3) uint8: the picture without any field
    each: dict[str, Field]      # by the name of the factor, in the order of their rank


def fields(engine: Engine, model: str, code: ArrayLike, lane: Hashable = None) -> Fields | None:
    """What the fields of the visible factors do to the picture of a code (D,); None if a newer request of the same
    lane took its place. Raises Refusal."""
    known = engine.model(model)
    if not known.divides:
        raise Refusal(f"{known.title} has no field for each factor.")
    rows, shown = engine.codes(model, [code]), known.sliders
    slots = [f.where for f in known.factors if f.role == "factor"]
    order = [slots.index(f.where) for f in shown]
    try:
        settled = _work(engine, model, settle, rows, 1, lane)
        z, latents = settled.split([settled.shape[1] - LATENTS * SIDE * SIDE, LATENTS * SIDE * SIDE], 1)
        [picture] = _work(engine, model, show, latents, 1, lane)
        on = torch.cat([torch.zeros(1, len(slots)), torch.eye(len(slots))[order]])
        pictures = _work(engine, model, sample, torch.cat([z.expand(len(on), -1), on], 1), PART, lane)
        time = torch.linspace(0, 1, TIMES)[:, None]
        heat = _work(engine, model, touch, torch.cat([settled.expand(TIMES, -1), time], 1), 1, lane).mean(0)[order]
    except _Overtaken:
        return None
    none, *each = pictures.numpy()
    names = [f.name for f in shown]
    return Fields(picture.numpy(), none, dict(zip(names, map(Field, each, heat.numpy()), strict=True)))


def settle(net: DisDiff, codes: Tensor) -> Tensor:
    """Codes (B, D) -> their factors, and the latents of their exact pictures: (B, N * d + 1024)."""
    return torch.cat([codes[:, :net.count * net.size], net.refined(codes).flatten(1)], 1)


def show(net: DisDiff, rows: Tensor) -> Tensor:
    """Latents (B, 1024) -> pictures (B, 64, 64, 3) uint8."""
    return pixels(lambda part: net.autoencoder.decode(part.unflatten(1, (LATENTS, SIDE, SIDE))), rows)


def sample(net: DisDiff, rows: Tensor) -> Tensor:
    """Factors and the strengths of their fields (B, N * d + N) -> pictures (B, 64, 64, 3) uint8."""
    size = net.count * net.size
    return pixels(lambda part: net.alone(part[:, :size].unflatten(1, (net.count, net.size)), part[:, size:]), rows)


def touch(net: DisDiff, rows: Tensor) -> Tensor:
    """What `settle` answers, and a time from 0 to 1, from the first that counts to the last: (B, N * d + 1025) -> heat
    maps of all factors (B, N, 64, 64)."""
    z, latents, share = rows.split([net.count * net.size, LATENTS * SIDE * SIDE, 1], 1)
    low, high = (end * (net.schedule.steps - 1) for end in net.config.between)
    return net.touched(latents.unflatten(1, (LATENTS, SIDE, SIDE)), z.unflatten(1, (net.count, net.size)),
                       (low + (high - low) * share[:, 0]).round().long())


class _Overtaken(Exception):
    """A newer request of the same lane came."""


def _work(engine: Engine, model: str, work: object, rows: Tensor, part: int, lane: Hashable) -> Tensor:
    """What `work` makes of rows, `part` of them at a time."""
    made = []
    for few in rows.split(part):
        answer = engine.perform(model, work, few, lane)
        if answer.stale:
            raise _Overtaken
        made.append(torch.from_numpy(answer.get()))
    return torch.cat(made)
