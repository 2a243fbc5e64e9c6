"""Latent arithmetic on the page: some sample pictures minus others, as one more slider for the picture in hand."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from app.session import Sessions, parse, sliders
from engine import Refusal, difference, gallery

MOST = 24           # pictures added, and pictures taken away
DRAWN = 24          # random pictures that stand for many where a data set has no samples


def mixer(sessions: Sessions) -> Callable[[Any], dict]:
    """The function the canvas calls: {model, base, edits, plus, minus, stamp}, the last two lists of bases, -> {stamp,
    steps, covered, mean, spread, aside, count} as of `engine.difference`, or {stamp, error}. `count` pictures of
    the data set were measured."""
    def mix(request: Any) -> dict:
        stamp = request.get("stamp") if isinstance(request, dict) else None
        try:
            model = parse(request).model
            plus, minus = (np.stack([sessions.code(model, base) for base in chosen(request.get(side))])
                           for side in ("plus", "minus"))
            bases = many(sessions, model)
            known = sessions.engine.model(model)
            found = difference.difference(sessions.engine, model, plus, minus, sliders(known), bases)
        except Refusal as refusal:
            return {"stamp": stamp, "error": str(refusal)}
        return {"stamp": stamp, **asdict(found), "count": len(bases)}

    return mix


def many(sessions: Sessions, model: str) -> np.ndarray:
    """Codes (B, D) of the sample images of a model's data set, or of random images where it has none."""
    count = len(gallery(sessions.engine.model(model).data))
    bases = [f"gallery:{i}" for i in range(count)] or [f"seed:{i}" for i in range(DRAWN)]
    return np.stack([sessions.code(model, base) for base in bases])


def chosen(bases: Any) -> list[str]:
    """The pictures of one side, as they came from the browser, checked for their number; raises Refusal."""
    if not isinstance(bases, list) or not 1 <= len(bases) <= MOST:
        raise Refusal(f"Choose from 1 to {MOST} pictures to add, and from 1 to {MOST} to take away.")
    return bases
