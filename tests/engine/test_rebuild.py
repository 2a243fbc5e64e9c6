"""The rules of the task: targets that can be reached and seen, and shares that mean what they say."""

import numpy as np
import pytest

from engine.factors import Factor
from engine.rebuild import FAR, between_codes, between_pictures, deal, elsewhere, removed


def factor(name: str, low: float, high: float, effect: float = 10) -> Factor:
    return Factor(name, (0, 1), "factor", (1.0,), low, high, 0, {"effect": effect})


TABLE = [factor("a", -1, 1), factor("b", 0, 4), factor("c", -3, 3, 5), factor("faint", 0, 1, 1)]
START = {"a": 0.9, "b": 2.0, "c": -9.0, "faint": 0.5}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_target_moves_so_many_clear_factors_far_enough_and_within_reach(count):
    for seed in range(50):
        target = deal(TABLE, START, count, seed)
        assert len(target) == count and "faint" not in target
        for f in TABLE:
            if f.name in target:
                begun = np.clip(START[f.name], f.low, f.high)
                assert f.low <= target[f.name] <= f.high
                assert abs(target[f.name] - begun) >= FAR * (f.high - f.low) - 1e-9


def test_the_same_seed_deals_the_same_and_another_another():
    assert deal(TABLE, START, 2, 7) == deal(TABLE, START, 2, 7)
    assert len({str(deal(TABLE, START, 2, seed)) for seed in range(20)}) == 20


def test_no_more_is_asked_for_than_can_be_seen():
    assert set(deal(TABLE, START, 9, 0)) == {"a", "b", "c"} and deal([], {}, 1, 0) == {}


@pytest.mark.parametrize("position", [-1.0, -0.2, 0.5, 1.0])
def test_elsewhere_is_everywhere_but_near(position):
    found = np.array([elsewhere(TABLE[0], position, share) for share in np.linspace(0, 1, 400, endpoint=False)])
    assert (np.abs(found - position) >= 2 * FAR - 1e-9).all() and (np.abs(found) <= 1).all()
    free = [x for x in np.linspace(-1, 1, 200) if abs(x - position) > 2 * FAR]
    assert all(np.abs(found - x).min() < 0.02 for x in free)


def square(left: int, grey: int = 255) -> np.ndarray:
    image = np.zeros((64, 64, 3), np.uint8)
    image[20:36, left:left + 16] = grey
    return image


def test_pictures_are_compared_in_grey_levels_and_a_near_miss_counts_less_than_a_far_one():
    assert between_pictures(square(10), square(10)) == 0
    assert between_pictures(np.full((64, 64, 3), 90, np.uint8), np.full((64, 64, 3), 60, np.uint8)) == pytest.approx(30)
    apart = [float(between_pictures(square(10), square(10 + step))) for step in (0, 1, 2, 4, 8, 16)]
    assert apart == sorted(apart) and len(set(apart)) == 6
    plain = np.sqrt(((square(10).astype(float) - square(11)) ** 2).mean())
    assert apart[1] < plain  # the smaller sizes forgive one pixel
    films = np.stack([square(10), square(20)])[None]
    assert between_pictures(films, square(10)).shape == (1, 2)


def test_codes_are_compared_in_ranges_of_their_sliders():
    one, other = {"a": 0, "b": 0, "c": 0, "faint": 0}, {"a": 1, "b": 2, "c": 0, "faint": 0}
    assert between_codes(TABLE, one, other) == pytest.approx(np.hypot(0.5, 0.5))
    assert between_codes(TABLE, one, one) == 0


def test_shares_are_nothing_at_the_start_one_at_the_target_and_below_nothing_when_worse():
    assert (removed(8, 8), removed(0, 8), removed(2, 8), removed(16, 8)) == (0, 1, 0.75, -1)
    assert (removed(0, 0), removed(1, 0)) == (1, 0)
