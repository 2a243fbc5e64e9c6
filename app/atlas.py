"""The tab "Map": the latent space of a model as a map, and a way from every point back to the sliders."""

from base64 import b64encode
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from app import pictures
from app.explore import PRIVATE, Explore
from app.points import CLASSES, Colour, PointCloud, cloud
from app.session import Sessions, data_title, sliders
from engine import LatentMap, Model, Refusal, apart, map_of, pictures_of, truth_of

INTRO = """
<h2>The map</h2>
<p>Every point is a picture; neighbours have similar codes. Drag to pan, scroll to zoom, click a point to take its
picture to the sliders, click beside the points to see what the model draws there. Shift and drag to draw around
some and see what sets them apart. The axes mean nothing; nearness does, as far as the figures below say.</p>
"""
SHOWN = 24            # pictures of a selection
DIMS = {"flat": 2, "in space": 3}
COLUMNS = 8           # of a sheet of pictures


class Atlas:
    """The tab inside the current Blocks. `tab` is what loads it when it is looked at, `picker` the model
    picker, `explore` the tab a point's picture is taken to, which is `home` among `tabs`."""

    def __init__(
        self, sessions: Sessions, picker: gr.Dropdown, tab: gr.Tab, explore: Explore, tabs: gr.Tabs, home: str
    ):
        self.sessions = sessions
        with gr.Column(elem_id="atlas"):
            gr.HTML(INTRO, apply_default_css=False, elem_id="atlas-intro")
            with gr.Row(elem_id="atlas-row"):
                with gr.Column(elem_id="atlas-map", min_width=300):
                    dims = gr.Radio(list(DIMS), value="flat", show_label=False, container=False, elem_id="atlas-dims")
                    self.cloud = PointCloud(thumb=thumb, elem_id="atlas-cloud")
                    self.figures = gr.HTML(apply_default_css=False, elem_id="atlas-figures")
                self.side = gr.HTML(apply_default_css=False, elem_id="atlas-side", min_width=260)
        shown = [self.cloud, self.figures, self.side]
        options = PRIVATE | {"concurrency_id": "heavy", "show_progress": "minimal"}
        gr.on([tab.select, dims.input], self.show, [picker, dims], shown, trigger_mode="always_last", **options)
        picker.input(self.show, [picker, dims], shown, **options)
        self.cloud.input(self.describe, picker, self.side, trigger_mode="always_last", **PRIVATE)
        self.cloud.click(self.draw, picker, self.side, trigger_mode="always_last", **PRIVATE)
        self.cloud.select(self.open, picker, [tabs, *explore.outputs], **PRIVATE)
        self.explore, self.home = explore, home

    def show(self, model: str, dims: str) -> list[Any]:
        """The map of a model, flat or in space; or a sentence why there is none."""
        try:
            known = self.sessions.engine.model(model)
            made = map_of(model)
            colours = [*true_colours(made), *found_colours(known, made)]
        except Refusal as refusal:
            return [{"count": 0}, f"<p class='refusal'>{escape(str(refusal))} "
                    f"<code>python -m engine.latent_map assets/models/{escape(str(model))}</code> makes one.</p>", ""]
        places = made.flat if DIMS.get(dims, 2) == 2 else made.solid
        title = f"Map of {len(places):,} pictures by their codes in {known.title}"
        return [cloud(f"{model}/{DIMS.get(dims, 2)}", title, places, colours), trusted(made, dims), ""]

    def open(self, model: str, event: gr.EventData) -> list[Any]:
        """Take the picture of a point to the sliders."""
        try:
            made = map_of(model)
            base = f"picture:{made.index[_whole(event.index, len(made.index))]}"
            return [gr.Tabs(selected=self.home), *self.explore.turn(model, base)]
        except Refusal as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None

    def draw(self, model: str, event: gr.EventData) -> str:
        """What the model draws at an empty place, from the codes around it."""
        made, known = map_of(model), self.sessions.engine.model(model)
        low, high = made.flat.min(0), made.flat.max(0)
        place = (low + high) / 2 + (np.array([float(event.x), float(event.y)]) - 0.5) * (high - low).max()
        near, weight, empty = made.nearest(place[None])
        code = known.mean.copy()
        code[made.columns] = (weight[0] @ made.codes[near[0]]) * made.scale + made.centre
        image = self.sessions.engine.refine(model, code[None]).get()[0]
        words = "The map is empty here: this is a blend of far points and need not look like data." if empty[0] > 1 \
            else "Between the points: drawn from the codes of the nearest four."
        return f"<h3>Drawn here</h3>{_img(image, 'What the model draws at this place')}<p>{words}</p>"

    def describe(self, model: str, event: gr.EventData) -> str:
        """What sets the points inside the lasso apart, and some of their pictures."""
        made, known = map_of(model), self.sessions.engine.model(model)
        chosen = np.array([_whole(i, len(made.index)) for i in event.indices], int)
        if not len(chosen):
            return ""
        inside = np.zeros(len(made.index), bool)
        inside[chosen] = True
        names, values = table(known, made)
        effect = apart(values, inside)
        order = np.argsort(-np.abs(effect))[:6]
        rows = "".join(
            f"<tr><th>{escape(names[k])}</th><td>{'more' if effect[k] > 0 else 'less'}</td>"
            f"<td>{abs(effect[k]):.1f}</td></tr>" for k in order if abs(effect[k]) > 0.2)
        some = pictures_of(made.data, made.index[chosen[:SHOWN]])
        some = np.concatenate([some, np.full((-len(some) % COLUMNS, *some.shape[1:]), 255, np.uint8)])
        sheet = pictures.sheet(some.reshape(-1, COLUMNS, *some.shape[1:]))
        words = "What sets them apart from the rest, in standard deviations:" if rows else \
            "No factor sets them apart from the rest: on the average they are like it."
        return (f"<h3>{int(event.total):,} pictures chosen</h3>{_img(sheet, 'Some of the pictures chosen')}"
                f"<p>{words}</p><table>{rows}</table>")


