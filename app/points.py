"""A cloud of points that is looked at, not read: pan, zoom, hover, lasso, keys; drawn by static/points.js.

Plain gr.Plot has no event for a point and redraws 50,000 of them about once a second on a processor. This
one takes 4 bytes for the place of a point and 1 for each of its colours.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import gradio as gr
import numpy as np
from plotly import colors

from app.live import script

CLASSES = 12        # of which a legend is still read
TEMPLATE = """
<p class="name"></p><div class="plot"><canvas tabindex="0" role="application"
aria-roledescription="map of points"></canvas>
<svg aria-hidden="true"><path class="lasso"></path><path class="leap"></path><path class="trail"></path>
<circle class="start" r="4"></circle><circle class="end" r="4"></circle><circle class="here" r="9"></circle></svg>
<span class="ring" hidden></span><span class="thumb" hidden></span></div>
<div class="tools"></div><p class="said" role="status" aria-live="polite"></p>
"""
KEYS = ("Arrow keys walk from point to point, with Shift they move the map; plus and minus zoom, 0 shows everything, "
        "Enter chooses, Escape lets go.")
HUES = colors.sample_colorscale("HSV", np.linspace(0, 1, 256).tolist())
RANGE = colors.sample_colorscale("Viridis", np.linspace(0, 1, 256).tolist())
GROUPS = colors.qualitative.Safe[:CLASSES]  # told apart by the colour-blind


@dataclass(frozen=True)
class Colour:
    """One way to colour points. values: (N,) float between `low` and `high`, or class numbers if there are
    `labels`; a circular one begins again at its end."""

    name: str
    values: np.ndarray
    low: float = 0.0
    high: float = 1.0
    labels: tuple[str, ...] = ()
    circular: bool = False


def cloud(
    key: str,
    title: str,
    places: np.ndarray,
    colour_by: Sequence[Colour],
    sheet: dict | None = None,
    name: str = "",
    group: str = "",
    tools: bool = True,
    about: str = "",
    numbers: np.ndarray | None = None,
) -> dict:
    """What a PointCloud shows.

    key: another one for other points: the view is kept for as long as it stays. title: said to who cannot
    see it. places: (N, 2) or (N, 3) finite, in random order, as a prefix is painted while the view moves.
    sheet: {"image": address, "side", "columns"}, small pictures of the points, row by row. name: written above
    it. group: clouds of the same points, who share the pointer, the lasso and the colour. tools: with lasso.
    about: what there is to see, for who cannot. numbers: (N,) whole, what the points are, where the clouds of a group
    hold different ones or in another order; else the same points stand at the same place in all of them.
    Raises ValueError if there is nothing to colour by, or lengths differ.
    """
    if not colour_by or any(len(c.values) != len(places) for c in colour_by):
        raise ValueError("A cloud needs at least one colour, with a value for every point.")
    return {
        "key": key,
        "title": title,
        "name": name,
        "count": len(places),
        "dims": places.shape[1],
        "position": _text(_squared(places)),
        "colours": [_column(c) for c in colour_by],
        "palettes": palettes(),
        "colour": 0,
        "sheet": sheet,
        "group": group,
        "tools": tools,
        "about": f"{about} {KEYS}".strip(),
        "numbers": None if numbers is None else _text(np.asarray(numbers, "<i4")),
    }


@cache
def palettes() -> dict[str, str]:
    """The colours of each kind of colouring, as the page takes them."""
    return {name: _text(_rgb(scale)) for name, scale in (("range", RANGE), ("hue", HUES), ("class", GROUPS))}


class PointCloud(gr.HTML):
    """A cloud of points. Its events: `select` with an index, `input` with the indices inside the lasso and
    their total, `click` with the x and y in [0, 1] of an empty place. `thumb`, if given, takes {key, index}
    and answers {image}, a small JPEG as base64, for clouds without a sheet."""

    def __init__(self, first: dict | None = None, thumb: Callable[[Any], dict] | None = None, **options: Any):
        super().__init__(
            value=first or {"count": 0},
            html_template=TEMPLATE,
            js_on_load=script("paint.js", "points.js"),
            server_functions=[thumb] if thumb else [],
            apply_default_css=False,
            elem_classes=["points", *options.pop("elem_classes", [])],
            **options,
        )

    def postprocess(self, value: dict | None) -> str | None:
        """A cloud as the JSON text that the page receives."""
        return None if value is None else json.dumps(value)


def unit(places: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Places (..., D) as a cloud of the places `among` (N, D) has them: in the unit cube, with one scale in every
    direction; those that lie outside the cloud fall outside the cube."""
    middle, width = _frame(among)
    return (places - middle) / width + 0.5


def from_unit(places: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The way back."""
    middle, width = _frame(among)
    return (places - 0.5) * width + middle


def _frame(places: np.ndarray) -> tuple[np.ndarray, float]:
    low, high = places.min(0), places.max(0)
    return (low + high) / 2, max(float((high - low).max()), 1e-12)


def _squared(places: np.ndarray) -> np.ndarray:
    """Places in the unit cube as 16-bit numbers."""
    return np.round(65535 * unit(places, places)).astype("<u2")


def _column(colour: Colour) -> dict:
    if colour.labels:
        values = np.asarray(colour.values).astype(np.uint8) % len(GROUPS)
        kind: dict[str, Any] = {"palette": "class", "labels": list(colour.labels)}
    else:
        share = (np.asarray(colour.values, float) - colour.low) / max(colour.high - colour.low, 1e-12)
        values = np.round(255 * share.clip(0, 1)).astype(np.uint8)
        kind = {"palette": "hue" if colour.circular else "range",
                "low": f"{colour.low:.3g}", "high": f"{colour.high:.3g}"}
    return {"name": colour.name, "values": _text(values)} | kind


def _rgb(scale: Sequence[str]) -> np.ndarray:
    """Colours 'rgb(r, g, b)' as bytes (N, 3)."""
    return np.round([colors.unlabel_rgb(c) for c in scale]).astype(np.uint8)


def _text(array: np.ndarray) -> str:
    return b64encode(np.ascontiguousarray(array).tobytes()).decode()
