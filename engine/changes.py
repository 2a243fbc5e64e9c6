"""What moving a factor does to pictures, measured on the pictures alone: no labels, no other network.

A film is the same picture with one factor at evenly spaced positions. What stands in it as "the object" is
whatever differs from the picture's background, and that is, row by row, the straight line between the colours
at the left and the right edge. Its place, extent and angle are moments of that difference.

Each measurement is then put to the test: the middle frame is redrawn with only that change made to it, and the
share of the film's change that this accounts for is what the measurement counts. A change of colour is tested
as the best drawing of one region that takes another colour in each frame.

Shapes: B films of K frames, C = 3 channels in [0, 1], H = W = 64 pixels. Lengths are in pixels, angles in degrees.
"""

import math
from collections.abc import Set
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

MOTIONS = ("right", "down", "larger", "wider", "taller", "turn")
EDGE = 2                  # columns at either side that show the background
SLANT = (-4, -2, 0, 2, 4)  # rows by which an edge in the background may rise or fall between those columns
FAINT, CLEAR = 0.1, 0.25  # difference from the background at which a pixel begins to be, and is, the object's
LEAST = 8.0               # pixels an object must have to be measured
ANGULAR = 0.15            # how far from round an object must be to have an angle
GAIN = 0.1                # share of the change that one more measurement must account for
STEADY = 0.5              # correlation with the position from which a measurement counts; of a hue, its square
SEVERAL = 3               # measurements that account for a factor, at most
GREY = 0.02               # chroma below which there is no hue
GRID = 4                  # cells along each side of the map of where


@dataclass(frozen=True)
class Measured:
    """One quantity along the films: how far it goes, and how well the position along the factor tells it."""

    amount: float     # mean over films of largest - smallest, negative if it falls: px, log of a ratio, degrees, share
    agreement: float  # Spearman's r, mean over films by how far they go; of a hue R2 over all films


@dataclass(frozen=True)
class Change:
    """What one factor does. The region is where the colour changes, or else wherever anything does."""

    effect: float                         # grey levels of 255, root mean square
    found: dict[str, float]               # of MOTIONS and 'colour', what accounts for the change: share added, in order
    measured: dict[str, Measured]         # MOTIONS, and 'brightness', 'saturation' and 'hue' of the region
    colour: dict[str, float]              # those three as shares of the region's change of colour
    on_object: float                      # share of the region that lies on the object
    covers: float                         # share of the object that lies in the region
    offset: tuple[float, float]           # from the object's centre to the region's: right and down, in its radii
    cells: tuple[tuple[float, ...], ...]  # shares of the region in a GRID of cells, rows from the top
    area: float                           # of the region as a share of the picture


def measure(films: Tensor) -> Change:
    """Films (B, K, 1 or 3, 64, 64) in [0, 1] along one factor -> what it does."""
    films = films.float().expand(-1, -1, 3, -1, -1)
    ground = background(films)
    mask = objects(films, ground)
    middle = films.shape[1] // 2
    scene = Scene(films, ground[:, middle], mask[:, middle], poses(mask))
    found = scene.account()
    _, region, tones = scene.draw({*found, "colour"})
    spread = films.var(1, correction=0).mean(1)                             # (B, H, W)
    if "colour" not in found:
        region = spread
    thing = mask[:, middle]
    share, plane = _tones(tones)
    pose = scene.pose | share
    inside = (region > region.amax((1, 2), keepdim=True) / 3).float()
    mass = region.sum((1, 2)).clamp(min=1e-9)
    cells = F.adaptive_avg_pool2d((region / mass[:, None, None]).mean(0)[None], GRID)[0]
    return Change(
        effect=255 * spread.mean((1, 2)).sqrt().mean().item(),
        found=found,
        measured={name: along(values) for name, values in pose.items()} | {"hue": around(plane)},
        colour=_shares(share["brightness"], plane),
        on_object=((region * thing).sum((1, 2)) / mass).mean().item(),
        covers=((inside * thing).sum() / thing.sum().clamp(min=1)).item(),
        offset=_offset(region, thing),
        cells=tuple(tuple(row) for row in (cells / cells.sum().clamp(min=1e-12)).tolist()),
        area=inside.mean().item(),
    )


