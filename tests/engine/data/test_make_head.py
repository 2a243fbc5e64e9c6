"""The pieces of the head's recipe that need no download."""

import numpy as np
import pytest

from engine.data import make_head


def box(half: float) -> tuple[np.ndarray, np.ndarray]:
    """A cube around the origin, facing outward."""
    corners = np.array([[x, y, z] for x in (-half, half) for y in (-half, half) for z in (-half, half)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])


def test_rays_find_the_far_wall():
    corners, triangles = box(1.0)
    way = np.array([[1.0, 0, 0], [0, 0, -1], [0.6, 0.8, 0]])
    wide = corners * 1.2
    assert make_head.cast(np.zeros((3, 3)), way, wide[triangles]) == pytest.approx([1.2, 1.2, 1.5])
    assert make_head.cast(np.array([[0.0, 5, 0]]), way[:1], wide[triangles]) == pytest.approx(0)


def test_sky_reaches_the_top_but_not_the_inside():
    corners, triangles = box(1.0)
    inner, reverse = box(0.5)
    shade = make_head.occlusion(np.concatenate([corners, inner]), np.concatenate([triangles, reverse + 8]),
                                size=128, views=64)
    assert (shade[:8] > 0.9).all() and (shade[8:] < 0.05).all()


def test_hair_wraps_the_skull_in_both_windings():
    corners, triangles = box(0.7)
    points, full, sheet = make_head.hair_sheet(corners[triangles] + make_head.SKULL, around=24, up=6, down=8)
    half = len(sheet) // 2
    assert np.array_equal(sheet[:half], sheet[half:, ::-1])
    a, b, c = (points[sheet[:half, k]] - make_head.SKULL for k in range(3))
    outward = (np.cross(b - a, c - a) * (a + b + c) * [1, 0, 1]).sum(1)
    assert (outward[24 * 2 * 6:] > 0).all()                             # the hanging part, where it is plain
    assert ((full * (points - make_head.SKULL) * [1, 0, 1]).sum(1) >= -1e-9).all()


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr(make_head, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install anny"):
        make_head.main()
