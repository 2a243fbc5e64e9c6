"""Colour and light of the heads in `faces.py`, evaluated at every pixel.

Features are drawn in *rest space*, the surface point's place on the average head, so an eyebrow stays an
eyebrow however its head is stretched or turned, and stays sharp however coarse the mesh is there. Units
and axes are those of `make_head.py`: decimetres, y up, z towards us, origin midway between the eyes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

SKIN, EYE, TEETH, TONGUE, LASH, HAIR = range(6)     # the parts of head.safetensors
EYE_CENTRE = 0.317                                  # |x| of the pupils
SKULL_Z = -0.70                                     # the hair sheet's axis

SKIN_PATH = ((0.95, 0.82, 0.74), (0.92, 0.73, 0.60), (0.80, 0.58, 0.43), (0.60, 0.40, 0.28),
             (0.40, 0.26, 0.19))
HAIR_PATH = ((0.10, 0.08, 0.08), (0.27, 0.16, 0.10), (0.45, 0.24, 0.12), (0.72, 0.36, 0.14),
             (0.88, 0.68, 0.36), (0.90, 0.87, 0.82))
IRIS_PATH = ((0.25, 0.13, 0.06), (0.55, 0.36, 0.14), (0.30, 0.58, 0.28), (0.25, 0.55, 0.90))


@dataclass
class Surface:
    """What the z-buffer found, per pixel (B, H, W, ...)."""

    part: Tensor        # int64, -1 = background
    rest: Tensor        # (..., 3) place on the average head
    normal: Tensor      # (..., 3) unit, in the picture's axes
    lips: Tensor        # [0, 1]
    shade: Tensor       # [0, 1] share of the sky that is seen


@dataclass
class Colours:
    """Per-face colours (B, 3) in [0, 1] sRGB, the lamp's direction (B, 3), and two looks (B,) in [0, 1]."""

    skin: Tensor
    hair: Tensor
    iris: Tensor
    shirt: Tensor
    background: Tensor
    lamp: Tensor
    male: Tensor        # stubble, paler lips, heavier brows
    old: Tensor         # lines


def along(path: tuple[tuple[float, float, float], ...], t: Tensor) -> Tensor:
    """Colour (B, 3) at t in [0, 1] on a polyline through evenly spaced colours."""
    knots = torch.tensor(path, device=t.device)
    t = t * (len(path) - 1)
    near = t.long().clamp(max=len(path) - 2)
    return torch.lerp(knots[near], knots[near + 1], (t - near)[:, None])


def hue(h: Tensor, saturation: float, value: float) -> Tensor:
    """HSV to RGB (B, 3) for hues h (B,) in turns."""
    wave = (h[:, None] * 6 + torch.tensor([5.0, 3.0, 1.0], device=h.device)) % 6
    return value * (1 - saturation * torch.minimum(wave, 4 - wave).clamp(0, 1))


