"""Finding a factor's path through the data and the places where the data gathers along it, by measurement.

A path is kept only where it tells more of codes that it was not fitted to: the share of their variance that is gone
when the path's point at their position is subtracted. Closed ones must be rings besides: empty in the middle and
without a large gap, since an angle tells something of any cloud.
"""

import numpy as np
import torch
from torch import Tensor

from engine.paths import TURN, Path, weights, wrapped

KNOTS = {False: 17, True: 24}   # of open and of closed paths
STIFF = 1e-3                    # weight of the squared bends against the squared errors
GAIN = 0.02                     # share of variance that a path must explain beyond a simpler one
VOID = 0.4                      # radius that 99 of 100 codes exceed, as a share of their mean, in a ring
GAP = 90.0                      # largest angle of a ring without any code, from their mean; half a ring has one of 115
MOST = 20                       # places where codes gather
CLEAR = 0.7                     # silhouette from which they do; that of even codes is at most .63
SEEN = 2000                     # codes looked at for them
DIGITS = 5                      # of what is written


def path_of(part: Tensor, axis: Tensor, ends: tuple[float, float]) -> tuple[Path | None, dict[str, float]]:
    """Codes of a slice (N, W), their principal direction (W,) and the ends along it -> the path that explains most of
    them, None where that is the straight line; and the shares of variance that the line and the path explain."""
    half, rest = part[::2], part[1::2]
    straight = (rest - half.mean(0)) - ((rest - half.mean(0)) @ axis)[:, None] * axis
    total = (rest - half.mean(0)).square().sum()
    best, share = None, float(1 - straight.square().sum() / total)
    told = {"straight": round(share, 4)}
    for fit in (bent, ring):
        path = fit(half, axis, ends)
        if path is None:
            continue
        limits = (-TURN / 2, TURN / 2) if path.closed else ends
        explained = float(1 - (rest - path.point(axis, path.read(rest, axis), limits)).square().sum() / total)
        if explained >= share + GAIN:
            best, share = fit, explained
    told["explained"] = round(share, 4)
    return (best(part, axis, ends) if best else None), told


def bent(part: Tensor, axis: Tensor, ends: tuple[float, float]) -> Path:
    """The open path through codes (N, W): their mean beside the axis by their position along it."""
    centre = part.mean(0)
    along = (part - centre) @ axis
    beside = part - centre - along[:, None] * axis
    return Path(_numbers(centre), _rows(_knots(part @ axis, beside, ends, False)))


def ring(part: Tensor, axis: Tensor, ends: tuple[float, float]) -> Path | None:
    """The closed path around the centre of codes (N, W), begun in their largest gap; None if they are no ring."""
    centre = part.mean(0)
    beside = part - centre - ((part - centre) @ axis)[:, None] * axis
    across = torch.linalg.eigh(beside.T @ beside).eigenvectors[:, -1]
    plane = torch.stack([(part - centre) @ axis, (part - centre) @ across], 1)
    spread = plane.std(0)
    radius = (plane / spread).norm(dim=1)
    angle = _angles(plane / spread)
    if _gap(_angles(plane))[1] > GAP or radius.quantile(0.01) < VOID * radius.mean():
        return None
    start, width = _gap(angle)
    turn = float(wrapped(start + width / 2 + TURN / 2))
    limits, position = (-TURN / 2, TURN / 2), wrapped(angle - turn)
    outside = part - centre - plane[:, :1] * axis - plane[:, 1:] * across
    out = _knots(position, radius[:, None], limits, True)[:, 0].clamp(min=float(VOID * radius.mean()))
    return Path(_numbers(centre), _rows(_knots(position, outside, limits, True)), _numbers(across), _numbers(spread),
                _numbers(out), round(turn, 3))


def stops_of(position: Tensor, closed: bool) -> tuple[float, ...]:
    """The places along a factor where positions (N,) gather, in order: the groups of k-means of the best silhouette,
    if that is CLEAR."""
    from sklearn.cluster import KMeans  # which only building needs
    from sklearn.metrics import silhouette_score

    seen = position[:SEEN].double().cpu().numpy()
    points = np.exp(1j * np.radians(seen)) if closed else seen
    plane = np.stack([points.real, points.imag], 1) if closed else seen[:, None]
    best, groups = CLEAR, None
    for count in range(2, min(MOST, len(np.unique(seen)), len(seen) - 1) + 1):
        found = KMeans(count, n_init=4, random_state=0).fit_predict(plane)
        if (score := silhouette_score(plane, found)) >= best:
            best, groups = score, found
    if groups is None:
        return ()
    places = [points[groups == g] for g in np.unique(groups)]
    return tuple(sorted(round(float(np.degrees(np.angle(p.mean())) if closed else np.median(p)), DIGITS)
                        for p in places))


def _angles(plane: Tensor) -> Tensor:
    """Places (N, 2) as degrees (N,)."""
    return torch.rad2deg(torch.atan2(plane[:, 1], plane[:, 0]))


def _gap(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Where the largest gap between angles (N,) begins, and how wide it is."""
    order = angles.sort().values
    gaps = torch.cat([order, order[:1] + TURN]).diff()
    return order[gaps.argmax()], gaps.max()


def _knots(position: Tensor, target: Tensor, ends: tuple[float, float], closed: bool) -> Tensor:
    """Knots (K, M) of the piecewise linear function of positions (N,) that is nearest to targets (N, M), where its
    bends cost something; so also where there are no data it is straight."""
    count = KNOTS[closed]
    basis = weights(position, count, ends, closed)
    bends = torch.eye(count, device=target.device).diff(n=2, dim=0)
    if closed:
        bends = torch.eye(count, device=target.device)
        bends = bends.roll(1, 0) - 2 * bends + bends.roll(-1, 0)
    left = basis.T @ basis / len(basis) + STIFF / count * bends.T @ bends
    return torch.linalg.solve(left.double(), (basis.T @ target / len(basis)).double()).to(target)


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(round(v, DIGITS) for v in values.tolist())


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(map(_numbers, values))
