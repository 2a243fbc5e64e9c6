"""Pictures a little different from those of the data: by how much, and that nothing else changes."""

import torch

from engine.augment import thickened, turned, warped
from tests.tiny import noise, seeded


def spot(row, column, size=6, count=300):
    x = torch.zeros(count, 1, 64, 64)
    x[:, :, row:row + size, column:column + size] = 1
    return x


def centres(x):
    """Centres of mass (B, 2) of images (B, 1, 64, 64), in pixels."""
    place, mass = torch.arange(64.0), x[:, 0].sum((1, 2))
    return torch.stack([(x[:, 0].sum(2) * place).sum(1), (x[:, 0].sum(1) * place).sum(1)], 1) / mass[:, None]


def test_pictures_move_by_a_few_pixels_and_more_with_more_strength():
    x = spot(29, 29)
    apart = [(centres(warped(x, s, seeded())) - 31.5).norm(dim=1) for s in (0.5, 1.0)]
    assert 0.3 < apart[0].mean() < apart[1].mean() < 4 and apart[1].max() < 10
    torch.testing.assert_close(warped(x, 0.0, seeded()), x, atol=1e-4, rtol=0)
    edge = spot(4, 4)
    assert (centres(warped(edge, 1.0, seeded())) - 6.5).norm(dim=1).mean() > apart[1].mean()  # turning, stretching


def test_every_picture_is_warped_its_own_way_and_all_its_channels_alike():
    x = (noise(1, 1).float() / 255).expand(8, 3, -1, -1)
    out = warped(x, 1.0, seeded())
    assert torch.equal(out[:, 0], out[:, 2]) and len(out.unique(dim=0)) == 8
    assert x.min() - 1e-6 <= out.min() and out.max() <= x.max() + 1e-6
    assert torch.equal(out, warped(x, 1.0, seeded())) and not torch.equal(out, warped(x, 1.0, seeded(1)))


def test_strokes_grow_or_shrink_by_a_pixel_at_most():
    x = 1 - spot(28, 28, count=200)  # black on white
    ink = (1 - thickened(x, 1.0, seeded())).sum((1, 2, 3))
    assert ink.min() >= 16 and ink.max() <= 64 and ink.min() < 22 and ink.max() > 58  # 4 and 8 to a side
    weak = (1 - thickened(x, 0.2, seeded())).sum((1, 2, 3))
    assert 36 - 0.2 * 20 <= weak.min() < weak.max() <= 36 + 0.2 * 28 + 1e-3
    assert ((weak > 36).float().mean() - 0.5).abs() < 0.15


def test_all_eight_positions_come_up():
    x = noise(1, 2).expand(400, -1, -1, -1)
    kinds, counts = turned(x, seeded()).unique(dim=0, return_counts=True)
    assert len(kinds) == 8 and counts.min() > 25
    wanted = [side.rot90(k, (1, 2)) for side in (x[0], x[0].flip(2)) for k in range(4)]
    assert all(any(torch.equal(kind, other) for other in wanted) for kind in kinds)