def step(x: Tensor, low: float, high: float) -> Tensor:
    """Smooth step from 0 at `low` to 1 at `high`, or the other way round when low > high."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _side(rest: Tensor) -> tuple[Tensor, Tensor]:
    """|azimuth| around the skull (0 = front, pi = back) and height of rest points (..., 3)."""
    return torch.atan2(rest[..., 0].abs(), rest[..., 2] - SKULL_Z), rest[..., 1]


def hairline(rest: Tensor) -> Tensor:
    """Height of rest points (..., 3) above the edge of the hair around the face, positive inside the hair."""
    phi, y = _side(rest)
    return y - (0.76 - 0.50 * phi ** 2 - 10 * (phi - 0.95).clamp(min=0) ** 2)


def hair_end(rest: Tensor, length: Tensor) -> Tensor:
    """Height of rest points (..., 3) above the tips of hair whose length is 0 (cropped) to 1 (shoulders)."""
    phi, y = _side(rest)
    cropped = 0.02 - 0.75 * step(phi, 1.7, 2.4)
    tips = 0.03 * torch.cos(17 * phi) + 0.02 * torch.cos(31 * phi)
    return y - torch.lerp(cropped, torch.full_like(cropped, -1.95), length) - tips * length


def _albedo(s: Surface, c: Colours) -> tuple[Tensor, Tensor]:
    """Colour (B, H, W, 3) and shininess (B, H, W)."""
    def face(colour: Tensor) -> Tensor:
        return colour[:, None, None]

    def mix(under: Tensor, over: Tensor, amount: Tensor) -> Tensor:
        return torch.lerp(under, over, amount[..., None])

    x, y, z = s.rest[..., 0].abs(), s.rest[..., 1], s.rest[..., 2]
    male, old = face(c.male), face(c.old)
    dark_hair = face(c.hair * 0.70)

    # Skin, with blood in cheeks, nose and ears.
    skin = face(c.skin).expand_as(s.rest)
    blush = torch.exp(-((x - 0.42) / 0.2) ** 2 - ((y + 0.48) / 0.17) ** 2) * (z > -0.2)
    blush = blush + torch.exp(-(x / 0.14) ** 2 - ((y + 0.42) / 0.12) ** 2) * (z > 0)
    blush = blush + step(x, 0.72, 0.80) * (y > -0.7)
    skin = mix(skin, skin * torch.tensor([1.0, 0.78, 0.74], device=x.device), 0.55 * blush.clamp(max=1))
    stubble = step(0.40 * (x - 0.30).clamp(min=0) - 0.58 - y, 0.0, 0.20)
    stubble = stubble + step(x, 0.34, 0.16) * step(y, -0.48, -0.58)
    stubble = stubble.clamp(max=1) * step(z, -0.80, -0.50) * step(y, -1.35, -1.10)
    skin = mix(skin, dark_hair, 0.17 * male * stubble)
    lips = face(c.skin) * torch.tensor([0.90, 0.52, 0.52], device=x.device) + 0.03
    skin = mix(skin, lips, step(s.lips, 0.15, 0.6) * (0.95 - 0.45 * male))

    # Eyebrows: a band around an arc that thins towards the temple.
    t = ((x - 0.12) / 0.42).clamp(0, 1)
    arc = 0.135 + 0.11 * torch.sin(2.3 * t) - 0.03 * t
    thick = (0.034 + 0.018 * male) * (1 - 0.6 * t ** 2)
    inside = step(x, 0.08, 0.16) * step(x, 0.58, 0.50) * (z > -0.2)
    brow = step((y - arc).abs() - thick, 0.018, -0.018) * inside
    skin = mix(skin, dark_hair, (0.72 + 0.13 * male) * brow)

    # Lines of age: from the nose to the mouth's corners, below the eyes, across the forehead.
    fold = torch.exp(-((x - 0.17 + 0.50 * (y + 0.40)) / 0.035) ** 2)
    fold = fold * step(y, -0.82, -0.60) * step(y, -0.30, -0.42)
    bag = torch.exp(-((y + 0.17 - 0.8 * (x - EYE_CENTRE) ** 2) / 0.03) ** 2 - ((x - 0.32) / 0.13) ** 2)
    frown = torch.cos((y - 0.05 * torch.cos(5 * x)) * 62).clamp(min=0)
    frown = frown * step(y, 0.32, 0.38) * step(x, 0.50, 0.30)
    lines = (fold + 0.8 * bag + 0.5 * frown) * (z > -0.2)
    skin = skin * (1 - 0.34 * old * lines.clamp(max=1))[..., None]

    # Short hair roots under the hair sheet, so that it may float a little; not on the ears.
    root = step(torch.minimum(hairline(s.rest), hair_end(s.rest, torch.zeros_like(y))), 0.0, 0.06)
    skin = mix(skin, dark_hair, root * step(x, 0.80, 0.76))

    # Shirt, from a round neckline down; its seam is a shade darker.
    below = -1.50 - 0.30 * (z + 0.8) - y
    shirt = face(c.shirt) * (0.80 + 0.20 * step(below, 0.05, 0.09))[..., None]
    skin = torch.where((below > 0)[..., None], shirt, skin)

    # Eyes: white, iris with a dark rim, pupil; the upper lid throws a shadow.
    r = torch.hypot(x - EYE_CENTRE, y)
    white = torch.tensor([0.93, 0.91, 0.90], device=x.device).expand_as(skin)
    eye = mix(white, face(c.iris) * (1.15 - 3.5 * r.clamp(max=0.1))[..., None], step(r, 0.092, 0.080))
    eye = mix(eye, torch.full_like(eye, 0.03), step(r, 0.040, 0.030))
    eye = eye * (0.60 + 0.40 * step(y, 0.09, 0.02))[..., None]

    # Hair: strands run down from the crown.
    phi, _ = _side(s.rest)
    strand = 0.5 + 0.25 * torch.cos(phi * 23 + 1.5 * torch.cos(3 * y)) + 0.25 * torch.cos(phi * 41 + y)
    hair = face(c.hair) * (0.82 + 0.30 * strand)[..., None]

    colour = skin
    lash = torch.lerp(dark_hair * 0.4, face(c.skin) * 0.5, 0.3 + 0.4 * male[..., None])
    for part, own in ((EYE, eye), (HAIR, hair), (TEETH, white * white), (LASH, lash),
                      (TONGUE, torch.tensor([0.70, 0.32, 0.32], device=x.device))):
        colour = torch.where((s.part == part)[..., None], own, colour)
    shine = torch.where(s.part == HAIR, 0.10 + 0.16 * strand, torch.where(s.part == EYE, 0.9, 0.06))
    return colour, shine * (below <= 0)


def paint(s: Surface, c: Colours) -> Tensor:
    """The lit picture (B, H, W, 3) in [0, 1] sRGB."""
    colour, shine = _albedo(s, c)
    lamp = c.lamp[:, None, None]
    toward = torch.tensor([0.0, 0.0, 1.0], device=lamp.device)
    facing = (s.normal * lamp).sum(-1, keepdim=True)
    # Light bleeds around the terminator of skin, red most: a cheap stand-in for subsurface scattering.
    blood = torch.tensor([0.40, 0.26, 0.20], device=lamp.device)
    bleed = torch.where((s.part == SKIN)[..., None], blood, 0.15)
    key = ((facing + bleed) / (1 + bleed)).clamp(min=0) * torch.tensor([1.0, 0.95, 0.88], device=lamp.device)
    sky = (0.5 + 0.5 * s.normal[..., 1:2]) * torch.tensor([0.30, 0.32, 0.36], device=lamp.device) + 0.16
    front = 0.22 * s.normal[..., 2:].clamp(min=0)
    shade = s.shade[..., None]
    light = 0.82 * key * (0.35 + 0.65 * shade) + (sky + front) * shade
    gloss = (s.normal * normalize(lamp + toward, dim=-1)).sum(-1).clamp(min=0)
    gloss = shine * gloss ** torch.where(s.part == EYE, 60.0, 14.0) * s.shade
    lit = (colour ** 2.2 * light + gloss[..., None] * 0.6).clamp(0, 1) ** (1 / 2.2)

    # Backdrop: lighter behind the head, darker in the corners.
    across = torch.linspace(-1, 1, s.part.shape[-1], device=lamp.device)
    away = torch.hypot(across[None, :], across[:, None] + 0.2)
    backdrop = c.background[:, None, None] * (1.08 - 0.26 * away)[..., None]
    return torch.where((s.part >= 0)[..., None], lit, backdrop.clamp(0, 1))
