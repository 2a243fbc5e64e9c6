"""How fast the picture follows the hand on the square of two factors, against one slider of the same page.

    python -m benchmarks.pad [--runs 5] [--model NAME] [--models FOLDER]

The square is dragged along its diagonal, from low to high in both factors, in the same way as
`benchmarks.drag` drags a slider: 120 real mouse moves in 2 s, sent on schedule whether the page keeps up or not.
At every animation frame the pixels on screen are hashed; a frame counts if it differs from the one before. The
latency of a shown frame is the time from the pointer event whose value it shows to the animation frame that
finds it in the page.
"""

import argparse
import os
import platform
import time
from pathlib import Path

import gradio as gr
from playwright.sync_api import Page

from app.main import build, launch_settings
from app.session import OPENING
from benchmarks.browser import chromium
from benchmarks.drag import MOVES, OURS, RECORD, SECONDS, Drag, drag, measured, summary
from engine import MODELS, Engine

# As `benchmarks.drag` records, but with the pointer's own events: the first factor is the one across.
POINTER = """() => {
  const range = document.querySelector("#factor-0 input[type=range]");
  window.inputs = [];
  window.addEventListener("pointermove", (event) => window.inputs.push([event.timeStamp, Number(range.value)]));
}"""
SEEN = OURS.replace("return { value }", "return { value: value?.[0] }")


def drag_square(page: Page) -> Drag:
    """Drag the spot of a fresh page along the diagonal of its square."""
    page.locator("[data-do=pad]").click()
    page.wait_for_function("document.querySelector('#pad').dataset.whole === 'true'")
    square = page.locator("#pad .plane")
    square.scroll_into_view_if_needed()
    box = square.bounding_box()
    edge = box["width"] / 18                                   # to the centre of the outermost pictures
    left, bottom, way = box["x"] + edge, box["y"] + box["height"] - edge, box["width"] - 2 * edge
    page.mouse.move(left, bottom)
    page.mouse.down()
    page.wait_for_timeout(1000)                                # the page comes to rest in the corner
    page.evaluate(RECORD, SEEN)
    page.evaluate(POINTER)
    begun = time.perf_counter()
    for move in range(1, MOVES + 1):
        time.sleep(max(0.0, begun + SECONDS * move / MOVES - time.perf_counter()))
        page.mouse.move(left + way * move / MOVES, bottom - way * move / MOVES)
    lasted = time.perf_counter() - begun
    page.mouse.up()
    page.wait_for_timeout(1500)                                # what is still on its way arrives
    inputs, frames = page.evaluate("[window.inputs, window.frames]")
    return measured(inputs, frames, lasted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--models", type=Path, default=MODELS)
    parser.add_argument("--model", default=OPENING)
    options = parser.parse_args()

    engine = Engine(options.models)
    engine.models = {options.model: engine.model(options.model)}
    _, url, _ = build(engine).launch(
        **{**launch_settings(), "quiet": True, "prevent_thread_lock": True, "server_name": "127.0.0.1"})
    engine.warm_up()
    hands = {"two factors": drag_square, "one slider": lambda page: drag(page, OURS)}
    drags: dict[str, list[Drag]] = {name: [] for name in hands}
    with chromium() as browser:
        version = browser.version
        for _ in range(options.runs):
            for name, hand in hands.items():
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(url)
                page.wait_for_function("window.unravel?.counters.films > 0")
                drags[name].append(hand(page))
                page.close()

    print(f"{os.cpu_count()} cores ({platform.machine()}), Chromium {version}, Gradio {gr.__version__}, "
          f"{options.model}; median of {options.runs} drags of {MOVES} moves in {SECONDS:.0f} s\n")
    print("| | frames/s | latency, median (ms) | latency, 95 % (ms) |\n|---|---|---|---|")
    for name, found in drags.items():
        print("| {} | {:.1f} | {:.1f} | {:.1f} |".format(name, *summary(found)))


if __name__ == "__main__":
    main()
