"""How fast many points are panned: PointCloud against gr.Plot with the same points, in one headless Chromium.

    python -m benchmarks.points [--count 50000] [--runs 3]

Both pages are served by one process and dragged in turns: 120 real mouse moves in 2 s, sent on schedule whether the
page keeps up or not. For PointCloud the frames are counted in which it has painted points; for gr.Plot, which does not
say, all animation frames of the browser, which is the most it can have painted. Nothing has more than 60 a second, so
that the rates say little about what a frame costs: that is told by the processor time of all the browser's processes,
the one that stands in for a GPU included, for each frame. gr.Plot gets plotly's scattergl where the browser has WebGL,
else its scatter. Also printed: how many bytes the cloud takes on its way, without thumbnails, before and after gzip.
"""

import argparse
import gzip
import json
import os
import platform
import statistics
import time

import gradio as gr
import numpy as np
from playwright.sync_api import CDPSession, Page

from app.main import launch_settings
from app.points import Colour, PointCloud, cloud
from benchmarks.browser import chromium

MOVES, SECONDS, SIDE = 120, 2.0, 700
WEBGL = "Boolean(document.createElement('canvas').getContext('webgl2'))"
RECORD = """() => {
  window.frames_seen = 0;
  const look = () => { window.frames_seen += 1; requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
SEEN = "document.querySelector('#points .plot')?.unravel?.counters.frames ?? window.frames_seen"


def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ten heaps of points (count, 2), and a value (count,) for each."""
    random = np.random.default_rng(0)
    heap = random.integers(0, 10, count)
    places = random.normal(size=(10, 2))[heap] * 4 + random.normal(size=(count, 2))
    return places.astype(np.float32), random.random(count)


def ours(places: np.ndarray, values: np.ndarray) -> gr.Blocks:
    """The points as a PointCloud."""
    with gr.Blocks(analytics_enabled=False) as page:
        PointCloud(cloud("key", "Points", places, [Colour("value", values)]), elem_id="points")
    return page


def plain(places: np.ndarray, values: np.ndarray, webgl: bool) -> gr.Blocks:
    """The same in gr.Plot."""
    from plotly import graph_objects as go

    trace = go.Scattergl if webgl else go.Scatter
    figure = go.Figure(trace(x=places[:, 0], y=places[:, 1], mode="markers",
                             marker={"size": 4, "color": values, "colorscale": "Viridis"}))
    figure.update_layout(dragmode="pan", width=SIDE, height=SIDE)
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Plot(figure, elem_id="points")
    return page


def busy(session: CDPSession) -> float:
    """Processor time in seconds that the browser's processes have taken so far."""
    return sum(process["cpuTime"] for process in session.send("SystemInfo.getProcessInfo")["processInfo"])


def pan(page: Page, target: str, session: CDPSession) -> tuple[float, float]:
    """Frames a second while the points of a fresh page are dragged to and fro, and the processor time of one in ms."""
    box = page.locator(target).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(RECORD)
    before, spent = page.evaluate(SEEN), busy(session)
    begun = time.perf_counter()
    for move in range(1, MOVES + 1):
        time.sleep(max(0.0, begun + SECONDS * move / MOVES - time.perf_counter()))
        page.mouse.move(x + 150 * np.sin(move / 10), y + 100 * np.sin(move / 17))
    seen = page.evaluate(SEEN) - before
    lasted, spent = time.perf_counter() - begun, busy(session) - spent
    page.mouse.up()
    return seen / lasted, 1000 * spent / seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()

    places, values = sample(options.count)
    payload = json.dumps(cloud("key", "Points", places, [Colour("value", values)])).encode()
    here = {**launch_settings(), "prevent_thread_lock": True, "server_name": "127.0.0.1"}
    with chromium() as browser:
        probe = browser.new_page()
        webgl = probe.evaluate(WEBGL)
        probe.close()
        pages = {
            "PointCloud": (ours(places, values), "#points canvas",
                           f"document.querySelector('#points .plot')?.unravel?.counters.painted === {options.count}"),
            "gr.Plot": (plain(places, values, webgl), "#points .nsewdrag",
                        "document.querySelector('#points .nsewdrag')?.getBoundingClientRect().width > 0"),
        }
        urls = {name: page.launch(**here)[1] for name, (page, *_) in pages.items()}
        session = browser.new_browser_cdp_session()
        drags: dict[str, list[tuple[float, float]]] = {name: [] for name in pages}
        for _ in range(options.runs):
            for name, (_, target, ready) in pages.items():
                page = browser.new_page(viewport={"width": SIDE + 60, "height": SIDE + 200})
                page.goto(urls[name])
                page.wait_for_function(ready, timeout=120_000)
                page.wait_for_timeout(1500)
                drags[name].append(pan(page, target, session))
                page.close()
        version = browser.version

    print(f"{os.cpu_count()} cores ({platform.machine()}), Chromium {version}, Gradio {gr.__version__}, plotly's "
          f"{'scattergl' if webgl else 'scatter'}; {options.count:,} points, median of {options.runs} drags\n")
    rate, cost = ({name: statistics.median(drag[k] for drag in found) for name, found in drags.items()} for k in (0, 1))
    print("| | frames/s | processor time of a frame, ms |\n|---|---|---|")
    for name in pages:
        print(f"| {name} | {rate[name]:.1f} | {cost[name]:.1f} |")
    print(f"| ratio | {rate['PointCloud'] / rate['gr.Plot']:.1f} | {cost['gr.Plot'] / cost['PointCloud']:.1f} |\n")
    print(f"payload {len(payload):,} bytes, {len(gzip.compress(payload)):,} with gzip")


if __name__ == "__main__":
    main()
