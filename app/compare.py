"""The tab "Compare": one picture through several models, their factors side by side where they mean the same.

The page keeps what is ticked, the picture and the edits of each model, and sends them along with every request. A
picture of any origin is turned into one that every model can be given: its pixels, kept as those of uploads are.
Films, strips and exact pictures come through the functions of `app.live`, one page of its own for each column.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict
from html import escape
from math import log10
from typing import Any

import gradio as gr
import numpy as np

from app import pictures
from app.explore import FORMATS, samples
from app.live import STATIC, lanes, script
from app.scores import facts, parameters, size, table
from app.session import Ask, Sessions, data_title, parse
from app.swap import taken
from app.uploads import MAX_BYTES, TOO_HEAVY
from engine import Refusal, alignment

AT_FIRST = 2        # models that are ticked when the tab opens
SCRIPTS = ("reel.js", "asking.js", "alike.js", "sort.js", "compare.js")
LIVE = ("films", "strip", "frame")
WHY = {
    "label": "told by the same label",
    "readings": "read alike on the samples",
    "pictures": "the same is seen to happen",
}
LOUDEST = 99.0      # dB that stand for a perfect picture


class Compare(gr.HTML):
    """The tab inside the current Blocks."""

    def __init__(self, sessions: Sessions, **options: Any):
        template = (STATIC / "compare.html").read_text(encoding="utf-8")
        parts = {"table": table(list(sessions.engine.models.values())), "formats": ",".join(FORMATS),
                 "most": str(alignment.MOST)}
        for name, text in parts.items():
            template = template.replace(f"{{{name}}}", text)
        super().__init__(
            value=opening(sessions), html_template=template,
            js_on_load=script(*SCRIPTS),
            server_functions=[*(door for door in lanes(sessions) if door.__name__ in LIVE), *doors(sessions)],
            apply_default_css=False, **options,
        )


def opening(sessions: Sessions) -> str:
    """What the page needs to know to begin, as JSON text. Which models it begins with is the page's choice: the one
    whose sliders are shown, beside others of its data set."""
    known = sorted(sessions.engine.models.values(), key=lambda model: model.size)  # quick ones first
    models = [{"name": m.name, "title": m.title, "data": data_title(m)} for m in known]
    return json.dumps({"models": models, "first": AT_FIRST, "most": alignment.MOST, "bytes": MAX_BYTES,
                       "heavy": TOO_HEAVY})


def doors(sessions: Sessions) -> list[Callable[[Any], dict]]:
    """The functions the page calls besides those of `app.live`; each answers in plain data, or {error: sentence}."""
    engine = sessions.engine

    def source(request: Any) -> dict:
        """The picture of a page's state {model, base, edits} as one for every model: {base, image}. Without edits it
        is the picture itself, where there is one, and not what the model makes of it."""
        def work() -> dict:
            ask = parse(request)
            own = None if ask.edits else sessions.pixels(ask.model, ask.base)
            return picture(sessions, sessions.draw(ask) if own is None else own)
        return answered(work)

    def take(request: Any) -> dict:
        """A file {file: base64} as such a picture."""
        answer = taken(sessions, request)
        return answer if "error" in answer else picture(sessions, sessions.original(answer["base"]))

    def shelf(request: Any) -> dict:
        """The samples of the data set of {model}, as a row of buttons: {html}."""
        return answered(lambda: {"html": samples(engine.model(asked(request).model).data)})

    def column(request: Any) -> dict:
        """A model on a picture {model, base}: its sliders, its figures, and how well it rebuilds the picture."""
        return answered(lambda: described(sessions, request))

    def rows(request: Any) -> dict:
        """The factors that {models} share: {rows: [{factors, why}]}."""
        def work() -> dict:
            models = request.get("models") if isinstance(request, dict) else None
            if not isinstance(models, list) or not all(isinstance(name, str) for name in models):
                raise Refusal("Models are given as a list of names.")
            found = alignment.align(engine, models)
            return {"rows": [{"factors": list(row.factors), "why": why(row)} for row in found]}
        return answered(work)

    def speed(request: Any) -> dict:
        """How long a model takes on a picture {model, base}, measured now."""
        def work() -> dict:
            ask = asked(request)
            return asdict(alignment.speed(engine, ask.model, sessions.face(ask.model, ask.base)))
        return answered(work)

    return [source, take, shelf, column, rows, speed]


def asked(request: Any) -> Ask:
    """A request {model, base} without edits, checked; raises Refusal."""
    return parse({"edits": {}, "base": ""} | request if isinstance(request, dict) else request)


def answered(work: Callable[[], dict]) -> dict:
    """What the work says; a refusal becomes {error}."""
    try:
        return work()
    except Refusal as refusal:
        return {"error": str(refusal)}


def picture(sessions: Sessions, image: np.ndarray) -> dict:
    """A picture (64, 64, 3) uint8, kept, by the base that every model knows it by."""
    return {"base": sessions.keep(np.ascontiguousarray(image)), "image": b64encode(pictures.png(image)).decode()}


def described(sessions: Sessions, request: Any) -> dict:
    """What `column` answers."""
    ask = asked(request)
    known, image = sessions.engine.model(ask.model), sessions.face(ask.model, ask.base)
    drawn = sessions.engine.refine(ask.model, sessions.code(ask.model, ask.base)[None]).get()[0]
    return {
        "title": known.title, "name": known.name, "data": data_title(known), "size": size(known),
        "parameters": parameters(known), "psnr": round(psnr(image, drawn, known.channels), 1), "facts": facts(known),
        "factors": [asdict(dial) for dial in sessions.dials(ask.model, ask.base)],
        "image": b64encode(pictures.png(drawn)).decode(), "mime": "image/png",
        "paper": f"{escape(known.paper.authors)} ({known.paper.year})",
    }


def psnr(image: np.ndarray, drawn: np.ndarray, channels: int = 3) -> float:
    """Peak signal-to-noise ratio in dB of two pictures (64, 64, 3) uint8; of the grey one where a model knows no
    colour. LOUDEST for equal ones."""
    given = image.astype(float)
    if channels == 1:
        given = np.repeat(given.mean(2, keepdims=True), 3, 2)
    error = ((given - drawn) ** 2).mean()
    return 10 * log10(255**2 / error) if error else LOUDEST


def why(row: alignment.Row) -> str:
    """Why factors stand in one row, in a few words."""
    strength = f", R² at least {row.strength:.2f}" if row.reason == "label" else (
        f", |r| at least {row.strength:.2f}" if row.reason == "readings" else "")
    return WHY[row.reason] + strength
