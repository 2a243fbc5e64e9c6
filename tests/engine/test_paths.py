"""Paths through a slice of a code, held against curves that are known."""

import math
from dataclasses import replace

import pytest
import torch

from engine import difference, edits, leak, rebuild, swaps
from engine.factors import Factor
from engine.paths import Path, weights, wrapped
from tests.tiny import seeded

AXIS = torch.tensor([1.0, 0, 0])
ENDS, ROUND = (-2.0, 2.0), (-180.0, 180.0)
OPEN = Path(centre=(0.5, 0, 1), bend=((0, 4, 0), (0, 1, 0), (0, 0, 0), (0, 1, 0), (0, 4, 0)))  # x^2 at its knots
CLOSED = Path(centre=(1.0, -1, 2), bend=((0, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, -1)), across=(0.0, 1, 0),
              spread=(2.0, 1), radius=(1.0, 2, 1, 2), turn=30.0)
CIRCLE = Factor(                                                         # of radius 2 in numbers 1 and 2 of a code
    "hue", (1, 3), "factor", (1.0, 0.0), -180.0, 180.0, 0, {"effect": 10.0}, (-180.0, -90.0, 180.0),
    Path((0.0, 0.0), ((0.0, 0.0),) * 4, (0.0, 1.0), (1.0, 1.0), (2.0,) * 4), (-90.0, 0.0, 90.0))


def on_circle(*degrees, radius=2.0):
    """Codes (B, 4) at these angles."""
    angle = torch.tensor(degrees, dtype=torch.float32).deg2rad()
    return torch.stack([angle * 0 + 7, radius * angle.cos(), radius * angle.sin(), angle * 0 - 7], 1)


def parts(count=40):
    return 1.5 * torch.randn(count, 3, generator=seeded(1))


def places(ends, count=40):
    return ends[0] + (ends[1] - ends[0]) * torch.rand(count, generator=seeded(2))


@pytest.mark.parametrize(("path", "ends"), [(OPEN, ENDS), (CLOSED, ROUND)])
def test_what_is_written_is_read_back_and_writing_what_was_read_changes_nothing(path, ends):
    part, value = parts(), places(ends)
    moved = path.write(part, AXIS, value, ends)
    assert (moved - part).abs().max() > 0.5
    torch.testing.assert_close(path.read(moved, AXIS), value, atol=1e-3, rtol=0)
    torch.testing.assert_close(path.write(part, AXIS, path.read(part, AXIS), ends), part, atol=1e-5, rtol=0)
    home = path.write(moved, AXIS, path.read(part, AXIS), ends)
    torch.testing.assert_close(home, part, atol=1e-4, rtol=0)            # there and back
    again = path.write(path.write(part, AXIS, places(ends).flip(0), ends), AXIS, value, ends)
    torch.testing.assert_close(again, moved, atol=1e-4, rtol=0)          # whatever was between


@pytest.mark.parametrize(("path", "ends"), [(OPEN, ENDS), (CLOSED, ROUND)])
def test_points_are_on_the_path_and_move_along_it(path, ends):
    value, target = places(ends), places(ends).flip(0)
    point = path.point(AXIS, value, ends)
    torch.testing.assert_close(path.read(point, AXIS), value, atol=1e-3, rtol=0)
    torch.testing.assert_close(path.write(point, AXIS, target, ends), path.point(AXIS, target, ends), atol=1e-3, rtol=0)


def test_an_open_path_is_its_graph_and_keeps_the_offset_from_it():
    value = torch.tensor([-2.0, -1, 0, 1.5, 2, 5])
    torch.testing.assert_close(OPEN.point(AXIS, value, ENDS),
                               torch.tensor([[-2.0, 4, 1], [-1, 1, 1], [0, 0, 1], [1.5, 2.5, 1], [2, 4, 1], [5, 4, 1]]))
    own = torch.tensor([[1.0, 1.25, 7.0]])                               # a quarter above the path
    torch.testing.assert_close(OPEN.write(own, AXIS, torch.tensor([0.0]), ENDS), torch.tensor([[0.0, 0.25, 7]]))


def test_a_closed_path_runs_round_its_centre_and_keeps_the_ratio_of_radii():
    east = CLOSED.point(AXIS, torch.tensor([-30.0]), ROUND)              # 30 degrees of turn: along the axis
    assert east[0, 1].item() == pytest.approx(-1) and east[0, 0] > 1
    straight = replace(CLOSED, turn=0.0, bend=((0, 0, 0),) * 4)
    # Knots are at -180, -90, 0 and 90 degrees: radius 1 along the axis, 2 across, times the spreads 2 and 1.
    own = torch.tensor([[1 + 3.0, -1, 2]])                               # at 1.5 of the radius
    for angle, place in ((0, [4.0, -1, 2]), (90, [1, 2, 2]), (-180, [-2, -1, 2]), (-90, [1, -4, 2])):
        moved = straight.write(own, AXIS, torch.tensor([float(angle)]), ROUND)
        torch.testing.assert_close(moved, torch.tensor([place], dtype=torch.float32), atol=1e-4, rtol=0)