def background(films: Tensor) -> Tensor:
    """Films (B, K, C, H, W) -> their backgrounds, the same shape: each row from its left end to its right end."""
    left, right = films[..., :EDGE].mean(-1, keepdim=True), films[..., -EDGE:].mean(-1, keepdim=True)
    return torch.lerp(left, right, torch.linspace(0, 1, films.shape[-1], device=films.device))


def objects(films: Tensor, ground: Tensor) -> Tensor:
    """Films and their backgrounds (B, K, C, H, W) -> where the object is (B, K, H, W), from 0 to 1: wherever no
    colour of the background's row, or of rows near it, is near."""
    apart = torch.full_like(films[:, :, 0], torch.inf)
    left, right = ground[..., :1], ground[..., -1:]
    for rows in SLANT:
        for behind in (left, ground, right):
            shifted = behind if rows == 0 else F.pad(behind, (0, 0, rows, -rows), mode="constant", value=torch.inf)
            apart = torch.minimum(apart, (films - shifted).abs().amax(2))
    return ((apart - FAINT) / (CLEAR - FAINT)).clamp(0, 1)


def poses(mask: Tensor) -> dict[str, Tensor]:
    """Masks of an object (B, K, H, W) in [0, 1] -> its MOTIONS (B, K), from moments.

    Centre; logarithms of the standard deviations along both axes (their mean is "larger"); angle, clockwise, of
    its long axis, or of its corners where it has no long axis. Frames without an object take the middle frame's.
    """
    mass = mask.sum((2, 3))
    y, x = torch.meshgrid(*(torch.arange(n, dtype=mask.dtype, device=mask.device) for n in mask.shape[2:]),
                          indexing="ij")
    mean = lambda of: (mask * of).sum((2, 3)) / mass.clamp(min=1e-6)  # noqa: E731
    right, down = mean(x), mean(y)
    u, v = x - right[..., None, None], y - down[..., None, None]
    wide, tall = (mean(axis * axis).clamp(min=0.1).log() / 2 for axis in (u, v))
    pose = {"right": right, "down": down, "larger": (wide + tall) / 2, "wider": wide, "taller": tall,
            "turn": _angles(torch.complex(u, v), mean)}
    there, middle = mass >= LEAST, mask.shape[1] // 2
    return {name: torch.where(there & there[:, middle, None], value, value[:, middle, None])
            for name, value in pose.items()}


