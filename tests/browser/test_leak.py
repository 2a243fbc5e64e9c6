"""The leak meter in a real browser."""

import json
import re

from playwright.sync_api import Page, expect

from tests.browser.test_page import at_rest, drag


def answering(page: Page, read: dict, asked: dict) -> None:
    """Let the meter find this, whatever the model does."""
    def answer(route):
        request = route.request.post_data_json
        if request["fn_name"] != "leaks":
            return route.continue_()
        body = json.dumps({"stamp": request["data"]["stamp"], "asked": asked, "read": read})
        return route.fulfill(status=200, content_type="application/json", body=body)

    page.route(re.compile("/component_server"), answer)


def test_what_an_edit_carries_along_is_said_and_marked_and_goes_with_the_edit(visit):
    page = visit.open()
    factors = at_rest(page)["factors"]
    said = page.locator("#canvas .leak")
    expect(said).to_be_empty()
    names = [factor["name"] for factor in factors]
    read = dict.fromkeys(names, 0.01) | {names[0]: 0.1, names[1]: -0.2, names[2]: 0.07}
    answering(page, read, dict.fromkeys(names, 0.0) | {names[0]: 0.5})
    drag(page, 0, moves=3)
    a, b, c = (factor["label"] for factor in factors[:3])
    expect(said).to_have_text(
        f"{a} carries along {b} (−20 %) and {c} (+7 %). The model reads only +10 % of the +50 % asked for, so it may "
        "miss what else moved.")
    for index, visible in ((0, False), (1, True), (2, True), (3, False)):
        expect(page.locator(f"#factor-{index} .carried")).to_be_visible(visible=visible)
    slider = page.locator("#factor-1 input[type=range]")
    expect(slider).to_have_attribute("aria-description", "carried along by −20 % of its range")
    strip, bar = (page.locator(f"#factor-1 .{name}").bounding_box() for name in ("film", "carried"))
    factor, track = factors[1], strip["width"] * 8 / 9
    own = (factor["neutral"] - factor["low"]) / (factor["high"] - factor["low"])
    right = strip["x"] + strip["width"] / 18 + own * track
    assert abs(bar["x"] + bar["width"] - right) < 2 and abs(bar["width"] - min(0.2, own) * track) < 2
    page.locator("#reset-all").click()
    expect(said).to_be_empty()
    expect(page.locator("#factor-1 .carried")).to_be_hidden()


def test_shipped_model_is_measured_and_a_calm_one_is_called_calm(visit):
    page = visit.open()
    factors = at_rest(page)["factors"]
    drag(page, 0, moves=4)
    expect(page.locator("#canvas .leak")).to_contain_text(
        re.compile(r"carries along .* %\)\.|No other factor moved by as much as 5 % of its range\."))
    page.evaluate("window.unravel.randomise(1)")         # nothing is left that could have been carried
    at_rest(page)
    page.wait_for_timeout(300)
    expect(page.locator("#canvas .leak")).to_be_empty()
    assert len(page.evaluate("window.unravel.state.edits")) == len(factors)
