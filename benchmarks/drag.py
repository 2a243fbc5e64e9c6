"""How fast the picture follows the hand: this page against plain Gradio sliders wired to gr.Image.

    python -m benchmarks.drag [--runs 5] [--model NAME] [--models FOLDER]

Both pages use one engine in one process and are dragged in one headless Chromium, in turns. A drag
is 120 real mouse moves in 2 s along the first slider, sent on schedule whether the page keeps up
or not. At every animation frame the pixels on screen are hashed: a frame counts if it differs from
the one before. The latency of a shown frame is the time from the input event whose value it shows to the
animation frame that finds it in the page, just before the browser paints. The plain page shows, as
a row of white and black squares in its picture, which value that is; this page says so itself
(window.unravel.shown). With 120 moves in 2 s nothing can show more than 60 frames a second.
"""

import argparse
import os
import platform
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import gradio as gr
import numpy as np
from playwright.sync_api import Page

from app.main import build, launch_settings
from app.session import Sessions, parse
from benchmarks.browser import chromium
from engine import MODELS, Engine

MOVES, SECONDS = 120, 2.0
BITS = 10           # of the code that says which position of the slider a picture is of
# Both recorders file the inputs (time, value) and, by animation frame, (time, hash, value shown).
RECORD = """(seen) => {
  window.inputs = []; window.frames = [];
  const range = document.querySelector("#factor-0 input[type=range]");
  range.addEventListener("input", (event) => window.inputs.push([event.timeStamp, Number(range.value)]), true);
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const see = new Function("pen", seen);
  const look = (now) => {
    const found = see(pen);
    if (found) {
      const words = new Uint32Array(pen.getImageData(0, 0, 64, 64).data.buffer);
      let hash = 7;
      for (let k = 0; k < words.length; k += 5) hash = (hash * 31 + words[k]) | 0;
      window.frames.push([performance.now(), hash, found.value ?? null]);
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}"""
OURS = """
  pen.drawImage(document.querySelector("#canvas canvas"), 0, 0);
  const { kind, value } = window.unravel.shown;
  return { value };
"""
PLAIN = """
  const image = document.querySelector("#picture img");
  if (!image?.complete || !image.naturalWidth) return null;
  pen.drawImage(image, 0, 0, 64, 64);
  const row = pen.getImageData(0, 1, 64, 1).data;
  let position = 0;
  for (let bit = 0; bit < BITS; bit++) position |= (row[4 * (bit * 6 + 3)] > 127) << bit;
  const range = document.querySelector("#factor-0 input[type=range]");
  return { value: Number(range.min) + position * Number(range.step) };
""".replace("BITS", str(BITS))


@dataclass(frozen=True)
class Drag:
    """What one drag showed."""

    frames: float               # different pictures a second
    latencies: list[float]      # milliseconds, one for every shown value


def plain(engine: Engine, model: str) -> gr.Blocks:
    """The usual page: gr.Slider for every factor, each wired to one gr.Image."""
    sessions = Sessions(engine)
    base = sessions.start(model)
    dials = sessions.dials(model, base)

    def draw(*values: float) -> np.ndarray:
        edits = {dial.name: value for dial, value in zip(dials, values, strict=True)}
        picture = sessions.draw(parse({"model": model, "base": base, "edits": edits})).copy()
        position = round((values[0] - dials[0].minimum) / dials[0].step)
        for bit in range(BITS):
            picture[:4, 6 * bit : 6 * bit + 6] = 255 * (position >> bit & 1)
        return picture

    with gr.Blocks(analytics_enabled=False) as page:
        image = gr.Image(draw(*(dial.neutral for dial in dials)), elem_id="picture", height=400)
        pool = [
            gr.Slider(d.minimum, d.maximum, d.neutral, step=d.step, label=d.label, elem_id=f"factor-{i}")
            for i, d in enumerate(dials)
        ]
        for part in pool:
            part.input(draw, pool, image, trigger_mode="always_last")
    return page


def drag(page: Page, seen: str) -> Drag:
    """Drag the first slider of a fresh page from end to end."""
    slider = page.locator("#factor-0 input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    left, width, y = box["x"] + 6, box["width"] - 12, box["y"] + box["height"] / 2
    page.mouse.move(left, y)
    page.mouse.down()
    page.wait_for_timeout(1000)     # both pages come to rest at the left end
    page.evaluate(RECORD, seen)
    begun = time.perf_counter()
    for move in range(1, MOVES + 1):
        time.sleep(max(0.0, begun + SECONDS * move / MOVES - time.perf_counter()))
        page.mouse.move(left + width * move / MOVES, y)
    lasted = time.perf_counter() - begun
    page.mouse.up()
    page.wait_for_timeout(1500)     # what is still on its way arrives
    inputs, frames = page.evaluate("[window.inputs, window.frames]")
    return measured(inputs, frames, lasted)


def measured(inputs: list, frames: list, lasted: float) -> Drag:
    """From recorded inputs (time, value) and animation frames (time, hash, value) to figures."""
    first, last = inputs[0][0], inputs[0][0] + 1e3 * lasted
    during = [hash_ for at, hash_, _ in frames if first <= at <= last]
    different = sum(a != b for a, b in pairwise(during))
    latencies, before = [], None
    for at, _, value in frames:
        if value is None or value == before:
            continue
        before = value
        times = [since for since, moved in inputs if abs(moved - value) < 1e-6 and since <= at]
        if times:
            latencies.append(at - times[0])
    return Drag(different / lasted, latencies)


def summary(drags: list[Drag]) -> tuple[float, float, float]:
    """Median over drags of: frames a second, median latency, 95th percentile of the latency."""
    columns = zip(*((d.frames, *np.percentile(d.latencies, (50, 95))) for d in drags), strict=True)
    return tuple(statistics.median(column) for column in columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--model", help="the first one unless named")
    options = parser.parse_args()

    engine = Engine(options.models)
    model = options.model or next(iter(engine.models))
    engine.models = {model: engine.model(model)}
    here = {"quiet": True, "prevent_thread_lock": True, "server_name": "127.0.0.1"}
    _, our_url, _ = build(engine).launch(**{**launch_settings(), **here})
    _, plain_url, _ = plain(engine, model).launch(**here)
    pages = {
        "this page": (our_url, OURS, "window.unravel?.counters.films > 0"),
        "plain Gradio": (plain_url, PLAIN, "document.querySelector('#picture img')?.complete"),
    }
    engine.warm_up()
    drags: dict[str, list[Drag]] = {name: [] for name in pages}
    with chromium() as browser:
        version = browser.version
        for _ in range(options.runs):
            for name, (url, seen, ready) in pages.items():
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(url)
                page.wait_for_function(ready)
                drags[name].append(drag(page, seen))
                page.close()

    ours, theirs = summary(drags["this page"]), summary(drags["plain Gradio"])
    print(f"{os.cpu_count()} cores ({platform.machine()}), Chromium {version}, Gradio {gr.__version__}, {model}; "
          f"median of {options.runs} drags of {MOVES} moves in {SECONDS:.0f} s\n")
    print("| | frames/s | latency, median (ms) | latency, 95 % (ms) |\n|---|---|---|---|")
    for name, (frames, median, high) in (("this page", ours), ("plain Gradio", theirs)):
        print(f"| {name} | {frames:.1f} | {median:.1f} | {high:.1f} |")
    print(f"| ratio | {ours[0] / theirs[0]:.1f} | {theirs[1] / ours[1]:.1f} | {theirs[2] / ours[2]:.1f} |")


if __name__ == "__main__":
    main()
