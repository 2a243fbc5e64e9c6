"""Glyphs: the 26 capitals in hundreds of typefaces, black on white, one picture for each pair.

Content against style in its plainest form: which letter, and how it is drawn. The shipped set is made of
the typefaces of one designer, see `make_glyphs.py`; any folder of TrueType or OpenType fonts is a set of the
same kind, drawn when it is loaded. Every letter fills the picture, so size and place are nobody's factor; `framed`
does the same to a letter that somebody photographed or wrote.
"""

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
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
PLAIN = 0.75            # share of a picture's rim that is paper, where there is a letter on plain paper
CONTRAST = 48           # levels of 255 between its ink and its paper, fewest
INKED = 0.25            # share of that from which a pixel counts as ink: paper has grain, and JPEG its rings
SLACK = 2               # pixels by which a letter may miss its frame and is left as it is


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
    return np.asarray(_fitted(canvas.crop(box)))


def framed(picture: Image.Image) -> Image.Image:
    """A letter on plain paper, RGB or grey of any size, as this data set has its own: grey (64, 64), black on white
    whatever its colours were, its longer side FIT pixels, in the middle. All else, and what is framed so already,
    comes back as it is."""
    levels = np.asarray(picture.convert("L"), np.float32)
    paper, rim = _paper(levels)
    apart = paper - levels if (paper - levels).max() > (levels - paper).max() else levels - paper
    contrast, grain = apart.max(), 3 * np.median(np.abs(apart[rim]))
    if contrast < CONTRAST or (np.abs(apart[rim]) < INKED * contrast).mean() < PLAIN:
        return picture
    box = Image.fromarray(apart >= INKED * contrast).getbbox()
    pixel, (left, top, right, bottom) = max(picture.size) / SIZE, box
    misses = (max(right - left, bottom - top) - FIT * pixel, (left + right - picture.width) / 2,
              (top + bottom - picture.height) / 2)
    if picture.width == picture.height and paper.min() > 255 - CONTRAST and max(map(abs, misses)) <= SLACK * pixel:
        return picture
    ink = Image.fromarray((255 / (contrast - grain) * (apart - grain).clip(0)).astype(np.uint8))
    return ImageOps.invert(_fitted(ink.crop(box)))


def _paper(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The levels (H, W) of plain paper in an uneven light, a quadratic surface through half of the rim, and where the
    rim is (H, W)."""
    rim = np.ones(levels.shape, bool)
    rim[1:-1, 1:-1] = False
    y, x = (2 * at / side - 1 for at, side in zip(np.indices(levels.shape, np.float32), levels.shape, strict=True))
    basis = np.stack([np.ones_like(levels), x, y, x * x, x * y, y * y], 2)
    there, known = basis[rim], levels[rim]
    off = np.abs(known - np.median(known))
    near = off <= np.median(off)  # the other half may have ink: a letter may touch the rim
    return basis @ np.linalg.lstsq(there[near], known[near], rcond=None)[0], rim


def _fitted(ink: Image.Image) -> Image.Image:
    """The ink of one letter, cut out, as (64, 64), its longer side FIT pixels, in the middle."""
    scale = FIT / max(ink.size)
    small = ink.resize([max(1, round(side * scale)) for side in ink.size], Image.Resampling.LANCZOS)
    picture = Image.new("L", (SIZE, SIZE))
    picture.paste(small, tuple((SIZE - side) // 2 for side in small.size))
    return picture


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
