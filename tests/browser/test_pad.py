"""Two factors at once, with a real mouse, keys and touch."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_page import PHONE, RECORD, at_rest, by_api, choose_model, decoded, drag, pixels

READY = "document.querySelector('#pad').dataset.whole === 'true'"


def opened(page: Page) -> dict:
    """The square on the page, once it has all its pictures: its box."""
    at_rest(page)
    page.get_by_role("button", name="Two factors at once").click()
    page.wait_for_function(READY)
    square = page.locator("#pad .plane")
    expect(square).to_be_focused()
    return square.bounding_box()


def test_square_moves_both_factors_and_ends_in_the_exact_picture(visit, api):
    page = visit.open()
    box, tiles = opened(page), int(page.locator("#pad").get_attribute("data-tiles"))
    counters = page.evaluate("window.unravel.counters")
    page.evaluate(RECORD)
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    for k in range(60):
        page.mouse.move(box["x"] + 20 + 4 * k, box["y"] + 20 + 3 * k)
        page.evaluate("new Promise(requestAnimationFrame)")
    page.mouse.up()
    view = at_rest(page)
    assert len({hash for hash, *_ in page.evaluate("window.record")}) > 40
    after = page.evaluate("window.unravel.counters")
    assert after["frames"] == counters["frames"] and after["errors"] == 0
    a, b = view["factors"][:2]
    for factor, share in ((a, (20 + 4 * 59) / box["width"]), (b, 1 - (20 + 3 * 59) / box["height"])):
        along = min(1, max(0, (share * tiles - 0.5) / (tiles - 1)))
        expected = factor["low"] + along * (factor["high"] - factor["low"])
        assert view["edits"][factor["name"]] == pytest.approx(expected, abs=2 * factor["step"])
    assert np.array_equal(pixels(page), by_api(api, view))
    expect(page.locator("#factor-0 input[type=number]")).to_have_value(f"{view['values'][0]:.10g}")
    page.keyboard.press("Control+z")
    assert page.evaluate("window.unravel.state.edits") == {}


def test_preview_in_the_middle_of_a_tile_is_that_of_its_two_values(visit, api):
    page = visit.open()
    box, tiles = opened(page), int(page.locator("#pad").get_attribute("data-tiles"))
    view = page.evaluate("window.unravel.view")
    page.evaluate("""() => { window.previews = [];
      const canvas = document.querySelector("#canvas canvas"), look = () => {
        const { kind, value } = window.unravel.shown;
        const { edits } = window.unravel.state;
        if (kind === "preview" && value) window.previews.push([canvas.toDataURL("image/png"), edits]);
        requestAnimationFrame(look);
      };
      requestAnimationFrame(look);
    }""")
    for column, row in ((0, tiles - 1), (tiles // 2, tiles // 2), (tiles - 2, 1)):
        x, y = ((k + 0.5) / tiles for k in (column, row))
        page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        at_rest(page)
    seen = {str(edits): (picture, edits) for picture, edits in page.evaluate("window.previews")}
    assert len(seen) == 3
    for picture, edits in seen.values():
        error = decoded(picture).astype(float) - by_api(api, {**view, "edits": edits})
        assert 20 * np.log10(255 / np.sqrt(np.mean(error**2))) > 28


def test_arrow_keys_move_one_factor_each_and_say_where(visit):
    page = visit.open()
    opened(page)
    factors = page.evaluate("window.unravel.view.factors")
    before = page.evaluate("window.unravel.view.values")
    page.keyboard.press("ArrowRight")
    middle = page.evaluate("window.unravel.view.values")
    assert middle[0] - before[0] == pytest.approx((factors[0]["high"] - factors[0]["low"]) / 40, abs=factors[0]["step"])
    assert middle[1] == pytest.approx(before[1], abs=factors[1]["step"]) and middle[2:] == before[2:]
    page.keyboard.press("Shift+ArrowUp")
    after = page.evaluate("window.unravel.view.values")
    assert after[1] - middle[1] == pytest.approx((factors[1]["high"] - factors[1]["low"]) / 8, abs=factors[1]["step"])
    expect(page.locator("#pad .there")).to_have_text(
        f"{factors[0]['label']} {after[0]:.10g}, {factors[1]['label']} {after[1]:.10g}")


def test_axes_are_chosen_and_an_edit_beside_them_brings_a_new_square(visit, api):
    page = visit.open()
    box = opened(page)
    across, up = (page.locator(f"#pad select[data-axis='{k}']") for k in (0, 1))
    across.select_option("1")
    expect(up).to_have_value("0")                         # a factor cannot be both
    up.select_option("2")
    drag(page, 0, moves=3)
    at_rest(page)
    page.wait_for_function(READY)
    page.locator("#pad .plane").scroll_into_view_if_needed()
    box = page.locator("#pad .plane").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + 5)
    view = at_rest(page)
    factors = view["factors"]
    assert view["values"][1] == pytest.approx(factors[1]["low"], abs=factors[1]["step"])
    assert view["values"][2] == pytest.approx(factors[2]["high"], abs=factors[2]["step"])
    assert np.array_equal(pixels(page), by_api(api, view))
    names = [model["name"] for model in api.predict(api_name="/models")]
    choose_model(page, "vae-shapes3d", names.index("vae-shapes3d"))
    expect(across).to_have_value("0")
    page.get_by_role("button", name="Two factors at once").click()
    expect(page.locator("#pad .plane")).to_be_hidden()


def test_square_fits_a_phone_beside_the_picture_and_follows_a_finger(visit):
    page = visit.open(**PHONE)
    box = opened(page)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    box = page.locator("#pad .plane").bounding_box()
    picture = page.locator("#canvas canvas").bounding_box()
    assert picture["y"] >= 0 and picture["y"] + picture["height"] <= box["y"]
    touch = page.context.new_cdp_session(page)
    way = [("touchStart", [(40, 40)]), ("touchMove", [(90, 60)]), ("touchMove", [(140, 80)]), ("touchEnd", [])]
    for kind, points in way:
        touch.send("Input.dispatchTouchEvent", {
            "type": kind, "touchPoints": [{"x": box["x"] + x, "y": box["y"] + y} for x, y in points]})
    assert len(at_rest(page)["edits"]) == 2
