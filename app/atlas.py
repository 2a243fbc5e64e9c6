"""The tab "Map": the latent space of a model as a map, and a way from every point back to the sliders."""

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from app import pictures
from app.explore import FORMATS, PRIVATE, Explore
from app.maps import DIMS, Finder, drawn, found_colours, reports
from app.own_maps import LEAST, OwnMaps
from app.points import PointCloud, from_unit
from app.session import Sessions
from app.trail import Trail, trail
from engine import MapJob, Refusal, apart, figure_of

INTRO = """
<h2>The map</h2>
<p>Every point is a picture; neighbours have similar codes. Drag to pan, scroll to zoom, click a point to take its
picture to the sliders, click beside the points to see what the model draws there. Shift and drag to draw around
some and see what sets them apart. The axes mean nothing; nearness does, as far as the figures below say. Another
map of the same pictures can stand beside it: what is lit in one is lit in the other. Below, your own pictures become a
map.</p>
"""
OWN = f"""
<h3>A map of your own pictures</h3>
<p>A folder, some files or a zip of PNG, JPEG, WEBP or BMP pictures, {LEAST} at least: the model reads them, UMAP
arranges them, which takes some minutes. Of more than {MapJob.most:,} as many are taken; a file has at most 10 MB.
The files are deleted from the server within two hours, the map after an hour.</p>
"""
SHOWN = 24            # pictures of a selection
ALONE = "no other"     # what the map is compared with at first
SHOWN_COLOUR = "(name, dims) => [name, dims, document.querySelector('#atlas-cloud select')?.selectedOptions[0].text]"
SAVE = """(file) => {
  const link = document.createElement("a");
  Object.assign(link, { href: file.url, download: file.orig_name });
  link.click();
}"""
COLUMNS = 8           # of a sheet of pictures


@contextmanager
def said() -> Iterator[None]:
    """Around an event: what is refused, as a map that is gone, is said on the page in its sentence."""
    try:
        yield
    except Refusal as refusal:
        raise gr.Error(str(refusal), print_exception=False) from None


