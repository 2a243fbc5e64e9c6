"""What a page is: a model, a base picture and the edits made to it. Plain data, and no Gradio.

A base is a short string: "gallery:3" (a sample image of the model's data set), "picture:4711" (any
image of it by its number), "seed:42" (a random image), "upload:<sha256>" (a user's picture, by the
digest of its pixels), "closer:<sha256>" (the same with a code that fits it more closely) or
"code:<base64url>" (a code of the model in hand as float32, for links to a user's picture that must work
on other servers). A page sends its base and its edits with every request, so a server keeps nothing for
a page but the pixels of uploads, in memory and never on disk. An edit sets one factor; a factor without
an edit keeps exactly the code of the base, also where that lies outside the slider.
"""

import binascii
import hashlib
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore, Lock

import numpy as np

from app.uploads import open_upload
from engine import Engine, Factor, Model, Name, Refusal, exchange, frame_of, gallery, inversion, pictures_of

MAX_SLIDERS = 24
UPLOADS = 4096              # pictures kept, 12 kB each
CODES = 4096                # codes kept
POSITIONS = 200             # a slider has this many to two and a half times as many
MAX_SEED = 2**32 - 1
SHORT, BASE_LENGTH = 100, 1029  # characters of a name in a request, and of a base
BASE = re.compile(
    r"gallery:(?P<index>\d{1,4})|picture:(?P<number>\d{1,9})|seed:(?P<seed>\d{1,10})"
    r"|(?:upload|closer):(?P<digest>[0-9a-f]{64})|code:(?P<code>[\w-]{2,1024})", re.ASCII
)

UPLOAD, CLOSER = "upload:", "closer:"
FITS = 2                    # pictures that are being fitted at a time: they share the one worker with all else

OPENING = "protovae-shapes3d"  # the model a page opens with, if it is there
START = 5                   # the sample a page opens with: its factors stand away from their ends
DATA = {"dsprites": "dSprites", "shapes3d": "3D Shapes", "faces": "Faces", "glyphs": "Glyphs",
        "manifold-faces-pose-light-age": "One face"}  # as they are written

BUSY = "Others are having pictures fitted just now; try again in a moment."
LOST = "That picture is no longer on the server; please choose it again."


@dataclass(frozen=True)
class Ask:
    """A checked request of a page's canvas. Names and values of edits are the engine's to check."""

    model: str
    base: str
    edits: dict[str, float]
    factor: str = ""
    page: str = ""      # random name of the browser page, for its lanes
    stamp: int = 0      # the page's own count of requests, returned with the answer


@dataclass(frozen=True)
class Dial:
    """How a factor looks as a slider: a range of round numbers inside [low, high], and where the
    picture stands on it. `neutral` is rounded and clipped; the picture's own code is neither."""

    name: str
    label: str
    note: str
    low: float
    high: float
    minimum: float
    maximum: float
    step: float
    neutral: float
    stops: list[float]      # where a drag snaps to, on its steps


