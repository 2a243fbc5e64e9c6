"""The tab "When is it possible?": a proof at work.

Pictures of a manifold, the coordinates that Hessian eigenmaps find in them, and what independent components
make of those; beside it what principal components make of the same pictures. Two switches take away what the
proof needs. All clouds share the pointer: the picture under it is the same in every one of them.
"""

from base64 import b64encode
from html import escape

import gradio as gr
import numpy as np

from app import pictures
from app.explore import PRIVATE
from app.points import Colour, PointCloud, cloud
from engine import Refusal, Study, mosaic, studies, study_of

INTRO = """
<h2>When is it possible?</h2>
<p>In general no method can find the factors behind pictures without labels: another mixture of them explains the
pictures as well. Horan, Richardson and Weiss proved when one can. If every factor moves the pictures evenly
everywhere, a <b>local isometry</b>, Hessian eigenmaps find the factors up to a linear mixture; and if at most one of
them is <b>Gaussian</b>, independent component analysis undoes the mixture. Take either away and watch it fail.
<a href="https://papers.neurips.cc/paper_files/paper/2021/hash/29586cb449c90e249f1f09a0a4ee245a-Abstract.html"
target="_blank" rel="noopener">The paper</a> (NeurIPS 2021).</p>
"""
STEPS = ("Hessian eigenmaps: mixed", "+ ICA: the factors", "Principal components", "+ ICA",
         "Autoencoder + ICA", "Isometric autoencoder + ICA")
SIDE = 24            # pixels of a picture that follows the pointer
TILES = 13           # pictures in a row of the mosaic
TILE = 40            # pixels of one of them
FOUND = 0.9          # mean correlation above which factors count as found
OPENING = "drawn-shapes3d-2-5"  # quick to draw, and beyond principal components
LAWS = {"uniform": "uniform", "Gaussian": "gaussian"}


class Isometry:
    """The tab inside the current Blocks. `tab` is what loads it when it is first looked at."""

    def __init__(self, tab: gr.Tab):
        with gr.Column(elem_id="isometry"):
            gr.HTML(INTRO, apply_default_css=False, elem_id="isometry-intro")
            with gr.Row(elem_id="isometry-choice"):
                names = studies()
                opening = OPENING if OPENING in names else names[0]
                name = gr.Dropdown([(title(n), n) for n in names], value=opening, label="Pictures", filterable=False)
                law = gr.Radio(list(LAWS), value="uniform", label="Factors are")
                warped = gr.Checkbox(label="Break the isometry", info="turn the factors, the more the further out")
                count = gr.Slider(500, 3000, 1000, step=500, label="How many pictures")
            self.verdict = gr.HTML(apply_default_css=False, elem_id="isometry-verdict")
            with gr.Row(elem_id="isometry-clouds"):
                self.clouds = [PointCloud(elem_id=f"cloud-{i}", min_width=240) for i in range(len(STEPS))]
            with gr.Row(elem_id="isometry-more"):
                self.mosaic = gr.HTML(apply_default_css=False, elem_id="mosaic")
                self.spectrum = gr.HTML(apply_default_css=False, elem_id="spectrum")
        inputs = [name, law, warped, count]
        self.outputs = [self.verdict, *self.clouds, self.mosaic, self.spectrum]
        options = PRIVATE | {"concurrency_id": "heavy", "show_progress": "minimal"}
        gr.on([tab.select, name.input, law.input, warped.input, count.release], answer, inputs, self.outputs,
              trigger_mode="always_last", **options)


def answer(name: str, law: str, warped: bool, count: float) -> list:
    """Updates for all outputs: the study of `count` pictures, or a sentence why there is none."""
    try:
        found = study_of(name, int(count), LAWS.get(law, law), bool(warped))
    except (Refusal, TypeError) as refusal:
        return [f"<p class='refusal'>{escape(str(refusal))}</p>", *(gr.skip() for _ in range(len(STEPS) + 2))]
    flat, unmixed = found.steps[1:]
    planes = (flat, unmixed, found.steps[0], *found.rivals)
    sheet = thumbnails(found)
    shown = [
        cloud(f"{found.name}-{len(found.values)}-{i}", described(found, plane.title, plane.mcc),
              plane.codes[:, :3], colours(found), sheet, f"{step} ({plane.mcc:.2f})", group=found.name, tools=False)
        for i, (plane, step) in enumerate(zip(planes, STEPS, strict=False))
    ]
    shown += [{"count": 0}] * (len(STEPS) - len(shown))
    return [verdict(found), *shown, picture_wall(found), bars(found)]


