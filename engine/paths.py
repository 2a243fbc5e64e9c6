"""A factor's way through the data, where that is no straight line: open and bent, or closed like a hue circle.

A path lives in the slice of a code that is the factor's, (B, W), with the factor's unit axis (W,). An open one is a
graph over that axis: a position is still the coordinate along it, and what the data does beside the axis at that
position is its `bend`. A closed one runs around the data's centre in the plane of the axis and a second direction: a
position is an angle in degrees, and `bend` is what the data does beside the plane; `radius`, how far out it is.

Moving along a path keeps what is the picture's own: its offset from the bend, and for a closed path the ratio of its
own radius to the path's. So what is written is read back, and writing what was read changes nothing.
"""

from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

TURN = 360.0
Angle = TypeVar("Angle", float, Tensor)


@dataclass(frozen=True)
class Path:
    """Knots at even positions from a factor's low to its high end, linear in between; a closed path begins again."""

    centre: tuple[float, ...]                   # (W,) of the data
    bend: tuple[tuple[float, ...], ...]         # (K, W)
    across: tuple[float, ...] = ()              # (W,) second unit direction; the path is closed if it has one
    spread: tuple[float, ...] = ()              # of the data along the axis and across, for the angle
    radius: tuple[float, ...] = ()              # (K,) in those spreads
    turn: float = 0.0                           # degrees from the axis to position 0

    @property
    def closed(self) -> bool:
        """Whether both ends are the same place."""
        return bool(self.across)

    def read(self, part: Tensor, axis: Tensor) -> Tensor:
        """Slices (B, W) -> positions (B,): along the axis, or degrees in [-180, 180)."""
        if not self.closed:
            return part @ axis
        across, up = self._plane(part, axis).unbind(1)
        return wrapped(torch.rad2deg(torch.atan2(up, across)) - self.turn)

    def write(self, part: Tensor, axis: Tensor, value: Tensor, ends: tuple[float, float]) -> Tensor:
        """Slices (B, W) moved to positions `value` (B,); ends: the factor's low and high."""
        own = self.read(part, axis)
        bend = torch.tensor(self.bend).to(part)
        moved = part + self._at(bend, value, ends) - self._at(bend, own, ends)
        if not self.closed:
            return moved + (value - own)[:, None] * axis
        radius = torch.tensor(self.radius).to(part)[:, None]
        plane = self._plane(part, axis)
        out = plane.norm(dim=1, keepdim=True) * self._at(radius, value, ends) / self._at(radius, own, ends)
        return moved + self._back(out * self._unit(value) - plane, axis)

    def point(self, axis: Tensor, value: Tensor, ends: tuple[float, float]) -> Tensor:
        """Where the path itself is at positions `value` (B,): (B, W)."""
        centre, bend = torch.tensor(self.centre).to(axis), torch.tensor(self.bend).to(axis)
        beside = centre + self._at(bend, value, ends)
        if not self.closed:
            return beside + (value - centre @ axis)[:, None] * axis
        radius = torch.tensor(self.radius).to(axis)[:, None]
        return beside + self._back(self._at(radius, value, ends) * self._unit(value), axis)

    def fault(self, width: int) -> str:
        """What is wrong with a path read from a file, as the end of a sentence; '' if nothing is."""
        sizes = [len(self.centre), *map(len, self.bend)] + ([len(self.across)] if self.closed else [])
        if len(self.bend) < 2 or any(size != width for size in sizes):
            return "has a path that does not fit"
        if self.closed and (len(self.spread) != 2 or len(self.radius) != len(self.bend)):
            return "has a closed path that lacks its shape"
        numbers = (*self.centre, *chain(*self.bend), *self.across, *self.spread, *self.radius, self.turn)
        if not all(type(v) in (int, float) and abs(v) < 1e6 for v in numbers):
            return "has a path of unusable numbers"
        if self.closed and (min(*self.spread, *self.radius) <= 0 or abs(sum(v * v for v in self.across) - 1) > 1e-3):
            return "has a closed path without an inside"
        return ""

    def _at(self, knots: Tensor, value: Tensor, ends: tuple[float, float]) -> Tensor:
        """Knots (K, M) at positions (B,): (B, M)."""
        return weights(value, len(knots), ends, self.closed) @ knots

    def _plane(self, part: Tensor, axis: Tensor) -> Tensor:
        """Slices (B, W) -> where they are in the plane, in its spreads (B, 2)."""
        both = torch.stack([axis, torch.tensor(self.across).to(part)], 1)
        return (part - torch.tensor(self.centre).to(part)) @ both / torch.tensor(self.spread).to(part)

    def _back(self, plane: Tensor, axis: Tensor) -> Tensor:
        """A step in the plane (B, 2) as one in the slice (B, W)."""
        both = torch.stack([axis, torch.tensor(self.across).to(axis)])
        return plane * torch.tensor(self.spread).to(plane) @ both

    def _unit(self, value: Tensor) -> Tensor:
        """Positions (B,) -> directions in the plane (B, 2)."""
        angle = torch.deg2rad(value + self.turn)
        return torch.stack([angle.cos(), angle.sin()], 1)


def wrapped(degrees: Angle) -> Angle:
    """The same angle, or the same angles, in [-180, 180)."""
    return (degrees + TURN / 2) % TURN - TURN / 2


def weights(value: Tensor, count: int, ends: tuple[float, float], closed: bool) -> Tensor:
    """How much of each of `count` even knots a position (B,) is: (B, count). The last knot is at the high end, or, if
    closed, one step before it."""
    low, high = ends
    steps = count if closed else count - 1
    at = (value - low) / (high - low) * steps
    at = at % steps if closed else at.clamp(0, steps)
    left = at.floor().clamp(max=steps - 1)
    share = (at - left)[:, None]
    hot = torch.nn.functional.one_hot(left.long(), count)
    return hot * (1 - share) + hot.roll(1, 1) * share
