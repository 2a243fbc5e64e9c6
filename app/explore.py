"""The tab "Explore": one picture, its ranked factors, a slider and a film for each.

A page opens without a request: its first view is part of the page. Events that turn the page
(another model, another picture) end in `turn`; a refusal ends as a sentence under the picture.
"""

import secrets
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from html import escape
from typing import Any

import gradio as gr

from app import pictures
from app.evidence import evidence
from app.exports import Exports, reopened
from app.live import STATIC, LiveCanvas, view
from app.session import MAX_SLIDERS, SHORT, Dial, Sessions, data_title, parse, whole_seed
from app.uploads import Refused, take
from engine import Model, Refusal, gallery

INTRO = """
<h2>What it found</h2>
<p>Each strip is one factor from its low end to its high end, all else kept. Drag along it. Effects are
measured in grey levels of 255.</p>
"""
FIGURES = {
    "psnr_held_out_db": "rebuilds held-out images at {:.1f} dB PSNR",
    "mig": "mutual information gap {:.2f}",
}
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
FORMATS = [".png", ".jpg", ".jpeg", ".webp", ".bmp"]


class Explore:
    """The tab inside the current Blocks. `picker` is the model picker, a gr.Dropdown elsewhere on
    the page, which opens on `model`."""

    def __init__(self, sessions: Sessions, picker: gr.Dropdown, model: str):
        self.sessions = sessions
        base = sessions.start(model)
        known = sessions.engine.model(model)
        with gr.Row(elem_id="explore"):
            with gr.Column(elem_id="stage", min_width=280):
                self.canvas = LiveCanvas(sessions, view(sessions, model, base), elem_id="canvas")
                with gr.Row(elem_id="actions"):
                    upload = gr.UploadButton(
                        "Use my image", file_types=FORMATS, variant="primary", size="md", elem_id="upload"
                    )
                    chance = gr.Button("Random", size="md", elem_id="random")
                    number = gr.Number(0, label="Seed", precision=0, minimum=0, elem_id="seed", min_width=80)
                    reset = gr.Button("Reset all", size="md", elem_id="reset-all")
                self.samples = gr.HTML(
                    samples(known.data), js_on_load=(STATIC / "gallery.js").read_text(encoding="utf-8"),
                    apply_default_css=False, elem_id="gallery",
                )
                Exports(sessions, elem_id="save")
                saved = gr.Textbox(visible=False)
                self.caption = gr.HTML(caption(known), apply_default_css=False, elem_id="caption")
            with gr.Column(elem_id="factors", min_width=280):
                gr.HTML(INTRO, apply_default_css=False, elem_id="intro")
                pad = (STATIC / "pad.html").read_text(encoding="utf-8")
                gr.HTML(pad, apply_default_css=False, elem_id="pad", js_on_load=None)
                mix = (STATIC / "mix.html").read_text(encoding="utf-8")
                gr.HTML(mix, apply_default_css=False, elem_id="mix", js_on_load=None)
                dials = sessions.dials(model, base)
                self.sliders = [slider(dials[i] if i < len(dials) else None, i) for i in range(MAX_SLIDERS)]
                panel = (STATIC / "fields.html").read_text(encoding="utf-8")
                gr.HTML(panel, apply_default_css=False, elem_id="fields", js_on_load=None)
                self.evidence = gr.HTML(evidence(known), apply_default_css=False, elem_id="evidence")

        self.outputs = [self.canvas, self.samples, self.caption, self.evidence, *self.sliders]
        # "change": "input" comes twice of one choice, and its second answer undoes what was moved after the first
        picker.change(self._change_model, [picker, self.canvas], self.outputs, trigger_mode="always_last", **PRIVATE)
        # "multiple": what Gradio defers by "always_last" runs with the choice of the event before
        self.samples.select(self._pick, picker, self.outputs, trigger_mode="multiple", **PRIVATE)
        upload.upload(
            self._open, [picker, self.canvas, upload], [*self.outputs, saved],
            concurrency_id="upload", concurrency_limit=2, **PRIVATE,
        ).then(None, saved, js="(state) => { if (state) window.unravelSave.reopen(state); }", **PRIVATE)
        number.submit(
            self._draw, [picker, self.canvas, number], self.outputs, trigger_mode="always_last", **PRIVATE
        )
        chance.click(
            lambda: secrets.randbelow(10_000), None, number, trigger_mode="always_last", **PRIVATE
        ).then(self._draw, [picker, self.canvas, number], self.outputs, trigger_mode="always_last", **PRIVATE)
        self.canvas.select(
            self._go, [picker, self.canvas], [*self.outputs, picker], trigger_mode="multiple", **PRIVATE
        )
        reset.click(None, js="() => window.unravel.reset()", **PRIVATE)
        gr.on(
            [slider.change for slider in self.sliders], None, js="() => window.unravel?.follow()", **PRIVATE
        )

    def turn(
        self, model: str, base: str, moved: bool = False, edits: dict[str, float] | None = None, token: str = ""
    ) -> list[Any]:
        """Updates for all outputs that show `base` in `model`, with `edits`; `moved` if the model is another."""
        edits = edits or {}
        known = self.sessions.engine.model(model)
        dials = self.sessions.dials(model, base)
        return [
            view(self.sessions, model, base, edits, token),
            samples(known.data) if moved else gr.skip(),
            caption(known) if moved else gr.skip(),
            evidence(known) if moved else gr.skip(),
            *(slider(dials[i] if i < len(dials) else None, i, edits) for i in range(MAX_SLIDERS)),
        ]

    def refuse(self, base: str, sentence: str, token: str = "") -> list[Any]:
        """Updates for all outputs that say a sentence and leave the page as it is."""
        notice = {"base": base, "notice": sentence, "token": token, "stamp": secrets.token_hex(4)}
        return [notice, *(gr.skip() for _ in self.outputs[1:])]

    def _change_model(self, model: str, base: str) -> list[Any]:
        if getattr(base, "model", "") == model:  # a choice that `_go` has set
            return [gr.skip()] * len(self.outputs)
        return self._answer(base, lambda: self.turn(model, self.sessions.carry(base, model), moved=True))

    def _pick(self, model: str, event: gr.EventData) -> list[Any]:
        base = f"gallery:{event.index}"
        return self._answer(base, lambda: self.turn(model, base))

    def _draw(self, model: str, base: str, number: float) -> list[Any]:
        return self._answer(base, lambda: self.turn(model, f"seed:{whole_seed(number)}"))

    def _open(self, model: str, base: str, path: str) -> list[Any]:
        """A file: the state that it was saved from, for the page to go to, or else the picture that it is."""
        try:
            data = take(path)
        except Refused as refusal:
            return [*self.refuse(base, str(refusal)), ""]
        state = reopened(self.sessions, data)
        if state:
            return [*(gr.skip() for _ in self.outputs), state]
        return [*self._answer(base, lambda: self.turn(model, self.sessions.open(model, data))), ""]

    def _go(self, model: str, base: str, event: gr.EventData) -> list[Any]:
        """To a state of the page: by undo or redo, or by a link. What it holds is checked like any request."""
        token = str(getattr(event, "token", ""))[:SHORT]

        def work() -> list[Any]:
            ask = parse(getattr(event, "state", None))
            return [*self.turn(ask.model, ask.base, ask.model != model, ask.edits, token), ask.model]

        answer = self._answer(base, work, token)
        return answer if len(answer) > len(self.outputs) else [*answer, gr.skip()]

    def _answer(self, base: str, work: Callable[[], list[Any]], token: str = "") -> list[Any]:
        try:
            return work()
        except (Refusal, Refused) as refusal:
            return self.refuse(base, str(refusal), token)


