"""The leak meter: after an edit, which other factors moved with it, as the model itself reads its pictures."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from app.session import CODES, Sessions, parse, sliders
from engine import Refusal, leak


def meter(sessions: Sessions) -> Callable[[Any], dict]:
    """The function the canvas calls at rest: {model, base, edits, page, stamp} -> {stamp, asked, read}, {stamp, error}
    or {stamp, stale}. `asked` is how far the edits move each factor that has a slider, `read` how much further along
    it the model finds the edited picture than the unedited one; both in shares of the factor's range, by its name."""
    engine = sessions.engine

    @lru_cache(CODES)
    def unedited(model: str, base: str) -> np.ndarray:
        return leak.reading(engine, model, sessions.code(model, base)).get()[0]

    def leaks(request: Any) -> dict:
        stamp = request.get("stamp") if isinstance(request, dict) else None
        try:
            ask = parse(request)
            own, code = sessions.code(ask.model, ask.base), sessions.edited(ask)
            answer = leak.reading(engine, ask.model, code, (ask.page, "leak"))
            if answer.stale:
                return {"stamp": stamp, "stale": True}
            factors = sliders(engine.model(ask.model))
            asked = leak.shifts(factors, own, code)
            read = leak.shifts(factors, unedited(ask.model, ask.base), answer.get()[0])
        except Refusal as refusal:
            return {"stamp": stamp, "error": str(refusal)}
        return {"stamp": stamp, "asked": asked, "read": read}

    return leaks
