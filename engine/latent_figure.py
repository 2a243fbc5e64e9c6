"""A map as a plotly figure, for papers and notebooks.

    from engine import figure_of, map_of
    figure_of(map_of("protovae-shapes3d"), "wall hue").show()

Where it comes from is part of it: the title says it in words, `layout.meta` in numbers, and both stay in whatever
the figure is written to. plotly is imported when a figure is made: the page starts without this part of it.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.latent_place import OWN, LatentMap, settings
from engine.samples import truth_of
from engine.serve import Refusal

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GROUPS = "groups"       # the colour that every map has


def figure_of(made: LatentMap, by: str = "", dims: int = 2, values: np.ndarray | None = None) -> Figure:
    """The map in 2 or 3 `dims`, coloured `by` a true factor or by "groups", by the first of them unless named, or
    by `values` (N,), which are then called `by`. A point's text is the number of its picture in the data set, and
    its true factors.

    Raises Refusal for a colour or for dims that are not there.
    """
    from plotly import graph_objects as go

    if dims not in (2, 3):
        raise Refusal("A map has 2 or 3 dimensions.")
    columns = colourings(made)
    by, period = by or next(iter(columns)), 0
    if values is None:
        if by not in columns:
            raise Refusal(f"There is no colour '{str(by)[:60]}'; there are {', '.join(columns)}.")
        values, period = columns[by]
    truth = [name for name in columns if name != GROUPS]
    axes = dict(zip("xyz", made.places(dims).T, strict=False))
    space = "2-D" if dims == 2 else "3-D"
    points = (go.Scattergl if dims == 2 else go.Scatter3d)(
        **axes, mode="markers", name=by,
        marker={"size": 4 if dims == 2 else 2, "color": values, "showscale": True,
                "colorbar": {"title": {"text": escape(by)}},
                **({"colorscale": "HSV", "cmin": 0, "cmax": period} if period else {"colorscale": "Viridis"})},
        customdata=np.column_stack([made.index, *(columns[name][0] for name in truth)]),
        hovertemplate="picture %{customdata[0]}" + "".join(
            f"<br>{escape(name)} %{{customdata[{k}]:.3g}}" for k, name in enumerate(truth, 1)) + "<extra></extra>",
    )
    figure = go.Figure(points)
    bare = {"showticklabels": False, "title": {"text": ""}}  # nearness means something, an axis does not
    figure.update_layout(title={"text": titled(made, space)}, meta=provenance(made), template="plotly_white")
    if dims == 2:
        figure.update_layout(xaxis=bare, yaxis=bare | {"scaleanchor": "x"})
    else:
        figure.update_layout(scene={"xaxis": bare, "yaxis": bare, "zaxis": bare, "aspectmode": "data"})
    return figure


def provenance(made: LatentMap) -> dict:
    """What a map was made of and how, as plain data."""
    return {
        "model": made.model, "data": made.data, "part": made.part, "pictures": len(made.index),
        "method": "UMAP, https://arxiv.org/abs/1802.03426", "settings": settings(made.seed), "command": made.command,
        "figures": dict(made.figures),
    }


def titled(made: LatentMap, space: str) -> str:
    """The same in two lines."""
    data = escape(Path(made.data).name)
    return (f"{len(made.index):,} pictures of {data} by their codes in {escape(made.model)} ({made.part})"
            f"<br><sup>UMAP in {space}, trustworthiness {made.figures[f'trustworthiness {space}']:.2f}, "
            f"{100 * made.figures[f'kept {space}']:.0f} % of neighbours kept</sup>")


def colourings(made: LatentMap) -> dict[str, tuple[np.ndarray, float]]:
    """Values (N,) by the name of each true factor that varies, and of the groups; with each where it begins again, 0
    if it does not."""
    known, values = ((), np.zeros((len(made.index), 0))) if made.data == OWN else truth_of(made.data, made.index)
    varying = {f.name: (column, float(f.circular and (f.size or column.max())))
               for f, column in zip(known, values.T, strict=True) if np.ptp(column) > 0}
    return varying | {GROUPS: (made.cluster, 0)}
