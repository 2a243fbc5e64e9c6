"""The names of factors and what is behind them, in a real browser."""

from playwright.sync_api import expect

from engine import MODELS, names
from tests.browser.test_page import choose_model


def test_sliders_bear_names_that_explain_themselves_by_keyboard(visit):
    page = visit.open()
    found = names.load(MODELS / page.evaluate("window.unravel.view.model"))
    first = next(iter(found.values()))
    expect(page.locator("#factor-0 label span").first).to_have_text(first.name)
    table = page.locator("#evidence table")
    expect(table).to_be_hidden()
    page.locator("#evidence summary").focus()
    page.keyboard.press("Enter")
    expect(table).to_be_visible()
    expect(table.locator("tbody tr")).to_have_count(len(found))
    other = min(p.name for p in MODELS.iterdir() if p.is_dir())
    choose_model(page, other, 0)
    expect(table.locator("tbody tr")).to_have_count(len(names.load(MODELS / other)))
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