def slider(dial: Dial | None, index: int, edits: dict[str, float] | None = None) -> gr.Slider:
    """Slider number `index` of the pool, showing `dial` where `edits` has it, or hidden."""
    if dial is None:
        return gr.Slider(visible=False, elem_id=f"factor-{index}")
    value = min(max((edits or {}).get(dial.name, dial.neutral), dial.minimum), dial.maximum)
    return gr.Slider(
        dial.minimum, dial.maximum, value, step=dial.step, label=dial.label, info=dial.note,
        visible=True, interactive=True, buttons=[], elem_id=f"factor-{index}",
    )


@cache
def samples(data: str) -> str:
    """The sample images of a data set as a row of buttons; their pixels come as one sheet."""
    images = gallery(data)
    if not len(images):
        return ""
    sheet = b64encode(pictures.jpeg(pictures.sheet(images[None]))).decode()
    buttons = "".join(
        f'<button type="button" data-index="{i}" style="--index: {i}" aria-label="Sample {i + 1}"></button>'
        for i in range(len(images))
    )
    return (
        f'<div role="group" aria-label="Sample images of {escape(data)}" '
        f'style="--count: {len(images)}; --sheet: url(data:image/jpeg;base64,{sheet})">{buttons}</div>'
    )


def caption(model: Model) -> str:
    """What is known about a model, in three sentences of HTML."""
    paper = model.paper
    order = "in the order in which it learnt them" if model.ordered else "by the size of their effect"
    told = escape(model.told)
    granted = f" and that each {told} {escape(model.supposed)}" if model.supposed else ""
    labels = f"with weak labels, which pictures are of one {told}{granted}" if told else "without labels"
    measured = "; ".join(text.format(model.figures[name]) for name, text in FIGURES.items() if name in model.figures)
    return (
        f"<p><b>{escape(model.title)}</b>, trained on {escape(data_title(model))} {labels}"
        f'{"; " + measured if measured else ""}. Its factors stand {order}.</p>'
        f'<p>{escape(paper.authors)} ({paper.year}): '
        f'<a href="{escape(paper.link)}" target="_blank" rel="noopener">{escape(paper.title)}</a>.</p>'
    )
