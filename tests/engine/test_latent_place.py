"""Where newcomers go on a map, and what it says of strangers and of empty places."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from engine.latent_place import apart, densest, membership


def test_a_newcomer_goes_to_its_group_and_a_stranger_is_told(grouped, groups):
    random = np.random.default_rng(1)
    group = random.integers(0, 4, 100)
    places, strange = grouped.place(6 * np.eye(6)[group] + random.normal(size=(100, 6)))
    middles = np.stack([grouped.flat[groups[1] == k].mean(0) for k in range(4)])
    assert (np.linalg.norm(places[:, None] - middles, axis=2).argmin(1) == group).mean() > 0.97
    assert (strange < 1.3).mean() > 0.9 and grouped.place(np.full((1, 6), 40.0))[1][0] > 3
    solid, again = grouped.place(6 * np.eye(6)[group], 3)
    middles = np.stack([grouped.solid[groups[1] == k].mean(0) for k in range(4)])
    assert solid.shape == (100, 3) and len(again) == 100
    assert (np.linalg.norm(solid[:, None] - middles, axis=2).argmin(1) == group).mean() > 0.97


def test_on_a_map_of_copies_a_stranger_is_told_and_a_copy_is_none(grouped):
    copies = replace(grouped, codes=np.repeat(grouped.codes[:2], 40, 0), flat=grouped.flat[:80])
    strange = copies.place(np.stack([copies.codes[0], copies.codes[0] + 9]) @ copies.axes.T)[1]
    assert strange[0] == 0 and 1 < strange[1] < np.inf


def test_between_points_there_is_a_blend_and_far_from_them_a_warning(grouped):
    near, weight, empty = grouped.nearest(grouped.flat[:3])
    assert (near[:, 0] == np.arange(3)).all() and weight.sum(1) == pytest.approx(1) and (weight[:, 0] > 0.9).all()
    assert (empty < 1).all() and grouped.nearest(grouped.flat[:1] + 50)[2][0] > 10


def test_weights_of_neighbours_are_those_of_umap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap.umap_ import smooth_knn_dist

    distance = np.sort(np.random.default_rng(0).random((50, 15)), axis=1).astype(np.float32)
    sigma, _ = smooth_knn_dist(distance, 15.0, local_connectivity=0.0)
    assert membership(distance) == pytest.approx(np.exp(-distance / sigma[:, None]), abs=1e-3)


def test_a_place_is_where_most_neighbours_are_and_not_between_them():
    random = np.random.default_rng(0)
    heap = np.concatenate([random.normal(size=(9, 2)), random.normal(size=(6, 2)) + 50])[None]
    even, other = np.ones((1, 15)), np.where(np.arange(15) < 9, 0.1, 1.0)[None]
    assert np.linalg.norm(densest(heap, even, 2)[0]) < 1.5
    assert np.linalg.norm(densest(heap, other, 2)[0] - 50) < 1.5
    assert densest(heap, even, 1e6)[0] == pytest.approx(heap.mean((0, 1)), rel=1e-3)  # wide: their mean


def test_what_sets_points_apart_is_measured_in_deviations():
    random = np.random.default_rng(0)
    values, chosen = random.normal(size=(4000, 3)), np.arange(4000) < 500
    values[chosen, 1] += 2
    values[:, 2] = 1
    effect = apart(values, chosen)
    assert abs(effect[0]) < 0.15 and 1.5 < effect[1] < 2.1 and effect[2] == 0
    assert (apart(values, np.zeros(4000, bool)) == 0).all()