class Scene:
    """Films with what was measured of their object, to be redrawn from their middle frame.

    films (B, K, C, H, W); of the middle frame the background (B, C, H, W) and where the object is (B, H, W);
    pose: MOTIONS (B, K).
    """

    def __init__(self, films: Tensor, ground: Tensor, thing: Tensor, pose: dict[str, Tensor]):
        self.films, self.pose, self.middle = films, pose, films.shape[1] // 2
        self.still, self.thing = films[:, self.middle, None], thing[:, None, None]
        self.plate = torch.lerp(self.still, ground[:, None], self.thing)           # as if the object were not there
        first = {name: value[:, self.middle, None] for name, value in pose.items()}
        self.start = torch.stack([first["right"], first["down"]], -1).expand(-1, films.shape[1], -1)
        self.by = {name: pose[name] - first[name] for name in MOTIONS}
        self.by["still"] = torch.zeros_like(self.by["turn"])
        self.change = (films - films[:, self.middle, None]).square().sum().clamp(min=1e-12)

    def account(self) -> dict[str, float]:
        """What accounts for the change, one after the other: share added, of 1. Motions first and then colour, or
        the other way about, whichever leaves less unsaid with fewer words."""
        motions = [name for name in MOTIONS if abs(along(self.pose[name]).agreement) >= STEADY]
        both = self._greedy(motions, ["colour"]), self._greedy(["colour"], motions)
        return max(both, key=lambda found: sum(found.values()) - GAIN * len(found))

    def _greedy(self, *stages: list[str]) -> dict[str, float]:
        """Of one stage after the other, always what adds most."""
        found: dict[str, float] = {}
        for stage in stages:
            rest = [name for name in stage if name != "colour" or self._colour_is_steady({*found, "colour"})]
            while rest and len(found) < SEVERAL:
                shares = {name: self.explained({*found, name}) for name in rest}
                best = max(shares, key=shares.get)
                gain = shares[best] - sum(found.values())
                if gain < GAIN:
                    break
                found[best] = gain
                rest.remove(best)
        return found

    def _colour_is_steady(self, changes: Set[str]) -> bool:
        """Whether what the colour mostly does follows the position along the factor."""
        share, plane = _tones(self.draw(changes)[2])
        parts = _shares(share["brightness"], plane)
        kind = max(parts, key=parts.get)
        return around(plane).agreement >= STEADY**2 if kind == "hue" else abs(along(share[kind]).agreement) >= STEADY

    def explained(self, changes: Set[str]) -> float:
        """Share of the films' change that these changes account for together."""
        return 1 - (self._error(self.draw(changes)[0]) / self.change).item()

    def draw(self, changes: Set[str]) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The films as these changes alone would make them; with 'colour' among them also the region (B, H, W) whose
        colour changes, in the middle frame, and its colour in each frame (B, K, C)."""
        moved = self._moved(changes)
        if "colour" not in changes:
            return moved, None, None
        region, shades = recolouring(self.films - moved)                           # of what stays where it is, or ...
        drawn = moved + region[:, None, None] * shades[..., None, None]
        if set(MOTIONS) & changes:                                                 # ... of what goes with the object
            follows = recolouring(self.thing * (self._warp(self.films, changes, back=True) - self.still))
            carried = moved + self._warp(follows[0][:, None, None] * follows[1][..., None, None], changes)
            if self._error(carried) < self._error(drawn):
                (region, shades), drawn = follows, carried
        mass = region.sum((1, 2)).clamp(min=1e-9)[:, None]
        own = (self.films[:, self.middle] * region[:, None]).sum((2, 3)) / mass
        mean_share = region.square().sum((1, 2))[:, None] / mass                   # of the shade, in a pixel of it
        return drawn, region, own[:, None] + mean_share[:, None] * shades

    def _moved(self, changes: Set[str]) -> Tensor:
        """The object of the middle frame cut out and put before the background where it is in every frame."""
        if not set(MOTIONS) & changes:
            return self.still.expand_as(self.films)
        cut = torch.cat([self.still * self.thing, self.thing], 2).expand(-1, self.films.shape[1], -1, -1, -1)
        put = self._warp(cut, changes)
        return self.plate * (1 - put[:, :, -1:]) + put[:, :, :-1]

    def _error(self, drawn: Tensor) -> Tensor:
        return (self.films - drawn).square().sum()

    def _warp(self, pictures: Tensor, changes: Set[str], back: bool = False) -> Tensor:
        """Frames (B, K, C, H, W) as in the middle frame, moved to their pose; or back again."""
        by = self.by
        turn = (by["turn" if "turn" in changes else "still"] * math.pi / 180)[..., None]
        both = "larger" in changes
        stretch = torch.stack([by["wider" if both or "wider" in changes else "still"],
                               by["taller" if both or "taller" in changes else "still"]], -1).exp()
        matrix = torch.stack([torch.cat([turn.cos(), -turn.sin()], -1) * stretch[..., :1],
                              torch.cat([turn.sin(), turn.cos()], -1) * stretch[..., 1:]], -2)  # middle -> frame
        size = pictures.shape[-1]
        step = torch.stack([by["right" if "right" in changes else "still"],
                            by["down" if "down" in changes else "still"]], -1)
        start = self.start * 2 / (size - 1) - 1                                                 # (B, K, 2)
        place = start + step * 2 / (size - 1)
        if not back:                        # every pixel is fetched from where it came from
            matrix, place, start = torch.linalg.inv(matrix), start, place
        # A pixel p of the answer is that at place + matrix (p - start).
        offset = place - (matrix @ start[..., None])[..., 0]
        affine = torch.cat([matrix, offset[..., None]], -1).flatten(0, 1)
        flat = pictures.flatten(0, 1)
        grid = F.affine_grid(affine, list(flat.shape), align_corners=True)
        return F.grid_sample(flat, grid, align_corners=True).view_as(pictures)


def recolouring(change: Tensor) -> tuple[Tensor, Tensor]:
    """Differences (B, K, C, H, W) -> the region (B, H, W), 0 or more, and shades (B, K, C) whose product comes
    closest to them: the largest singular pair, then the same with a region that has no negative pixel."""
    flat = change.flatten(1, 2).flatten(2)                                         # (B, K C, H W)
    shades = torch.linalg.eigh(flat @ flat.mT).eigenvectors[..., -1]               # (B, K C)
    region = torch.einsum("bkp,bk->bp", flat, shades)
    shades = shades * torch.where(region.sum(1, keepdim=True) < 0, -1, 1)
    for _ in range(3):
        region = torch.einsum("bkp,bk->bp", flat, shades).clamp(min=0)
        region = region / region.square().sum(1, keepdim=True).sqrt().clamp(min=1e-9)
        shades = torch.einsum("bkp,bp->bk", flat, region)
    return region.view(-1, *change.shape[3:]), shades.view(change.shape[:3])


def along(values: Tensor) -> Measured:
    """Values (B, K) along films -> how far they go, and Spearman's correlation with the position."""
    reach = values.amax(1) - values.amin(1)
    rank = values.argsort(1).argsort(1).double()
    place = torch.arange(values.shape[1], dtype=torch.double, device=values.device)
    place = place - place.mean()
    r = ((rank - rank.mean(1, keepdim=True)) @ place) / place.square().sum()
    total = reach.sum()
    agreement = ((r * reach).sum() / total).item() if total > 1e-3 * len(values) else 0.0
    return Measured(math.copysign(reach.mean().item(), agreement), agreement)


