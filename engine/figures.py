"""A traversal sheet as papers print it: a row for each factor, its values on an axis, the present picture marked.

As PNG it is pixels for a draft; as SVG its pictures are embedded one by one, to be moved about, and its words are
text. Both say where they come from.
"""

import unicodedata
from base64 import b64encode
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.provenance import Origin, png
from engine.serve import MAX_ROWS, Engine, Refusal

TILE, GAP = 64, 2               # pixels of a picture, and between two
LABEL, EDGE = 112, 8            # widths of the column of names and of the margin
NOTCH, TEXT = 8, 14             # heights below a picture of the mark and of the values
ROW = TILE + NOTCH + TEXT + 6
NAME, VALUE = 12, 10            # sizes of letters
LINES = 4                       # of a name
INK, FAINT, MARK = "#18181b", "#52525b", "#0f766e"
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"


@dataclass(frozen=True)
class Sheet:
    """What a traversal sheet shows: F factors by K values."""

    factors: tuple[str, ...]    # names in the model's table
    labels: tuple[str, ...]     # what they are called
    values: np.ndarray          # (F, K)
    own: np.ndarray             # (F,) where the picture itself stands, as a share of the row, within 0 to 1
    tiles: np.ndarray           # (F, K, 64, 64, 3) uint8

    @property
    def marked(self) -> np.ndarray:
        """The column (F,) nearest to the picture itself."""
        return np.rint(self.own * (self.values.shape[1] - 1)).astype(int)


def sheet(
    engine: Engine, model: str, code: np.ndarray, factors: Sequence[str], columns: int = 11,
    names: Mapping[str, str] | None = None, lane: Hashable = None,
) -> Sheet:
    """The traversal of a code (D,) along each of `factors`, all else kept. names: what to call factors, before
    what the model's names call them. Drawn by a model's quick way, as its films are. Raises Refusal."""
    if type(columns) is not int or columns < 2 or not 1 <= len(factors) * columns <= MAX_ROWS:
        raise Refusal(f"A sheet has 2 columns or more, and at most {MAX_ROWS} pictures.")
    known, called = [engine.factor(model, name) for name in factors], engine.model(model).names
    flat = [f.name for f in known if f.low >= f.high]
    if flat:
        raise Refusal(f"{flat[0]} of {model} changes nothing, and has no range to be drawn along.")
    row = engine.codes(model, [code])
    tiles = engine.films(model, code, list(factors), columns, lane).get()
    given = names or {}
    labels = [given.get(f.name) or (called[f.name].name if f.name in called else f"Factor {f.rank + 1}") for f in known]
    own = [(f.read(row).item() - f.low) / (f.high - f.low) for f in known]
    return Sheet(tuple(factors), tuple(labels), np.stack([f.ladder(columns).numpy() for f in known]),
                 np.clip(own, 0, 1), tiles)


def as_png(made: Sheet, own: Origin) -> bytes:
    """The sheet as the bytes of a PNG. Its letters are those of Pillow's own font; others lose their accents."""
    width, height = size(made)
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    for r, c, x, y in cells(made):
        picture.paste(Image.fromarray(made.tiles[r, c]), (x, y))
        pen.text((x + TILE / 2, y + TILE + NOTCH + TEXT / 2), number(made.values[r, c]), FAINT, font(VALUE), "mm")
    for r, label in enumerate(made.labels):
        x, y = place(r, made.marked[r])
        pen.rectangle((x - 2, y - 2, x + TILE + 1, y + TILE + 1), outline=MARK, width=2)
        pen.polygon(notch(made, r), MARK)
        lines = wrapped(plain(label))
        pen.multiline_text((EDGE, y + TILE / 2), "\n".join(lines), INK, font(NAME), "lm", spacing=3)
    return png(np.asarray(picture), own, level=3)


