"""The live lane: a canvas that never waits for the server while a slider moves.

The browser asks for the film of a factor from end to end before the hand moves and turns its pages
locally (static/live.js); at rest one exact picture replaces the preview. The three functions below
are reached through Gradio's own component route, which honours `auth=`, and not through its queue.
Errors and timings are part of an answer; a newer request of the same page and kind replaces one
that still waits.
"""

import json
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gradio as gr

from app import pictures
from app.closer import far, fitter, warning
from app.fields import painter
from app.leak import meter
from app.mix import mixer
from app.session import Ask, Sessions, parse, sliders
from engine import Refusal
from engine import plane as planes

STATIC = Path(__file__).parent / "static"
FILM = 9        # frames of the film under a slider
STRIP = 33      # frames of the film that is scrubbed; cross-faded they are 57 dB from the true pictures

SCRIPTS = ("reel.js", "fitting.js", "stow.js", "history.js", "link.js", "rename.js", "deck.js", "leak.js", "pad.js",
           "mix.js", "fields.js", "stops.js", "closer.js", "live.js")


def script(*names: str) -> str:
    """Files of STATIC as one script: they share a scope, and the last one starts."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


def lanes(sessions: Sessions) -> list[Callable[[Any], dict]]:
    """The functions the canvas calls. Each takes a request {model, base, edits, factor, page,
    stamp} and answers {stamp, image (base64), mime, rows, frames, ms}, {stamp, error} or
    {stamp, stale}. An image is a sheet of `rows` films of `frames` pictures of 64x64."""
    engine = sessions.engine

    def films(request: Any) -> dict:
        """A short film for every slider, in one batch."""
        return answered(request, lambda ask: engine.films(
            ask.model, sessions.edited(ask), [f.name for f in sliders(engine.model(ask.model))],
            FILM, lane=(ask.page, "films"),
        ))

    def strip(request: Any) -> dict:
        """A long film for the factor in hand."""
        return answered(request, lambda ask: engine.films(
            ask.model, sessions.edited(ask), [ask.factor], STRIP, lane=(ask.page, "strip"),
        ))

    def frame(request: Any) -> dict:
        """The exact picture."""
        return answered(request, lambda ask: engine.refine(
            ask.model, sessions.edited(ask)[None], lane=(ask.page, "frame"),
        ))

    def plane(request: Any) -> dict:
        """A square of two factors, {axes: [across, up], count}: rows of films across, from low to high."""
        return answered(request, lambda ask: planes.plane(
            engine, ask.model, sessions.edited(ask), request.get("axes"), request.get("count"), (ask.page, "plane"),
        ))

    return [films, strip, frame, plane, meter(sessions), mixer(sessions), painter(sessions), fitter(sessions)]


def answered(request: Any, work: Callable[[Ask], Any]) -> dict:
    """Check a request, do the work on it and put what came of it into plain data."""
    stamp = request.get("stamp") if isinstance(request, dict) else None
    try:
        answer = work(parse(request))
        if answer.stale:
            return {"stamp": stamp, "stale": True}
        images = answer.get()
    except Refusal as refusal:
        return {"stamp": stamp, "error": str(refusal)}
    begun = time.perf_counter()
    exact = images.ndim == 4
    data = pictures.png(images[0]) if exact else pictures.jpeg(pictures.sheet(images))
    ms = {
        "waited": answer.waited_ms,
        "computed": answer.computed_ms,
        "encoded": 1e3 * (time.perf_counter() - begun),
    }
    return {
        "stamp": stamp,
        "image": b64encode(data).decode(),
        "mime": "image/png" if exact else "image/jpeg",
        "rows": 1 if exact else len(images),
        "frames": 1 if exact else images.shape[1],
        "ms": {name: round(value, 2) for name, value in ms.items()},
    }


def view(
    sessions: Sessions, model: str, base: str, edits: dict[str, float] | None = None, token: str = ""
) -> dict:
    """What the canvas shows when a page turns to this model and base with these edits: the value of LiveCanvas.
    `token` is what the page calls its wish by, if it was one of its own."""
    plain = sessions.draw(Ask(model, base, {}))
    image = sessions.draw(Ask(model, base, edits)) if edits else plain
    original = sessions.original(base)
    known = sessions.engine.model(model)
    strange = far(sessions, model, [base])
    return {
        "model": model,
        "warning": warning(sessions, model, "Your picture", strange[base]) if strange else "",
        "ways": list(known.ways),
        "divides": known.divides,
        "base": base,
        "edits": edits or {},
        "token": token,
        "link": sessions.portable(model, base),
        "factors": [asdict(dial) for dial in sessions.dials(model, base)],
        "image": b64encode(pictures.png(image)).decode(),
        "mime": "image/png",
        "plain": b64encode(pictures.png(plain)).decode() if edits else None,
        "original": None if original is None else b64encode(pictures.png(original)).decode(),
    }


class Place(str):
    """The base that a page stands on. `model` is what it shows it in, None if the page was last told a sentence."""

    def __new__(cls, base: str, model: str | None = None) -> "Place":
        place = super().__new__(cls, base)
        place.model = model
        return place


class LiveCanvas(gr.HTML):
    """The picture, drawn by static/live.js, and the buttons under it. It is selected when the page wishes to be
    turned to a state of its own, {state: {model, base, edits}, token}. Set it to a `view`, or to {base, notice} to
    say a sentence and change nothing; as an input it is the base the page stands on."""

    def __init__(self, sessions: Sessions, first: dict, **options: Any):
        super().__init__(
            value=first,
            html_template=(STATIC / "live.html").read_text(encoding="utf-8").replace("{first}", first["image"]),
            js_on_load=script(*SCRIPTS),
            server_functions=lanes(sessions),
            apply_default_css=False,
            **options,
        )

    def postprocess(self, value: dict | None) -> str | None:
        """A view as the JSON text that the page receives."""
        return None if value is None else json.dumps(value)

    def preprocess(self, payload: str | None) -> Place:
        """The base of the view that the page holds."""
        try:
            held = json.loads(payload)
            return Place(held["base"], held.get("model"))
        except (ValueError, TypeError, KeyError):
            raise gr.Error("The page lost its place; please load it again.", print_exception=False) from None
