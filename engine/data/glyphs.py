"""Glyphs: the 26 capitals in hundreds of typefaces, black on white, one picture for each pair.

Content against style in its plainest form: which letter, and how it is drawn. The shipped set is made of
the typefaces of one designer, see `make_glyphs.py`; any folder of TrueType or OpenType fonts is a set of the
same kind, drawn when it is loaded. Every letter fills the picture, so size and place are nobody's factor.
"""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from engine.data import FONTS
from engine.data.arrays import DataError
from engine.data.dataset import SIZE, Grid, KnownFactor
from engine.files import read_verified

SHEET = Path(__file__).parents[2] / "assets" / "data" / "glyphs.xz"
NAMES = SHEET.with_suffix(".json")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LEVELS = 15             # of ink in the shipped sheet, besides none
FIT = 54                # pixels that the longer side of a letter takes
DRAWN = 128             # size in which letters are drawn before they are made to fit
DISTINCT = 20           # shapes, fewest of a typeface that has letters and not the same box for each


class Glyphs(Grid):
    """Every letter of every typeface, one channel.

    folder: of fonts, with its sub-folders; the shipped sheet if None. `typefaces` are their names, in the
    order of the factor's classes. Raises DataError where no font of the folder has the letters,
    files.Damaged if the shipped sheet is not what its manifest says.
    """

    channels = 1

    def __init__(self, folder: Path | None = None):
        if folder is None:
            about = json.loads(read_verified(NAMES.parent, NAMES.name))
            self.name, self.origin, self.typefaces = "glyphs", about["origin"], tuple(about["typefaces"])
            ink = unpacked(read_verified(SHEET.parent, SHEET.name), len(self.typefaces))
        else:
            found = sorted(drawn(folder))
            if not found:
                raise DataError(f"{folder.name} holds no font with the letters A to Z (.ttf, .otf or .ttc).")
            self.name, self.origin = folder.name, f"Drawn here from the fonts in {folder.name}."
            self.typefaces = tuple(name for name, _ in found)
            ink = np.stack([letters for _, letters in found])
        self.factors = (
            KnownFactor("typeface", tuple(map(float, range(len(ink)))), categorical=True),
            KnownFactor("letter", tuple(map(float, range(len(LETTERS)))), categorical=True),
        )
        self._paper = torch.from_numpy(255 - ink).flatten(0, 1)[:, None]  # (F * 26, 1, 64, 64)
        self._stores: dict[torch.device, Tensor] = {}

    def images(self, index: Tensor) -> Tensor:
        if index.device not in self._stores:
            with torch.inference_mode(False):
                self._stores[index.device] = self._paper.to(index.device)
        return self._stores[index.device][index]


def drawn(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Name and ink (26, 64, 64) uint8 of every font under `folder` that has the letters; others are skipped,
    as are those of a name that came before."""
    seen = set()
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in FONTS and p.is_file()):
        try:
            font = ImageFont.truetype(path, DRAWN, layout_engine=ImageFont.Layout.BASIC)
            letters = [letter(font, text) for text in LETTERS]
        except (OSError, ValueError):  # damaged, or a letter without ink
            continue
        name = " ".join(part for part in font.getname() if part)
        if name not in seen and len({a.tobytes() for a in letters}) >= DISTINCT:
            seen.add(name)
            yield name, np.stack(letters)


def letter(font: ImageFont.FreeTypeFont, text: str) -> np.ndarray:
    """Ink (64, 64) uint8 of one letter, its longer side FIT pixels, in the middle. ValueError if it has none."""
    left, top, right, bottom = font.getbbox(text)
    canvas = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(canvas).text((-left, -top), text, fill=255, font=font)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"{font.getname()} has no {text}")
    shape = canvas.crop(box)
    scale = FIT / max(shape.size)
    small = shape.resize([max(1, round(side * scale)) for side in shape.size], Image.Resampling.LANCZOS)
    picture = Image.new("L", (SIZE, SIZE))
    picture.paste(small, tuple((SIZE - side) // 2 for side in small.size))
    return np.asarray(picture)


def packed(ink: np.ndarray) -> bytes:
    """Ink (F, 26, 64, 64) uint8 -> compressed bytes, of sixteen levels, two pixels in a byte."""
    levels = ((ink.astype(np.uint16) * LEVELS + 127) // 255).astype(np.uint8)
    pairs = levels.reshape(-1, 2)
    return lzma.compress((pairs[:, 0] << 4 | pairs[:, 1]).tobytes(), preset=9)


def unpacked(data: bytes, typefaces: int) -> np.ndarray:
    """The inverse of `packed`: ink (typefaces, 26, 64, 64) uint8 of sixteen levels."""
    pairs = np.frombuffer(lzma.decompress(data), np.uint8)
    levels = np.stack([pairs >> 4, pairs & 15], 1)
    return (levels * (255 // LEVELS)).reshape(typefaces, len(LETTERS), SIZE, SIZE)
