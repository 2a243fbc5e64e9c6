"""What the benchmark of placement counts: pictures off the map, and neighbours kept."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.placement import held_out, kept
from engine import LatentMap

COUNT = 60


@pytest.fixture(scope="module")
def made() -> LatentMap:
    """A map that is its codes."""
    codes = np.random.default_rng(0).normal(size=(COUNT, 2)).astype(np.float32)
    return LatentMap("m", "d", "code", np.arange(COUNT), codes, np.zeros(2), np.ones(2), np.arange(2), np.eye(2), codes,
                     np.zeros((COUNT, 3)), np.zeros(COUNT, int), {})


def test_pictures_of_the_map_are_not_held_out(made):
    numbers = held_out(made, 200, 100).numpy()
    assert len(set(numbers)) == 100 and numbers.min() >= COUNT and numbers.max() < 200
    assert np.array_equal(numbers, held_out(made, 200, 100))


def test_all_neighbours_are_kept_in_the_right_place_and_few_in_a_wrong_one(made):
    newcomers = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    assert kept(made, newcomers, newcomers) == 1
    assert kept(made, newcomers, newcomers + 100) < 0.6
    shuffled = replace(made, flat=made.flat[np.random.default_rng(2).permutation(COUNT)])
    assert kept(shuffled, newcomers, newcomers) == pytest.approx(15 / COUNT, abs=0.1)  # chance
