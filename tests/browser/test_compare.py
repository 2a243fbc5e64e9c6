"""The tab "Compare" in a real browser: rows move together to what looks alike, and the table is sorted."""

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from engine import MODELS
from tests.serving import chequers

WAIT = 90_000
SEEN = "window.unravelCompare"


@pytest.fixture
def tab(visit) -> Page:
    """The tab with the picture and the model of Explore, beside another model."""
    page = visit.open()
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_function(f"{SEEN}?.counters.films >= 2", timeout=WAIT)
    return page


def hue(page: Page, column: int) -> np.ndarray:
    """The colour of the wall, on the canvas of a column."""
    return np.array(page.evaluate(
        "c => [...document.querySelectorAll('#compare .head canvas')[c].getContext('2d')"
        ".getImageData(8, 24, 1, 1).data]", column)[:3], int)


def test_a_row_moves_all_models_to_what_looks_alike(tab):
    assert tab.evaluate(f"{SEEN}.columns[0].name") == tab.evaluate("window.unravel.view.model")
    row = tab.evaluate(f"{SEEN}.rows.findIndex(row => row.why.includes('label') && row.factors.every(Boolean))")
    names = tab.evaluate(f"r => {SEEN}.rows[r].factors", row)
    expect(tab.locator("#compare .row-title h4").nth(row)).to_have_text("wall hue")
    slider = tab.locator("#compare .cell input").nth(2 * row)
    slider.hover()
    tab.wait_for_function(f"{SEEN}.counters.strips >= 2", timeout=WAIT)
    before = [hue(tab, column) for column in (0, 1)]
    slider.focus()
    for place in ("0.9", "0.3"):
        exact = tab.evaluate(f"{SEEN}.counters.exact")
        slider.fill(place)
        tab.wait_for_function(f"n => {SEEN}.counters.exact >= n + 2", arg=exact, timeout=WAIT)
        shown = [hue(tab, column) for column in (0, 1)]
        assert np.abs(shown[0] - before[0]).max() > 60          # it moved,
        assert np.abs(shown[0] - shown[1]).max() < 60           # and the other model with it
    edits = tab.evaluate(f"{SEEN}.columns.map(({{ edits }}) => Object.keys(edits))")
    assert edits == [[name] for name in names]
    tab.get_by_role("button", name="Reset sliders").click()
    assert tab.evaluate(f"{SEEN}.columns.every(({{ edits }}) => !Object.keys(edits).length)")


def test_models_come_and_go_up_to_four_and_explain_their_figures(tab):
    boxes = tab.locator("#compare .models input")
    boards = tab.evaluate(f"{SEEN}.counters.boards")
    for number in (2, 4):
        boxes.nth(number).check()
    tab.wait_for_function(f"n => {SEEN}.counters.boards > n && {SEEN}.columns.length === 4", arg=boards, timeout=WAIT)
    expect(boxes.nth(5)).to_be_disabled()
    boxes.nth(2).uncheck()
    tab.wait_for_function(f"{SEEN}.columns.length === 3", timeout=WAIT)
    expect(boxes.nth(5)).to_be_enabled()
    expect(tab.locator("#compare .head .speed").last).to_contain_text("CPU", timeout=WAIT)
    figure = tab.locator("#compare .facts summary").nth(1)
    expect(figure).to_contain_text("MIG")
    figure.focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#compare .facts").get_by_text("Mutual information gap").first).to_be_visible()


def test_an_own_picture_and_a_sample_and_the_one_of_explore(tab, tmp_path):
    Image.fromarray(chequers(3)).save(tmp_path / "mine.png")
    given = tab.locator("#compare .given")
    first = given.get_attribute("src")
    for act in (lambda: tab.locator("#compare input[type=file]").set_input_files(tmp_path / "mine.png"),
                lambda: (tab.locator("#compare .samples button").first.focus(), tab.keyboard.press("ArrowRight"),
                         tab.keyboard.press("Enter"))):
        before, boards = given.get_attribute("src"), tab.evaluate(f"{SEEN}.counters.boards")
        act()
        tab.wait_for_function(f"n => {SEEN}.counters.boards > n", arg=boards, timeout=WAIT)
        assert given.get_attribute("src") != before
    tab.get_by_role("button", name="Take the picture of Explore").click()
    expect(given).to_have_attribute("src", first, timeout=WAIT)
    (tmp_path / "bad.png").write_text("Dear reader")
    tab.locator("#compare input[type=file]").set_input_files(tmp_path / "bad.png")
    expect(tab.locator("#compare .status")).to_contain_text("can be opened", timeout=WAIT)
    expect(given).to_have_attribute("src", first)


def test_the_table_is_sorted_from_the_keyboard_and_the_tab_fits_a_phone(tab):
    tab.set_viewport_size({"width": 390, "height": 844})
    rows = tab.locator("#compare .figures tbody tr")
    expect(rows).to_have_count(len([p for p in MODELS.iterdir() if p.is_dir()]))
    heading = tab.locator("#compare thead button", has_text="MIG")
    values = "[...document.querySelectorAll('#compare .figures tbody tr')].map(row => row.children[3].dataset.value)"
    for direction, order in (("descending", -1), ("ascending", 1)):
        heading.focus()
        tab.keyboard.press("Enter")
        expect(heading.locator("..")).to_have_attribute("aria-sort", direction)
        shown = tab.evaluate(values)
        measured = [float(value) for value in shown if value]
        assert measured == sorted(measured)[::order] and "" not in shown[:len(measured)]
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
