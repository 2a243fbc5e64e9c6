"""The tab "Rebuild": a target picture, the sliders that can reach it, and how many moves it takes.

The page keeps where its sliders stand, the clock and the list of moves; the server keeps nothing: a target follows from
its seed. What a film strip shows is asked of app.live's own function. How near a picture is, is measured when a slider
rests, by engine.rebuild, on the picture that is shown.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import gradio as gr
import numpy as np

from app import pictures
from app.explore import PRIVATE
from app.live import STATIC, lanes, script
from app.session import Ask, Sessions, data_title, parse, sliders, whole_seed
from engine import Refusal, gallery, rebuild

INTRO = """
<h2>Rebuild this image</h2>
<p>How disentangled does a model feel? Three rounds, about two minutes: one, then two, then three factors of a picture
were set elsewhere; find them with the sliders. A move is one slider taken in hand, however far it goes: where every
slider does one thing, a round of two factors takes two moves. Nothing is kept but in this tab of your browser, where
you can download all your moves.</p>
"""


@dataclass(frozen=True)
class Deal:
    """One round: where it starts and where it goes."""

    ask: Ask                    # of the page, with its edits
    target: dict[str, float]    # values of the factors that were set elsewhere, by name
    seed: int
    round: int


class Rebuild:
    """The tab inside the current Blocks. `picker` is the model picker, which opens on `model`."""

    def __init__(self, sessions: Sessions, picker: gr.Dropdown, model: str):
        self.sessions = sessions
        with gr.Column(elem_id="rebuild"):
            gr.HTML(INTRO, apply_default_css=False, elem_id="rebuild-intro")
            stage = gr.HTML(
                opening(sessions, model), html_template=(STATIC / "rebuild.html").read_text("utf-8"),
                js_on_load=script("reel.js", "stow.js", "rebuild.js"), server_functions=doors(sessions),
                apply_default_css=False, elem_id="rebuild-stage",
            )
        picker.change(lambda name: opening(sessions, name), picker, stage, **PRIVATE)


def opening(sessions: Sessions, model: str) -> str:
    """What the page needs to know of a model, as JSON text."""
    known = sessions.engine.model(model)
    return json.dumps({"model": model, "title": f"{known.title} ({known.name}), {data_title(known)}",
                       "rounds": list(rebuild.ROUNDS), "won": rebuild.WON})


def doors(sessions: Sessions) -> list[Callable[[Any], dict]]:
    """The functions the page calls. `deal` and `look` take {model, seed, round, edits}; `films` is app.live's."""
    def deal(request: Any) -> dict:
        """A round: {base, factors, changed, target, image}; factors are dials, pictures PNG in base64."""
        def work(dealt: Deal) -> dict:
            start, target = (encoded(picture) for picture in drawings(sessions, dealt, [{}, dealt.target]))
            dials = sessions.dials(dealt.ask.model, dealt.ask.base)
            return {"base": dealt.ask.base, "factors": [asdict(dial) for dial in dials], "changed": len(dealt.target),
                    "target": target, "image": start}
        return answered(sessions, request, work)

    def look(request: Any) -> dict:
        """The exact picture for the edits and how near it is: {image, picture, factors, won}; 1 is there."""
        def work(dealt: Deal) -> dict:
            three = drawings(sessions, dealt, [{}, dealt.ask.edits, dealt.target])
            return {"image": encoded(three[1]), **nearness(sessions, dealt, *three)}
        return answered(sessions, request, work)

    films = next(function for function in lanes(sessions) if function.__name__ == "films")
    return [deal, look, films]


def answered(sessions: Sessions, request: Any, work: Callable[[Deal], dict]) -> dict:
    """Check a request and do the work on it; a refusal becomes {error}."""
    try:
        return work(dealt(sessions, request))
    except Refusal as refusal:
        return {"error": str(refusal)}


def dealt(sessions: Sessions, request: Any) -> Deal:
    """A request as it came from the browser, checked, with the target that follows from it; raises Refusal."""
    if not isinstance(request, dict):
        raise Refusal("A request is an object with a model, a seed and a round.")
    seed, number = whole_seed(request.get("seed")), request.get("round")
    if type(number) is not int or number not in range(len(rebuild.ROUNDS)):
        raise Refusal(f"Rounds are numbered from 0 to {len(rebuild.ROUNDS) - 1}.")
    model = request.get("model")
    known = sessions.engine.model(model)
    count = len(gallery(known.data))
    base = f"gallery:{np.random.default_rng([seed, number]).integers(count)}" if count else f"seed:{seed}"
    ask = parse({"model": model, "base": base, "edits": request.get("edits", {})})
    values = sessions.values(model, base)
    return Deal(ask, rebuild.deal(sliders(known), values, rebuild.ROUNDS[number], seed), seed, number)


def nearness(sessions: Sessions, dealt: Deal, begun: np.ndarray, here: np.ndarray, there: np.ndarray) -> dict:
    """How much of the way from the picture it `begun` with to the one `there` is done `here`, in pictures and in codes,
    and whether that is enough."""
    model, base = dealt.ask.model, dealt.ask.base
    table = sliders(sessions.engine.model(model))
    start = sessions.values(model, base)
    now, goal = start | dealt.ask.edits, start | dealt.target
    left, whole = rebuild.between_pictures(np.stack([here, begun]), there).tolist()
    picture = rebuild.removed(left, whole)
    factors = rebuild.removed(rebuild.between_codes(table, now, goal), rebuild.between_codes(table, start, goal))
    return {"picture": round(picture, 4), "factors": round(factors, 4), "won": picture >= rebuild.WON}


def drawings(sessions: Sessions, dealt: Deal, edits: list[dict[str, float]]) -> np.ndarray:
    """The pictures (B, 64, 64, 3) uint8 of the start with several sets of edits."""
    code, model = sessions.code(dealt.ask.model, dealt.ask.base), dealt.ask.model
    return sessions.engine.refine(model, np.stack([sessions.engine.edit(model, code, e) for e in edits])).get()


def encoded(picture: np.ndarray) -> str:
    """A picture (64, 64, 3) uint8 as a PNG in base64."""
    return b64encode(pictures.png(picture)).decode()
