"""3D Shapes, re-rendered: 480,000 pictures of one object in a coloured room, drawn from some 40 numbers.

The data set is Burgess and Kim's (https://github.com/deepmind/3d-shapes, Apache-2.0). Its renderer was
never published; the scene here was fitted to the 50 lossless images in the repository's notebook. Factors,
order and labels are the official ones, the pixels are close but not the same: missing are the faint
texture of the walls and up to a pixel of the largest objects' outline.

Only scale, shape and orientation move anything, which makes 480 scenes; the 1000 hue combinations merely
recolour floor, walls and object. A pure hue at a multiple of 36 degrees has channels in {0, .2, ... 1}, so
each scene is ray-cast once, on first use, into one layer per surface and channel level, and a picture is
the sum of one floor, one wall, one object and one sky layer per channel.

Geometry: z is up, the object stands on the floor at the origin, lengths are in the fit's arbitrary unit.
Shapes: G scenes, R rays, M = 4 materials.
"""

from colorsys import hsv_to_rgb
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.data.dataset import SIZE, Grid, KnownFactor

HUES = tuple(k / 10 for k in range(10))
SCALES = tuple(0.75 + 0.5 * k / 7 for k in range(8))
SHAPES = (0.0, 1.0, 2.0, 3.0)                         # cube, cylinder, sphere, capsule
ANGLES = tuple(-30 + 60 * k / 14 for k in range(15))  # degrees

FLOOR, WALL, OBJECT, SKY = range(4)
LEVELS = 6               # channel values of the ten hues: 0, .2, ... 1
HUE_LEVELS = (torch.tensor([hsv_to_rgb(hue, 1, 1) for hue in HUES]) * (LEVELS - 1)).round().long()  # (10, 3)
LAYERS = 3 * LEVELS + 3  # floor, wall and object at each level; the sky's red, green and blue
SCENES = len(SCALES) * len(SHAPES) * len(ANGLES)

# Layers are fixed-point int16: half the memory of float32 (83 MB for all scenes), and integer sums are
# the same on every device. 255 * 128 leaves just enough headroom for the rounding of four addends.
FRACTION_BITS = 7

SUPERSAMPLING = 3  # rays per pixel along each axis; the official edges are blended
FAR = 1e4          # distance of a ray that hits nothing; finite, so that positions stay finite too

# ------------------------------------------------------------------------------------------------
# The fitted scene.

CAMERA_RADIUS, CAMERA_HEIGHT, TARGET_HEIGHT = 10.585, 3.2366, 2.7401
FOCAL = 2.5195                             # in half picture heights: a field of view of 43 degrees
ROOM, ROOM_HEIGHT = 10.392, 6.1353         # half side and wall height; there is no ceiling
OBJECT_SIZES = (0.7364, 1.3437)            # smallest and largest multiple of the sizes below
CUBE = 1.2108                              # half side
CYLINDER_RADIUS, CYLINDER_HEIGHT = 1.2942, 2.6602
SPHERE = 1.5676
CAPSULE_RADIUS, CAPSULE_HEIGHT = 1.1025, 4.5182

SKY_COLOUR = (153, 226, 249)
LAMP, LAMP_TARGET = (-4.1335, 0.0599, 15.106), (-5.1391, 2.2653, -2.0172)
LAMP_EXPONENT = 3.0193                     # how fast its cone fades
SUN = (-0.3306, 0.1241, 1.219)             # shadows fall as if from a parallel light this way
#          floor    wall    object   sky
AMBIENT = (0.2022, -0.0572, 0.5351, 0.0)
HEADLIGHT = (0.4090, 1.0328, 0.4056, 0.0)  # a light at the camera
LAMPLIGHT = (0.9846, 0.3002, 1.1884, 0.0)
GLOSS = (0.0, 0.0, 0.1851, 0.0)
GLOSS_EXPONENT = 4.1312


