"""The table of factors: what each slice of a code does, measured after training.

A factor moves the code along one direction of its slice. For a scalar latent that direction is
the axis itself; for a vector latent it is the principal direction of the data in that slice, or a path through the
data that begins with it, if that explains more of them (engine.paths). What lies off the direction or the path is the
image's own and stays as it is. Content and style have several factors each, along their first principal directions.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from engine.method import Method, Slot, named_slots
from engine.paths import TURN, Angle, Path, wrapped

FILM_FRAMES = 9      # values measured along a factor; also the frames of a film strip
TAIL = 0.01          # share of the data left outside the slider at either end
QUANTILES = 33       # stored points of a factor's distribution, for random images
ROLES = ("factor", "content", "style", "residual")
DIRECTIONS = {"content": 4, "style": 4}  # factors of a vector in these roles; of one in the others, 1
VISIBLE = 1.0        # grey levels (of 255): a factor that changes less is not shown


@dataclass(frozen=True)
class Factor:
    """One discovered factor: a direction in a slice of the code, or a path, with its range and rank."""

    name: str
    where: tuple[int, int]           # slice [start, stop) of the code
    role: str                        # 'factor', 'content', 'style' or 'residual'
    axis: tuple[float, ...]          # unit direction inside the slice
    low: float                       # the data's 1 % and 99 % quantiles along the axis, or half a turn either way
    high: float
    rank: int                        # 0 comes first, mostly by visible effect; -1 changes nothing visible
    evidence: dict[str, float] = field(default_factory=dict)
    quantiles: tuple[float, ...] = ()  # of the data along the axis, evenly spaced in probability
    path: Path | None = None           # None for the straight line
    stops: tuple[float, ...] = ()      # places where the data gathers, in order

    def read(self, code: Tensor) -> Tensor:
        """Codes (B, D) -> positions along the factor (B,)."""
        part = code[:, slice(*self.where)]
        return self.path.read(part, self._axis(code)) if self.path else part @ self._axis(code)

    def positions(self, codes: np.ndarray) -> np.ndarray:
        """The same for codes (B, D) outside torch: (B,)."""
        return self.read(torch.as_tensor(codes)).numpy()

    def write(self, code: Tensor, value: Tensor) -> Tensor:
        """Codes (B, D) moved to positions `value` (B,) along the factor; a new tensor."""
        moved, inside = code.clone(), slice(*self.where)
        if self.path:
            moved[:, inside] = self.path.write(code[:, inside], self._axis(code), value, (self.low, self.high))
        else:
            moved[:, inside] += (value - self.read(code))[:, None] * self._axis(code)
        return moved

    def place(self, code: Tensor, value: Tensor) -> Tensor:
        """Codes (B, D) put to positions `value` (B,) without anything of their own off the path; a new tensor. Along
        a straight line they are moved as `write` does."""
        if not self.path:
            return self.write(code, value)
        placed = code.clone()
        placed[:, slice(*self.where)] = self.path.point(self._axis(code), value, (self.low, self.high))
        return placed

    def way(self, before: Angle, after: Angle) -> Angle:
        """From one position to another, or from some to others, in shares of the range: the shorter way round if the
        factor is closed. A factor without a range goes no way."""
        way = wrapped(after - before) if self.closed else after - before
        return way / (self.high - self.low) if self.high > self.low else 0 * way

    def between(self, a: Tensor, b: Tensor, share: float) -> Tensor:
        """Positions (B,) at a share of the way from those of codes a (B, D) to those of b."""
        start, end = self.read(a), self.read(b)
        return start + share * wrapped(end - start) if self.closed else torch.lerp(start, end, share)

    @property
    def closed(self) -> bool:
        """Whether both ends are the same place."""
        return bool(self.path and self.path.closed)

    def ladder(self, count: int) -> Tensor:
        """`count` evenly spaced positions from low to high."""
        return torch.linspace(self.low, self.high, count)

    def _axis(self, code: Tensor) -> Tensor:
        return torch.tensor(self.axis, dtype=code.dtype, device=code.device)


def visible(table: tuple[Factor, ...]) -> list[Factor]:
    """The factors worth a slider, largest effect first."""
    return sorted((f for f in table if f.rank >= 0), key=lambda f: f.rank)


@torch.inference_mode()
def fit(method: Method, images: Tensor, base_images: int = 128) -> tuple[Factor, ...]:
    """Measure the table of factors on sample images (N, C, 64, 64) uint8, N in the thousands.

    Visible effect of a factor: over `base_images` images, the root mean square over pixels of
    the deviation among the frames of its film strip, in grey levels of 255. Factors are ranked by
    it, or by their order if the method's means something; those below one grey level get rank -1.
    """
    from engine.path_fit import path_of, stops_of  # which need scikit-learn

    device = next(method.parameters()).device
    codes = torch.cat([method.encode(part.to(device).float() / 255) for part in images.split(512)])
    bases = codes[:base_images]

    table = []
    for name, slot in named_slots(method.layout()):
        part = codes[:, slot.start:slot.stop]
        axes = principal_directions(part, DIRECTIONS.get(slot.role, 1))
        for number, axis in enumerate(axes, start=1):
            along, path, told = part @ axis, None, {}
            low, high = along.quantile(torch.tensor([TAIL, 1 - TAIL], device=device)).tolist()
            if slot.role == "factor" and low < high and len(axis) > 1:
                path, told = path_of(part, axis, (low, high))
            if path:
                along = path.read(part, axis)
                low, high = (-TURN / 2, TURN / 2) if path.closed else (low, high)
            quantiles = along.quantile(torch.linspace(0, 1, QUANTILES, device=device))
            factor = Factor(name if len(axes) == 1 else f"{name}.{number}", (slot.start, slot.stop), slot.role,
                            tuple(axis.tolist()), low, high, -1, {}, tuple(quantiles.tolist()), path)
            evidence = {"effect": effect(method, factor, bases), "spread": along.std().item(), **told}
            if slot.role == "factor" and evidence["effect"] >= VISIBLE:  # seeking takes a second
                places = stops_of(along, factor.closed)
                factor = replace(factor, stops=tuple(place for place in places if low <= place <= high))
            table.append((factor, evidence))

    order = sorted(
        (i for i, (f, e) in enumerate(table) if f.role != "residual" and e["effect"] >= VISIBLE),
        key=lambda i: i if method.ordered else -table[i][1]["effect"],
    )
    ranks = {i: rank for rank, i in enumerate(order)}
    return tuple(
        Factor(**{**vars(f), "rank": ranks.get(i, -1), "evidence": e}) for i, (f, e) in enumerate(table)
    )


def principal_direction(part: Tensor) -> Tensor:
    """Unit direction (W,) of largest variance of codes (N, W); its largest entry is positive."""
    return principal_directions(part, 1)[0]


def principal_directions(part: Tensor, count: int) -> Tensor:
    """The `count` orthonormal directions of largest variance of codes (N, W), or W if that is fewer, in order:
    (count, W). The largest entry of each is positive."""
    if part.shape[1] == 1:
        return torch.ones(1, 1, device=part.device, dtype=part.dtype)
    centred = part - part.mean(0)
    axes = torch.linalg.eigh(centred.T @ centred).eigenvectors.T.flip(0)[:count]
    return axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()


def readings(layout: tuple[Slot, ...], codes: Tensor) -> Tensor:
    """What a score is to see of codes (N, R), which may be those of the first slots only: (N, M).

    A factor that is a vector counts as one number, its principal component over these codes (Yang et al.,
    DisDiff, NeurIPS 2023, as their code evaluates); everything else as it is.
    """
    columns = []
    for slot in layout:
        part = codes[:, slot.start:slot.stop]
        if slot.role == "factor" and part.shape[1] > 1:
            part = (part @ principal_direction(part))[:, None]
        columns.append(part)
    return torch.cat(columns, 1)


def effect(method: Method, factor: Factor, bases: Tensor) -> float:
    """Grey levels (of 255, root mean square) by which moving `factor` changes decoded bases (B, D)."""
    films = []
    for base in bases:
        values = factor.ladder(FILM_FRAMES).to(base)
        films.append(method.decode(factor.write(base.expand(FILM_FRAMES, -1), values)))
    films = torch.stack(films)                                 # (B, frames, C, H, W)
    return 255 * films.var(1, correction=0).mean((1, 2, 3)).sqrt().mean().item()


def dumps(table: tuple[Factor, ...]) -> str:
    """The table as JSON text."""
    return json.dumps([asdict(f) for f in table], indent=1)


def loads(text: str, code_size: int) -> tuple[Factor, ...]:
    """The table from JSON text; ValueError if an entry does not fit a code of `code_size`."""
    entries, table = json.loads(text), []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("it is no list of factors")
    for entry in entries:
        for key in ("where", "axis", "quantiles", "stops"):
            entry[key] = tuple(entry.get(key, ()))
        if entry.get("path"):
            entry["path"] = Path(**{key: _frozen(value) for key, value in entry["path"].items()})
        factor = Factor(**entry)
        fault = _fault(factor, code_size)
        if fault:
            raise ValueError(f"factor '{str(factor.name)[:60]}' {fault}")
        table.append(factor)
    if len({factor.name for factor in table}) < len(table):
        raise ValueError("two factors have the same name")
    return tuple(table)


def _frozen(value: object) -> object:
    """Lists of JSON as tuples."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _fault(factor: Factor, code_size: int) -> str:
    """What is wrong with a factor read from a file, as the end of a sentence; '' if nothing is."""
    where, numbers = factor.where, (factor.low, factor.high, *factor.axis, *factor.quantiles, *factor.stops)
    if not isinstance(factor.name, str) or not factor.name or factor.role not in ROLES:
        return "lacks a name or a role"
    if type(factor.rank) is not int or factor.rank < -1 or not isinstance(factor.evidence, dict):
        return "lacks a rank or its evidence"
    if len(where) != 2 or any(type(end) is not int for end in where):
        return "is not a slice of the code"
    if not 0 <= where[0] < where[1] <= code_size or len(factor.axis) != where[1] - where[0]:
        return f"does not fit a code of {code_size} numbers"
    # A comparison, since that is false for NaN and exact for integers of any size.
    if not all(type(v) in (int, float) and abs(v) < 1e6 for v in (*numbers, *factor.evidence.values())):
        return "holds something that is not a usable number"
    if abs(sum(v * v for v in factor.axis) - 1) > 1e-3:
        return "has an axis that is not of length 1"
    if factor.low > factor.high or (factor.low == factor.high and factor.rank >= 0):
        return "has no range to move in"
    if len(factor.quantiles) < 2 or any(a > b for a, b in pairwise(factor.quantiles)):
        return "has no distribution to draw from"
    if list(factor.stops) != sorted(factor.stops) or any(not factor.low <= s <= factor.high for s in factor.stops):
        return "has stops out of order or out of its range"
    return factor.path.fault(len(factor.axis)) if factor.path else ""