class Sessions:
    """Everything pages need to be answered: bases become codes, codes are edited.

    All methods raise engine.Refusal, one sentence, for what they cannot do.
    """

    def __init__(self, engine: Engine):
        self.engine = engine
        self._uploads: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()
        self._fits = BoundedSemaphore(FITS)
        self._remembered = lru_cache(CODES)(self._compute)
        self._judged = lru_cache(CODES)(self._judge)

    def start(self, model: str) -> str:
        """The base a page of `model` opens with."""
        return f"gallery:{START}" if len(gallery(self.engine.model(model).data)) else "seed:0"

    def keep(self, pixels: np.ndarray) -> str:
        """Remember a picture (64, 64, 3) uint8; returns its base. Those that were used least lately are
        forgotten."""
        base = f"upload:{hashlib.sha256(pixels.tobytes()).hexdigest()}"
        with self._lock:
            self._uploads[base] = pixels
            self._uploads.move_to_end(base)
            if len(self._uploads) > UPLOADS:
                self._uploads.popitem(last=False)
        return base

    def open(self, model: str, data: bytes) -> str:
        """Remember the picture in the bytes of a file, framed as `model` knows its own; returns its base. Raises
        uploads.Refused, too."""
        return self.keep(open_upload(data, frame=frame_of(self.engine.model(model).data)))

    def original(self, base: str) -> np.ndarray | None:
        """The picture (64, 64, 3) uint8 that a user gave as this base; None for other bases."""
        base = base.replace(CLOSER, UPLOAD, 1)
        with self._lock:
            if base in self._uploads:
                self._uploads.move_to_end(base)  # in use: others are forgotten before it
            return self._uploads.get(base)

    def portable(self, model: str, base: str) -> str | None:
        """The base that shows the same picture of `model` on any server with the same models: the code of a user's
        picture. None if that is too long for a link."""
        if self.original(base) is None:
            return base
        named = base_of(self.code(model, base))
        return named if len(named) <= BASE_LENGTH else None

    def carry(self, base: str, model: str) -> str:
        """The base to show when a page changes to `model`: the same one if the model can show it, but as its encoder
        reads it."""
        base = base.replace(CLOSER, UPLOAD, 1)
        try:
            self.code(model, base)
        except Refusal:
            return self.start(model)
        return base

    def code(self, model: str, base: str) -> np.ndarray:
        """The code (D,) of a base, not to be written to."""
        if not isinstance(model, str) or not isinstance(base, str):
            raise Refusal("A model and a picture are given by their names.")
        return self._remembered(model, base)

    def edited(self, ask: Ask) -> np.ndarray:
        """The code (D,) a page asks for: its base with its edits."""
        return self.engine.edit(ask.model, self.code(ask.model, ask.base), ask.edits)

    def draw(self, ask: Ask) -> np.ndarray:
        """The picture a page asks for, (64, 64, 3) uint8."""
        return self.engine.refine(ask.model, self.edited(ask)[None]).get()[0]

    def dials(self, model: str, base: str) -> list[Dial]:
        """The sliders of a model in the order of their rank, standing where the base has them."""
        code = self.code(model, base)
        known = self.engine.model(model)
        return [dial(factor, position(factor, code), known.names.get(factor.name)) for factor in sliders(known)]

    def values(self, model: str, base: str) -> dict[str, float]:
        """The exact position of a base along every slider of a model."""
        code = self.code(model, base)
        return {f.name: position(f, code) for f in sliders(self.engine.model(model))}

    def pixels(self, model: str, base: str) -> np.ndarray | None:
        """The picture (64, 64, 3) uint8 that a base is; None for a random image or a code, which are no pictures."""
        known = self.engine.model(model)
        found = BASE.fullmatch(base) if isinstance(base, str) else None
        if not found:
            raise Refusal(
                "A picture is named 'gallery:<number>', 'picture:<number>', 'seed:<number>', 'upload:<sha256>' or "
                "'code:<base64url>'.")
        if found["seed"] or found["code"]:
            return None
        if found["index"]:
            images, index = gallery(known.data), int(found["index"])
            if index >= len(images):
                raise Refusal(f"Of {data_title(known)} there are {len(images)} samples; there is no number {index}.")
            return images[index]
        if found["number"]:
            return pictures_of(known.data, [int(found["number"])])[0]
        pixels = self.original(base)
        if pixels is None:
            raise Refusal(LOST)
        return pixels

    def strangeness(self, model: str, base: str) -> float | None:
        """How far a user's picture is from what a model has seen, as `exchange.strangeness` tells it; None for
        other bases, and where it cannot be told. Judged once, however often a page asks."""
        return None if self.original(base) is None else self._judged(model, base.replace(CLOSER, UPLOAD, 1))

    def face(self, model: str, base: str) -> np.ndarray:
        """The picture (64, 64, 3) uint8 that stands for a base: itself, or what the model draws if it is only a
        code."""
        own = self.pixels(model, base)
        return self.engine.refine(model, self.code(model, base)[None]).get()[0] if own is None else own

    def _judge(self, model: str, base: str) -> float | None:
        told = exchange.strangeness(self.engine, model, self.pixels(model, base)[None])
        return None if told is None else float(told[0])

    def _compute(self, model: str, base: str) -> np.ndarray:
        pixels = self.pixels(model, base)
        if pixels is None and base.startswith("code:"):
            return self.engine.codes(model, [numbers(base.removeprefix("code:"))])[0].numpy()
        if pixels is None:
            return self.engine.draw(model, whole_seed(int(base.removeprefix("seed:"))))
        if base.startswith(CLOSER):
            if not self._fits.acquire(blocking=False):
                raise Refusal(BUSY)
            try:
                return inversion.closer(self.engine, model, pixels)
            finally:
                self._fits.release()
        return self.engine.encode(model, pixels[None]).get()[0]


