"""The tab "Swap": two pictures that exchange content and style, and a matrix of more.

The page keeps which pictures it shows and where its sliders stand, and sends that along with every request;
the server keeps nothing for it but the pixels of uploads. The five functions of `doors` are reached through
Gradio's own component route, which honours `auth=`, as those of `app.live` are. What a model means by content
and style is what `engine.evaluate` measured, in a sentence.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from typing import Any

import gradio as gr
import numpy as np

from app import pictures
from app.closer import far, fitter, warning
from app.explore import FORMATS, PRIVATE, samples
from app.insides import edits_of, looker, moved
from app.live import STATIC, script
from app.session import BASE_LENGTH, SHORT, Sessions, base_of, sliders
from app.uploads import MAX_BYTES, TOO_HEAVY, UNREADABLE, Refused, open_upload
from engine import Factor, Model, Refusal, exchange, gallery

INTRO = """
<h2>Swap</h2>
<p>Two pictures, taken apart and put together with the style of the other. Choose each from the samples, or drop files
on them; the sliders go from a picture's own part to the other's. Below, every content meets every style.</p>
"""
MOST = 8            # contents, and styles, of the matrix
NEW = 8             # new contents at a time
OTHER = 12          # the sample that a page opens with as its second picture
CLEAR, CARRIED = 0.2, 0.5  # by which one correlation must exceed the other for a factor to belong to a side, and be it
TILE = 64           # pixels of a picture


@dataclass(frozen=True)
class Wish:
    """A checked request of the page. Names of factors, and shares, are the engine's to check."""

    model: str
    a: str                      # bases of the two pictures
    b: str
    contents: tuple[str, ...]   # bases of further ones
    styles: tuple[str, ...]
    names: list[str]            # factors that are style, for a model that does not tell by itself
    content: float              # share of the other's content, 0 to 1
    style: float
    page: str
    edits: dict[str, dict[str, float]]  # of the sliders of "a" and of "b"


class Swap:
    """The tab inside the current Blocks. `picker` is the model picker, which opens on `model`."""

    def __init__(self, sessions: Sessions, picker: gr.Dropdown, model: str):
        self.sessions = sessions
        known = sessions.engine.model(model)
        with gr.Column(elem_id="swap"):
            gr.HTML(INTRO, apply_default_css=False, elem_id="swap-intro")
            self.meaning = gr.HTML(meaning(known), apply_default_css=False, elem_id="swap-meaning")
            self.names = choices(known)
            self.stage = gr.HTML(
                opening(sessions, model),
                html_template=(STATIC / "swap.html").read_text("utf-8").replace("{formats}", ",".join(FORMATS)),
                js_on_load=script("reel.js", "asking.js", "fitting.js", "insides.js", "swap.js"),
                server_functions=doors(sessions), apply_default_css=False, elem_id="swap-stage",
            )
        self.outputs = [self.meaning, self.names, self.stage]
        picker.change(self.turn, picker, self.outputs, **PRIVATE)
        self.names.input(None, self.names, js="(names) => { window.unravelSwap.choose(names); }", **PRIVATE)

    def turn(self, model: str) -> list[Any]:
        """Updates for all outputs that show another model. The page keeps its pictures where it can."""
        try:
            known = self.sessions.engine.model(model)
            return [meaning(known), choices(known), opening(self.sessions, model)]
        except Refusal as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None


def opening(sessions: Sessions, model: str) -> str:
    """What the page needs to know to begin with a model, as JSON text."""
    known = sessions.engine.model(model)
    count = len(gallery(known.data))
    first = sessions.start(model)
    return json.dumps({
        "model": model, "samples": samples(known.data), "count": count,
        "a": first, "b": f"gallery:{min(OTHER, count - 1)}" if count else "seed:1",
        "names": styled(known), "imagines": known.imagines, "sided": bool(known.sides[1]), "most": MOST,
        "bytes": MAX_BYTES, "heavy": TOO_HEAVY,
    })


def choices(known: Model) -> gr.CheckboxGroup:
    """The factors that may be style, ticked as a page opens; hidden where the model knows by itself."""
    shown = [] if known.sides[1] else sliders(known)
    return gr.CheckboxGroup(
        [(name_of(known, factor), factor.name) for factor in shown], value=styled(known), visible=bool(shown),
        label="Style is what is ticked; all else is content", elem_id="swap-names",
    )


