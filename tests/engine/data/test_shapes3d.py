from colorsys import hsv_to_rgb

import numpy as np
import pytest
import torch

from engine.data import shapes3d as scene
from engine.data.shapes3d import Shapes3D

CUBE, CYLINDER, SPHERE, CAPSULE = range(4)
SKY = torch.tensor([153, 226, 249])
RED, CYAN = 0, 5
DATA = Shapes3D()  # shared, so that no scene is ray-cast twice


def draw(floor=RED, wall=RED, thing=RED, scale=4, shape=SPHERE, orientation=7):
    """(3, 64, 64) int for class numbers."""
    return DATA.images(DATA.index(torch.tensor([[floor, wall, thing, scale, shape, orientation]])))[0].int()


def region(part, **others):
    """(64, 64) bool: the pixels in which recolouring `part` from red to cyan shows."""
    return (draw(**others) != draw(**others, **{part: CYAN})).any(0)


def grown(mask):
    """The mask and its eight neighbours."""
    return torch.nn.functional.max_pool2d(mask[None].float(), 3, stride=1, padding=1)[0] > 0


def distance_to_object(shape, size, p):
    """Signed distance of points p (N, 3) from the object, from its definition."""
    aside, height = np.hypot(p[:, 0], p[:, 1]), p[:, 2]
    if shape in (SPHERE, CAPSULE):  # everything within `radius` of an upright stick
        radius = (scene.SPHERE if shape == SPHERE else scene.CAPSULE_RADIUS) * size
        top = radius if shape == SPHERE else scene.CAPSULE_HEIGHT * size - radius
        return np.hypot(aside, height - height.clip(radius, top)) - radius
    if shape == CUBE:
        half = scene.CUBE * size
        beyond = np.abs(p - [0, 0, half]) - half
    else:
        half = scene.CYLINDER_HEIGHT * size / 2
        beyond = np.stack([aside - scene.CYLINDER_RADIUS * size, np.abs(height - half) - half], axis=1)
    return np.linalg.norm(beyond.clip(min=0), axis=1) + beyond.max(1).clip(max=0)


def silhouette(shape, size, degrees):
    """(64, 64) bool: pixel centres that see the object, by marching along each ray."""
    angle = np.deg2rad(degrees)
    eye = np.array([np.sin(angle), -np.cos(angle), 0]) * scene.CAMERA_RADIUS + [0, 0, scene.CAMERA_HEIGHT]
    forward = np.array([0, 0, scene.TARGET_HEIGHT]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 0, 1])
    right /= np.linalg.norm(right)
    grid = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(grid, -grid)
    rays = scene.FOCAL * forward + x.reshape(-1, 1) * right + y.reshape(-1, 1) * np.cross(right, forward)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    along = np.zeros(len(rays))
    for _ in range(120):
        along += distance_to_object(shape, size, eye + along[:, None] * rays)
    return torch.from_numpy(distance_to_object(shape, size, eye + along[:, None] * rays) < 1e-3).view(64, 64)


def test_the_official_ladders():
    assert len(DATA) == 480_000
    assert [factor.size for factor in DATA.factors] == [10, 10, 10, 8, 4, 15]
    assert DATA.factors[0].values == pytest.approx(np.arange(10) / 10)
    assert DATA.factors[3].values == pytest.approx(np.linspace(0.75, 1.25, 8))
    assert DATA.factors[4].values == (0, 1, 2, 3)
    assert DATA.factors[5].values == pytest.approx(np.linspace(-30, 30, 15))
    assert [factor.circular for factor in DATA.factors] == [True, True, True, False, False, False]


