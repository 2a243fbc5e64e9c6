"""The named endpoints of the app, for gradio_client and MCP: everything a page can do, as calls.

A picture is named by its base: "gallery:3", "seed:42", or what /encode answers for an upload.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from app.session import Sessions, parse, sliders, whole_seed
from app.uploads import Refused, take
from engine import Refusal


class Api:
    """The endpoints, on components of their own that are never shown."""

    def __init__(self, sessions: Sessions):
        self.sessions = sessions
        with gr.Column(visible=False):
            model, base = gr.Textbox(label="Model"), gr.Textbox(label="Base")
            edits, number, answer = gr.JSON(label="Edits"), gr.Number(label="Seed"), gr.JSON(label="Answer")
            file, image = gr.File(label="Image file"), gr.Image(label="Image", format="png")
        gr.on([], self.models, None, answer, api_name="models")
        gr.on([], self.encode, [model, file], answer, api_name="encode", concurrency_id="upload", concurrency_limit=2)
        gr.on([], self.edit, [model, base, edits], image, api_name="edit")
        gr.on([], self.random, [model, number], answer, api_name="random")

    def models(self) -> list[dict]:
        """Every model with its factors, largest visible effect first, and its measured figures."""
        return [
            {
                "name": model.name,
                "method": model.method,
                "data": Path(model.data).name,  # of a path on the server, no more
                "factors": [
                    {"name": f.name, "low": f.low, "high": f.high, "rank": f.rank} for f in sliders(model)
                ],
                "figures": model.figures,
            }
            for model in self.sessions.engine.models.values()
        ]

    def encode(self, model: str, image: str) -> dict:
        """Where an image file stands in a model: {base, values: {factor: value}}. Pass the base to
        /edit."""
        return answered(lambda: self._stand(model, self.sessions.open(model, take(image))))

    def edit(self, model: str, base: str, edits: dict[str, float]) -> Any:
        """The picture of a base with some factors set: edits = {factor: value}, {} for none."""
        return answered(lambda: self.sessions.draw(parse({"model": model, "base": base, "edits": edits})))

    def random(self, model: str, seed: int) -> dict:
        """A random picture, the same for the same seed: {base, values: {factor: value}}."""
        return answered(lambda: self._stand(model, f"seed:{whole_seed(seed)}"))

    def _stand(self, model: str, base: str) -> dict:
        return {"base": base, "values": self.sessions.values(model, base)}


def answered(work: Callable[[], Any]) -> Any:
    """The work's result; a refusal becomes the one sentence that a client is shown."""
    try:
        return work()
    except (Refusal, Refused) as refusal:
        raise gr.Error(str(refusal), print_exception=False) from None