def as_svg(made: Sheet, own: Origin) -> bytes:
    """The sheet as the bytes of an SVG file: a picture to a cell, and text as text."""
    width, height = size(made)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="{FONT}">', f"<title>Traversals of {escape(own.model)}</title>",
        f"<metadata>{escape(own.text())}</metadata>", '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for r, c, x, y in cells(made):
        parts.append(
            f'<image x="{x}" y="{y}" width="{TILE}" height="{TILE}" href="data:image/png;base64,'
            f'{_embedded(made.tiles[r, c])}"/><text x="{x + TILE // 2}" y="{y + TILE + NOTCH + 11}" '
            f'font-size="{VALUE}" text-anchor="middle" fill="{FAINT}">{number(made.values[r, c], "−")}</text>')
    for r, label in enumerate(made.labels):
        x, y = place(r, made.marked[r])
        corners = " ".join(f"{a:.1f},{b:.1f}" for a, b in notch(made, r))
        lines = wrapped(label)
        top = y + TILE / 2 - (len(lines) - 1) * (NAME + 3) / 2 + 4
        spans = "".join(f'<tspan x="{EDGE}" y="{top + k * (NAME + 3):g}">{escape(line)}</tspan>'
                        for k, line in enumerate(lines))
        parts.append(
            f'<rect x="{x - 1}" y="{y - 1}" width="{TILE + 2}" height="{TILE + 2}" fill="none" stroke="{MARK}" '
            f'stroke-width="2"/><polygon points="{corners}" fill="{MARK}"/>'
            f'<text font-size="{NAME}" fill="{INK}">{spans}</text>')
    return "\n".join([*parts, "</svg>\n"]).encode()


# ------------------------------------------------------------------------------------------------
# Where things are, the same for both

def size(made: Sheet) -> tuple[int, int]:
    """Width and height of the sheet in pixels."""
    rows, columns = made.values.shape
    return LABEL + columns * (TILE + GAP) - GAP + 2 * EDGE, rows * ROW + 2 * EDGE - 4


def place(row: int, column: int) -> tuple[int, int]:
    """The upper left corner of a picture."""
    return EDGE + LABEL + int(column) * (TILE + GAP), EDGE + row * ROW


def cells(made: Sheet) -> list[tuple[int, int, int, int]]:
    """Row, column and corner of every picture."""
    rows, columns = made.values.shape
    return [(r, c, *place(r, c)) for r in range(rows) for c in range(columns)]


def notch(made: Sheet, row: int) -> list[tuple[float, float]]:
    """The corners of the mark under a row, at the exact place of the picture itself."""
    x, y = place(row, 0)
    x += TILE / 2 + float(made.own[row]) * (made.values.shape[1] - 1) * (TILE + GAP)
    return [(x, y + TILE + 2), (x - 4, y + TILE + NOTCH), (x + 4, y + TILE + NOTCH)]


def number(value: float, minus: str = "-") -> str:
    """A value on an axis in three digits or so."""
    text = f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
    return text.replace("-", minus) if float(text) else text.lstrip("-")


def wrapped(label: str) -> list[str]:
    """A name in lines that fit their column; what is too long ends in dots."""
    lines = [""]
    for word in label.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font(NAME).getlength(longer) > LABEL - 8:
            lines.append(word)
        else:
            lines[-1] = longer
    lines = [*lines[:LINES - 1], " ".join(lines[LINES - 1:])] if len(lines) > LINES else lines
    return [line if font(NAME).getlength(line) <= LABEL - 4 else _cut(line) for line in lines]


def plain(text: str) -> str:
    """A text in letters that Pillow's own font has: without accents, and '?' for what has no such letter."""
    bare = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    bare = "".join(c for c in bare if not unicodedata.combining(c))
    return bare.replace("−", "-").replace("–", "-").replace("×", "x").encode("ascii", "replace").decode()


@cache
def font(points: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, which is there on every machine."""
    return ImageFont.load_default(points)


def _cut(line: str) -> str:
    while line and font(NAME).getlength(f"{line}...") > LABEL - 4:
        line = line[:-1]
    return f"{line}..."


def _embedded(image: np.ndarray) -> str:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=6)
    return b64encode(buffer.getvalue()).decode()
