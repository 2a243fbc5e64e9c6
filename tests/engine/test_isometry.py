"""The isometry scores on maps whose isometry is known."""

import numpy as np
import pytest

from engine.isometry import SCORES, scores

FLAT = np.random.default_rng(0).uniform(-1, 1, (800, 2))
CURVED = np.stack([np.sin(2 * FLAT[:, 0]), np.cos(2 * FLAT[:, 0]), 2 * FLAT[:, 1]], 1)  # keeps lengths but for a factor
TURN = np.array([[0.6, -0.8], [0.8, 0.6]])


@pytest.fixture(params=SCORES)
def name(request):
    return request.param


def test_an_isometry_scores_one_whatever_its_scale_and_rotation(name):
    score = SCORES[name]
    assert score(CURVED, FLAT) > 0.98
    assert score(CURVED, 7 * FLAT @ TURN + 3) == pytest.approx(score(CURVED, FLAT), abs=1e-6)


def test_unequal_units_and_bends_score_less(name):
    score = SCORES[name]
    assert score(CURVED, FLAT * [1, 4]) < 0.85
    assert score(CURVED, FLAT**3) < 0.9


def test_noise_and_constants_score_nothing(name):
    score = SCORES[name]
    assert abs(score(CURVED, np.random.default_rng(1).standard_normal((800, 2)))) < 0.2
    assert score(CURVED, np.zeros((800, 2))) == 0


def test_all_are_given_by_name():
    assert scores(CURVED, FLAT) == {name: score(CURVED, FLAT) for name, score in SCORES.items()}


def test_codes_may_have_more_dimensions_than_the_points():
    wide = np.concatenate([FLAT, np.zeros((800, 3))], 1)
    assert all(value > 0.98 for value in scores(CURVED, wide).values())
