"""What each field does, in a real browser."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.test_page import at_rest, drag

DISDIFF = "disdiff-shapes3d"
NEW = "!document.querySelector('#fields .tiles').hasAttribute('data-old')"


def opened(visit, **options) -> Page:
    """The page with a model that has fields."""
    page = visit.open(**options)
    expect(page.locator("#fields")).to_be_hidden()      # the first model has none
    page.evaluate("name => window.unravel.go({ model: name, base: 'gallery:3' })", DISDIFF)
    page.wait_for_function("name => window.unravel.view.model === name", arg=DISDIFF)
    at_rest(page)
    return page


def heat(page: Page, index: int) -> str:
    return page.locator("#fields li").nth(index).locator("canvas").nth(1).evaluate("e => e.toDataURL()")


def test_a_heat_map_for_every_factor_is_drawn_when_asked_for_and_again_for_another_picture(visit):
    page = opened(visit)
    factors = page.evaluate("window.unravel.view.factors")
    expect(page.locator("#fields li")).to_have_count(0)
    page.locator("#fields summary").focus()
    page.keyboard.press("Enter")
    tiles = page.locator("#fields li")
    expect(tiles).to_have_count(len(factors) + 1, timeout=60_000)
    for tile, factor in zip(tiles.all()[1:], factors, strict=True):
        expect(tile.locator("b")).to_have_text(factor["label"])
        expect(tile.locator("canvas").nth(1)).to_have_attribute("aria-label", re.compile(
            rf"Where the field of {re.escape(factor['label'])} changes the picture: .* grey levels; .* left half"))
    assert len({heat(page, k) for k in range(len(factors) + 1)}) == len(factors) + 1
    assert page.locator("#fields li").first.locator("canvas").nth(1).get_attribute("aria-label") == "Your picture"
    before = heat(page, 1)
    drag(page, 0, moves=4)
    expect(page.locator("#fields .state")).to_have_text("Drawing …")
    page.wait_for_function(NEW, timeout=60_000)
    expect(page.locator("#fields .state")).to_be_empty()
    assert heat(page, 1) != before
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_open_panel(visit, scheme):
    page = opened(visit, color_scheme=scheme)
    page.locator("#fields summary").click()
    page.wait_for_function(NEW + " && document.querySelectorAll('#fields li').length > 1", timeout=60_000)
    report = Axe().run(page).response["violations"]
    assert not [(v["id"], node["html"][:120]) for v in report for node in v["nodes"]]


def test_the_page_says_whether_the_student_or_the_model_itself_has_drawn(visit):
    page = opened(visit)
    chip = page.locator("#canvas .chip")
    expect(chip).to_have_text("exact · refined, 10 steps")
    page.evaluate("""() => { window.told = new Set(); (function look() {
      window.told.add(document.querySelector("#canvas .chip").textContent); requestAnimationFrame(look); })(); }""")
    page.wait_for_function("window.unravel.counters.films > 1")
    drag(page, 0, moves=10)
    at_rest(page)
    expect(chip).to_have_text("exact · refined, 10 steps")
    assert "preview · student, 1 step" in page.evaluate("[...window.told]")