def parse(request: object) -> Ask:
    """A canvas's request, as it came from the browser, checked; raises Refusal."""
    if not isinstance(request, dict):
        raise Refusal("A request is an object with a model, a base and edits.")
    ask = Ask(
        model=request.get("model"), base=request.get("base"), edits=request.get("edits"),
        factor=request.get("factor", ""), page=request.get("page", ""), stamp=request.get("stamp", 0),
    )
    for name in ("model", "base", "factor", "page"):
        longest = BASE_LENGTH if name == "base" else SHORT
        if not isinstance(getattr(ask, name), str) or len(getattr(ask, name)) > longest:
            raise Refusal(f"The '{name}' of a request must be a short text.")
    if not isinstance(ask.edits, dict) or not all(isinstance(name, str) for name in ask.edits):
        raise Refusal("Edits must be an object of factor names and values.")
    if isinstance(ask.stamp, bool) or not isinstance(ask.stamp, int):
        raise Refusal("The 'stamp' of a request must be a whole number.")
    return ask


def whole_seed(value: object) -> int:
    """A seed from outside as a whole number in 0..2^32-1; raises Refusal."""
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value // 1
    if not whole or not 0 <= value <= MAX_SEED:
        raise Refusal(f"A seed is a whole number from 0 to {MAX_SEED}.")
    return int(value)


def base_of(code: np.ndarray) -> str:
    """The base that is a code (D,) itself."""
    return "code:" + urlsafe_b64encode(code.astype("<f4").tobytes()).decode().rstrip("=")


def numbers(text: str) -> np.ndarray:
    """Base64url of float32 numbers -> those numbers (D,), whatever they are; raises Refusal if it is none."""
    try:
        return np.frombuffer(urlsafe_b64decode(text + "=" * (-len(text) % 4)), "<f4")
    except (binascii.Error, ValueError):  # not base64, or not whole numbers of four bytes
        raise Refusal("The code of that picture is cut off or damaged.") from None


def sliders(model: Model) -> list[Factor]:
    """The factors of a model that the page has room for, in the order of their rank."""
    return model.sliders[:MAX_SLIDERS]


def data_title(model: Model) -> str:
    """The data set of a model as it is written; a path is called by its last part."""
    return DATA.get(model.data, Path(model.data).name)


def position(factor: Factor, code: np.ndarray) -> float:
    """Where a code (D,) stands along a factor."""
    return float(factor.positions(code[None])[0])


def dial(factor: Factor, value: float, name: Name | None = None) -> Dial:
    """A slider for a factor whose value is now `value`; `name` is what was found to call it."""
    side = factor.role if factor.role in ("content", "style") else ""
    note = [side, factor.name, "circle" if factor.closed else "", f"effect {factor.evidence.get('effect', 0):.0f}",
            *([name.strongest] if name else [])]
    step = round_step(factor.high - factor.low)
    digits = max(0, -math.floor(math.log10(step)))
    first, last = math.ceil(factor.low / step), math.floor(factor.high / step)
    neutral = min(max(round(value / step), first), last)
    return Dial(
        name=factor.name,
        label=name.name if name else f"Factor {factor.rank + 1}",
        note=" · ".join(filter(None, note)),
        low=factor.low,
        high=factor.high,
        minimum=round(first * step, digits),
        maximum=round(last * step, digits),
        step=step,
        neutral=round(neutral * step, digits),
        stops=[round(min(max(round(stop / step), first), last) * step, digits) for stop in factor.stops],
    )


def round_step(width: float) -> float:
    """The largest of ..., 0.01, 0.02, 0.05, 0.1, ... that divides `width` into POSITIONS or more."""
    power = math.floor(math.log10(width / POSITIONS))
    fits = [m * 10.0**power for m in (5, 2, 1) if m * 10.0**power <= width / POSITIONS * (1 + 1e-9)]
    return round(fits[0], max(0, -power))
