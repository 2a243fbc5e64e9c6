"""What is inside content and style, for the tab "Swap": a slider for each principal direction of either, and the
samples that are closest in the one and in the other."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from app.session import BASE_LENGTH, SHORT, Sessions, sliders
from engine import Refusal, exchange, gallery

CLOSEST = 6         # samples shown of each kind
SIDES = ("content", "style")


def looker(sessions: Sessions) -> Callable[[Any], dict]:
    """The function by which a page asks."""

    def inside(request: Any) -> dict:
        """Of a picture {model, base}: {knobs: {side: sliders}, near: {side: numbers of samples}}, both for content
        and style; or {error: sentence}."""
        try:
            texts = [request.get(name) for name in ("model", "base")] if isinstance(request, dict) else [None]
            if not all(isinstance(text, str) and len(text) <= BASE_LENGTH for text in texts):
                raise Refusal("A model and a picture are given by their names.")
            return {"knobs": knobs(sessions, *texts), "near": near(sessions, *texts)}
        except Refusal as refusal:
            return {"error": str(refusal)}

    return inside


def knobs(sessions: Sessions, model: str, base: str) -> dict[str, list[dict]]:
    """The sliders of content and those of style, standing where the base has them."""
    role = {factor.name: factor.role for factor in sliders(sessions.engine.model(model))}
    dials = sessions.dials(model, base)
    return {side: [asdict(dial) for dial in dials if role[dial.name] == side] for side in SIDES}


def near(sessions: Sessions, model: str, base: str) -> dict[str, list[int]]:
    """Numbers of the samples whose content, and whose style, is closest to that of a base, itself left out."""
    known = sessions.engine.model(model)
    numbers = [i for i in range(len(gallery(known.data))) if base != f"gallery:{i}"]
    if not known.sides[1] or not numbers:
        return {side: [] for side in SIDES}
    codes = np.stack([sessions.code(model, f"gallery:{i}") for i in numbers])
    found = exchange.nearest(sessions.engine, model, sessions.code(model, base), codes, min(CLOSEST, len(numbers)))
    return {side: [numbers[i] for i in own] for side, own in zip(SIDES, found, strict=True)}


def moved(sessions: Sessions, model: str, base: str, edits: dict[str, float]) -> np.ndarray:
    """The code (D,) of a base with some of its sliders set."""
    code = sessions.code(model, base)
    return sessions.engine.edit(model, code, edits) if edits else code


def edits_of(request: dict) -> dict[str, dict[str, float]]:
    """What a request sets of the pictures A and B, by the names of factors; raises Refusal. Factors and values are
    the engine's to check."""
    given = request.get("edits", {})
    sets = [given.get(slot, {}) for slot in "ab"] if isinstance(given, dict) else [None]
    if not all(isinstance(own, dict) and all(isinstance(k, str) and len(k) <= SHORT for k in own) for own in sets):
        raise Refusal("Edits are objects of factor names and values, one for each of the two pictures.")
    return dict(zip("ab", sets, strict=True))