class Shapes3D(Grid):
    """480,000 images, 3 channels: floor, wall and object hue, scale, shape, orientation."""

    name = "shapes3d"
    channels = 3
    factors = (
        KnownFactor("floor hue", HUES, circular=True),
        KnownFactor("wall hue", HUES, circular=True),
        KnownFactor("object hue", HUES, circular=True),
        KnownFactor("scale", SCALES),
        KnownFactor("shape", SHAPES, categorical=True),
        KnownFactor("orientation", ANGLES),
    )
    origin = (
        "Re-rendered after 3D Shapes (Burgess and Kim, DeepMind, Apache-2.0): same factors and labels, not "
        "the same pixels (mean absolute error 4.0 of 255, PSNR 26 dB, on 50 official images)."
    )

    def __init__(self) -> None:
        self._banks: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def images(self, index: Tensor) -> Tensor:
        out = torch.empty(len(index), 3, SIZE, SIZE, dtype=torch.uint8, device=index.device)
        chunk = 4096 if index.is_cuda else 256  # 50 kB of temporaries an image
        for numbers, pictures in zip(index.split(chunk), out.split(chunk), strict=True):
            pictures.copy_(self._compose(numbers))
        return out

    def _compose(self, index: Tensor) -> Tensor:
        """index (B,) -> (B, 3, 64, 64): the sum of one layer per material and channel."""
        scene = index % SCENES  # the three factors that move something are the fastest
        bank = self._bank(scene)
        hues = self.classes(index)[:, :3]
        levels = HUE_LEVELS.to(index.device)[hues]                          # (B, material, channel)
        channel = torch.arange(3, device=index.device)
        first = scene[:, None] * LAYERS
        total = bank[first + 3 * LEVELS + channel]                          # (B, channel, 64 * 64)
        for material in (FLOOR, WALL, OBJECT):
            total += bank[first + material * LEVELS + levels[:, material]]
        half = 1 << (FRACTION_BITS - 1)
        return ((total + half) >> FRACTION_BITS).to(torch.uint8).view(-1, 3, SIZE, SIZE)

    def _bank(self, scene: Tensor) -> Tensor:
        """All layers (SCENES * LAYERS, 64 * 64) on the device of `scene`; those of `scene` are filled in."""
        if scene.device not in self._banks:
            with torch.inference_mode(False):  # to be filled in whatever mode the next caller is in
                bank = torch.empty(SCENES, LAYERS, SIZE * SIZE, dtype=torch.int16, device=scene.device)
                done = torch.zeros(SCENES, dtype=torch.bool, device=scene.device)
            self._banks[scene.device] = bank, done
        bank, done = self._banks[scene.device]
        missing = scene[~done[scene]].unique()
        for part in missing.split(16 if scene.is_cuda else 4):
            bank[part] = _layers(part)
            done[part] = True
        return bank.view(SCENES * LAYERS, SIZE * SIZE)


# ------------------------------------------------------------------------------------------------
# From scenes to layers.

def _layers(scene: Tensor) -> Tensor:
    """scene numbers (G,) -> (G, LAYERS, 64 * 64) int16, in units of 2 ** -FRACTION_BITS grey levels."""
    orientation = scene % len(ANGLES)
    shape = scene // len(ANGLES) % len(SHAPES)
    scale = scene // (len(ANGLES) * len(SHAPES))
    smallest, largest = OBJECT_SIZES
    size = smallest + (largest - smallest) * scale[:, None] / (len(SCALES) - 1)  # (G, 1)

    origin, direction = _camera(torch.deg2rad(torch.tensor(ANGLES, device=scene.device)[orientation]))
    room, material = _room(origin, direction)
    solid = _solid(shape, size, origin, direction)
    in_front = solid.distance < room.distance
    hit = _nearest(room, solid)
    material = torch.where(in_front, OBJECT, material)

    position = origin + hit.distance[..., None] * direction
    sun = F.normalize(torch.tensor(SUN, device=scene.device), dim=0).expand_as(position)
    in_shadow = (_solid(shape, size, position, sun).distance < FAR) & ~in_front
    shade, gloss = _shade(material, position, hit.normal, -direction, in_shadow)

    level = torch.linspace(0, 1, LEVELS, device=scene.device)[:, None]
    colour = (level * shade[:, None] + gloss[:, None]).clamp(0, 1)               # (G, LEVELS, R)
    mask = F.one_hot(material, 4).movedim(-1, 1)[:, :, None]                     # (G, M, 1, R)
    surfaces = (mask[:, :SKY] * colour[:, None]).flatten(1, 2)                   # (G, 3 * LEVELS, R)
    sky = mask[:, SKY] * (torch.tensor(SKY_COLOUR, device=scene.device)[:, None] / 255)
    samples = torch.cat([surfaces, sky], 1).unflatten(-1, (SIZE * SUPERSAMPLING, -1))
    pixels = F.avg_pool2d(samples, SUPERSAMPLING) * (255 << FRACTION_BITS)
    return pixels.round().to(torch.int16).flatten(2)


