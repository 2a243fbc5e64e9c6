"""Some pictures minus others, in a real browser."""

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.test_page import PHONE, at_rest, by_api, drag, pixels

WAIT = 60_000    # milliseconds that a busy server may measure


def test_difference_of_samples_moves_the_picture_and_says_how_steadily(visit, api):
    page = visit.open()
    at_rest(page)
    page.get_by_role("button", name="Some pictures minus others").click()
    samples, slider = page.locator("#mix .samples button"), page.locator("#mix input")
    expect(slider).to_be_disabled()
    for index in (3, 5):
        samples.nth(index).click()
    for index in (1, 2):
        samples.nth(index).click()
        samples.nth(index).click()
    expect(samples.nth(3)).to_have_accessible_name("Sample 4, added")
    expect(samples.nth(2)).to_have_accessible_name("Sample 3, taken away")
    expect(page.locator("#mix .verdict")).to_contain_text("Added to 24 pictures, it moves them by", timeout=WAIT)
    expect(slider).to_be_enabled()
    slider.focus()
    for _ in range(50):
        page.keyboard.press("ArrowRight")
    view = at_rest(page)
    assert len(view["edits"]) > 2 and np.array_equal(pixels(page), by_api(api, view))
    expect(page.locator("#mix output")).to_have_text("50 %")
    half = np.array(view["values"]) - [f["neutral"] for f in view["factors"]]
    page.keyboard.press("End")
    page.keyboard.press("Home")
    back = np.array(at_rest(page)["values"]) - [f["neutral"] for f in view["factors"]]
    inside = [f["minimum"] < v < f["maximum"] and f["minimum"] < n < f["maximum"] for f, v, n in zip(
        view["factors"], page.evaluate("window.unravel.view.values"), view["values"], strict=True)]
    assert any(inside)
    for h, b, ok, f in zip(half, back, inside, view["factors"], strict=True):
        assert not ok or b == pytest.approx(-2 * h, abs=3 * f["step"])
    undo = page.locator("[data-do=undo]")
    while undo.is_enabled():                              # two runs of keys, or one where they came quickly
        undo.click()
    assert page.evaluate("window.unravel.state.edits") == {}
    expect(page.locator("#mix output")).to_have_text("0 %")
    drag(page, 0, moves=3)                                # from here the next difference begins
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#mix output")).to_have_text("1 %")


def test_locked_factors_stay_and_one_side_alone_is_no_difference(visit):
    page = visit.open()
    at_rest(page)
    page.locator("#factor-0 .lock").click()
    page.locator("[data-do=mix]").click()
    samples = page.locator("#mix .samples button")
    samples.nth(3).click()
    samples.nth(8).click()
    samples.nth(8).click()
    expect(page.locator("#mix input")).to_be_enabled(timeout=WAIT)
    page.locator("#mix input").focus()
    for _ in range(8):
        page.keyboard.press("ArrowRight")
    first = page.evaluate("window.unravel.view.factors[0].name")
    assert first not in page.evaluate("window.unravel.state.edits")
    samples.nth(8).click()
    expect(page.locator("#mix input")).to_be_disabled()


def test_panel_fits_a_phone(visit):
    page = visit.open(**PHONE)
    page.locator("[data-do=mix]").click()
    expect(page.locator("#mix .samples button")).to_have_count(24)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
