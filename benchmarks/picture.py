"""The pictures of the page in the README: python -m benchmarks.picture

Starts the app on the shipped models and writes what headless Chromium shows of it to assets/readme: page.webp, a
slider of the faces being dragged, swap.webp, contents and styles of 3D Shapes exchanged, people.webp and letters.webp,
those of faces and of glyphs.
"""

import argparse
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from app.main import build, launch_settings
from benchmarks.browser import chromium
from engine import Engine
from engine.files import write_manifest

FOLDER = Path(__file__).parents[1] / "assets" / "readme"
DESKTOP, TALL = ({"viewport": {"width": 1360, "height": height}} for height in (850, 1660))
QUALITY = 88                                      # of WebP, a sixth of a PNG's size
ADDED = {"content": (2, 13, 21), "style": (0, 14, 18)}  # samples beside the two that a matrix begins with


def show(page: Page, url: str, models: list[str], model: str) -> None:
    """Open the page, which offers `models`, on one of them, its films drawn."""
    page.goto(url)
    page.wait_for_function("window.unravel?.counters.films > 0")
    if page.evaluate("window.unravel.view.model") != model:
        page.locator("#model input").click()
        page.locator(f"[role=option][data-index='{models.index(model)}']").click()
        page.wait_for_function("model => window.unravel.view.model === model", arg=model)
    page.wait_for_timeout(1500)  # the films of the new model are drawn


def drag(page: Page, factor: int, start: float, stop: float) -> None:
    """Drag a factor's playhead between two shares of its strip and hold it there."""
    box = page.locator(f"#factor-{factor} input[type=range]").bounding_box()
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + stop * box["width"], y, steps=40)
    page.wait_for_timeout(100)


def exchange(page: Page) -> None:
    """Open the tab "Swap" and add samples to its matrix."""
    page.get_by_role("tab", name="Swap").click()
    drawn = lambda: page.evaluate("window.unravelSwap?.counters.matrices ?? 0")  # noqa: E731
    page.wait_for_function("window.unravelSwap?.counters.exact > 0 && window.unravelSwap.counters.matrices > 0")
    for kind, numbers in ADDED.items():
        for number in numbers:
            before = drawn()
            page.get_by_role("button", name=f"Add a {kind}").click()
            page.locator("#swap .samples button").nth(number).click()
            page.wait_for_function("n => window.unravelSwap.counters.matrices > n", arg=before)
    page.locator("#swap .matrix").scroll_into_view_if_needed()
    page.wait_for_timeout(500)


def keep(page: Page, name: str) -> None:
    """Save what the page shows."""
    Image.open(BytesIO(page.screenshot())).convert("RGB").save(FOLDER / f"{name}.webp", quality=QUALITY, method=6)
    page.close()


def main() -> None:
    """Entry point of the command."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    engine = Engine()
    _, url, _ = build(engine).launch(**launch_settings(), prevent_thread_lock=True, server_name="127.0.0.1")
    engine.warm_up()
    with chromium() as browser:
        page = browser.new_page(**DESKTOP)
        show(page, url, list(engine.models), "vae-faces")
        drag(page, 2, 0.3, 0.7)
        keep(page, "page")
        for name, model in (("swap", "csdismo-shapes3d"), ("people", "csdismo-faces"), ("letters", "csdismo-glyphs")):
            page = browser.new_page(**TALL)
            show(page, url, list(engine.models), model)
            exchange(page)
            keep(page, name)
    write_manifest(FOLDER)


if __name__ == "__main__":
    main()