def _shade(material: Tensor, position: Tensor, normal: Tensor, view: Tensor, in_shadow: Tensor
           ) -> tuple[Tensor, Tensor]:
    """Phong's model -> (what multiplies the surface's colour, the white highlight on top), each (G, R)."""
    def of(coefficients: tuple[float, ...]) -> Tensor:
        return torch.tensor(coefficients, device=position.device)[material]

    lamp = torch.tensor(LAMP, device=position.device)
    to_lamp = F.normalize(lamp - position, dim=-1)
    axis = F.normalize(lamp - torch.tensor(LAMP_TARGET, device=position.device), dim=0)
    spot = (to_lamp @ axis).clamp(min=0) ** LAMP_EXPONENT
    halfway = F.normalize(to_lamp + view, dim=-1)

    facing_camera = _dot(normal, view).clamp(min=0)
    facing_lamp = _dot(normal, to_lamp).clamp(min=0) * spot * ~in_shadow
    shade = of(AMBIENT) + of(HEADLIGHT) * facing_camera + of(LAMPLIGHT) * facing_lamp
    gloss = of(GLOSS) * spot * _dot(normal, halfway).clamp(min=0) ** GLOSS_EXPONENT
    return shade, gloss


# ------------------------------------------------------------------------------------------------
# Rays and what they meet. `origin` is (G, 1, 3) or (G, R, 3), `direction` (G, R, 3) of unit length;
# sizes and heights are (G, 1).

class Hit(NamedTuple):
    """The nearest surface along each ray."""

    distance: Tensor  # (G, R), FAR for a miss
    normal: Tensor    # (G, R, 3), outward, of unit length; meaningless for a miss


def _camera(angle: Tensor) -> tuple[Tensor, Tensor]:
    """angle (G,) in radians -> origin (G, 1, 3) on a ring, directions (G, R, 3) row by row."""
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    origin = torch.stack([CAMERA_RADIUS * angle.sin(), -CAMERA_RADIUS * angle.cos(), CAMERA_HEIGHT * one], -1)
    forward = F.normalize(torch.stack([zero, zero, TARGET_HEIGHT * one], -1) - origin, dim=-1)
    right = torch.stack([angle.cos(), angle.sin(), zero], -1)
    up = torch.linalg.cross(right, forward)

    side = SIZE * SUPERSAMPLING
    grid = (torch.arange(side, device=angle.device) * 2 + 1) / side - 1  # sample centres in -1 .. 1
    y, x = torch.meshgrid(-grid / FOCAL, grid / FOCAL, indexing="ij")
    direction = forward[:, None] + x.reshape(-1, 1) * right[:, None] + y.reshape(-1, 1) * up[:, None]
    return origin[:, None], F.normalize(direction, dim=-1)


def _room(origin: Tensor, direction: Tensor) -> tuple[Hit, Tensor]:
    """The square room from inside -> its hit and the material seen (G, R), SKY above the walls."""
    drop = direction[..., 2]
    to_floor = torch.where(drop < 0, -origin[..., 2] / drop, FAR)
    limit = torch.full_like(direction[..., :2], ROOM).copysign(direction[..., :2])
    to_wall, axis = ((limit - origin[..., :2]) / direction[..., :2]).min(-1)
    on_floor = to_floor < to_wall
    on_wall = origin[..., 2] + to_wall * drop < ROOM_HEIGHT

    distance = torch.where(on_floor, to_floor, torch.where(on_wall, to_wall, FAR))
    material = torch.where(on_floor, FLOOR, torch.where(on_wall, WALL, SKY))
    return Hit(distance, _against(direction, torch.where(on_floor, 2, axis))), material


