"""The tab "Map": the latent space of a model as a map, and a way from every point back to the sliders."""

from base64 import b64encode
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from app import pictures
from app.explore import PRIVATE, Explore
from app.points import CLASSES, Colour, PointCloud, cloud, from_unit
from app.session import Sessions, data_title, sliders
from app.trail import Trail, trail
from engine import LatentMap, Model, Refusal, apart, figure_of, map_of, pictures_of, truth_of

INTRO = """
<h2>The map</h2>
<p>Every point is a picture; neighbours have similar codes. Drag to pan, scroll to zoom, click a point to take its
picture to the sliders, click beside the points to see what the model draws there. Shift and drag to draw around
some and see what sets them apart. The axes mean nothing; nearness does, as far as the figures below say. Another
model's map of the same pictures can stand beside it: what is lit in one is lit in the other.</p>
"""
SHOWN = 24            # pictures of a selection
DIMS = {"flat": 2, "in space": 3}
ALONE = "no other"     # what the map is compared with at first
SHOWN_COLOUR = "(model, dims) => [model, dims, document.querySelector('#atlas-cloud select')?.selectedOptions[0].text]"
SAVE = """(file) => {
  const link = document.createElement("a");
  Object.assign(link, { href: file.url, download: file.orig_name });
  link.click();
}"""
COLUMNS = 8           # of a sheet of pictures


class Atlas:
    """The tab inside the current Blocks. `tab` is what loads it when it is looked at, `picker` the model
    picker, `explore` the tab a point's picture is taken to, which is `home` among `tabs`."""

    def __init__(
        self, sessions: Sessions, picker: gr.Dropdown, tab: gr.Tab, explore: Explore, tabs: gr.Tabs, home: str
    ):
        self.sessions, self.explore, self.home = sessions, explore, home
        with gr.Column(elem_id="atlas"):
            gr.HTML(INTRO, apply_default_css=False, elem_id="atlas-intro")
            with gr.Row(elem_id="atlas-choice"):
                dims = gr.Radio(list(DIMS), value="flat", show_label=False, container=False, elem_id="atlas-dims")
                self.rival = gr.Dropdown([ALONE], value=ALONE, label="Compare with", filterable=False, scale=0,
                                         elem_id="atlas-rival")
                figure = gr.Button("Save as a plotly figure", size="sm", scale=0, elem_id="atlas-figure")
                colour, file = gr.Textbox(visible=False), gr.File(visible=False)
            with gr.Row(elem_id="atlas-row"):
                with gr.Column(elem_id="atlas-map", min_width=300), gr.Row(elem_id="atlas-clouds"):
                    self.cloud = PointCloud(thumb=thumb, elem_id="atlas-cloud", min_width=280)
                    self.other = PointCloud(thumb=thumb, elem_id="atlas-other", min_width=280)
                with gr.Column(elem_id="atlas-aside", min_width=260):
                    self.trail = Trail(sessions, elem_id="atlas-trail")
                    self.side = gr.HTML(apply_default_css=False, elem_id="atlas-side")
            self.figures = gr.HTML(apply_default_css=False, elem_id="atlas-figures")
        asked = [picker, dims, self.rival]
        shown = [self.cloud, self.other, self.figures, self.side, self.rival, self.trail]
        options = PRIVATE | {"concurrency_id": "heavy", "show_progress": "minimal"}
        gr.on([tab.select, dims.input, self.rival.input], self.show, asked, shown, trigger_mode="always_last",
              **options)
        picker.input(self.show, asked, shown, **options)
        for cloud_, model in ((self.cloud, picker), (self.other, self.rival)):
            cloud_.input(self.describe, model, self.side, trigger_mode="always_last", **PRIVATE)
            cloud_.click(self.draw, model, self.side, trigger_mode="always_last", **PRIVATE)
        self.cloud.select(self.open, picker, [tabs, *explore.outputs], **PRIVATE)
        self.other.select(self.redraw, [picker, self.rival], self.side, trigger_mode="always_last", **PRIVATE)
        figure.click(self.save, [picker, dims, colour], file, js=SHOWN_COLOUR, **options).success(
            None, file, None, js=SAVE, **PRIVATE)

    def show(self, model: str, dims: str, rival: str = ALONE) -> list[Any]:
        """The map of a model, flat or in space, and that of a rival beside it; or a sentence why there is none."""
        try:
            known, made = self.sessions.engine.model(model), map_of(model)
            own = [*true_colours(made), *found_colours(known, made)]
            beside = rivals(self.sessions, model)
            others = [(named(self.sessions.engine.model(name)), name) for name in beside]
            choice = gr.Dropdown([ALONE, *others], value=rival if rival in beside else ALONE, visible=bool(beside))
            key = f"{model}/{DIMS.get(dims, 2)}"
            line = trail(self.sessions, key, model, DIMS.get(dims, 2))
            if rival not in beside:
                said = reports([(known, made)], dims)
                return [drawn(key, known, made, dims, own), {"count": 0}, said, "", choice, line]
            his, theirs = self.sessions.engine.model(rival), map_of(rival)
            pair = {"group": f"{made.data}: {model}, {rival}", "compared": True}
            return [
                drawn(key, known, made, dims, own, **pair),
                drawn(f"{rival}/{DIMS.get(dims, 2)}", his, theirs, dims,
                      [*true_colours(theirs), *found_colours(his, theirs)], **pair),
                reports([(known, made), (his, theirs)], dims), "", choice, line,
            ]
        except Refusal as refusal:
            return [{"count": 0}, {"count": 0}, f"<p class='refusal'>{escape(str(refusal))} "
                    f"<code>python -m engine.latent_map assets/models/{escape(str(model))}</code> makes one.</p>", "",
                    gr.Dropdown(visible=False), {"key": ""}]

    def save(self, model: str, dims: str, colour: str) -> str:
        """A plotly figure of the map in the colour shown, as one HTML file that needs nothing else."""
        try:
            known, made = self.sessions.engine.model(model), map_of(model)
        except Refusal as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        values = {c.name: c.values for c in found_colours(known, made)}.get(colour)
        figure = figure_of(made, colour or "", DIMS.get(dims, 2), values)
        path = Path(self.cloud.GRADIO_CACHE) / "maps" / f"map-{model}-{DIMS.get(dims, 2)}d.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.write_html(path, include_plotlyjs=True)
        return str(path)

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
        place = from_unit(np.array([float(event.x), float(event.y)]), made.flat)
        near, weight, empty = made.nearest(place[None])
        code = known.mean.copy()
        code[made.columns] = (weight[0] @ made.codes[near[0]]) * made.scale + made.centre
        image = self.sessions.engine.refine(model, code[None]).get()[0]
        words = "The map is empty here: this is a blend of far points and need not look like data." if empty[0] > 1 \
            else "Between the points: drawn from the codes of the nearest four."
        return f"<h3>Drawn here</h3>{_img(image, 'What the model draws at this place')}<p>{words}</p>"

    def redraw(self, model: str, rival: str, event: gr.EventData) -> str:
        """A point of the rival's map: its picture, and what each of the two models makes of it."""
        made, engine = map_of(rival), self.sessions.engine
        image = pictures_of(made.data, made.index[[_whole(event.index, len(made.index))]])
        again = [engine.refine(name, engine.encode(name, image).get()).get() for name in (model, rival)]
        sheet = pictures.sheet(np.stack([image, *again], 1))
        names = [escape(engine.model(name).title) for name in (model, rival)]
        drawings = _img(sheet, "A picture and two ways to redraw it")
        return (f"<h3>The picture, by {names[0]}, by {names[1]}</h3>{drawings}"
                "<p>Encoded and drawn again by each of the two. Click the same point on the left to take it to the "
                "sliders.</p>")

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


