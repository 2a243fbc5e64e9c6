"""The panel "Save" of the tab "Explore": the picture, a traversal sheet, a film or a program, made by the engine.

A request is the state of the page, {model, base, edits, names}, checked like any other, and what is wanted of it. The
functions of `doors` are reached through Gradio's own component route, which honours `auth=`; what they make goes to
the browser and is kept nowhere. Every file says where it comes from, and a saved PNG that is opened again brings the
sliders back (`reopened`).
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np

from app.live import STATIC, script
from app.session import CLOSER, UPLOAD, Ask, Sessions, parse, sliders
from engine import Refusal, figures, films, provenance, snippet

ROWS, COLUMNS = 10, 11          # of a sheet, unless asked for others
LONGEST_NAME = 40               # characters of a factor's name
MIMES = {"png": "image/png", "svg": "image/svg+xml", "gif": "image/gif", "mp4": "video/mp4", "py": "text/x-python"}
REEL = "keyframes"              # the path of a film that goes from keyframe to keyframe


class Exports(gr.HTML):
    """The panel, closed at first."""

    def __init__(self, sessions: Sessions, **options: Any):
        template = (STATIC / "exports.html").read_text(encoding="utf-8")
        for name, value in {"rows": ROWS, "columns": COLUMNS}.items():
            template = template.replace(f"{{{name}}}", str(value))
        super().__init__(
            value="", html_template=template, js_on_load=script("asking.js", "stow.js", "exports.js"),
            server_functions=doors(sessions), apply_default_css=False, **options,
        )


def doors(sessions: Sessions) -> list[Callable[[Any], dict]]:
    """The functions the panel calls. Each answers {file (base64), mime, name}, {error: sentence} or {stale}."""
    engine = sessions.engine

    def picture(request: Any) -> dict:
        """The exact picture as PNG: {side, smooth}."""
        def work(ask: Ask, names: dict[str, str]) -> dict:
            own = origin(sessions, ask, names, side=request.get("side", 64), smooth=request.get("smooth", False))
            return file(provenance.png(provenance.redraw(engine, own), own), "png", ask.model)
        return answered(request, work)

    def sheet(request: Any) -> dict:
        """The first factors, by their rank, at as many values each: {rows, columns, format: png or svg}."""
        def work(ask: Ask, names: dict[str, str]) -> dict:
            rows, columns = request.get("rows", ROWS), request.get("columns", COLUMNS)
            kind = chosen(request, "png", "svg")
            if type(rows) is not int or rows < 1:
                raise Refusal("A sheet has one factor or more.")
            shown = [factor.name for factor in sliders(engine.model(ask.model))[:rows]]
            own = origin(sessions, ask, names, made={"kind": "sheet", "factors": shown, "columns": columns})
            made = figures.sheet(engine, ask.model, own.code, shown, columns, names, (ask.page, "save"))
            return file({"png": figures.as_png, "svg": figures.as_svg}[kind](made, own), kind, ask.model, "sheet")
        return answered(request, work)

    def film(request: Any) -> dict:
        """There and back along {factor}, or where that is "keyframes" through {keyframes: [{model, base, edits}]}:
        {side, smooth, format: gif or mp4}."""
        def work(ask: Ask, names: dict[str, str]) -> dict:
            lane, reel, kind = (ask.page, "save"), ask.factor == REEL, chosen(request, "gif", "mp4")
            stops = keyframes(request, ask.model) if reel else []
            made = {"kind": "film", "frames a second": films.FPS}
            made |= {"keyframes": [{"base": stop.base, "edits": stop.edits} for stop in stops]} if reel else {
                "factor": ask.factor}
            own = origin(sessions, ask, names, side=request.get("side", 256), smooth=request.get("smooth", False),
                         made=made)
            drawn = films.through(engine, ask.model, np.stack([sessions.edited(stop) for stop in stops]), lane) \
                if reel else films.along(engine, ask.model, own.code, ask.factor, lane)
            return file({"gif": films.gif, "mp4": films.mp4}[kind](drawn, own), kind, ask.model, ask.factor)
        return answered(request, work)

    def program(request: Any) -> dict:
        """The picture as a program."""
        def work(ask: Ask, names: dict[str, str]) -> dict:
            own = origin(sessions, ask, names)
            text = snippet.as_python(engine, own, sessions.code(ask.model, ask.base))
            return file(text.encode(), "py", ask.model)
        return answered(request, work)

    return [picture, sheet, film, program]


def answered(request: Any, work: Callable[[Ask, dict[str, str]], dict]) -> dict:
    """Check a request and do the work on it; a refusal becomes {error}."""
    try:
        ask = parse(request)
        return work(ask, named(request.get("names", {})))
    except Refusal as refusal:
        return {"error": str(refusal)}


def named(names: Any) -> dict[str, str]:
    """What the user calls factors, checked, without what cannot be printed; raises Refusal."""
    if not isinstance(names, dict) or not all(
            isinstance(text, str) and len(text) <= LONGEST_NAME and len(factor) <= LONGEST_NAME
            for factor, text in names.items()):
        raise Refusal(f"Names are texts of at most {LONGEST_NAME} characters by the names of factors.")
    return {factor: "".join(filter(str.isprintable, text)) for factor, text in names.items()}


def chosen(request: dict, *kinds: str) -> str:
    """The format asked for, the first of `kinds` unless it is said; raises Refusal."""
    kind = request.get("format", kinds[0])
    if kind not in kinds:
        raise Refusal(f"This can be saved as {' or '.join(map(str.upper, kinds))}.")
    return kind


def keyframes(request: dict, model: str) -> list[Ask]:
    """The states a film goes through, checked; raises Refusal."""
    given = request.get("keyframes")
    if not isinstance(given, list) or not 2 <= len(given) <= films.KEYFRAMES:
        raise Refusal(f"A film goes through 2 to {films.KEYFRAMES} keyframes; add them first.")
    stops = [parse(state) for state in given]
    if any(stop.model != model for stop in stops):
        raise Refusal("All keyframes of a film must be of the same model.")
    return stops


def origin(sessions: Sessions, ask: Ask, names: dict[str, str], **more: Any) -> provenance.Origin:
    """Where the picture a page asks for comes from; raises Refusal."""
    return provenance.origin(sessions.engine, ask.model, ask.base, sessions.edited(ask), ask.edits, names=names,
                             picture=sessions.original(ask.base), **more)


def file(data: bytes, kind: str, model: str, what: str = "") -> dict:
    """The bytes of a file as a page receives them."""
    name = "-".join(filter(None, ["unravel", model, what]))
    return {"file": b64encode(data).decode(), "mime": MIMES[kind], "name": f"{name}.{kind}"}


def reopened(sessions: Sessions, data: bytes) -> str:
    """The state {model, base, edits, names} that an uploaded file was saved from, as JSON; "" if it says nothing of
    it, or is of a model that is not here or that has other weights: then it is a picture like any other."""
    try:
        own = provenance.of(data)
        if own is None or sessions.engine.model(own.model).weights != own.weights:
            return ""
        base = own.base if own.picture is None else sessions.keep(own.picture)
        if own.base.startswith(CLOSER):
            base = base.replace(UPLOAD, CLOSER, 1)
        state = {"model": own.model, "base": base, "edits": own.edits, "names": named(own.names)}
        sessions.edited(parse(state))
    except Refusal:
        return ""
    return json.dumps(state)
