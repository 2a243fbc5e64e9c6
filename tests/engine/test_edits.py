import numpy as np
import pytest
import torch

from engine import edits
from engine.factors import Factor

QUANTILES = (-2.0, -0.5, 0.0, 0.5, 6.0)
TABLE = (
    Factor("z0", (0, 1), "factor", (1.0,), -2.0, 2.0, 1, {}, QUANTILES),
    Factor("z1", (1, 3), "content", (0.6, 0.8), -1.0, 3.0, 0, {}, QUANTILES),
    Factor("z2", (3, 4), "factor", (1.0,), -1.0, 1.0, -1, {}, QUANTILES),
    Factor("z3", (4, 5), "factor", (1.0,), -1.0, 1.0, 2, {}, QUANTILES),
)


def codes(count=3, seed=0):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


# --- edit

def test_no_edit_is_the_code_itself():
    assert torch.equal(edits.edit(codes(), TABLE, {}), codes())


def test_setting_a_factor_to_where_it_is_changes_nothing():
    code = codes(1)
    values = {f.name: f.read(code).item() for f in TABLE}
    torch.testing.assert_close(edits.edit(code, TABLE, values), code)


def test_an_edit_sets_the_position_in_every_code():
    edited = edits.edit(codes(), TABLE, {"z1": 2.5, "z3": -1})
    torch.testing.assert_close(TABLE[1].read(edited), torch.full((3,), 2.5))
    assert edited[:, 4].tolist() == [-1, -1, -1]
    assert torch.equal(edited[:, [0, 3]], codes()[:, [0, 3]])
    across = torch.tensor([0.8, -0.6])
    torch.testing.assert_close(edited[:, 1:3] @ across, codes()[:, 1:3] @ across)


def test_edits_of_different_factors_commute():
    values = {"z0": 1.5, "z1": -0.7, "z3": 0.2}
    backwards = dict(reversed(values.items()))
    together = edits.edit(codes(), TABLE, values)
    assert torch.equal(together, edits.edit(codes(), TABLE, backwards))
    one_by_one = codes()
    for name, value in values.items():
        one_by_one = edits.edit(one_by_one, TABLE, {name: value})
    assert torch.equal(together, one_by_one)


def test_the_last_edit_of_a_factor_counts():
    twice = edits.edit(edits.edit(codes(), TABLE, {"z1": 9}), TABLE, {"z1": 0.3})
    torch.testing.assert_close(twice, edits.edit(codes(), TABLE, {"z1": 0.3}))


def test_an_unknown_factor_is_an_error():
    with pytest.raises(KeyError):
        edits.edit(codes(), TABLE, {"z9": 0})


def test_the_base_is_never_changed():
    code, mean = codes(), codes(1, seed=1)[0]
    edits.edit(code, TABLE, {f.name: 5 for f in TABLE})
    edits.traverse(code[0], TABLE[1], 4)
    edits.draw(TABLE, mean, 0)
    assert torch.equal(code, codes()) and torch.equal(mean, codes(1, seed=1)[0])


# --- traverse

@pytest.mark.parametrize("factor", TABLE)
def test_a_traversal_goes_evenly_from_low_to_high_and_nowhere_else(factor):
    code = codes(1)[0]
    film = edits.traverse(code, factor, 5)
    assert film.shape == (5, 5)
    torch.testing.assert_close(factor.read(film), torch.linspace(factor.low, factor.high, 5))
    here = factor.read(code[None]).expand(5)
    torch.testing.assert_close(factor.write(film, here), code.expand(5, -1))


# --- draw

def test_a_seed_is_one_code():
    mean = codes(1)[0]
    assert torch.equal(edits.draw(TABLE, mean, 7), edits.draw(TABLE, mean, 7))
    assert not torch.equal(edits.draw(TABLE, mean, 7), edits.draw(TABLE, mean, 8))
    state = torch.get_rng_state()
    edits.draw(TABLE, mean, 7)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_invisible_stays_at_the_mean():
    mean = codes(1)[0]
    across = torch.tensor([0.8, -0.6])
    for seed in range(20):
        code = edits.draw(TABLE, mean, seed)
        assert code.shape == mean.shape
        assert code[3] == mean[3]
        torch.testing.assert_close(code[1:3] @ across, mean[1:3] @ across)
        assert code[0] != mean[0] and code[4] != mean[4]


def test_every_factor_is_drawn_by_itself_from_the_datas_distribution():
    mean = codes(1)[0]
    drawn = torch.stack([edits.draw(TABLE, mean, seed) for seed in range(2000)])
    positions = torch.stack([f.read(drawn) for f in TABLE if f.rank >= 0]).numpy()
    assert positions.min() >= -2 and positions.max() <= 6
    for line in positions:
        # The stored quantiles split the draws into quarters, and each quarter is filled evenly.
        counts = np.histogram(line, QUANTILES)[0] / 2000
        assert counts == pytest.approx([0.25] * 4, abs=0.04)
        assert line[line > 0.5].mean() == pytest.approx(3.25, abs=0.2)
    assert np.corrcoef(positions) == pytest.approx(np.eye(3), abs=0.06)
