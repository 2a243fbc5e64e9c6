import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from engine import factors
from engine.factors import Factor
from engine.method import Method, Slot

SPAN = 9  # frames measured along a factor
SPREAD = math.sqrt((SPAN + 1) / (12 * (SPAN - 1)))  # standard deviation of SPAN even steps from 0 to 1


class Stripes(Method):
    """Reads its code from the first pixels of an image and draws a stripe for each number of it.

    A grey level of 255 * gain_j per unit of code number j, in 16 of the 64 rows. `lift` adds
    the product of two numbers, so that images differ in how much a factor shows.
    """

    def __init__(self, gains, slots, lift=None):
        super().__init__()
        self.gains = nn.Parameter(torch.tensor(gains))
        self.slots, self.lift = slots, lift
        self.channels, self.code_size = 1, len(gains)

    def layout(self):
        return self.slots

    def encode(self, x):
        return 4 * x[:, 0, 0, :self.code_size] - 2

    def decode(self, code):
        stripes = self.gains * code
        if self.lift:
            a, b = self.lift
            stripes = torch.where(torch.arange(code.shape[1]) == a, stripes * code[:, b:b + 1], stripes)
        image = 0.5 * torch.ones(len(code), 1, 64, 64)
        for j in range(code.shape[1]):
            image[:, :, 16 * j:16 * (j + 1)] += stripes[:, j, None, None, None]
        return image

    def loss(self, x, step, generator, stage=0):
        raise NotImplementedError


def scalars(*roles):
    return tuple(Slot(j, j + 1, role) for j, role in enumerate(roles))


def pictures(count=3000, seed=0):
    """Images whose first pixels, and so whose codes, are random bytes."""
    images = torch.zeros(count, 1, 64, 64, dtype=torch.uint8)
    images[:, 0, 0] = torch.randint(0, 256, (count, 64), generator=torch.Generator().manual_seed(seed)).byte()
    return images


def codes_of(images, size):
    return 4 * images[:, 0, 0, :size].float() / 255 - 2


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


SCALAR = Factor("z1", (1, 2), "factor", (1.0,), -2.0, 3.0, 0)
VECTOR = Factor("z2", (2, 5), "content", (0.6, 0.0, -0.8), -1.0, 1.0, 1)


# --- one factor

@pytest.mark.parametrize("factor", [SCALAR, VECTOR])
def test_write_is_read_back(factor):
    code, value = random(7, 6), random(7, seed=1)
    torch.testing.assert_close(factor.read(factor.write(code, value)), value)
    torch.testing.assert_close(factor.write(code, factor.read(code)), code)


def test_read_is_the_position_along_the_axis():
    code = random(7, 6)
    assert torch.equal(SCALAR.read(code), code[:, 1])
    torch.testing.assert_close(VECTOR.read(code), 0.6 * code[:, 2] - 0.8 * code[:, 4])


@pytest.mark.parametrize("factor", [SCALAR, VECTOR])
def test_write_leaves_everything_off_the_axis_alone(factor):
    code, value = random(7, 6), random(7, seed=1)
    kept = code.clone()
    moved = factor.write(code, value)
    assert torch.equal(code, kept)
    start, stop = factor.where
    outside = [j for j in range(6) if not start <= j < stop]
    assert torch.equal(moved[:, outside], code[:, outside])
    change = (moved - code)[:, start:stop]
    axis = torch.tensor(factor.axis)
    assert change.abs().max() > 0.1
    torch.testing.assert_close(change, (change @ axis)[:, None] * axis)


def test_write_keeps_the_codes_type():
    code = random(2, 6).double()
    assert VECTOR.write(code, VECTOR.read(code) + 1).dtype == torch.float64


def test_a_ladder_goes_evenly_from_low_to_high():
    assert SCALAR.ladder(6).tolist() == [-2, -1, 0, 1, 2, 3]


def test_a_factor_without_a_range_goes_no_way():
    flat = replace(SCALAR, low=0.0, high=0.0)
    assert flat.way(1.0, 2.0) == 0 and flat.way(torch.tensor([1.0, 2.0]), 3.0).tolist() == [0, 0]


def test_visible_factors_come_by_rank():
    table = tuple(replace(SCALAR, name=f"z{j}", rank=rank) for j, rank in enumerate((2, -1, 0, 1, -1)))
    assert [f.name for f in factors.visible(table)] == ["z2", "z3", "z0"]


# --- the table