class Atlas:
    """The tab inside the current Blocks. `tab` is what loads it when it is looked at, `picker` the model
    picker, `explore` the tab a point's picture is taken to, which is `home` among `tabs`."""

    def __init__(
        self, sessions: Sessions, picker: gr.Dropdown, tab: gr.Tab, explore: Explore, tabs: gr.Tabs, home: str
    ):
        self.sessions, self.explore, self.home = sessions, explore, home
        self.own = OwnMaps(sessions.engine, Path(explore.canvas.GRADIO_CACHE) / "maps")
        self.find = Finder(sessions, self.own.get)
        model = picker.value
        with gr.Column(elem_id="atlas"):
            gr.HTML(INTRO, apply_default_css=False, elem_id="atlas-intro")
            with gr.Row(elem_id="atlas-choice"):
                dims = gr.Radio(list(DIMS), value="flat", show_label=False, container=False, elem_id="atlas-dims")
                self.part = gr.Dropdown([("the whole code", model)], value=model, label="Map of", filterable=False,
                                        scale=0, elem_id="atlas-part")
                self.rival = gr.Dropdown([ALONE], value=ALONE, label="Compare with", filterable=False, scale=0,
                                         elem_id="atlas-rival")
                figure = gr.Button("Save as a plotly figure", size="sm", scale=0, elem_id="atlas-figure")
                colour, file, token = gr.Textbox(visible=False), gr.File(visible=False), gr.State("")
            with gr.Row(elem_id="atlas-row"):
                with gr.Column(elem_id="atlas-map", min_width=300), gr.Row(elem_id="atlas-clouds"):
                    self.cloud = PointCloud(thumb=thumbs(self.find), elem_id="atlas-cloud", min_width=280)
                    self.other = PointCloud(thumb=thumbs(self.find), elem_id="atlas-other", min_width=280)
                with gr.Column(elem_id="atlas-aside", min_width=260):
                    self.trail = Trail(sessions, lambda name: self.find(name).made, elem_id="atlas-trail")
                    self.side = gr.HTML(apply_default_css=False, elem_id="atlas-side")
            self.figures = gr.HTML(apply_default_css=False, elem_id="atlas-figures")
            made = self._own()
        asked = [picker, dims, self.part, self.rival, token]
        shown = [self.cloud, self.other, self.figures, self.side, self.part, self.rival, self.trail]
        options = PRIVATE | {"concurrency_id": "heavy", "show_progress": "minimal"}
        gr.on([tab.select, dims.input, self.part.input, self.rival.input], self.show, asked, shown,
              trigger_mode="always_last", **options)
        picker.change(self.show, asked, shown, **options)
        for cloud_, name in ((self.cloud, self.part), (self.other, self.rival)):
            # Gradio's "always_last" would give the last event what came with the first.
            cloud_.input(self.describe, name, self.side, trigger_mode="multiple", **PRIVATE)
            cloud_.click(self.draw, name, self.side, trigger_mode="multiple", **PRIVATE)
        self.cloud.select(
            self.open, [self.part, picker], [tabs, *explore.outputs, picker], trigger_mode="multiple", **PRIVATE
        )
        self.other.select(self.redraw, [self.part, self.rival], self.side, trigger_mode="multiple", **PRIVATE)
        figure.click(self.save, [self.part, dims, colour], file, js=SHOWN_COLOUR, **options).success(
            None, file, None, js=SAVE, **PRIVATE)
        choose, chosen, stop, outputs = made
        for button in (choose, chosen):
            button.upload(self.make, [button, picker, self.part], [*outputs, token], concurrency_limit=None, **PRIVATE)
        token.change(self.show_own, asked, shown, **options)
        stop.click(self.stop, None, None, **PRIVATE)

    def _own(self) -> tuple:
        """The part of the tab for own pictures: two buttons to choose, one to cancel, and what tells how far it is."""
        with gr.Column(elem_id="atlas-own"):
            gr.HTML(OWN, apply_default_css=False)
            with gr.Row():
                choose = gr.UploadButton("Choose pictures or a zip", file_count="multiple", size="sm", scale=0,
                                         file_types=[*FORMATS, ".zip"], elem_id="atlas-files")
                chosen = gr.UploadButton("Choose a folder", file_count="directory", size="sm", scale=0,
                                         elem_id="atlas-folder")
                stop = gr.Button("Cancel", size="sm", scale=0, visible=False, elem_id="atlas-stop")
                npz = gr.DownloadButton("Download npz", size="sm", scale=0, visible=False, elem_id="atlas-npz")
                parquet = gr.DownloadButton("Download parquet", size="sm", scale=0, visible=False,
                                            elem_id="atlas-parquet")
            bar = gr.HTML(apply_default_css=False, elem_id="atlas-bar")
            words = gr.HTML("<p role='status' aria-live='polite'></p>", apply_default_css=False, elem_id="atlas-words")
        return choose, chosen, stop, [bar, words, stop, npz, parquet]

    def show(self, model: str, dims: str, part: str = "", rival: str = ALONE, token: str = "") -> list[Any]:
        """The map of a model, flat or in space, and a rival beside it; or a sentence why there is none. part, rival:
        names of maps, which count as long as they are of this model, or of the same pictures."""
        parts = self.find.parts(model, token)
        name = part if part in [value for _, value in parts] else parts[0][1] if parts else model
        wide = DIMS.get(dims, 2)
        try:
            found = self.find(name)
            beside = self.find.rivals(found)
            rival = rival if rival in [value for _, value in beside] else ALONE
            choices = [gr.Dropdown(parts, value=name, visible=len(parts) > 1),
                       gr.Dropdown([ALONE, *beside], value=rival, visible=bool(beside))]
            if rival == ALONE:
                return [drawn(found, wide), {"count": 0}, reports([found], wide), "", *choices,
                        trail(self.sessions, [name], model, wide)]
            other = self.find(rival)
            pair = {"group": f"{found.made.data}: {name}, {rival}", "compared": True}
            return [drawn(found, wide, **pair), drawn(other, wide, **pair), reports([found, other], wide), "", *choices,
                    trail(self.sessions, [name, rival], model, wide)]
        except Refusal as refusal:
            return [{"count": 0}, {"count": 0}, f"<p class='refusal'>{escape(str(refusal))} "
                    f"<code>python -m engine.latent_map assets/models/{escape(str(model))}</code> makes one.</p>", "",
                    gr.Dropdown([("the whole code", model)], value=model, visible=False), gr.Dropdown(visible=False),
                    {"maps": []}]

    def show_own(self, model: str, dims: str, part: str, rival: str, token: str) -> list[Any]:
        """The map just made, if it is still there."""
        try:
            return self.show(self.own.get(token).made.model, dims, f"own:{token}", ALONE, token)
        except Refusal:
            return [gr.skip()] * 7

    async def make(
        self, files: list[str] | None, model: str, part: str, request: gr.Request
    ) -> AsyncIterator[list[Any]]:
        """Make a map of files by the part of the code that is shown; tell how far it is. Until it is made, and if it is
        not, the one made before stays and can be downloaded."""
        try:
            by = self.find(part).made.part
        except Refusal:  # the model has no map yet
            by = "code"
        said = ""
        async for news in self.own.make(files, model, by, request.session_hash):
            words = gr.skip() if news.words == said else (
                f"<p role='status' aria-live='polite'>{escape(news.words)}</p>")
            said = news.words
            bar = "" if news.ended else (f"<progress max='100' value='{100 * news.share:.0f}' aria-label='Share of the "
                                         f"map that is made'></progress> {100 * news.share:.0f} %")
            result = [gr.skip()] * 3
            if news.token:
                result = [*(gr.DownloadButton(value=path, visible=True) for path in self.own.files(news.token)),
                          news.token]
            yield [bar, words, gr.Button(visible=not news.ended), *result]

    def stop(self, request: gr.Request) -> None:
        """End the job of this page."""
        self.own.cancel(request.session_hash)

    @said()
    def save(self, name: str, dims: str, colour: str) -> str:
        """A plotly figure of the map in the colour shown, as one HTML file that needs nothing else."""
        found = self.find(name)
        values = {c.name: c.values for c in found_colours(found)}.get(colour)
        figure = figure_of(found.made, colour or "", DIMS.get(dims, 2), values)
        called = f"{found.known.name}-own" if found.own else name
        token = name.removeprefix("own:") if found.own else ""
        path = self.own.place(token) / f"map-{called}-{DIMS.get(dims, 2)}d.html"
        figure.write_html(path, include_plotlyjs=True)
        return str(path)

    @said()
    def open(self, name: str, model: str, event: gr.EventData) -> list[Any]:
        """Take the picture of a point to the sliders, and the page to the model of the map: `model` is the one picked
        now."""
        found = self.find(name)
        base = found.base(self.sessions, _whole(event.index, len(found.made.index)))
        shown = self.explore.turn(found.made.model, base, moved=found.made.model != model)
        return [gr.Tabs(selected=self.home), *shown, found.made.model]

    @said()
    def draw(self, name: str, event: gr.EventData) -> str:
        """What the model draws at an empty place, from the codes around it."""
        found = self.find(name)
        made = found.made
        place = from_unit(np.array([float(event.x), float(event.y)]), made.flat)
        near, weight, empty = made.nearest(place[None])
        code = found.known.mean.copy()
        code[made.columns] = made.restored(weight[0] @ made.codes[near[0]])
        image = self.sessions.engine.refine(made.model, code[None]).get()[0]
        words = "The map is empty here: this is a blend of far points and need not look like data." if empty[0] > 1 \
            else "Between the points: drawn from the codes of the nearest four."
        return f"<h3>Drawn here</h3>{_img(image, 'What the model draws at this place')}<p>{words}</p>"

    @said()
    def redraw(self, name: str, rival: str, event: gr.EventData) -> str:
        """A point of the rival's map: its picture, and what each of the two models makes of it."""
        own, theirs = self.find(name), self.find(rival)
        image = theirs.pictures(np.array([_whole(event.index, len(theirs.made.index))]))
        models = list(dict.fromkeys([own.made.model, theirs.made.model]))
        engine = self.sessions.engine
        again = [engine.refine(model, engine.encode(model, image).get()).get() for model in models]
        titles = "".join(f", by {escape(engine.model(model).title)}" for model in models)
        drawings = _img(pictures.sheet(np.stack([image, *again], 1)), "A picture and ways to redraw it")
        return (f"<h3>The picture{titles}</h3>{drawings}<p>Encoded and drawn again. Click the same point on the left "
                "to take it to the sliders.</p>")

    @said()
    def describe(self, name: str, event: gr.EventData) -> str:
        """What sets the points inside the lasso apart, and some of their pictures."""
        found = self.find(name)
        count = len(found.made.index)
        chosen = np.array([_whole(i, count) for i in event.indices], int)
        if not len(chosen):
            return ""
        inside = np.zeros(count, bool)
        inside[chosen] = True
        names, values = found.table
        effect = apart(values, inside)
        order = np.argsort(-np.abs(effect))[:6]
        rows = "".join(
            f"<tr><th>{escape(names[k])}</th><td>{'more' if effect[k] > 0 else 'less'}</td>"
            f"<td>{abs(effect[k]):.1f}</td></tr>" for k in order if abs(effect[k]) > 0.2)
        some = found.pictures(chosen[:SHOWN])
        some = np.concatenate([some, np.full((-len(some) % COLUMNS, *some.shape[1:]), 255, np.uint8)])
        sheet = pictures.sheet(some.reshape(-1, COLUMNS, *some.shape[1:]))
        words = "What sets them apart from the rest, in standard deviations:" if rows else \
            "No factor sets them apart from the rest: on the average they are like it."
        return (f"<h3>{int(event.total):,} pictures chosen</h3>{_img(sheet, 'Some of the pictures chosen')}"
                f"<p>{words}</p><table>{rows}</table>")


def thumbs(find: Finder) -> Callable[[Any], dict]:
    """The function the browser calls for the picture under the pointer: {key, index} -> {image} or {error}."""
    def thumb(request: Any) -> dict:
        try:
            found = find(str(request["key"]).rpartition("/")[0])
            image = found.pictures(np.array([_whole(request["index"], len(found.made.index))]))[0]
        except (Refusal, TypeError, KeyError) as error:
            return {"error": str(error)}
        return {"image": b64encode(pictures.jpeg(image)).decode()}

    return thumb


def _img(image: np.ndarray, words: str) -> str:
    data = b64encode(pictures.jpeg(image)).decode()
    return f"<img src='data:image/jpeg;base64,{data}' alt='{escape(words)}'>"


def _whole(value: Any, count: int) -> int:
    """A point's number from outside; raises Refusal."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise Refusal("That is no point of this map.")
    return value