def verdict(found: Study) -> str:
    """What came out, in a sentence and four figures."""
    flat, unmixed = found.steps[1:]
    linear = found.rivals[0]
    good = unmixed.mcc >= FOUND
    say = "The factors are found" if good else "The factors are not found"
    figures = (
        ("HLLE + ICA", f"{unmixed.mcc:.2f}"), ("before ICA", f"{flat.mcc:.2f}"), ("PCA + ICA", f"{linear.mcc:.2f}"),
        ("isometry of these pictures", f"{found.isometric:.2f}"),
        ("estimated dimension", f"{found.dimension} of {len(found.factors)}"),
    )
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in figures)
    return (f"<p class='{'good' if good else 'bad'}'><b>{say}</b>: {escape(', '.join(found.factors))}, "
            f"from {len(found.values):,} pictures and no label.</p>"
            f"<dl>{cells}</dl><p class='note'>Mean correlation with the true factors, best one-to-one match; chance is "
            "near 0, 1 is perfect. Isometry: share of the local geometry that one scale and rotations explain.</p>")


def colours(found: Study) -> list[Colour]:
    """One colour for each true factor."""
    return [Colour(name, column, float(column.min()), float(column.max()))
            for name, column in zip(found.factors, found.values.T, strict=True)]


def described(found: Study, step: str, mcc: float) -> str:
    """A cloud in words, for who cannot see it."""
    return f"{step}: {len(found.values)} pictures by the coordinates found, correlation with the true factors {mcc:.2f}"


def thumbnails(found: Study) -> dict:
    """All pictures at SIDE pixels as one JPEG, for the pointer."""
    columns = int(np.ceil(len(found.pictures) ** 0.5))
    small = np.zeros((columns * -(-len(found.pictures) // columns), SIDE, SIDE, 3), np.uint8)
    small[:len(found.pictures)] = pictures.reduced(found.pictures, SIDE)
    data = pictures.jpeg(pictures.sheet(small.reshape(-1, columns, SIDE, SIDE, 3)), 85)
    return {"image": f"data:image/jpeg;base64,{b64encode(data).decode()}", "side": SIDE, "columns": columns}


def picture_wall(found: Study) -> str:
    """Pictures where their first two coordinates are on a grid: what an axis does is seen along it."""
    places = mosaic(found.steps[2].codes[:, :2], TILES)
    tiles = np.full((TILES, TILES, TILE, TILE, 3), 128, np.uint8)
    there = places >= 0
    tiles[there] = pictures.reduced(found.pictures[places[there]], TILE)
    data = b64encode(pictures.jpeg(pictures.sheet(tiles), 88)).decode()
    first, second = (escape(name) for name in found.factors[:2])
    return (f"<h3>What the axes found do</h3><img src='data:image/jpeg;base64,{data}' "
            f"alt='{TILES} times {TILES} pictures, {first} from left to right, {second} from bottom to top'>"
            f"<p>{first} → · {second} ↑. Each is the real picture nearest to its place.</p>")


def bars(found: Study) -> str:
    """The lowest eigenvalues of the Hessian form, on a logarithmic scale."""
    d = len(found.factors)
    values = np.maximum(found.spectrum, 1e-9)
    low, high = np.log10(values.min()), np.log10(values.max())
    rows = "".join(
        f"<i class='{'null' if k <= d else ''}' style='--share: {(np.log10(v) - low) / max(high - low, 1e-9):.3f}' "
        f"title='{v:.2e}'></i>" for k, v in enumerate(values)
    )
    return (f"<h3>The eigenvalue gap</h3><div class='bars' role='img' aria-label='Lowest eigenvalues; the {d + 1} of "
            f"a flat sheet, then a step of {found.gap:.0f}'>{rows}</div>"
            f"<p>On a sheet of {d} dimensions that is flat in itself, {d + 1} eigenvalues (teal) are near zero: a "
            f"constant and {d} coordinates. The next one is {found.gap:,.0f} times the last of them; where the "
            "isometry breaks, that step shrinks.</p>")


def title(name: str) -> str:
    """The name of a manifold as a person reads it."""
    return name.replace("drawn-", "Drawn by our model: ").replace("-", " ").capitalize()
