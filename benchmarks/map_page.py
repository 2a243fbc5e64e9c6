"""How long the map of a model takes to appear: seconds from the choice to the painted points, in headless Chromium.

    python -m benchmarks.map_page [--runs 3]

Serves the page with the shipped models on the CPU, opens the tab Map and chooses every model that has a map in turn.
The clock stops at the second animation frame after the points of the map that was chosen are painted.
"""

import argparse
import os
import platform
import statistics
import time

import gradio as gr

from app.main import build, launch_settings
from app.session import OPENING
from benchmarks.browser import chromium
from engine import Engine, maps_of

PAINTED = """name => document.querySelector('#atlas-clouds canvas')?.ariaLabel?.includes(`(${name})`)
  && document.querySelector('#atlas-clouds .plot').unravel.counters.painted > 0
  && new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()

    engine = Engine()
    order = list(engine.models)  # of the choices
    names = [name for name in order if maps_of(name) and name != OPENING] + [OPENING]  # it is shown first
    _, url, _ = build(engine).launch(server_name="127.0.0.1", prevent_thread_lock=True, **launch_settings())
    taken: dict[str, list[float]] = {name: [] for name in ("opening the tab", *names)}
    with chromium() as browser:
        for _ in range(options.runs):
            page = browser.new_page(viewport={"width": 1360, "height": 900})
            page.goto(url)
            page.wait_for_selector("#factor-0 .film")
            page.wait_for_timeout(2000)
            begun = time.perf_counter()
            page.get_by_role("tab", name="Map").click()
            page.wait_for_function(PAINTED, arg=OPENING)
            taken["opening the tab"].append(time.perf_counter() - begun)
            for name in names:
                page.wait_for_timeout(1500)
                page.locator("#model input").click()
                begun = time.perf_counter()
                page.get_by_role("option").nth(order.index(name)).click()
                page.wait_for_function(PAINTED, arg=name)
                taken[name].append(time.perf_counter() - begun)
            page.close()
        version = browser.version
    engine.close()

    print(f"{os.cpu_count()} cores ({platform.machine()}), Chromium {version}, Gradio {gr.__version__}; median of "
          f"{options.runs}\n\n| | seconds |\n|---|---|")
    for name, found in taken.items():
        print(f"| {name} | {statistics.median(found):.2f} |")


if __name__ == "__main__":
    main()