def styled(known: Model) -> list[str]:
    """The factors that count as style when a page opens: the stronger half."""
    shown = [] if known.sides[1] else sliders(known)
    return [factor.name for factor in shown[:(len(shown) + 1) // 2]]


def name_of(known: Model, factor: Factor) -> str:
    """What a factor is called on the page: as the sliders call it, and by its place in the code."""
    named = known.names.get(factor.name)
    return f"{named.name if named else f'Factor {factor.rank + 1}'} ({factor.name})"


def meaning(known: Model) -> str:
    """What content and style mean for a model, from measurement, in a sentence of HTML."""
    if not known.sides[1]:
        what = ("The factors are called what was measured of them." if known.names
                else "What the factors mean is not measured yet.")
        return f"<p>This model has factors and does not tell content from style: you do, below. {what}</p>"
    told = {name.removeprefix("read "): best for name, best in known.scores.items() if name.startswith("read ")}
    found: dict[str, list[tuple[str, float, float, float]]] = {"content": [], "style": [], "neither": []}
    for factor, best in told.items():
        both = {side: known.scores.get(f"swap {factor} {side}") for side in ("content", "style")}
        if None in both.values():
            continue
        side, other = sorted(both, key=both.get, reverse=True)
        clear = both[side] - both[other] >= CLEAR and both[side] >= CARRIED
        found[side if clear else "neither"].append((f"<b>{escape(factor)}</b>", both[side], both[other], best))
    parts = []
    for side, rows in found.items():
        if rows:
            names, own, others, bests = zip(*rows, strict=True)
            verb, giver = (("neither clearly carries", "one of the two") if side == "neither" else
                           (f"{side} carries", f"the picture that gave {side}"))
            parts.append(f"{verb} the {listed(names)} ({span(own)} with {giver}, {span(others)} with the other, "
                         f"{span(bests)} on real pictures)")
    if not parts:
        return "<p>What content and style mean for this model is not measured yet.</p>"
    return f"<p>Measured on swaps, as correlations that a reader of real pictures finds: {'; '.join(parts)}.</p>"


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def span(values: Sequence[float]) -> str:
    """Where numbers lie, to two digits."""
    low, high = (f"{value:.2f}".replace("-0.00", "0.00") for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def doors(sessions: Sessions) -> list[Callable[[Any], dict]]:
    """The functions the page calls. Each takes a request as `parse` reads it and answers with an image (base64
    of a PNG), {error: sentence} or {stale}."""
    engine = sessions.engine

    def pair(request: Any) -> dict:
        """Everything of two pictures, exact: six tiles in a row, A, A rebuilt, A with B's style, B with A's, B
        rebuilt, B; with a note if one is far from what the model has seen."""
        return answered(request, lambda wish: paired(sessions, wish))

    def mix(request: Any) -> dict:
        """Both results alone, for a slider in hand: two tiles."""
        def work(wish: Wish) -> dict:
            answer = engine.decode(wish.model, mixed(sessions, wish), lane=(wish.page, "mix"))
            return {"stale": True} if answer.stale else image(answer.get()[None])
        return answered(request, work)

    def matrix(request: Any) -> dict:
        """Every content by every style, under and beside the pictures they come from: N + 1 rows of M + 1 tiles."""
        return answered(request, lambda wish: crossed(sessions, wish))

    def imagine(request: Any) -> dict:
        """New contents under A's style: NEW tiles, and the bases by which they can be used like any picture."""
        def work(wish: Wish) -> dict:
            a = moved(sessions, wish.model, wish.a, wish.edits["a"])
            codes = exchange.new_contents(engine, wish.model, a, NEW, request.get("seed"))
            bases = [base_of(code) for code in codes]
            return image(engine.refine(wish.model, codes).get()[None]) | {"bases": bases}
        return answered(request, work)

    def take(request: Any) -> dict:
        """A file {file: base64, model} as a base."""
        return taken(sessions, request)

    return [pair, mix, matrix, imagine, take, looker(sessions), fitter(sessions)]


def taken(sessions: Sessions, request: Any) -> dict:
    """A file {file: base64} as {base}, its pixels kept, framed for {model} if one is named; or {error: sentence}."""
    try:
        text = request["file"]
        if len(text) > 4 * MAX_BYTES // 3 + 4:
            raise Refused(TOO_HEAVY)
        data, model = b64decode(text, validate=True), request.get("model")
        return {"base": sessions.keep(open_upload(data)) if model is None else sessions.open(model, data)}
    except (Refused, Refusal) as refusal:
        return {"error": str(refusal)}
    except (TypeError, KeyError, ValueError):  # nothing the page sends
        return {"error": UNREADABLE}


def answered(request: Any, work: Callable[[Wish], dict]) -> dict:
    """Check a request and do the work on it; a refusal becomes {error}."""
    try:
        return work(parse(request))
    except Refusal as refusal:
        return {"error": str(refusal)}


def parse(request: Any) -> Wish:
    """A request as it came from the browser, checked; raises Refusal."""
    if not isinstance(request, dict):
        raise Refusal("A request is an object with a model and two pictures.")
    texts = [request.get(name, "") for name in ("model", "page")]
    bases = [request.get(name, "") for name in ("a", "b")]
    lists = [request.get(name, []) for name in ("contents", "styles", "names")]
    if not all(isinstance(column, list) for column in lists):
        raise Refusal("Further pictures, and factors, are given as lists of names.")
    contents, styles, names = lists
    limits = (SHORT, chain(texts, names)), (BASE_LENGTH, chain(bases, contents, styles))
    if not all(isinstance(text, str) and len(text) <= longest for longest, some in limits for text in some):
        raise Refusal("Models, pictures and factors are given by their names.")
    if max(len(contents), len(styles)) > MOST - 2:
        raise Refusal(f"A matrix has at most {MOST} contents and {MOST} styles.")
    return Wish(texts[0], *bases, tuple(contents), tuple(styles), names, request.get("content", 0),
                request.get("style", 1), texts[1], edits_of(request))


def ends(sessions: Sessions, wish: Wish) -> list[np.ndarray]:
    """Codes (D,) of A and of B as their sliders stand."""
    return [moved(sessions, wish.model, base, wish.edits[slot]) for slot, base in (("a", wish.a), ("b", wish.b))]


def mixed(sessions: Sessions, wish: Wish) -> np.ndarray:
    """Codes (2, D) of both results."""
    a, b = ends(sessions, wish)
    return exchange.mixed(sessions.engine, wish.model, a, b, wish.names, wish.content, wish.style)


def paired(sessions: Sessions, wish: Wish) -> dict:
    """What `pair` answers."""
    a, b = ends(sessions, wish)
    codes = np.stack([a, *mixed(sessions, wish), b])
    answer = sessions.engine.refine(wish.model, codes, lane=(wish.page, "pair"))
    if answer.stale:
        return {"stale": True}
    drawn = answer.get()
    given = [sessions.pixels(wish.model, base) for base in (wish.a, wish.b)]
    first, last = (drawn[i] if own is None else own for i, own in zip((0, -1), given, strict=True))
    bad = far(sessions, wish.model, [wish.a, wish.b])
    notes = [f"{warning(sessions, wish.model, name, bad[base])} Trust neither its parts nor the swaps."
             for name, base in {"A": wish.a, "B": wish.b}.items() if base in bad]
    return image(np.stack([first, *drawn, last])[None]) | {"note": " ".join(notes)}


def crossed(sessions: Sessions, wish: Wish) -> dict:
    """What `matrix` answers."""
    rows, columns = [wish.a, wish.b, *wish.contents], [wish.a, wish.b, *wish.styles]
    both = ends(sessions, wish)
    contents, styles = ([*both, *(sessions.code(wish.model, base) for base in side[2:])] for side in (rows, columns))
    answer = exchange.matrix(sessions.engine, wish.model, contents, styles, wish.names, lane=(wish.page, "matrix"))
    if answer.stale:
        return {"stale": True}
    inner = answer.get()
    tiles = np.full((len(rows) + 1, len(columns) + 1, TILE, TILE, 3), 255, np.uint8)
    tiles[1:, 1:] = inner
    tiles[1:, 0], tiles[0, 1:] = (np.stack([sessions.face(wish.model, base) for base in side])
                                  for side in (rows, columns))
    bad = len(far(sessions, wish.model, dict.fromkeys([*wish.contents, *wish.styles])))
    note = f"{bad} of the added pictures {'is' if bad == 1 else 'are'} far from all that this model has seen."
    return image(tiles) | {"note": note if bad else ""}


def image(tiles: np.ndarray) -> dict:
    """Tiles (R, K, 64, 64, 3) as one PNG, in base64."""
    return {"image": b64encode(pictures.png(pictures.sheet(tiles))).decode()}