def thumb(request: Any) -> dict:
    """The picture under the pointer, as the browser asks for it: {key, index} -> {image} or {error}."""
    try:
        made = map_of(str(request["key"]).rpartition("/")[0])
        image = pictures_of(made.data, made.index[[_whole(request["index"], len(made.index))]])[0]
    except (Refusal, TypeError, KeyError) as error:
        return {"error": str(error)}
    return {"image": b64encode(pictures.jpeg(image)).decode()}


def true_colours(made: LatentMap) -> list[Colour]:
    """One colour for each true factor that varies."""
    known, values = truth_of(made.data, made.index)
    colours = []
    for factor, column in zip(known, values.T, strict=True):
        if np.ptp(column) > 0:
            names = tuple(f"{v:g}" for v in factor.values) if 0 < factor.size <= CLASSES and not factor.circular else ()
            high = factor.size if factor.circular and factor.size else float(column.max())
            colours.append(Colour(factor.name, column, float(column.min()), high, names, factor.circular))
    return colours


def found_colours(known: Model, made: LatentMap) -> list[Colour]:
    """One colour for each factor that the model found, and one for the groups on the map."""
    names, values = table(known, made)
    colours = [Colour(name, column, *np.quantile(column, (0.01, 0.99)))
               for name, column in zip(names, values.T, strict=True)]
    groups = min(int(made.cluster.max()) + 1, CLASSES - 1)
    if groups > 1:
        labels = (*(f"group {k + 1}" for k in range(groups)), "none")
        colours.append(Colour("groups", np.where((made.cluster < 0) | (made.cluster >= groups), groups, made.cluster),
                              labels=labels))
    return colours


def table(known: Model, made: LatentMap) -> tuple[list[str], np.ndarray]:
    """The sliders' names and where every picture of the map stands along them: (N, F)."""
    codes = np.repeat(known.mean[None], len(made.codes), 0)
    codes[:, made.columns] = made.codes * made.scale + made.centre
    shown = sliders(known)
    values = np.stack([codes[:, slice(*f.where)] @ np.asarray(f.axis, np.float32) for f in shown], 1)
    return [f"Factor {f.rank + 1} ({f.name})" for f in shown], values


def trusted(made: LatentMap, dims: str) -> str:
    """How far the map may be trusted, in words."""
    space = "2-D" if DIMS.get(dims, 2) == 2 else "3-D"
    kept, trust = made.figures[f"kept {space}"], made.figures[f"trustworthiness {space}"]
    return (f"<p>{len(made.index):,} pictures of {escape(data_title(made))}, arranged by UMAP. Of a point's 15 nearest "
            f"codes {100 * kept:.0f} % are among its 15 nearest here; trustworthiness {trust:.2f} of 1.</p>")


def _img(image: np.ndarray, words: str) -> str:
    data = b64encode(pictures.jpeg(image)).decode()
    return f"<img src='data:image/jpeg;base64,{data}' alt='{escape(words)}'>"


def _whole(value: Any, count: int) -> int:
    """A point's number from outside; raises Refusal."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise Refusal("That is no point of this map.")
    return value
