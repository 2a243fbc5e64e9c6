"""The pictures of the page in the README: python -m benchmarks.picture

Starts the app on the shipped models, drags a slider of the faces in headless Chromium and writes
assets/readme/page.png, then the 3D Shapes page in dark and on a phone.
"""

from pathlib import Path

from playwright.sync_api import Page

from app.main import build, launch_settings
from benchmarks.browser import chromium
from engine import Engine
from engine.files import write_manifest

FOLDER = Path(__file__).parents[1] / "assets" / "readme"
DESKTOP = {"viewport": {"width": 1360, "height": 850}}
PHONE = {"viewport": {"width": 412, "height": 892}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}


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


def main() -> None:
    """Write the pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    engine = Engine()
    _, url, _ = build(engine).launch(**launch_settings(), prevent_thread_lock=True, server_name="127.0.0.1")
    engine.warm_up()
    with chromium() as browser:
        for name, model, options, factor in (
            ("page", "vae-faces", DESKTOP, 2),
            ("dark", "protovae-shapes3d", DESKTOP | {"color_scheme": "dark"}, 4),
            ("phone", "protovae-shapes3d", PHONE, 0),
        ):
            page = browser.new_page(**options)
            show(page, url, list(engine.models), model)
            drag(page, factor, 0.3, 0.7)
            page.screenshot(path=FOLDER / f"{name}.png")
            page.close()
    write_manifest(FOLDER)


if __name__ == "__main__":
    main()