# Class numbers, then (row, column, red, green, blue) read from official images.
@pytest.mark.parametrize("classes, pixels", [
    ((3, 8, 5, 5, 1, 0), [(0, 0, 153, 226, 249), (24, 24, 187, 0, 234), (60, 6, 63, 255, 0)]),
    ((5, 9, 6, 2, 1, 7), [(24, 24, 255, 0, 160), (58, 58, 0, 229, 229), (40, 32, 0, 97, 242)]),
    ((7, 2, 6, 1, 2, 2), [(24, 24, 199, 250, 0), (58, 58, 47, 0, 234), (40, 32, 29, 147, 255)]),
])
def test_pixels_of_official_images(classes, pixels):
    image = DATA.images(DATA.index(torch.tensor([classes])))[0].int()
    for row, column, *colour in pixels:
        assert (image[:, row, column] - torch.tensor(colour)).abs().max() <= 12


def test_every_part_has_its_own_hue():
    floor, wall, thing = (region(part) for part in ("floor", "wall", "thing"))
    sky = (draw() == SKY[:, None, None]).all(0)
    assert floor[60, 5] and wall[25, 5] and thing[38, 32] and sky[2, 30]
    assert not (sky & (floor | wall | thing)).any()
    assert (sky | floor | wall | thing).all()
    # Two parts share a pixel only where they meet.
    for one, other in ((floor, wall), (wall, thing), (floor, thing)):
        assert (one & other).sum() < 140
        assert ((one & other) <= (grown(~one) & grown(~other))).all()


@pytest.mark.parametrize("hue", range(10))
def test_surfaces_have_the_pure_hue(hue):
    image = draw(floor=hue, wall=hue, scale=7, orientation=14)
    pure = torch.tensor(hsv_to_rgb(hue / 10, 1, 1))
    for row, column in ((54, 36), (25, 4)):  # the shadow and the dark wall: nothing is overexposed
        pixel = image[:, row, column].float()
        assert 50 < pixel.max() < 255
        assert (pixel - pixel.max() * pure).abs().max() <= 1


@pytest.mark.parametrize("shape", [CUBE, CYLINDER, SPHERE, CAPSULE])
@pytest.mark.parametrize("scale, orientation", [(0, 2), (7, 14)])
def test_the_object_covers_what_ray_marching_finds(shape, scale, orientation):
    covered = region("thing", shape=shape, scale=scale, orientation=orientation)
    smallest, largest = scene.OBJECT_SIZES
    size = smallest + (largest - smallest) * scale / 7
    expected = silhouette(shape, size, -30 + 60 * orientation / 14)
    assert expected.sum() > 100
    assert (expected <= covered).all()
    assert (covered <= grown(expected)).all()


def test_scale_grows_the_object():
    areas = [region("thing", scale=scale).sum() for scale in range(8)]
    assert sorted(areas) == areas and areas[7] > 2.5 * areas[0]


def test_opposite_orientations_mirror_the_room():
    for part in ("floor", "wall", "thing"):
        assert torch.equal(region(part, orientation=3), region(part, orientation=11).flip(1))


@pytest.mark.parametrize("orientation, corner", [(0, 44), (14, 20)])
def test_the_far_corner_of_the_room(orientation, corner):
    wall = draw(scale=0, orientation=orientation)[0, 22]
    assert abs((wall[1:] - wall[:-1]).abs().argmax() + 1 - corner) <= 1


def test_the_shadow_falls_to_the_right_of_the_object():
    floor = draw(thing=CYAN, scale=7)[0] * region("floor", scale=7)
    row = floor[54]
    assert row[:20].min() > 180
    assert row[40:].max() > 180 and row[34:44].min() < 100


def test_neighbours_in_the_list_differ_in_orientation():
    assert torch.equal(DATA.images(torch.tensor([1]))[0].int(), draw(scale=0, shape=CUBE, orientation=1))
    assert not torch.equal(draw(orientation=1), draw(orientation=2))


def test_a_batch_is_its_images_one_by_one():
    numbers = torch.arange(600) * 480 + torch.arange(600) % 3  # more than a chunk, three scenes
    batch = DATA.images(numbers)
    assert batch.shape == (600, 3, 64, 64) and batch.dtype == torch.uint8
    for k in (0, 255, 256, 599):
        assert torch.equal(batch[k], Shapes3D().images(numbers[k:k + 1])[0])  # from nothing, too
    assert DATA.images(numbers[:0]).shape == (0, 3, 64, 64)
