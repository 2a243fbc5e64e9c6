"""What there is to say of a map: its colours, its groups, how far it may be trusted. No Gradio here.

A map is called by a name: "csdismo-glyphs" (a shipped one, of the whole code), "csdismo-glyphs-style" (of a part), or
"own:<token>" (of somebody's own pictures, app.own_maps).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np

from app.points import CLASSES, Colour, cloud
from app.session import Sessions, data_title, sliders
from app.swap import name_of
from engine import LatentMap, Model, OwnMap, Refusal, apart, map_of, maps_of, pictures_of, truth_of

DIMS = {"flat": 2, "in space": 3}
WHOLE = {"code": "the whole code"}


@dataclass(frozen=True)
class Found:
    """A map by its name, with the model it is of, and the pictures if they are somebody's own."""

    name: str
    known: Model
    made: LatentMap
    own: OwnMap | None = None

    def pictures(self, points: np.ndarray) -> np.ndarray:
        """The pictures of points (B,): (B, 64, 64, 3) uint8."""
        numbers = self.made.index[points]
        return self.own.pictures(numbers) if self.own else pictures_of(self.made.data, numbers)

    @cached_property
    def table(self) -> tuple[list[str], np.ndarray]:
        """The names of the sliders that move what the map is of, and where every picture stands along them: (N, F)."""
        made, known = self.made, self.known
        codes = np.repeat(known.mean[None], len(made.codes), 0)
        codes[:, made.columns] = made.restored(made.codes)
        shown = [f for f in sliders(known) if np.isin(np.arange(*f.where), made.columns).any()]
        values = np.stack([f.positions(codes) for f in shown] or
                          [np.empty(len(codes))], 1)[:, :len(shown)]
        return [name_of(known, f) for f in shown], values

    @cached_property
    def groups(self) -> list[str]:
        """A sentence for each group on the map: how many of the pictures, and by which two factors it differs most, be
        it that they lie higher or lower or that they lie close together."""
        (names, values), cluster = self.table, self.made.cluster
        said = []
        for number in range(int(cluster.max()) + 1):
            inside = cluster == number
            effect = apart(values, inside)
            narrow = 1 - values[inside].std(0) / np.maximum(values.std(0), 1e-9)
            words = ["much the same" if narrow[k] > abs(effect[k]) else "more" if effect[k] > 0 else "less"
                     for k in range(len(names))]
            strength = np.maximum(np.abs(effect), narrow)
            most = [f"{words[k]} “{names[k]}”" for k in np.argsort(-strength)[:2] if strength[k] > 0.3]
            share = f"Group {number + 1}, {100 * inside.mean():.0f} % of the pictures"
            said.append(f"{share}: {' and '.join(most) or 'no factor sets it apart'}.")
        return said

    def truth(self) -> tuple:
        """What is known of the pictures: factors, K of them, and their values (N, K)."""
        return ((), np.zeros((len(self.made.index), 0))) if self.own else truth_of(self.made.data, self.made.index)

    def base(self, sessions: Sessions, point: int) -> str:
        """The picture of a point as a base of a page."""
        if self.own:
            return sessions.keep(self.pictures(np.array([point]))[0])
        return f"picture:{self.made.index[point]}"

    @property
    def title(self) -> str:
        """The model and the part of its code, as it is told from other maps."""
        by = "" if self.made.part == "code" else f", {self.made.part}"
        return f"{self.known.title} ({self.known.name}){by}"


class Finder:
    """Maps by their names. own: answers for a token with somebody's own map, or raises Refusal."""

    def __init__(self, sessions: Sessions, own: Callable[[str], OwnMap]):
        self.sessions, self.own = sessions, own

    def __call__(self, name: str) -> Found:
        """The map called `name`; raises Refusal if there is none."""
        own = self.own(name.removeprefix("own:")) if str(name).startswith("own:") else None
        made = own.made if own else map_of(name)
        return Found(name, self.sessions.engine.model(made.model), made, own)

    def parts(self, model: str, token: str) -> list[tuple[str, str]]:
        """The maps of a model as (what of, name): of its parts, and of the pictures that `token` stands for."""
        found = [(WHOLE.get(made.part, made.part), made.name) for made in maps_of(model)]
        try:
            if token and self.own(token).made.model == model:
                found.append((f"your {len(self.own(token).files):,} pictures", f"own:{token}"))
        except Refusal:  # it is gone from the server
            pass
        return found

    def rivals(self, found: Found) -> list[tuple[str, str]]:
        """The other maps of the same pictures as (title, name): of other models, and of other parts."""
        if found.own:
            return []
        others = [self(made.name) for model in self.sessions.engine.models for made in maps_of(model)
                  if made.data == found.made.data and made.name != found.name]
        return [(other.title, other.name) for other in others]


def drawn(found: Found, dims: int, group: str = "", compared: bool = False) -> dict:
    """The cloud of a map, flat or in space; with the numbers of its pictures if it is `compared`."""
    made = found.made
    title = f"Map of {len(made.index):,} pictures by their codes in {found.title}"
    return cloud(f"{found.name}/{dims}", title, made.places(dims), [*true_colours(found), *found_colours(found)],
                 name=found.title if compared else "", group=group, about=" ".join(found.groups),
                 numbers=made.index if compared else None)


def reports(shown: list[Found], dims: int) -> str:
    """What there is to say below maps, side by side: their trust, and their groups."""
    parts = []
    for found in shown:
        rows = "".join(f"<li>{escape(sentence)}</li>" for sentence in found.groups)
        parts.append(f"<div><h3>{escape(found.title)}</h3>{trusted(found, dims)}<ul>{rows}</ul></div>")
    return f"<div class='reports'>{''.join(parts)}</div>"


def trusted(found: Found, dims: int) -> str:
    """How far the map may be trusted, in words."""
    made, space = found.made, "2-D" if dims == 2 else "3-D"
    kept, trust = made.figures[f"kept {space}"], made.figures[f"trustworthiness {space}"]
    read = escape(found.own.report) if found.own else f"{len(made.index):,} pictures of {escape(data_title(made))}."
    return (f"<p>{read} Arranged by UMAP. Of a point's 15 nearest codes {100 * kept:.0f} % are among its 15 nearest "
            f"here; trustworthiness {trust:.2f} of 1.</p>")


def true_colours(found: Found) -> list[Colour]:
    """One colour for each true factor that varies."""
    known, values = found.truth()
    colours = []
    for factor, column in zip(known, values.T, strict=True):
        if np.ptp(column) > 0:
            names = tuple(f"{v:g}" for v in factor.values) if 0 < factor.size <= CLASSES and not factor.circular else ()
            high = factor.size if factor.circular and factor.size else float(column.max())
            colours.append(Colour(factor.name, column, float(column.min()), high, names, factor.circular))
    return colours


def found_colours(found: Found) -> list[Colour]:
    """One colour for each factor that the model found, and one for the groups on the map."""
    names, values = found.table
    colours = [Colour(name, column, *np.quantile(column, (0.01, 0.99)))
               for name, column in zip(names, values.T, strict=True)]
    cluster = found.made.cluster
    count = min(int(cluster.max()) + 1, CLASSES - 1)
    if count > 1 or not colours:
        labels = (*(f"group {k + 1}" for k in range(count)), "none")
        colours.append(Colour("groups", np.where((cluster < 0) | (cluster >= count), count, cluster), labels=labels))
    return colours