def test_both_ends_of_a_closed_path_are_one_place():
    part = parts()
    ends = [CLOSED.write(part, AXIS, torch.full((40,), v), ROUND) for v in ROUND]
    torch.testing.assert_close(*ends, atol=1e-4, rtol=0)
    assert CLOSED.closed and not OPEN.closed


def test_a_code_at_the_centre_of_a_closed_path_stays_finite():
    centre = torch.tensor([CLOSED.centre])
    assert CLOSED.write(centre, AXIS, torch.tensor([70.0]), ROUND).isfinite().all()


def test_weights_are_hats_that_sum_to_one():
    value = torch.linspace(-3, 3, 25)
    assert torch.allclose(weights(value, 5, ENDS, False).sum(1), torch.ones(25))
    assert torch.equal(weights(torch.tensor([-9.0, -2, -0.5, 2, 9]), 5, ENDS, False), torch.tensor(
        [[1.0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0.5, 0.5, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]))
    assert torch.equal(weights(torch.tensor([-180.0, 135, 180]), 4, ROUND, True), torch.tensor(
        [[1.0, 0, 0, 0], [0.5, 0, 0, 0.5], [1, 0, 0, 0]]))


def test_angles_are_wrapped():
    assert wrapped(torch.tensor([190.0, -190, 180, 0, 720])).tolist() == [-170, 170, -180, 0, 0]
    assert wrapped(350.0) == -10 and math.isclose(wrapped(-200.0), 160)


@pytest.mark.parametrize(("change", "reason"), [
    ({"centre": (0.0, 0)}, "does not fit"), ({"bend": ((0.0, 0, 0),)}, "does not fit"),
    ({"bend": ((0.0, 0), (0.0, 0))}, "does not fit"), ({"across": (1.0,)}, "does not fit"),
    ({"radius": (1.0,)}, "lacks its shape"), ({"spread": (1.0,)}, "lacks its shape"),
    ({"turn": math.nan}, "unusable"), ({"centre": (0.0, 0, "1")}, "unusable"), ({"radius": (1.0, 0, 1, 1)}, "inside"),
    ({"spread": (1.0, -1)}, "inside"), ({"across": (0.0, 2, 0)}, "inside"),
])
def test_a_path_that_no_fit_could_have_made_is_told_from_one_that_could(change, reason):
    assert CLOSED.fault(3) == "" and OPEN.fault(3) == ""
    assert reason in replace(CLOSED, **change).fault(3)


# --- a factor that is a circle, in what is done with factors

def near(code, *degrees, radius=2.0):
    torch.testing.assert_close(code, on_circle(*degrees, radius=radius), atol=1e-4, rtol=0)


def test_a_circle_is_read_and_written_in_its_slice_only():
    code = on_circle(10, 170, radius=3.0)
    assert CIRCLE.closed and CIRCLE.read(code).tolist() == pytest.approx([10, 170], abs=1e-3)
    assert CIRCLE.positions(code.numpy()) == pytest.approx([10, 170], abs=1e-3)
    near(CIRCLE.write(code, torch.tensor([-80.0, 80])), -80, 80, radius=3.0)
    near(edits.traverse(code[0], CIRCLE, 5), -180, -90, 0, 90, 180, radius=3.0)


def test_the_way_round_a_circle_is_the_shorter_one():
    assert CIRCLE.way(170, -170) == pytest.approx(20 / 360) and CIRCLE.way(-170, 170) == pytest.approx(-20 / 360)
    a, b = on_circle(170), on_circle(-150)
    near(swaps.blend(a, b, [CIRCLE], 0.5), -170)
    near(swaps.blend(a, b, [CIRCLE], 1.0), -150)
    assert leak.shifts([CIRCLE], a[0].numpy(), b[0].numpy()) == {"hue": pytest.approx(40 / 360, abs=1e-5)}
    assert rebuild.between_codes([CIRCLE], {"hue": 170.0}, {"hue": -150.0}) == pytest.approx(40 / 360)
    near(difference.along([CIRCLE], torch.tensor([0.25]), on_circle(0, 120)), 90, -150)


@pytest.mark.parametrize("position", [-180.0, -10.0, 170.0, 180.0])
def test_elsewhere_on_a_circle_is_far_either_way_round(position):
    places = [rebuild.elsewhere(CIRCLE, position, share / 100) for share in range(100)]
    assert min(abs(CIRCLE.way(position, place)) for place in places) >= rebuild.FAR - 1e-6
    assert all(-180 <= place <= 180 for place in places) and max(abs(CIRCLE.way(position, p)) for p in places) > 0.49


def test_a_random_code_lies_on_the_circle_though_the_mean_lies_within():
    drawn = torch.stack([edits.draw((CIRCLE,), torch.zeros(4), seed) for seed in range(40)])
    assert torch.allclose(drawn[:, 1:3].norm(dim=1), torch.full((40,), 2.0))
    assert (drawn[:, 2] < 0).float().mean() > 0.4 and not drawn[:, [0, 3]].any()