def around(plane: Tensor) -> Measured:
    """Colours as complex numbers (B, K), hue their angle -> the arc they go along, mean over films, and the share
    of the hues' variance over all films that the position accounts for (R2, of unit vectors)."""
    unit = plane / plane.abs().clamp(min=1e-6)
    turns = plane.angle().sort(1).values * 180 / math.pi
    gaps = torch.cat([turns.diff(dim=1), 360 + turns[:, :1] - turns[:, -1:]], 1)
    total = (unit - unit.mean()).abs().square().sum()
    if plane.abs().max() < GREY:
        return Measured(0.0, 0.0)
    within = (unit - unit.mean(0)).abs().square().sum()
    return Measured((360 - gaps.amax(1)).mean().item(), (1 - within / total.clamp(min=1e-9)).item())


def _angles(z: Tensor, mean) -> Tensor:
    """Angles (B, K), clockwise and without jumps, from pixels as complex numbers (B, K, H, W) from the centre."""
    answer = torch.zeros(z.shape[:2], dtype=z.real.dtype, device=z.device)
    for fold in (4, 2):
        power = z**fold
        moment = torch.complex(mean(power.real), mean(power.imag)) / mean(z.abs()**fold).clamp(min=1e-6)
        clear = (moment.abs().median(1).values >= ANGULAR)[:, None]
        phase = moment.angle()
        step = torch.remainder(phase.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
        smooth = torch.cat([phase[:, :1], phase[:, :1] + step.cumsum(1)], 1)
        answer = torch.where(clear, smooth * 180 / math.pi / fold, answer)
    return answer


def _tones(tones: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Colours (B, K, 3) -> brightness and saturation (B, K) as shares of the largest, and the hue as a complex
    number whose length is the chroma."""
    red, green, blue = tones.unbind(-1)
    plane = torch.complex((2 * red - green - blue) / math.sqrt(6), (green - blue) / math.sqrt(2))
    return {"brightness": tones.mean(-1), "saturation": plane.abs() / math.sqrt(2 / 3)}, plane


def _shares(brightness: Tensor, plane: Tensor) -> dict[str, float]:
    """What a change of colour (B, K) consists of: variances along grey, along chroma and across it, as shares."""
    grey = 3 * brightness.var(1).mean()
    chroma = plane.abs().var(1).mean()
    both = plane.real.var(1).mean() + plane.imag.var(1).mean()
    parts = {"brightness": grey, "saturation": chroma, "hue": (both - chroma).clamp(min=0)}
    total = sum(parts.values()).clamp(min=1e-12)
    return {name: (part / total).item() for name, part in parts.items()}


def _offset(region: Tensor, thing: Tensor) -> tuple[float, float]:
    """From the centre of objects (B, H, W) to that of regions, in radii of the object; median over films."""
    first, second = poses(thing[:, None]), poses(region[:, None] * 1e3)
    radius = (thing.sum((1, 2)).clamp(min=1) / math.pi).sqrt()
    return tuple(((second[name] - first[name])[:, 0] / radius).median().item() for name in ("right", "down"))