def test_ranges_are_the_datas_quantiles():
    images = pictures()
    model = Stripes([0.1, 0.1], scalars("factor", "style"))
    table = factors.fit(model, images)
    codes = codes_of(images, 2).numpy()
    for j, factor in enumerate(table):
        assert factor.name == f"z{j}" and factor.where == (j, j + 1) and factor.axis == (1.0,)
        assert (factor.low, factor.high) == pytest.approx(tuple(np.quantile(codes[:, j], [0.01, 0.99])), abs=1e-4)
        assert factor.quantiles == pytest.approx(np.quantile(codes[:, j], np.linspace(0, 1, 33)), abs=1e-4)
        assert factor.evidence["spread"] == pytest.approx(codes[:, j].std(), rel=1e-3)
    assert [f.role for f in table] == ["factor", "style"]


def test_the_effect_of_a_stripe_is_known_in_closed_form():
    images = pictures()
    table = factors.fit(Stripes([0.05, -0.2, 0.1], scalars(*["factor"] * 3)), images)
    for factor, gain in zip(table, (0.05, 0.2, 0.1), strict=True):
        expected = 255 * gain * (factor.high - factor.low) * SPREAD * math.sqrt(1 / 4)
        assert factor.evidence["effect"] == pytest.approx(expected, rel=1e-3)
    assert [f.rank for f in table] == [2, 0, 1]


def test_the_effect_is_a_mean_over_the_first_images():
    # The stripe's gain is another number of the image's own code.
    images = pictures()
    table = factors.fit(Stripes([0.1, 0.0], scalars("factor", "residual"), lift=(0, 1)), images, base_images=5)
    strength = codes_of(images, 2)[:5, 1].abs().mean().item()
    expected = 255 * 0.1 * strength * (table[0].high - table[0].low) * SPREAD * math.sqrt(1 / 4)
    assert table[0].evidence["effect"] == pytest.approx(expected, rel=1e-3)


def test_a_change_below_a_grey_level_is_not_visible():
    # About 255 * gain * 3.9 * SPREAD / 2 grey levels.
    unit = 1 / (255 * 3.92 * SPREAD / 2)
    table = factors.fit(Stripes([0.9 * unit, 1.1 * unit, 0.0], scalars(*["factor"] * 3)), pictures())
    assert [f.rank for f in table] == [-1, 0, -1]
    assert table[2].evidence["effect"] == 0


def test_a_dead_dimension_has_no_rank_and_no_range():
    images = pictures()
    images[:, 0, 0, 1] = 51  # the second code number is -1.2 everywhere
    table = factors.fit(Stripes([0.1, 0.1], scalars("factor", "factor")), images)
    assert [f.rank for f in table] == [0, -1]
    assert table[1].low == table[1].high == pytest.approx(-1.2)
    assert set(table[1].quantiles) == {table[1].low}


def test_a_residual_is_never_ranked():
    table = factors.fit(Stripes([0.4, 0.1, 0.2], scalars("residual", "content", "style")), pictures())
    assert [f.rank for f in table] == [-1, 1, 0]
    assert table[0].evidence["effect"] > table[2].evidence["effect"]


def test_factors_whose_order_means_something_keep_it():
    class Ordered(Stripes):
        ordered = True

    gains, roles = [0.05, 0.4, 0.1, 0.2], ("factor", "residual", "factor", "style")
    table = factors.fit(Ordered(gains, scalars(*roles)), pictures())
    assert [f.rank for f in table] == [0, -1, 1, 2]
    assert [f.name for f in factors.visible(table)] == ["z0", "z2", "z3"]
    largest_first = factors.fit(Stripes(gains, scalars(*roles)), pictures())
    assert [f.name for f in factors.visible(largest_first)] == ["z3", "z2", "z0"]


