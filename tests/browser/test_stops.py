"""Sliders that snap to where the data gathers, and one that is a circle, in a real browser."""

import numpy as np
from playwright.sync_api import Page

from tests.browser.test_fields import opened
from tests.browser.test_page import at_rest, by_api, pixels, track

PLACES = """() => window.unravel.view.factors.map(({ low, high, stops, step, minimum, maximum }, i) =>
  ({ i, low, high, stops, step, minimum, maximum }))"""


def let_go_near(page: Page, index: int, value: float, alt: bool = False) -> float:
    """Drag a slider from its middle to a value and say where it then stands."""
    left, right, y = track(page, index)
    factor = page.evaluate(PLACES)[index]
    share = (value - factor["minimum"]) / (factor["maximum"] - factor["minimum"])
    page.mouse.move((left + right) / 2, y)
    if alt:
        page.keyboard.down("Alt")
    page.mouse.down()
    page.mouse.move(left + share * (right - left), y, steps=4)
    page.mouse.up()
    if alt:
        page.keyboard.up("Alt")
    return page.evaluate("i => window.unravel.view.values[i]", index)


def test_a_drag_snaps_to_a_tick_unless_alt_is_held_and_keys_step_past_it(visit, api):
    page = opened(visit)
    factors = page.evaluate(PLACES)
    for factor in factors:
        ticks = page.locator(f"#factor-{factor['i']} .stops i")
        assert ticks.count() == len(factor["stops"])
    chosen = next(f for f in factors if len(f["stops"]) > 1)
    index, stop, width = chosen["i"], chosen["stops"][1], chosen["high"] - chosen["low"]
    film = page.locator(f"#factor-{index} .film").bounding_box()
    tick = page.locator(f"#factor-{index} .stops i").nth(1).bounding_box()
    expected = film["x"] + film["width"] * (0.5 + 8 * (stop - chosen["low"]) / width) / 9
    assert abs(tick["x"] + tick["width"] / 2 - expected) < 1.5           # where the thumb shows that value
    near = stop - 0.009 * width
    assert let_go_near(page, index, near) == stop
    at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, page.evaluate("window.unravel.view")))
    past = let_go_near(page, index, near, alt=True)
    assert past != stop and abs(past - near) < 0.01 * width
    far = let_go_near(page, index, stop - 0.05 * width)
    assert abs(far - (stop - 0.05 * width)) < 0.01 * width               # nor from further away
    assert let_go_near(page, index, near) == stop
    page.locator(f"#factor-{index} input[type=range]").press("ArrowLeft")
    assert abs(page.evaluate("i => window.unravel.view.values[i]", index) - (stop - chosen["step"])) < 1e-6
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert abs(page.evaluate("i => window.unravel.view.values[i]", index) - far) < 1e-6


def test_both_ends_of_a_circle_are_one_picture_and_the_neutral_place_is_the_input(visit):
    page = opened(visit)
    home = pixels(page)
    circle = page.evaluate("""() => window.unravel.view.factors.findIndex(({ note }) => note.includes("circle"))""")
    ends = []
    for key in ("Home", "End"):
        page.locator(f"#factor-{circle} input[type=range]").press(key)
        at_rest(page)
        ends.append(pixels(page).astype(int))
    assert np.abs(ends[0] - ends[1]).max() <= 1 and np.abs(ends[0] - home).max() > 10
    page.locator(f"#factor-{circle} .undo").click()
    at_rest(page)
    assert np.array_equal(pixels(page), home)


def test_a_model_without_stops_has_no_ticks(visit):
    page = opened(visit)
    assert page.locator("#factors .stops").count() > 0
    page.evaluate("window.unravel.go({ model: 'isometry-faces', base: 'gallery:3' })")
    page.wait_for_function("window.unravel.view.model === 'isometry-faces'")
    at_rest(page)
    assert page.locator("#factors .stops").count() == 0
