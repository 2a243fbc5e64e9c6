"""The paper's first figure on our manifolds: the plane of each encoding, coloured by the true factors."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from benchmarks.isometry.store import Store
from benchmarks.isometry.work import pictures
from engine.files import write_manifest
from engine.manifolds import manifold
from engine.metrics import mcc

SHOWN = "drawn-shapes3d-2-5", "faces-pose-light", "faces-age-smile", "disc-hue"
COLUMNS = (("factors", "spectral"), ("HLLE", "spectral"), ("HLLE + ICA", "spectral"), ("PCA + ICA", "spectral"),
           ("LI-AE", "LI-AE"), ("AE", "AE"), ("IRMAE", "IRMAE"))
PANEL, MARGIN, DOT = 190, 14, 3
GRID = 3                        # pictures of a manifold, squared
FINE = 2                        # drawn so much larger, then reduced
CORNERS = np.array([[[26, 92, 180], [235, 140, 30]], [[70, 170, 90], [190, 40, 90]]], float)
INK, PAPER = (40, 40, 40), (255, 255, 255)


def write(path: Path, store: Store, names: list[str]) -> None:
    """Draw a row for each manifold whose codes are there, and the manifest of the folder; nothing if none is."""
    rows = [name for name in names if store.codes(f"{name}/spectral")]
    if not rows:
        return
    shown = [(code, cell) for code, cell in COLUMNS if any(code in store.codes(f"{name}/{cell}") for name in rows)]
    wide, high = (len(shown) + 1) * (PANEL + MARGIN) + MARGIN, len(rows) * (PANEL + 40) + MARGIN
    sheet = Image.new("RGB", (wide * FINE, high * FINE), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13 * FINE)
    for row, name in enumerate(rows):
        top = row * (PANEL + 40) + 30
        sheet.paste(samples(name), (MARGIN * FINE, top * FINE))
        draw.text((MARGIN * FINE, (top - 22) * FINE), name, INK, font)
        factors = store.codes(f"{name}/spectral")["factors"]
        for column, (code, cell) in enumerate(shown, 1):
            found = store.codes(f"{name}/{cell}").get(code)
            if found is not None:
                left = column * (PANEL + MARGIN) + MARGIN
                # The nets' codes are of all pictures, the chart's of those that hang together: the same ones here,
                # since a manifold's pictures are all different and connected.
                label = code if code == "factors" else f"{code}  MCC {mcc(found, factors):.2f}"
                draw.text((left * FINE, (top - 22) * FINE), label, INK, font)
                scatter(draw, (left, top), found, factors)
    path.parent.mkdir(parents=True, exist_ok=True)
    small = sheet.resize((wide, high), Image.Resampling.LANCZOS)
    few = small.quantize(256, dither=Image.Dither.NONE).convert("RGB")  # a third of the size, and looks the same
    few.save(path, lossless=True, method=6)
    write_manifest(path.parent)


def scatter(draw: ImageDraw.ImageDraw, corner: tuple[int, int], codes: np.ndarray, factors: np.ndarray) -> None:
    """Codes (N, 2), each dimension over its own range, coloured by factors (N, 2) in [-1, 1]."""
    low, high = codes.min(0), codes.max(0)
    place = (codes - low) / np.where(high > low, high - low, 1) * (PANEL - 2 * DOT) + DOT
    for (x, y), colour in zip(place * FINE, colours(factors), strict=True):
        x, y = x + corner[0] * FINE, y + corner[1] * FINE
        draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), tuple(colour))


def colours(factors: np.ndarray) -> np.ndarray:
    """Factors (N, 2) in [-1, 1] -> colours (N, 3) uint8, between those of four corners."""
    u, v = ((factors + 1) / 2).clip(0, 1).T[:, :, None]
    mixed = (1 - u) * ((1 - v) * CORNERS[0, 0] + v * CORNERS[0, 1]) + u * ((1 - v) * CORNERS[1, 0] + v * CORNERS[1, 1])
    return mixed.round().astype(np.uint8)


def samples(name: str) -> Image.Image:
    """Some pictures of a manifold in a square."""
    some = pictures(manifold(name, GRID**2)).expand(-1, 3, -1, -1)
    rows = [torch.cat(list(part), 2) for part in some.split(GRID)]
    square = Image.fromarray(torch.cat(rows, 1).permute(1, 2, 0).numpy())
    return square.resize((PANEL * FINE, PANEL * FINE), Image.Resampling.BICUBIC)