def test_a_vector_slot_has_the_direction_of_its_data():
    count, along = 3000, torch.tensor([0.6, -0.8])
    position, off = 40 * random(count), 4 * random(count, seed=1)
    bytes_ = 128 + position[:, None] * along + off[:, None] * along.flip(0).abs()
    images = pictures(count)
    images[:, 0, 0, 1:3] = bytes_.round().clamp(0, 255).byte()
    table = factors.fit(Stripes([0.1, 0.1, 0.1], (Slot(0, 1), Slot(1, 3, "content"))), images)
    vector = table[1]
    assert vector.where == (1, 3) and vector.role == "content"
    assert vector.axis == pytest.approx((-0.6, 0.8), abs=0.02)  # the largest entry is positive
    assert np.hypot(*vector.axis) == pytest.approx(1)
    along = (codes_of(images, 3)[:, 1:3] @ torch.tensor(vector.axis)).numpy()
    assert (vector.low, vector.high) == pytest.approx(tuple(np.quantile(along, [0.01, 0.99])), abs=1e-4)
    expected = 255 * 0.1 * (vector.high - vector.low) * SPREAD * math.sqrt(1 / 4)  # one unit over two stripes
    assert vector.evidence["effect"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("role", ["content", "style", "factor", "residual"])
def test_content_and_style_have_several_directions(role):
    count, spread = 3000, torch.tensor([5.0, 40, 20, 10, 2])
    images = pictures(count)
    images[:, 0, 0, :5] = (128 + spread * random(count, 5)).round().clamp(0, 255).byte()
    table = factors.fit(Stripes([0.1] * 5, (Slot(0, 5, role),)), images)
    if role in ("factor", "residual"):
        assert [f.name for f in table] == ["z0"]
    else:
        assert [f.name for f in table] == ["z0.1", "z0.2", "z0.3", "z0.4"]
    axes = torch.tensor([f.axis for f in table])
    torch.testing.assert_close(axes @ axes.T, torch.eye(len(table)), atol=1e-5, rtol=0)
    assert axes.abs().argmax(1).tolist() == [1, 2, 3, 0][:len(table)] and axes.max(1).values.min() > 0.9
    assert factors.loads(factors.dumps(table), 5) == table


def test_a_direction_does_not_depend_on_where_the_data_lies():
    part = random(500, 3) * torch.tensor([1.0, 3.0, 0.5])
    near = factors.principal_direction(part)
    far = factors.principal_direction(part + torch.tensor([50.0, 0.0, 0.0]))
    torch.testing.assert_close(near, far, atol=1e-3, rtol=0)
    assert near.argmax() == 1 and near[1] > 0.99


# --- what scores see

def test_a_score_sees_one_number_of_a_vector_factor_and_all_of_the_rest():
    layout = Slot(0, 3), Slot(3, 4), Slot(4, 6, "residual"), Slot(6, 8, "style")
    codes = random(500, 8) * torch.tensor([1.0, 4, 1, 1, 1, 1, 1, 1])
    seen = factors.readings(layout, codes)
    assert seen.shape == (500, 6)
    torch.testing.assert_close(seen[:, 0], codes[:, :3] @ factors.principal_direction(codes[:, :3]))
    assert abs(np.corrcoef(seen[:, 0], codes[:, 1])[0, 1]) > 0.99
    assert torch.equal(seen[:, 1:], codes[:, 3:])


def test_scalars_are_seen_as_they_are_and_codes_may_end_early():
    codes = random(500, 8)
    assert torch.equal(factors.readings(scalars(*["factor"] * 3, "residual"), codes[:, :4]), codes[:, :4])
    vectors = Slot(0, 2), Slot(2, 4), Slot(4, 8, "residual")
    assert torch.equal(factors.readings(vectors, codes[:, :4]), factors.readings(vectors, codes)[:, :2])


# --- on disk

def table():
    return (
        replace(SCALAR, evidence={"effect": 12.5, "spread": 0.9}, quantiles=(-3.0, 0.1, 4.0)),
        replace(VECTOR, rank=-1, quantiles=(-1.0, 1.0)),
    )


def test_the_table_survives_its_text():
    assert factors.loads(factors.dumps(table()), 6) == table()
    fitted = factors.fit(Stripes([0.1, 0.2, 0.1], (Slot(0, 1), Slot(1, 3))), pictures(100))
    assert factors.loads(factors.dumps(fitted), 3) == fitted


@pytest.mark.parametrize(
    "change",
    [{"where": [1, 7]}, {"where": [-1, 0]}, {"where": [2, 2], "axis": []}, {"where": [3, 1]},
     {"axis": [0.6, 0.8]}, {"axis": []}],
)
def test_an_entry_that_does_not_fit_is_refused(change):
    entries = json.loads(factors.dumps(table()))
    entries[0] |= change
    with pytest.raises(ValueError, match="'z1' does not fit a code of 6"):
        factors.loads(json.dumps(entries), 6)


def test_a_smaller_code_is_refused():
    text = factors.dumps(table())
    assert factors.loads(text, 5) == table()
    with pytest.raises(ValueError, match="'z2' does not fit a code of 4"):
        factors.loads(text, 4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"name": ""}, "lacks a name"),
     ({"role": "hero"}, "lacks a name or a role"),
     ({"rank": -2}, "lacks a rank"),
     ({"rank": 0.5}, "lacks a rank"),
     ({"where": [0.0, 1.0]}, "is not a slice"),
     ({"where": [1, 2, 3]}, "is not a slice"),
     ({"low": math.nan}, "not a usable number"),
     ({"high": math.inf}, "not a usable number"),
     ({"quantiles": [0.0, "1"]}, "not a usable number"),
     ({"evidence": {"effect": None}}, "not a usable number"),
     ({"axis": [0.5]}, "not of length 1"),
     ({"low": 3.5}, "no range"),
     ({"low": 3.0}, "no range"),
     ({"quantiles": [0.0]}, "no distribution"),
     ({"quantiles": [0.0, 2.0, 1.0]}, "no distribution")],
)
def test_an_entry_that_no_fit_could_have_made_is_refused(change, reason):
    entries = json.loads(factors.dumps(table()))
    entries[0] |= change
    with pytest.raises(ValueError, match=reason):
        factors.loads(json.dumps(entries), 6)


