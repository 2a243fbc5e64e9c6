"""Spots at known places: charted, placed, warned of and broken on purpose."""

import numpy as np
import pytest
import torch

from engine import chart, isometry
from engine.data.manifolds import blob, rendered
from engine.metrics import mcc
from tests.tiny import noise, seeded


def images(data):
    return data.images(torch.arange(len(data)))


@pytest.fixture(scope="module")
def spots():
    return rendered("blob", 800)


@pytest.fixture(scope="module")
def charted(spots):
    return chart.fit(images(spots), 2)


def test_the_places_of_a_spot_are_found(spots, charted):
    assert charted.codes.shape == (len(charted.index), 2) and len(charted.index) > 780
    assert mcc(charted.codes, spots.values.numpy()[charted.index]) > 0.99
    scores = isometry.scores(charted.landmarks, charted.codes)
    plane = isometry.scores(charted.landmarks, charted.landmarks[:, :2])
    assert all(scores[name] > plane[name] + 0.1 for name in scores)


def test_it_is_the_same_every_time(spots, charted):
    assert np.array_equal(chart.fit(images(spots), 2).codes, charted.codes)


def test_unseen_pictures_are_placed(charted):
    fresh = rendered("blob", 200, seed=1)
    codes = charted.place(images(fresh))
    assert mcc(codes, fresh.values.numpy()) > 0.99


def test_a_landmark_is_placed_where_it_is(spots, charted):
    assert charted.place(images(spots)[charted.index]) == pytest.approx(charted.codes, abs=0.06)


def test_pictures_off_the_manifold_are_told(charted):
    on = charted.strangeness(images(rendered("blob", 200, seed=1)))
    assert np.quantile(on, 0.9) < 1
    near, far = (blob(sign * (0.4 + 0.4 * torch.rand(40, 2, generator=seeded()))) for sign in (-1, 1))
    for off in (near // 2 + far // 2, noise(40, 1), torch.zeros(1, 1, 64, 64, dtype=torch.uint8)):
        assert charted.strangeness(off).min() > max(1.2, on.max())


def test_a_broken_isometry_is_not_recovered(spots):
    warped = rendered("blob", 800, warped=True)
    assert torch.equal(warped.values, spots.values)
    assert mcc(chart.fit(images(warped), 2).codes, warped.values.numpy()) < 0.9


def test_equal_pictures_count_once(spots):
    twice = images(spots)[:300].repeat(2, 1, 1, 1)
    found = chart.fit(twice, 2)
    assert found.index.max() < 300 and len(found.index) > 280


def test_stray_pictures_are_left_out(spots):
    stray = torch.cat([images(spots), 255 - images(spots)[:3]])
    found = chart.fit(stray, 2)
    assert found.index.max() < 800 and len(found.index) > 780
    assert mcc(found.codes, spots.values.numpy()[found.index]) > 0.99


def test_pictures_that_do_not_hang_together_are_refused(spots):
    halves = torch.cat([images(spots)[:200], 255 - images(spots)[:200], images(spots)[:200] // 4 + 120])
    with pytest.raises(ValueError, match="separate groups"):
        chart.fit(halves, 2)


def test_barycentric_weights_continue_affine_maps():
    rng = np.random.default_rng(0)
    near = rng.standard_normal((5, 8, 3))
    points = near.mean(1) + 0.1 * rng.standard_normal((5, 3))
    matrix = rng.standard_normal((3, 2))
    placed = chart.barycentric(points, near, near @ matrix + 1)
    assert placed == pytest.approx(points @ matrix + 1, abs=0.06)
    on = near[:, 0]  # where a neighbour is, its value
    assert chart.barycentric(on, near, near @ matrix + 1) == pytest.approx(on @ matrix + 1, abs=0.06)


def test_neighbours_and_their_distances_are_those_of_the_pictures(spots):
    some = torch.cat([images(spots)[:200], images(spots)[:5]])
    index, table, apart = chart.neighbours_of(some, 4)
    assert index.tolist() == list(range(200)) and table.shape == apart.shape == (200, 4)
    pixels = some[:200].flatten(1).double() / 255
    distances = torch.cdist(pixels, pixels).fill_diagonal_(torch.inf).numpy()
    assert apart == pytest.approx(np.take_along_axis(distances, table, 1), rel=1e-4)
    assert (apart <= np.sort(distances, 1)[:, 3:4] * 1.1).mean() > 0.95
