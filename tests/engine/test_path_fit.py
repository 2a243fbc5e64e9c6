"""Paths and stops are found where they are, and nowhere else."""

import math

import pytest
import torch

from engine.factors import principal_direction
from engine.path_fit import path_of, ring, stops_of
from tests.tiny import seeded

N = 3000


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


def uniform(count, seed=3):
    return torch.rand(count, generator=seeded(seed))


def found(part):
    axis = principal_direction(part)
    along = part @ axis
    return axis, path_of(part, axis, tuple(along.quantile(torch.tensor([0.01, 0.99])).tolist()))


def test_a_straight_cloud_has_no_path():
    part = noise(N, 4) * torch.tensor([3.0, 1, 0.5, 0.2])
    _, (path, told) = found(part)
    variance = torch.tensor([9.0, 1, 0.25, 0.04])
    assert path is None and told["explained"] == told["straight"] == pytest.approx(9 / variance.sum().item(), abs=0.02)


def test_an_arc_has_an_open_path_that_follows_it():
    x = 4 * uniform(N) - 2
    part = torch.stack([2 * x, x**2, 0 * x], 1) + 0.05 * noise(N, 3)
    axis, (path, told) = found(part)
    assert axis[0] > 0.99 and not path.closed and told["explained"] > 0.99 and told["straight"] < 0.85
    middle = path.point(axis, torch.tensor([0.0, 2.0]), (-3.96, 3.96))
    assert middle[:, 1].tolist() == pytest.approx([0, 1], abs=0.1)


def test_a_ring_is_closed_and_read_as_an_angle():
    angle = 2 * math.pi * uniform(N)
    part = torch.stack([3 * angle.cos(), 2 * angle.sin(), 0.5 * (2 * angle).cos()], 1) + 0.05 * noise(N, 3)
    axis, (path, told) = found(part)
    assert path.closed and told["explained"] > 0.98 > 0.75 > told["straight"]
    read = torch.deg2rad(path.read(part, axis))
    turns = torch.exp(1j * (read - angle)).mean().abs(), torch.exp(1j * (read + angle)).mean().abs()
    assert max(turns) > 0.99                                             # the angle itself, up to where it begins


def test_a_ring_begins_in_its_gap():
    angle = math.radians(30) + 2 * math.pi * 0.8 * uniform(N)            # none from 318 to 390 degrees
    part = torch.stack([3.1 * angle.cos(), 3 * angle.sin()], 1) + 0.05 * noise(N, 2)
    axis, (path, _) = found(part)
    assert path.closed and path.read(part, axis).abs().max() < 170


def test_an_angle_of_a_filled_cloud_or_of_half_a_ring_is_no_ring():
    disk = noise(N, 3) * torch.tensor([1.2, 1.0, 0.3])
    assert ring(disk, principal_direction(disk), (-1, 1)) is None
    assert found(disk)[1][0] is None
    angle = math.pi * uniform(N)
    half = torch.stack([3 * angle.cos(), 3 * angle.sin()], 1) + 0.05 * noise(N, 2)
    assert ring(half, principal_direction(half), (-1, 1)) is None and not found(half)[1][0].closed


def test_stops_are_where_codes_gather():
    group = torch.randint(5, (N,), generator=seeded())
    assert stops_of(2.0 * group + 0.1 * noise(N), False) == pytest.approx([0, 2, 4, 6, 8], abs=0.05)


def test_stops_of_a_circle_know_that_it_is_closed():
    group = torch.randint(4, (N,), generator=seeded())
    angle = (90.0 * group + 5 * noise(N)) % 360 - 180                    # one of them at both ends
    places = torch.tensor(stops_of(angle, True))
    assert sorted((places / 90).round().remainder(4).tolist()) == [0, 1, 2, 3]
    assert ((places + 45) % 90 - 45).abs().max() < 1
    assert len(stops_of(angle, False)) == 5                              # a line has two ends


@pytest.mark.parametrize("position", [uniform(N), noise(N), torch.ones(N), torch.ones(1)])
def test_there_is_no_stop_where_nothing_gathers(position):
    assert stops_of(position, False) == ()


def test_a_few_values_are_each_a_stop():
    assert stops_of(torch.tensor([1.0, 1, 2, 2, 5, 5, 5]), False) == (1, 2, 5)
