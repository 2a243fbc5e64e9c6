"""The z-buffer against a triangle-by-triangle oracle in float64."""

import numpy as np
import pytest
import torch

from engine.data.raster import incidence, interpolate, rasterize, vertex_normals

SIZE = 40


def soup(seed: int, count: int, extent: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Two pictures of loose triangles of random place, winding and depth, about `extent` pixels wide."""
    rng = torch.Generator().manual_seed(seed)
    centre = torch.rand(2, count, 1, 2, generator=rng) * (SIZE + 10) - 5
    xy = centre + (torch.rand(2, count, 3, 2, generator=rng) - 0.5) * extent
    depth = torch.rand(2, count, 3, 1, generator=rng)
    keep = torch.rand(2, count, 3, 1, generator=rng) * 3 - 1
    points = torch.cat([xy, depth, keep], -1).reshape(2, count * 3, 4)
    return points, torch.arange(count * 3).reshape(count, 3)


def oracle(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest triangle per pixel, and where that answer hangs on less than rounding."""
    best, tri = np.full((SIZE, SIZE), np.inf), np.full((SIZE, SIZE), -1)
    close = np.zeros((SIZE, SIZE), bool)
    gx, gy = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    for i, corner in enumerate(points[triangles].astype(np.float64)):
        system = np.stack([corner[:, 0], corner[:, 1], np.ones(3)])
        if np.linalg.det(system) >= 0:      # this winding faces away, as y points down
            continue
        weight = np.linalg.solve(system, np.stack([gx.ravel(), gy.ravel(), np.ones(SIZE * SIZE)]))
        depth, keep = (corner[:, 2:].T @ weight).reshape(2, SIZE, SIZE)
        margin = np.minimum(weight.min(0).reshape(SIZE, SIZE), keep)
        close |= np.abs(margin) < 1e-4
        front = (margin >= 0) & (depth < best)
        close |= (margin >= 0) & (np.abs(depth - best) < 1e-5)
        best[front], tri[front] = depth[front], i
    return tri, close


@pytest.mark.parametrize("extent, count", [(3, 900), (12, 60), (90, 6)])
def test_finds_the_nearest_triangle_at_every_pixel(extent, count):
    points, triangles = soup(extent, count, extent)
    found, weight = rasterize(points, triangles, SIZE)
    for b in range(2):
        expected, close = oracle(points[b].numpy(), triangles.numpy())
        assert (expected >= 0).sum() > 100
        assert close.mean() < 0.05
        assert (found[b].numpy() == expected)[~close].all()
    hit = found >= 0
    seen = interpolate(points, triangles, found, weight)
    _, row, column = hit.nonzero(as_tuple=True)
    assert torch.allclose(seen[hit][:, 0], column + 0.5, atol=1e-2)         # weights lead back to the pixel
    assert torch.allclose(seen[hit][:, 1], row + 0.5, atol=1e-2)
    assert (seen[hit][:, 3] > -1e-3).all()                                  # and `keep` cuts
    assert (weight[~hit] == 0).all()


def test_the_order_of_triangles_does_not_matter():
    points, triangles = soup(1, 300, 8)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    straight, _ = rasterize(points, triangles, SIZE)
    shuffled, _ = rasterize(points, triangles[order], SIZE)
    assert torch.equal(straight, torch.where(shuffled < 0, -1, order[shuffled.clamp(min=0)]))


def test_a_closed_sheet_has_no_holes():
    x, y = torch.meshgrid(torch.linspace(-3, 43, 14), torch.linspace(-3, 43, 14), indexing="xy")
    jitter = torch.rand(2, 14, 14, generator=torch.Generator().manual_seed(0)) - 0.5
    sheet = torch.stack([x + jitter[0], y + jitter[1], torch.full_like(x, 0.5), torch.zeros_like(x)], -1)
    i = torch.arange(14 * 14).view(14, 14)
    a, b, c, d = i[:-1, :-1].flatten(), i[:-1, 1:].flatten(), i[1:, :-1].flatten(), i[1:, 1:].flatten()
    triangles = torch.cat([torch.stack([a, c, d], 1), torch.stack([a, d, b], 1)])
    assert (rasterize(sheet.view(1, -1, 4), triangles, SIZE)[0] >= 0).all()
    back = triangles.flip(1)
    assert (rasterize(sheet.view(1, -1, 4), back, SIZE)[0] == -1).all()


def test_normals_of_a_ball_point_outward():
    around, up = torch.arange(24) * torch.pi / 12, torch.linspace(-1.4, 1.4, 15)
    turn, rise = torch.meshgrid(around, up, indexing="ij")
    ball = torch.stack([rise.cos() * turn.cos(), rise.cos() * turn.sin(), rise.sin()], -1)
    i = torch.arange(24 * 15).view(24, 15)
    j = i.roll(-1, 0)
    a, b, c, d = i[:, :-1].flatten(), j[:, :-1].flatten(), j[:, 1:].flatten(), i[:, 1:].flatten()
    triangles = torch.cat([torch.stack([a, b, c], 1), torch.stack([a, c, d], 1)])
    points = ball.view(1, -1, 3)
    normal = vertex_normals(points, triangles, incidence(triangles, 24 * 15))
    inner = ((rise > -1.3) & (rise < 1.3)).flatten()
    assert ((normal * points).sum(-1)[0, inner] > 0.99).all()