def test_a_text_that_is_no_table_is_refused():
    with pytest.raises(ValueError, match="no list"):
        factors.loads("{}", 6)
    with pytest.raises(ValueError, match="same name"):
        factors.loads(factors.dumps(table()[:1] * 2), 6)


def test_a_dead_dimensions_entry_is_not_refused():
    dead = replace(SCALAR, low=1.0, high=1.0, rank=-1, quantiles=(1.0, 1.0))
    assert factors.loads(factors.dumps((dead,)), 6) == (dead,)


# --- paths and stops

def ringed(count=3000):
    """Images whose codes are a ring in the numbers 0 and 1, and gather in the number 2 at -1 and 1."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(count, generator=generator)
    gathered = 2.0 * torch.randint(2, (count,), generator=generator) - 1 + 0.05 * random(count)
    codes = torch.stack([1.5 * angle.cos(), 1.2 * angle.sin(), gathered], 1)
    images = torch.zeros(count, 1, 64, 64, dtype=torch.uint8)
    images[:, 0, 0, :3] = (255 * (codes + 2) / 4).round().clamp(0, 255).byte()
    return images


def test_a_ring_is_a_factor_without_ends_and_groups_are_stops():
    ring, ladder = factors.fit(Stripes([0.1, 0.1, 0.1], (Slot(0, 2), Slot(2, 3))), ringed())
    assert ring.closed and (ring.low, ring.high) == (-180, 180) and ring.stops == ()
    assert ring.evidence["explained"] > 0.95 and 0.5 < ring.evidence["straight"] < 0.7
    assert ladder.path is None and ladder.stops == pytest.approx((-1, 1), abs=0.03)
    assert "explained" not in ladder.evidence
    # A whole turn is seen: both stripes go through their ranges, 1.5 and 1.2 units of 0.1 either way.
    turn = torch.linspace(0, 2 * math.pi, SPAN)
    both = torch.stack([1.5 * turn.cos(), 1.2 * turn.sin()]).var(1, correction=0).sum()
    assert ring.evidence["effect"] == pytest.approx(255 * 0.1 * math.sqrt(both / 4), rel=0.1)


def test_only_factors_have_paths_and_stops():
    vector, scalar = factors.fit(Stripes([0.1, 0.1, 0.1], (Slot(0, 2, "content"), Slot(2, 3, "style"))), ringed())[1:]
    assert vector.path is None and vector.stops == scalar.stops == ()


def test_what_changes_nothing_visible_has_no_stops():
    unseen = factors.fit(Stripes([0.1, 0.1, 0.001], (Slot(0, 2), Slot(2, 3))), ringed())[1]
    assert unseen.rank == -1 and unseen.stops == ()


def test_a_path_survives_its_text_and_a_table_of_before_has_none():
    table = factors.fit(Stripes([0.1, 0.1, 0.1], (Slot(0, 2), Slot(2, 3))), ringed())
    text = factors.dumps(table)
    assert factors.loads(text, 3) == table
    entries = json.loads(text)
    for entry in entries:
        del entry["path"], entry["stops"]
    before = factors.loads(json.dumps(entries), 3)
    assert all(f.path is None and f.stops == () for f in before)


@pytest.mark.parametrize(("change", "reason"), [
    ({"stops": [1.0, -1.0]}, "stops out of order"), ({"stops": [0.0, 400.0]}, "out of its range"),
    ({"stops": ["1"]}, "not a usable number"), ({"path": {"centre": [0.0], "bend": [[0.0], [0.0]]}}, "does not fit"),
])
def test_a_path_or_a_stop_that_does_not_fit_is_refused(change, reason):
    entries = json.loads(factors.dumps(factors.fit(Stripes([0.1, 0.1, 0.1], (Slot(0, 2), Slot(2, 3))), ringed(300))))
    entries[0] |= change
    with pytest.raises(ValueError, match=reason):
        factors.loads(json.dumps(entries), 3)