def _solid(shape: Tensor, size: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    """Each scene's own object: shape (G,) picks it, size (G, 1) multiplies it."""
    hit = Hit(torch.empty_like(direction[..., 0]), torch.empty_like(direction))
    for number, surface in enumerate((_cube, _cylinder, _sphere, _capsule)):
        chosen = shape == number
        part = surface(size[chosen], origin[chosen], direction[chosen])
        hit.distance[chosen], hit.normal[chosen] = part.distance, part.normal
    return hit


def _cube(size: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    half = CUBE * size[..., None]                                                # (G, 1, 1)
    low = torch.cat([-half, -half, 0 * half], -1)
    high = torch.cat([half, half, 2 * half], -1)
    one, other = (low - origin) / direction, (high - origin) / direction
    enter, axis = torch.minimum(one, other).max(-1)
    leave = torch.maximum(one, other).amin(-1)
    return Hit(torch.where((enter > 0) & (enter < leave), enter, FAR), _against(direction, axis))


def _cylinder(size: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    radius, height = CYLINDER_RADIUS * size, CYLINDER_HEIGHT * size
    return _nearest(_tube(radius, 0 * size, height, origin, direction),
                    _lid(radius, height, origin, direction))


def _sphere(size: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    return _ball(SPHERE * size, SPHERE * size, origin, direction)


def _capsule(size: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    radius = CAPSULE_RADIUS * size
    top = CAPSULE_HEIGHT * size - radius
    return _nearest(_tube(radius, radius, top, origin, direction),
                    _ball(radius, radius, origin, direction), _ball(radius, top, origin, direction))


def _ball(radius: Tensor, height: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    """A sphere above the origin, its centre at `height`."""
    centre = F.pad(height[..., None], (2, 0))                                    # (G, 1, 3)
    offset = origin - centre
    b = _dot(direction, offset)
    discriminant = b.square() - _dot(offset, offset) + radius.square()
    distance = -b - discriminant.clamp(min=0).sqrt()
    normal = (offset + distance[..., None] * direction) / radius[..., None]
    return Hit(torch.where((discriminant > 0) & (distance > 0), distance, FAR), normal)


def _tube(radius: Tensor, low: Tensor, high: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    """The outside of an open upright cylinder between two heights."""
    flat, across = origin[..., :2], direction[..., :2]
    a = _dot(across, across)
    b = _dot(across, flat)
    discriminant = b.square() - a * (_dot(flat, flat) - radius.square())
    distance = (-b - discriminant.clamp(min=0).sqrt()) / a
    height = origin[..., 2] + distance * direction[..., 2]
    met = (discriminant > 0) & (distance > 0) & (height > low) & (height < high)
    normal = F.pad((flat + distance[..., None] * across) / radius[..., None], (0, 1))
    return Hit(torch.where(met, distance, FAR), normal)


def _lid(radius: Tensor, height: Tensor, origin: Tensor, direction: Tensor) -> Hit:
    """A level disc seen from above."""
    distance = (height - origin[..., 2]) / direction[..., 2]
    flat = origin[..., :2] + distance[..., None] * direction[..., :2]
    met = (direction[..., 2] < 0) & (distance > 0) & (_dot(flat, flat) < radius.square())
    upward = torch.tensor([0.0, 0.0, 1.0], device=direction.device).expand_as(direction)
    return Hit(torch.where(met, distance, FAR), upward)


def _nearest(*hits: Hit) -> Hit:
    distance, normal = hits[0]
    for hit in hits[1:]:
        closer = hit.distance < distance
        distance = torch.where(closer, hit.distance, distance)
        normal = torch.where(closer[..., None], hit.normal, normal)
    return Hit(distance, normal)


def _against(direction: Tensor, axis: Tensor) -> Tensor:
    """The axis-aligned unit normal (G, R, 3) that faces the ray."""
    return -direction.sign() * F.one_hot(axis, 3)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)
