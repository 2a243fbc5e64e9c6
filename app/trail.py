"""The picture on the sliders as it stands on the maps: a ring, and the path of one factor from its low to its high end.

static/trail.js follows the page's sliders and asks once for a path; while the hand moves the ring slides along it in
the browser, so nothing waits for the server. On the map of another model the same pictures are followed: drawn by the
model whose sliders they are, and encoded by the other.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr
import numpy as np

from app.live import STATIC
from app.points import unit
from app.session import Ask, Sessions, parse
from engine import LatentMap, Refusal

STEPS = 33          # places along a path
MAPS = 2            # that are followed at a time
TEMPLATE = """
<canvas width="64" height="64" role="img" aria-label="The picture on the sliders"></canvas>
<div><label>Path of <select aria-label="Factor whose path is drawn"></select></label>
<input type="range" aria-label="Factor from low to high"><p class="said" role="status" aria-live="polite"></p></div>
"""


class Trail(gr.HTML):
    """The small picture and its path, beside a PointCloud. Set it to a `trail`. find: maps by their names."""

    def __init__(self, sessions: Sessions, find: Callable[[str], LatentMap], **options: Any):
        super().__init__(
            value={"maps": []},
            html_template=TEMPLATE,
            js_on_load=(STATIC / "trail.js").read_text(encoding="utf-8"),
            server_functions=[tracer(sessions, find)],
            apply_default_css=False,
            elem_classes=["trail"],
            **options,
        )

    def postprocess(self, value: dict | None) -> str | None:
        """A trail as the JSON text that the page receives."""
        return None if value is None else json.dumps(value)


def trail(sessions: Sessions, maps: list[str], model: str, dims: int) -> dict:
    """What a Trail shows: the factors of `model` that have a slider, and the names of the maps in whose clouds it is
    drawn, each with its cloud's key."""
    factors = [asdict(dial) for dial in sessions.dials(model, sessions.start(model))]
    return {"maps": maps, "keys": [f"{name}/{dims}" for name in maps], "model": model, "dims": dims, "factors": factors}


def tracer(sessions: Sessions, find: Callable[[str], LatentMap]) -> Callable[[Any], dict]:
    """The function the browser calls: {model, base, edits, factor, maps, dims} -> for each of the named maps where the
    edited picture is and how strange it is, {here, strange}, and with a factor the same for STEPS places of it from
    low to high, {path, strangeness}: {maps: [...]}, or {error}. Places are in the cloud's own coordinates, [0, 1].
    More than 1 is strange."""
    def trace(request: Any) -> dict:
        try:
            ask = parse(request)
            names, dims = request.get("maps"), 3 if request.get("dims") == 3 else 2
            if not isinstance(names, list) or not 1 <= len(names) <= MAPS or not all(isinstance(n, str) for n in names):
                raise Refusal("Maps are given by their names.")
            code = sessions.edited(ask)
            codes = np.stack([code, *along(sessions, ask.model, code, ask.factor)])
            return {"maps": [placed(find(name), translated(sessions, ask, codes, find(name).model), dims)
                             for name in names]}
        except Refusal as refusal:
            return {"error": str(refusal)}

    return trace


def placed(made: LatentMap, codes: np.ndarray, dims: int) -> dict:
    """Where codes (1 + K, D) lie on a map: the first is the picture, the others its path."""
    places, strange = made.place(codes, dims)
    places, strange = unit(places, made.places(dims)).round(5).tolist(), strange.round(3).tolist()
    return {"here": places[0], "strange": strange[0], "path": places[1:], "strangeness": strange[1:]}


def translated(sessions: Sessions, ask: Ask, codes: np.ndarray, model: str) -> np.ndarray:
    """Codes (1 + K, D) of the model that is asked about as `model` has them: it reads what the other draws, or the
    picture itself as long as nothing is edited."""
    if model == ask.model:
        return codes
    engine = sessions.engine
    images = engine.decode(ask.model, codes).get()
    own = None if ask.edits else sessions.pixels(ask.model, ask.base)
    if own is not None:
        images = np.concatenate([own[None], images[1:]])
    return engine.encode(model, images).get()


def along(sessions: Sessions, model: str, code: np.ndarray, name: str) -> list[np.ndarray]:
    """A code (D,) with one factor set from its low to its high end: STEPS codes, or none for no name."""
    if not name:
        return []
    found = [f for f in sessions.engine.model(model).sliders if f.name == name]
    if not found:
        raise Refusal(f"Model '{model}' has no slider called '{name}'.")
    values = np.linspace(found[0].low, found[0].high, STEPS)
    return [sessions.engine.edit(model, code, {name: float(value)}) for value in values]
