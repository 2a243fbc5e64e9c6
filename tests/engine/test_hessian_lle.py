"""Hessian eigenmaps against surfaces whose flat coordinates are known, and against scikit-learn."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.manifold import LocallyLinearEmbedding

from engine import hessian_lle
from engine.hessian_lle import components, embed, estimate_dimension, local_variances, neighbour_table, roughness
from engine.ica import unmix
from engine.metrics import mcc


def swiss_roll(count=1000, seed=0, hole=False, noise=0.0):
    """A flat rectangle with uniform coordinates, rolled up: (coordinates (n, 2), points (n, 3))."""
    rng = np.random.default_rng(seed)
    flat = rng.uniform([0, 0], [40, 20], (count, 2))
    if hole:
        flat = flat[np.abs(flat - [20, 10]).max(1) > 5]
    angle = np.sqrt(2 * flat[:, 0] + 16)     # the arc length of r = angle grows nearly as angle^2 / 2
    length = (angle * np.sqrt(1 + angle**2) + np.arcsinh(angle)) / 2
    flat[:, 0] = length - length.min()
    points = np.stack([angle * np.cos(angle), angle * np.sin(angle), flat[:, 1]], 1)
    return flat, points + noise * rng.standard_normal(points.shape)


def affine_fit(codes, truth):
    """The share of the variance of truth (N, d) that an affine map of codes explains."""
    design = np.column_stack([np.ones(len(codes)), codes])
    left = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    return 1 - left.var(0).sum() / truth.var(0).sum()




@pytest.mark.parametrize("hole", [False, True])
def test_a_roll_is_unrolled_also_around_a_hole(hole):
    flat, points = swiss_roll(hole=hole)
    found = embed(points, 2, 15)
    assert affine_fit(found.coordinates, flat) > 0.999
    if not hole:  # the factors of a rectangle with a hole are not independent
        assert mcc(unmix(found.coordinates)(found.coordinates), flat) > 0.99


def test_coordinates_are_standard_and_seeded():
    _, points = swiss_roll(400)
    found = embed(points, 2)
    assert found.coordinates.mean(0) == pytest.approx(0, abs=1e-6)
    assert np.cov(found.coordinates, rowvar=False, bias=True) == pytest.approx(np.eye(2), abs=1e-6)
    assert np.array_equal(embed(points, 2).coordinates, found.coordinates)


def test_a_flat_sheet_is_found_exactly_although_nothing_tells_its_constant_from_its_coordinates():
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (300, 2))
    points = flat @ rng.standard_normal((2, 5))
    found = embed(points, 2, 15)
    assert affine_fit(found.coordinates, flat) > 1 - 1e-9
    assert found.spectrum[:3] == pytest.approx(0, abs=1e-8) and found.gap > 1e4


def test_the_dense_and_the_sparse_way_agree(monkeypatch):
    _, points = swiss_roll(400)
    answers = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(hessian_lle, "DENSE", share)
        answers.append(embed(points, 2, 15))
    dense, sparse = answers
    assert dense.spectrum == pytest.approx(sparse.spectrum, rel=1e-3, abs=1e-9)
    assert subspace_angles(dense.coordinates, sparse.coordinates).max() < 1e-4


# ------------------------------------------------------------------------------------------------
# What the functional sees

@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_neighbourhood_has_as_many_columns_as_a_hessian_has_entries(dimensions):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((5, 25, 6))
    columns = hessian_lle._hessians(points, dimensions)
    assert columns.shape == (5, 25, dimensions * (dimensions + 1) // 2)
    gram = columns.swapaxes(1, 2) @ columns
    assert gram == pytest.approx(np.broadcast_to(np.eye(columns.shape[2]), gram.shape), abs=1e-9)


def test_it_ignores_affine_functions_and_measures_quadratic_ones():
    flat = np.random.default_rng(0).uniform(-1, 1, (500, 2))
    form = roughness(flat, neighbour_table(flat, 20), 2)
    x, y = flat.T

    def measured(f):
        return f @ form @ f

    assert measured(np.ones(500)) == pytest.approx(0, abs=1e-9)
    assert measured(3 * x - 2 * y + 1) == pytest.approx(0, abs=1e-9)
    assert measured(x * y) > 1e-3
    assert measured(2 * x * y) == pytest.approx(4 * measured(x * y))


def test_scikit_learns_hessian_is_its_ltsa_and_ours_is_not():
    _, points = swiss_roll(400, noise=0.05)
    one, other = (
        LocallyLinearEmbedding(n_neighbors=20, method=method, eigen_solver="dense").fit_transform(points)
        for method in ("hessian", "ltsa")
    )
    assert subspace_angles(one, other).max() < 1e-6
    ours = embed(points, 2, 20).coordinates
    assert subspace_angles(ours, other).max() > 1e-2


# ------------------------------------------------------------------------------------------------
# Dimension, neighbours, refusals

@pytest.mark.parametrize("dimension", [1, 2, 3, 4])
def test_the_dimension_of_a_curved_sheet_is_estimated(dimension):
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (1500, dimension)) * np.linspace(1, 0.6, dimension)
    curved = np.concatenate([np.sin(flat), np.cos(flat)], 1)
    turned = curved @ np.linalg.qr(rng.standard_normal((12, curved.shape[1])))[0].T
    assert estimate_dimension(turned + 1e-4 * rng.standard_normal(turned.shape)) == dimension


def test_local_variances_are_shares():
    flat, points = swiss_roll(400)
    shares = local_variances(points, neighbour_table(points, 12))
    assert shares.shape == (11,) and shares.sum() == pytest.approx(1) and (np.diff(shares) <= 1e-12).all()
    assert shares[:2].sum() > 0.97


def test_neighbours_are_the_nearest_others_also_among_equal_points():
    points = np.array([[0.0], [0.0], [1.0], [3.0]])
    assert neighbour_table(points, 2).tolist() == [[1, 2], [0, 2], *neighbour_table(points, 2)[2:].tolist()]
    assert all(i not in row for i, row in enumerate(neighbour_table(points, 3)))


def test_the_gap_is_that_after_the_null_space():
    _, points = swiss_roll(600)
    found = embed(points, 2, 15)
    assert len(found.spectrum) == 3 + hessian_lle.BEYOND and (np.diff(found.spectrum) >= 0).all()
    assert found.gap == pytest.approx(found.spectrum[3] / found.spectrum[2]) and found.gap > 20


def test_a_point_that_is_nobodys_neighbour_is_a_stray():
    _, points = swiss_roll(300)
    part = components(neighbour_table(np.concatenate([points, [[0, 0, 200]]]), 12))
    assert (part[:-1] == part[0]).all() and part[-1] != part[0]


def test_separate_sheets_are_refused():
    _, points = swiss_roll(300)
    both = np.concatenate([points, points + 1000])
    part = components(neighbour_table(both, 12))
    assert (part[:300] == part[0]).all() and (part[300:] == part[-1]).all() and part[0] != part[-1]
    with pytest.raises(ValueError, match="2 separate groups"):
        embed(both, 2, 12)


@pytest.mark.parametrize("count, neighbours", [(300, 5), (20, 15)])
def test_too_few_neighbours_or_points_are_refused(count, neighbours):
    with pytest.raises(ValueError, match="at least 6 neighbours"):
        embed(swiss_roll(count)[1], 2, neighbours)
