"""What each factor's field does to the picture in hand, for a model that has fields: drawn when somebody opens it."""

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import numpy as np

from app import pictures
from app.evidence import halves
from app.session import Sessions, parse
from engine import Refusal, fields

HEAT = np.array([255, 150, 30])     # colour of the strongest change, over the picture in grey
DIM = 0.5                           # of that grey


def painter(sessions: Sessions) -> Callable[[Any], dict]:
    """The function the canvas calls: {model, base, edits, page, stamp} -> {stamp, image, mime, words, names},
    {stamp, error} or {stamp, stale}.

    image: a sheet (base64) of two rows of pictures of 64x64: what the model makes without any field and by each field
    alone; below, the picture in hand and the heat map of each field over it, whose strongest change is HEAT. names of
    the factors and words on their heat maps, both in the order of the columns after the first.
    """
    def draw(request: Any) -> dict:
        stamp = request.get("stamp") if isinstance(request, dict) else None
        try:
            ask = parse(request)
            found = fields.fields(sessions.engine, ask.model, sessions.edited(ask), (ask.page, "fields"))
        except Refusal as refusal:
            return {"stamp": stamp, "error": str(refusal)}
        if found is None:
            return {"stamp": stamp, "stale": True}
        each = found.each.values()
        rows = [[found.none, *(field.alone for field in each)],
                [found.picture, *(over(found.picture, field.touched) for field in each)]]
        return {
            "stamp": stamp,
            "image": b64encode(pictures.png(pictures.sheet(np.array(rows)))).decode(),
            "mime": "image/png",
            "names": list(found.each),
            "words": [words(field.touched) for field in each],
        }

    draw.__name__ = "fields"
    return draw


def over(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map (64, 64) from 0 over a picture (64, 64, 3) uint8 in grey: (64, 64, 3) uint8."""
    share = (heat / max(heat.max(), 1e-6))[..., None]
    grey = DIM * picture.mean(2, keepdims=True)
    return (grey + share * (HEAT - grey)).round().astype(np.uint8)


def words(heat: np.ndarray) -> str:
    """How strong a heat map (64, 64) in grey levels is, and where."""
    return f"{heat.mean():.1f} grey levels; {halves(heat / max(heat.sum(), 1e-6))}"
