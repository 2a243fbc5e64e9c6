"""The picture on the sliders as it stands on the map: a ring, and the path of one factor from its low to its high end.

static/trail.js follows the page's sliders and asks once for a path; while the hand moves the ring slides along it in
the browser, so nothing waits for the server.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import gradio as gr
import numpy as np

from app.live import STATIC
from app.points import unit
from app.session import Sessions, parse
from engine import Refusal, map_of

STEPS = 33          # places along a path
TEMPLATE = """
<canvas width="64" height="64" role="img" aria-label="The picture on the sliders"></canvas>
<div><label>Path of <select aria-label="Factor whose path is drawn"></select></label>
<input type="range"><p class="said" role="status" aria-live="polite"></p></div>
"""


class Trail(gr.HTML):
    """The small picture and its path, beside a PointCloud. Set it to a `trail`."""

    def __init__(self, sessions: Sessions, **options: Any):
        super().__init__(
            value={"key": ""},
            html_template=TEMPLATE,
            js_on_load=(STATIC / "trail.js").read_text(encoding="utf-8"),
            server_functions=[tracer(sessions)],
            apply_default_css=False,
            elem_classes=["trail"],
            **options,
        )

    def postprocess(self, value: dict | None) -> str | None:
        """A trail as the JSON text that the page receives."""
        return None if value is None else json.dumps(value)


def trail(sessions: Sessions, key: str, model: str, dims: int) -> dict:
    """What a Trail shows: the factors of `model` that have a slider, and the `key` of the cloud it is drawn on."""
    factors = [asdict(dial) for dial in sessions.dials(model, sessions.start(model))]
    return {"key": key, "model": model, "dims": dims, "factors": factors}


def tracer(sessions: Sessions) -> Callable[[Any], dict]:
    """The function the browser calls: {model, base, edits, factor, dims} -> where the edited picture is on the map
    of the model and how strange it is, {here, strange}, and with a factor the same for STEPS places of it from low to
    high, {path, strangeness}; or {error}. Places are in the cloud's own coordinates, [0, 1]. More than 1 is strange."""
    def trace(request: Any) -> dict:
        try:
            ask = parse(request)
            made, code = map_of(ask.model), sessions.edited(ask)
            dims = 3 if request.get("dims") == 3 else 2
            codes = np.stack([code, *along(sessions, ask.model, code, ask.factor)])
        except Refusal as refusal:
            return {"error": str(refusal)}
        places, strange = made.place(codes, dims)
        places, strange = unit(places, made.places(dims)).round(5).tolist(), strange.round(3).tolist()
        return {"here": places[0], "strange": strange[0], "path": places[1:], "strangeness": strange[1:]}

    return trace


def along(sessions: Sessions, model: str, code: np.ndarray, name: str) -> list[np.ndarray]:
    """A code (D,) with one factor set from its low to its high end: STEPS codes, or none for no name."""
    if not name:
        return []
    found = [f for f in sessions.engine.model(model).sliders if f.name == name]
    if not found:
        raise Refusal(f"Model '{model}' has no slider called '{name}'.")
    values = np.linspace(found[0].low, found[0].high, STEPS)
    return [sessions.engine.edit(model, code, {name: float(value)}) for value in values]
