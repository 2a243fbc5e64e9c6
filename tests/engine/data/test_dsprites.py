import math

import numpy as np
import pytest
import torch

from engine.data.dsprites import DSprites

SQUARE, ELLIPSE, HEART = range(3)


def sprites(shape, scale=5, orientation=0, x=0, y=0):
    """(B, 64, 64) bool for class numbers, any of which may be a list."""
    columns = np.broadcast_arrays([0], shape, scale, orientation, x, y)
    data = DSprites()
    return data.images(data.index(torch.tensor(np.stack(columns, axis=1))))[:, 0] > 0


def centre(sprite):
    row, column = sprite.nonzero().double().mean(0).tolist()
    return column + 0.5, row + 0.5


def polygon(shape):
    """Vertices (V, 2) of the upright sprite at scale 1, y up."""
    t = np.linspace(0, 2 * math.pi, 1000, endpoint=False)
    if shape == SQUARE:
        return 9.6 * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
    if shape == ELLIPSE:
        return np.stack([12.768 * np.cos(t), 7.218 * np.sin(t)], axis=1)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([9.595 * np.sin(t) ** 3, 1.438 + 0.662 * y], axis=1)


def contains(vertices, points):
    """Even-odd rule: count the edges to the right of each point."""
    start, end = vertices, np.roll(vertices, -1, axis=0)
    x, y = points[:, None, 0], points[:, None, 1]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    rise = np.where(start[:, 1] == end[:, 1], 1, end[:, 1] - start[:, 1])
    meets = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / rise
    return (crosses & (meets > x)).sum(1) % 2 == 1


def test_the_official_ladders():
    data = DSprites()
    assert len(data) == 737_280
    assert [factor.size for factor in data.factors] == [1, 3, 6, 40, 32, 32]
    shape, scale, orientation, x, y = data.factors[1:]
    assert shape.values == (1, 2, 3)
    assert scale.values == pytest.approx(np.linspace(0.5, 1, 6))
    assert orientation.values == pytest.approx(np.linspace(0, 2 * math.pi, 40)) and orientation.circular
    assert x.values == y.values == pytest.approx(np.linspace(0, 1, 32))


def test_images_are_black_and_white():
    images = DSprites().images(torch.tensor([0, 400_000, 737_279]))
    assert images.shape == (3, 1, 64, 64) and images.dtype == torch.uint8
    assert images.unique().tolist() == [0, 255]


def test_squares_have_the_official_boxes():
    for scale, square in enumerate(sprites(SQUARE, scale=list(range(6)))):
        rows, columns = square.nonzero().T
        width = 10 + 2 * scale
        assert square.sum() == width ** 2
        assert columns.max() - columns.min() + 1 == rows.max() - rows.min() + 1 == width
    assert columns.min() == rows.min() == 6 and columns.max() == rows.max() == 25


def test_areas_of_the_official_images():
    scales = list(range(6))
    assert sprites(ELLIPSE, scale=scales).sum((1, 2)).tolist() == [76, 104, 144, 184, 228, 288]
    hearts = sprites(HEART, scale=scales).sum((1, 2))
    assert (hearts - torch.tensor([58, 84, 108, 140, 182, 222])).abs().max() <= 2
    assert sprites(SQUARE, orientation=1).sum() == 368


def test_the_heart_stands_on_its_tip():
    heart = sprites(HEART)[0]
    widths = heart.sum(1)[heart.any(1)]
    assert widths[0] < 20 and widths[-1] <= 4 and widths.argmax() < len(widths) / 2
    assert torch.equal(heart[:, :32], heart[:, :32].flip(1))


def test_orientation_turns_counter_clockwise():
    tip = sprites(HEART, orientation=10)[0].nonzero()[:, 1].max()  # a quarter turn: the tip points right
    assert tip - centre(sprites(HEART, orientation=10)[0])[0] > 9


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_a_full_turn_ends_where_it_began(shape):
    first, second, last = sprites(shape, scale=[2, 2, 2], orientation=[0, 1, 39], x=11, y=23)
    assert torch.equal(first, last)
    assert not torch.equal(first, second)


def test_positions_move_the_sprite_and_nothing_else():
    corner = centre(sprites(ELLIPSE)[0])
    for step in (1, 16, 31):
        right = centre(sprites(ELLIPSE, x=step)[0])
        down = centre(sprites(ELLIPSE, y=step)[0])
        assert right == pytest.approx((corner[0] + step * 32 / 31, corner[1]), abs=0.3)
        assert down == pytest.approx((corner[0], corner[1] + step * 32 / 31), abs=0.3)


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_sprites_agree_with_filled_polygons(shape):
    grid = np.arange(64) + 0.5
    pixels = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    for scale, orientation, x, y in [(5, 3, 31, 0), (0, 17, 9, 30), (3, 33, 20, 13)]:
        angle = 2 * math.pi * orientation / 39
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        upright = (0.5 + 0.1 * scale) * polygon(shape) @ turn.T
        on_screen = np.array([16 + 32 * x / 31, 16 + 32 * y / 31]) + upright * [1, -1]
        expected = contains(on_screen, pixels).reshape(64, 64)
        drawn = sprites(shape, scale, orientation, x, y)[0].numpy()
        assert (drawn != expected).sum() <= 1


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_the_largest_sprites_stay_clear_of_the_edges(shape):
    everywhere = list(range(40))
    first = sprites(shape, orientation=everywhere)
    assert not first[:, 0].any() and not first[:, :, 0].any()
    # From position 0 to 31 is 32 whole pixels, so a sprite cut off on one side would differ on the other.
    last = sprites(shape, orientation=everywhere, x=31, y=31)
    assert torch.equal(last, first.roll((32, 32), dims=(1, 2)))
    assert not last[:, -1].any() and not last[:, :, -1].any()
    assert not first[:, 31:].any() and not first[:, :, 31:].any()


def test_a_batch_is_its_images_one_by_one():
    data = DSprites()
    numbers = torch.arange(600) * 7919 % len(data)  # more than a chunk
    batch = data.images(numbers)
    for k in (0, 1, 255, 511, 512, 599):
        assert torch.equal(batch[k], data.images(numbers[k:k + 1])[0])
    assert data.images(numbers[:0]).shape == (0, 1, 64, 64)
