"""A z-buffer for small triangles, in plain torch: many meshes at once, on any device.

The faces of `faces.py` are fine meshes seen at 128x128, where nearly every triangle lies within a few
pixels. So every triangle is tested against a small square window of pixels and the nearest one wins
through a single `amin` scatter of (depth, triangle) packed into one integer. A minimum does not depend
on the order of its arguments: the same input gives the same picture every time, on a GPU too.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

_ID_BITS = 20                 # at most a million triangles
_DEPTH_STEPS = 2.0 ** 30      # depth in [0, 1) is kept to 1e-9
_NOTHING = 2 ** 62


def _area(corner: Tensor) -> Tensor:
    """Twice the signed area of the triangles (..., 3, >=2); negative = facing us, as y points down."""
    a, b, c = corner[..., :2].unbind(-2)
    u, v = b - a, c - a
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _weights(corner: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Barycentric weights (..., 3) of the points (x, y) in the triangles, and their slopes in x and in y."""
    following, opposite = corner[..., [1, 2, 0], :2], corner[..., [2, 0, 1], :2]
    slope = (opposite - following) / _area(corner)[..., None, None]
    slope_x, slope_y = -slope[..., 1], slope[..., 0]
    weight = slope_x * (x[..., None] - following[..., 0]) + slope_y * (y[..., None] - following[..., 1])
    return weight, slope_x, slope_y


def rasterize(points: Tensor, triangles: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which triangle is seen at each pixel centre, and where inside it.

    points: (B, V, 4): x and y in pixels (y down), depth in [0, 1) growing away from us, and `keep`,
        whose interpolated value must be >= 0 for the surface to be there: a mesh cut per pixel.
    triangles: (F, 3) int64, counter-clockwise when facing us; those facing away are not drawn.
    Returns triangle (B, size, size) int64 with -1 where nothing is hit, and weight (B, size, size, 3),
    the barycentric weights there (zero where nothing is hit). Weights are affine, not perspective-correct,
    which is invisible on triangles of a few pixels.
    """
    B, device = len(points), points.device
    corner = points[:, triangles]                                               # (B, F, 3, 4)
    first = (corner[..., :2].amin(2) - 0.5).ceil().clamp(0, size)               # first pixel centre inside
    last = (corner[..., :2].amax(2) - 0.5).floor().clamp(-1, size - 1)
    span = (last - first + 1).amin(-1), (last - first + 1).amax(-1)
    drawable = (_area(corner) < -1e-9) & (span[0] >= 1)
    nearest = torch.full((B * size * size,), _NOTHING, dtype=torch.int64, device=device)

    low, side = 0, 2
    while low < size:
        mesh, tri = (drawable & (span[1] > low) & (span[1] <= side)).nonzero(as_tuple=True)
        own, (left, top) = corner[mesh, tri], first[mesh, tri].unbind(-1)
        weight, slope_x, slope_y = _weights(own, left + 0.5, top + 0.5)         # (N, 3)
        ramp = torch.stack([weight, slope_x, slope_y], 1)                       # (N, 3, 3)
        ramp = torch.cat([ramp, ramp @ own[..., 2:]], dim=2)[..., None]         # (N, 3, 5, 1)
        step = torch.arange(side * side, device=device)
        dx, dy = step % side, step // side
        a, b, c, depth, keep = (ramp[:, 0] + ramp[:, 1] * dx + ramp[:, 2] * dy).unbind(1)   # (N, side ** 2)
        x, y = left.long()[:, None] + dx, top.long()[:, None] + dy
        inside = (a >= 0) & (b >= 0) & (c >= 0) & (keep >= 0) & (x < size) & (y < size)
        key = ((depth * _DEPTH_STEPS).long() << _ID_BITS) | tri[:, None]
        pixel = (mesh[:, None] * size + y) * size + x
        nearest.scatter_reduce_(0, pixel[inside], key[inside], "amin")
        low, side = side, side * 2

    nearest = nearest.view(B, size, size)
    hit = nearest < _NOTHING
    triangle = torch.where(hit, nearest & (2 ** _ID_BITS - 1), -1)
    mesh, row, column = hit.nonzero(as_tuple=True)
    weight = points.new_zeros(B, size, size, 3)
    weight[hit] = _weights(corner[mesh, triangle[hit]], column + 0.5, row + 0.5)[0]
    return triangle, weight


def interpolate(values: Tensor, triangles: Tensor, triangle: Tensor, weight: Tensor) -> Tensor:
    """Vertex values (B, V, C), or (V, C) shared by all, at each pixel: (B, H, W, C)."""
    corner = triangles[triangle.clamp(min=0)]                                   # (B, H, W, 3)
    mesh = torch.arange(len(corner), device=corner.device)[:, None, None, None]
    seen = values[corner] if values.ndim == 2 else values[mesh, corner]         # (B, H, W, 3, C)
    return (seen * weight[..., None]).sum(-2)


def incidence(triangles: Tensor, vertices: int) -> Tensor:
    """Table (V, most) of the triangles around each vertex, padded with F."""
    owner, order = triangles.flatten().sort(stable=True)
    count = torch.bincount(owner, minlength=vertices)
    place = torch.arange(len(owner)) - (count.cumsum(0) - count)[owner]
    table = torch.full((vertices, int(count.max())), len(triangles))
    table[owner, place] = order // 3
    return table


def vertex_normals(points: Tensor, triangles: Tensor, around: Tensor) -> Tensor:
    """Unit normals (B, V, 3) of meshes (B, V, 3), weighted by area; `around` from `incidence`.

    Gathers rather than scatters, because float atomics would make pictures differ from call to call.
    """
    a, b, c = points[:, triangles].unbind(2)
    normal = torch.linalg.cross(b - a, c - a)
    normal = torch.cat([normal, torch.zeros_like(normal[:, :1])], dim=1)        # the padding adds nothing
    return normalize(normal[:, around].sum(2), dim=-1)