def drawn(
    key: str, known: Model, made: LatentMap, dims: str, colours: list[Colour], group: str = "", compared: bool = False
) -> dict:
    """The cloud of a map, flat or in space; with the numbers of its pictures if it is `compared`."""
    places = made.places(DIMS.get(dims, 2))
    title = f"Map of {len(places):,} pictures by their codes in {known.title}"
    about = " ".join(groups(known, made))
    return cloud(key, title, places, colours, name=named(known) if compared else "", group=group, about=about,
                 numbers=made.index if compared else None)


def named(known: Model) -> str:
    """A model as it is told from another of the same kind."""
    return f"{known.title} ({known.name})"


def rivals(sessions: Sessions, model: str) -> list[str]:
    """The other models that have a map of the same data set."""
    found = []
    for name, other in sessions.engine.models.items():
        if name != model and other.data == sessions.engine.model(model).data:
            try:
                map_of(name)
            except Refusal:
                continue
            found.append(name)
    return found


def groups(known: Model, made: LatentMap) -> list[str]:
    """A sentence for each group on the map: how many of the pictures, and by which two factors it differs most, be
    it that they lie higher or lower or that they lie close together."""
    names, values = table(known, made)
    said = []
    for number in range(int(made.cluster.max()) + 1):
        inside = made.cluster == number
        effect = apart(values, inside)
        narrow = 1 - values[inside].std(0) / np.maximum(values.std(0), 1e-9)
        words = ["much the same" if narrow[k] > abs(effect[k]) else "more" if effect[k] > 0 else "less"
                 for k in range(len(names))]
        strength = np.maximum(np.abs(effect), narrow)
        most = [f"{words[k]} {names[k]}" for k in np.argsort(-strength)[:2] if strength[k] > 0.3]
        share = f"Group {number + 1}, {100 * inside.mean():.0f} % of the pictures"
        said.append(f"{share}: {' and '.join(most) or 'no factor sets it apart'}.")
    return said


def reports(shown: list[tuple[Model, LatentMap]], dims: str) -> str:
    """What there is to say below maps, side by side: their trust, and their groups."""
    parts = []
    for known, made in shown:
        rows = "".join(f"<li>{escape(sentence)}</li>" for sentence in groups(known, made))
        parts.append(f"<div><h3>{escape(named(known))}</h3>{trusted(made, dims)}<ul>{rows}</ul></div>")
    return f"<div class='reports'>{''.join(parts)}</div>"


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
