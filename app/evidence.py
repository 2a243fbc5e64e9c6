"""Why a factor is called what it is called: its measurements as a table that opens below the sliders."""

from collections.abc import Sequence
from html import escape

from app.session import sliders
from engine import Model, Name

HEAD = ("Factor", "Name", "What pictures show", "Explains", "What labels say", "Where")
NOTE = """
<p>Each factor was moved from end to end in a number of pictures. <b>What pictures show</b> is measured on them
alone: how far it goes, how closely the position tells it (r, or R² for hue), and the share of the visible change
that redrawing only this accounts for. "The object" is whatever differs from the colours at the left and right
edge. <b>What labels say</b> is the share (R²) of the readings' variance on held-out pictures that a label accounts
for; {taught}. <b>Where</b> is a map of the change, stronger for more.</p>
"""


def evidence(model: Model) -> str:
    """The evidence behind the names of a model's sliders as HTML, closed at first; "" if they have no names."""
    named = [(factor.name, model.names[factor.name]) for factor in sliders(model) if factor.name in model.names]
    if not named:
        return ""
    head = "".join(f'<th scope="col">{title}</th>' for title in HEAD)
    rows = "".join(_row(factor, name) for factor, name in named)
    taught = ("of labels the model was told only which pictures are of one " + escape(model.told) if model.told
              else "labels were never trained on")
    return (
        f"<details><summary>Why these names?</summary>{NOTE.format(taught=taught)}"
        '<div class="scroll" role="region" aria-label="Evidence for the names" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _row(factor: str, name: Name) -> str:
    shown = [f"{e.what}, by {e.amount} ({e.measured})" for e in name.pictures] or [name.seen]
    told = [f"{e.what} ({', '.join(filter(None, [e.measured, e.amount]))})" for e in name.labels]
    cells = (_lines(shown), _lines([f"{e.share:.0%}" for e in name.pictures] or ["–"]), _lines(told or ["–"]),
             _heat(name))
    return (f'<tr><th scope="row">{escape(factor)}</th><td><b>{escape(name.name)}</b></td>'
            f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")


def _lines(texts: list[str]) -> str:
    return "".join(f"<div>{escape(text)}</div>" for text in texts)


def halves(shares: Sequence[Sequence[float]]) -> str:
    """Where a map of shares lies, rows from the top, in words."""
    size = len(shares)
    upper = sum(map(sum, shares[:size // 2]))
    left = sum(sum(row[:size // 2]) for row in shares)
    return f"{upper:.0%} of it in the upper half, {left:.0%} in the left half"


def _heat(name: Name) -> str:
    """The map of where as a small picture; its words are for those who cannot see it."""
    size, most = len(name.where), max(max(row) for row in name.where) or 1
    tiles = "".join(
        f'<rect x="{x}" y="{y}" width="1" height="1" fill-opacity="{share / most:.2f}"/>'
        for y, row in enumerate(name.where) for x, share in enumerate(row)
    )
    words = halves(name.where)
    return f'<svg viewBox="0 0 {size} {size}" role="img" aria-label="{words}"><title>{words}</title>{tiles}</svg>'
