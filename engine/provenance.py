"""Where an exported picture comes from, kept inside its file, and the way back to the picture.

    from engine import Engine, provenance
    image = provenance.redraw(Engine(), provenance.of(open("picture.png", "rb").read()))

The record is JSON. A PNG keeps it as an uncompressed text chunk, so that reading it costs no more than its
length; other formats keep it as their comment. It holds the code itself, float by float: what is redrawn on the
same CPU is the same bit for bit, whatever the picture was encoded from. A user's own picture is kept beside its
code, at the 64 pixels that the model was shown.
"""

import json
import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from engine.method import Method
from engine.serve import Engine, Refusal, pixels

VERSION = "1.0"
KEYWORD = "unravel"
LONGEST = 300_000       # bytes of a record that is read
SIDES = (64, 256, 512, 1024)
REDO = ("from engine import Engine, provenance; "
        "provenance.redraw(Engine(), provenance.of(open('FILE.png', 'rb').read()))")
DAMAGED = "What the file says of where it comes from is damaged."


@dataclass(frozen=True)
class Origin:
    """Everything that one exported picture depends on."""

    model: str                      # name of its folder
    weights: str                    # sha256 of the file that holds its weights
    base: str                       # the picture that was edited, as the page names it
    code: np.ndarray                # (D,) float32, edits included
    edits: dict[str, float] = field(default_factory=dict)   # values by the names of factors
    names: dict[str, str] = field(default_factory=dict)     # what the user calls factors
    picture: np.ndarray | None = None   # (64, 64, 3) uint8 for a base that only its owner has
    side: int = 64                  # pixels of the exported picture
    smooth: bool = False            # enlarged by Lanczos' filter, or pixel by pixel
    made: dict[str, object] = field(default_factory=dict)   # what else was made of it, a sheet say, and how

    def text(self) -> str:
        """The record as JSON."""
        own = {} if self.picture is None else {"picture": _text(_png(self.picture))}
        made = {"made": self.made} if self.made else {}
        return json.dumps({
            KEYWORD: VERSION, "torch": torch.__version__, "model": self.model, "weights sha256": self.weights,
            "base": self.base, "edits": self.edits, "names": self.names, "side": self.side, "smooth": self.smooth,
            **made, "redo": REDO, "code": _text(np.asarray(self.code, "<f4").tobytes()), **own,
        }, ensure_ascii=False)


def origin(engine: Engine, model: str, base: str, code: np.ndarray, edits: dict[str, float], **more: object) -> Origin:
    """The origin of the picture of a code (D,) of `model`, `edits` included; `more` as in Origin. Raises Refusal."""
    known = engine.model(model)
    return Origin(model, known.weights, base, engine.codes(model, [code])[0].numpy(), dict(edits), **more)


def read(text: str | bytes) -> Origin:
    """A record as an origin; raises Refusal if it is none. What it names is not looked up yet."""
    try:
        found = json.loads(text)
        if not isinstance(found[KEYWORD], str):
            raise TypeError
        given = found.get("picture")
        own = Origin(
            found["model"], found["weights sha256"], found["base"],
            np.frombuffer(b64decode(found["code"], validate=True), "<f4").astype(np.float32), found["edits"],
            found["names"], None if given is None else _picture(b64decode(given, validate=True)),
            found["side"], found["smooth"], found.get("made", {}),
        )
    except (ValueError, TypeError, KeyError, RecursionError, OSError, SyntaxError, Image.DecompressionBombError):
        raise Refusal(DAMAGED) from None
    texts = (own.model, own.weights, own.base, *own.names.values()) if _flat(own.names) else (None,)
    numbers = own.edits.values() if _flat(own.edits) else (None,)
    usable = all(isinstance(t, str) and len(t) <= 200 for t in texts) and all(type(n) in (int, float) for n in numbers)
    sized = type(own.side) is int and own.side in SIDES and type(own.smooth) is bool
    if not usable or not sized or not isinstance(own.made, dict):
        raise Refusal(DAMAGED)
    return own


def of(data: bytes) -> Origin | None:
    """The origin that the bytes of a PNG file carry, or None if they carry none. Raises Refusal if it is damaged."""
    at = 8 if data.startswith(b"\x89PNG\r\n\x1a\n") else len(data)
    head = KEYWORD.encode() + bytes(5)  # not compressed, of no language, not translated
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"iTXt" and data.startswith(head, at + 8):
            if length > LONGEST or at + 12 + length > len(data):
                raise Refusal(DAMAGED)
            return read(data[at + 8 + len(head):at + 8 + length])
        at += 12 + length
    return None


def draw(engine: Engine, model: str, code: np.ndarray) -> np.ndarray:
    """The picture (64, 64, 3) uint8 of a code (D,), with care and in a batch of its own: on one CPU the same bytes
    for the same code, whatever else is drawn at the time. Raises Refusal."""
    def alone(net: Method, rows: Tensor) -> Tensor:
        return pixels(net.refine, rows)

    return engine.perform(model, alone, engine.codes(model, [code])).get()[0]


def redraw(engine: Engine, own: Origin) -> np.ndarray:
    """The picture that a file was saved from, at the size it was saved: (side, side, 3) uint8. Raises Refusal
    where the model is missing or has other weights."""
    if engine.model(own.model).weights != own.weights:
        raise Refusal(f"The picture was drawn by other weights of {own.model} than those here.")
    return enlarged(draw(engine, own.model, own.code), own.side, own.smooth)


def enlarged(image: np.ndarray, side: int, smooth: bool = False) -> np.ndarray:
    """image (64, 64, 3) uint8 at `side` pixels, one of SIDES: pixel by pixel, or by Lanczos' filter if `smooth`."""
    if type(side) is not int or side not in SIDES or type(smooth) is not bool:
        raise Refusal(f"A picture is saved at {', '.join(map(str, SIDES[:-1]))} or {SIDES[-1]} pixels.")
    way = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize((side, side), way))


def png(image: np.ndarray, own: Origin, level: int = 6) -> bytes:
    """image (H, W, 3) uint8 as the bytes of a PNG file that says where it comes from; level of compression 0 to 9."""
    info = PngInfo()
    info.add_text("Title", f"{own.made.get('kind', 'picture')} by {own.model}".encode("latin-1", "replace"))
    info.add_text("Software", f"Unravel {VERSION}")
    info.add_text("Comment", f"To draw it again: {REDO}")
    info.add_itxt(KEYWORD, own.text())
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info, compress_level=level)
    return buffer.getvalue()


def _flat(entries: object) -> bool:
    return isinstance(entries, dict) and len(entries) <= 1000


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _png(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _picture(data: bytes) -> np.ndarray:
    """The bytes of a PNG of 64x64 pixels as an array; ValueError for another."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        if image.size != (64, 64) or image.mode != "RGB":
            raise ValueError
        return np.array(image)
