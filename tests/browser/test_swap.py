"""The tab "Swap" in a real browser: two files, a slider, the matrix, another model."""

import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app import uploads
from app.pictures import png
from tests.serving import chequers, hostile_files

WAIT = 60_000
SAVED = "window.unravelSwap.counters"


@pytest.fixture
def tab(visit) -> Page:
    """The tab with its first pictures drawn."""
    page = visit.open()
    page.get_by_role("tab", name="Swap").click()
    page.wait_for_function(f"window.unravelSwap && {SAVED}.exact >= 1 && {SAVED}.matrices >= 1", timeout=WAIT)
    return page


def tile(page: Page, number: int) -> str:
    """What is on a canvas, as a data: address."""
    return page.evaluate("k => document.querySelector(`#swap canvas[data-tile='${k}']`).toDataURL()", number)


def drawn_after(page: Page, counter: str, act) -> None:
    """Do something and wait until the exact pictures, or the matrix, are there again."""
    before = page.evaluate(f"{SAVED}.{counter}")
    act()
    still = "window.unravelSwap.exact" if counter == "exact" else "true"  # not those of what was wished before
    page.wait_for_function(f"n => {SAVED}.{counter} > n && {still}", arg=before, timeout=WAIT)


def test_two_files_are_swapped_and_the_result_follows_the_slider(tab, tmp_path):
    paths = [tmp_path / "one.png", tmp_path / "two.png"]
    for seed, path in enumerate(paths):
        Image.fromarray(chequers(seed)).save(path)
    before = tile(tab, 2)
    tab.locator("#swap input[type=file]").set_input_files(paths)
    tab.wait_for_function("['a', 'b'].every(k => window.unravelSwap.state[k].startsWith('upload:'))", timeout=WAIT)
    tab.wait_for_function("old => document.querySelector('#swap canvas[data-tile=\"2\"]').toDataURL() !== old",
                          arg=before, timeout=WAIT)
    drawn_after(tab, "exact", lambda: tab.locator("#swap .reset").click())
    swapped, given = tile(tab, 2), tile(tab, 0)
    pixel = tab.evaluate("[...document.querySelector('#swap canvas[data-tile=\"0\"]').getContext('2d')"
                         ".getImageData(8, 8, 1, 1).data].slice(0, 3)")
    assert np.array_equal(pixel, chequers(0)[8, 8])

    slider = tab.get_by_label("Share of the other's style")
    drawn_after(tab, "mixed", lambda: slider.fill("0.5"))
    half = tile(tab, 2)
    assert half != swapped and tile(tab, 0) == given
    drawn_after(tab, "exact", lambda: slider.fill("0"))
    assert tile(tab, 2) == tile(tab, 1) and tile(tab, 3) == tile(tab, 4)  # each has its own style again
    with tab.expect_download() as saved:
        tab.locator("#swap .pair-file").click()
    assert np.asarray(Image.open(saved.value.path())).shape == (64, 6 * 64, 3)


def test_the_matrix_grows_by_click_and_by_drop_and_an_added_picture_goes(tab):
    drawn_after(tab, "matrices", lambda: (tab.get_by_role("button", name="Add a style").click(),
                                          tab.locator("#swap .samples button").nth(3).click()))
    assert tab.evaluate("window.unravelSwap.state.styles") == ["gallery:3"]
    expect(tab.locator("#swap .matrix .tile")).to_have_count(3 * 4 - 1)
    drop = """async (bytes) => {
      const files = new DataTransfer();
      files.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
      document.querySelector("#swap .add[data-slot=contents]").dispatchEvent(
        new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
    }"""
    drawn_after(tab, "matrices", lambda: tab.evaluate(drop, list(png(chequers(4)))))
    expect(tab.locator("#swap .matrix .tile")).to_have_count(4 * 4 - 1)
    drawn_after(tab, "matrices", lambda: tab.get_by_role("button", name="Take out style 3").click())
    expect(tab.locator("#swap .matrix .tile")).to_have_count(4 * 3 - 1)
    with tab.expect_download() as saved:
        tab.locator("#swap .matrix-file").click()
    assert np.asarray(Image.open(saved.value.path())).shape == (4 * 64, 3 * 64, 3)


def test_a_bad_file_is_said_and_nothing_is_lost(tab, tmp_path):
    before = tab.evaluate("window.unravelSwap.state"), tile(tab, 2)
    tab.locator("#swap input[type=file]").set_input_files(hostile_files(tmp_path / "bad")["text.png"])
    expect(tab.locator("#swap .status")).to_contain_text(uploads.UNKNOWN, timeout=WAIT)
    assert (tab.evaluate("window.unravelSwap.state"), tile(tab, 2)) == before


def test_ticks_choose_what_is_exchanged_and_a_model_of_two_sides_has_none(tab):
    boxes = tab.locator("#swap-names input[type=checkbox]")
    swapped = tile(tab, 2)
    drawn_after(tab, "exact", lambda: boxes.nth(0).uncheck())
    assert tile(tab, 2) != swapped
    tab.locator("#model input").click()
    drawn_after(tab, "exact", lambda: tab.get_by_role("option", name="C-S DisMo · Glyphs").click())
    tab.wait_for_function("window.unravelSwap.state.model === 'csdismo-glyphs'")
    expect(boxes.first).to_be_hidden()
    expect(tab.locator("#swap-meaning")).to_contain_text("content carries the letter")


@pytest.fixture
def sided(tab) -> Page:
    """The tab with the model that tells content from style."""
    tab.locator("#model input").click()
    drawn_after(tab, "exact", lambda: tab.get_by_role("option", name="C-S DisMo · Glyphs").click())
    tab.wait_for_function("window.unravelSwap.state.model === 'csdismo-glyphs'")
    return tab


def test_a_letter_of_ones_own_is_cut_out_as_the_models_are(sided, tmp_path):
    sheet = np.full((300, 200), 255, np.uint8)
    sheet[220:260, 20:60] = 0                                 # in a corner that the centre square leaves out
    path = tmp_path / "letter.png"
    Image.fromarray(sheet).save(path)
    drawn_after(sided, "exact", lambda: sided.locator("#swap input[type=file]").set_input_files(path))
    shown = sided.evaluate("[...document.querySelector('#swap canvas[data-tile=\"0\"]').getContext('2d')"
                           ".getImageData(0, 0, 64, 64).data].filter((x, i) => i % 4 === 0 && x < 128).length")
    assert shown == pytest.approx(54 * 54, rel=0.02)


def test_new_content_goes_into_the_matrix(sided):
    sided.get_by_role("button", name="New content", exact=True).click()
    fresh = sided.locator("#swap .drawn button")
    expect(fresh).to_have_count(8, timeout=WAIT)
    sided.locator("#swap .targets [data-target=contents]").click()
    drawn_after(sided, "matrices", lambda: fresh.nth(2).click())
    [base] = sided.evaluate("window.unravelSwap.state.contents")
    assert base.startswith("code:")
    expect(sided.locator("#swap .matrix .tile")).to_have_count(4 * 3 - 1)
    sided.locator("#model input").click()
    drawn_after(sided, "matrices", lambda: sided.get_by_role("option", name="ProtoVAE").first.click())
    assert sided.evaluate("window.unravelSwap.state.contents") == []  # a code is of one model


def test_a_late_frame_is_not_painted_over_the_exact_pictures(tab):
    held = []
    tab.route(re.compile("/component_server"), lambda route: (
        held.append(route) if '"mix"' in route.request.post_data else route.continue_()))
    slider = tab.get_by_label("Share of the other's style")
    slider.fill("0.5")                                        # its frame is on the way until the end
    drawn_after(tab, "exact", lambda: slider.fill("0"))
    exact = tile(tab, 2)
    assert len(held) == 1 and exact == tile(tab, 1)
    drawn_after(tab, "mixed", lambda: held[0].continue_())
    assert tile(tab, 2) == exact


def test_sliders_inside_and_the_closest_samples(sided):
    expect(sided.locator("#swap .inside")).to_be_visible()
    sided.locator("#swap .inside summary").click()
    sliders = sided.locator("#swap [data-inside=a] input")
    for locator in (sliders, sided.locator("#swap [data-inside=b] input")):
        expect(locator).not_to_have_count(0, timeout=WAIT)
    assert sliders.count() == sided.locator("#swap [data-inside=b] input").count() >= 4
    first = sided.get_by_label("Content of A:").first
    before = tile(sided, 1), tile(sided, 2), tile(sided, 3)
    drawn_after(sided, "matrices", lambda: first.fill(first.get_attribute("max")))
    sided.wait_for_function("old => document.querySelector('#swap canvas[data-tile=\"1\"]').toDataURL() !== old",
                            arg=before[0], timeout=WAIT)
    assert tile(sided, 2) != before[1] and tile(sided, 3) == before[2]  # the content of A, and not its style
    drawn_after(sided, "exact", lambda: sided.locator("#swap .reset").click())
    assert (tile(sided, 1), tile(sided, 2)) == before[:2] and first.input_value() == first.get_attribute("data-neutral")

    near = sided.get_by_role("group", name="Closest to B in style").get_by_role("button")
    expect(near).to_have_count(6)
    number = near.first.get_attribute("data-index")
    drawn_after(sided, "exact", lambda: near.first.click())
    assert sided.evaluate("window.unravelSwap.state.a") == f"gallery:{number}"


def test_a_file_is_fitted_more_closely_and_back(tab, tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(chequers(0)).save(path)
    button = tab.locator("#swap [data-closer=a]")
    expect(button).to_be_hidden()
    drawn_after(tab, "exact", lambda: tab.locator("#swap input[type=file]").set_input_files(path))
    tab.wait_for_function("window.unravelSwap.state.a.startsWith('upload:')", timeout=WAIT)
    expect(tab.locator("#swap .note")).to_contain_text("A is far from all that this model has seen", timeout=WAIT)
    before = tile(tab, 0), tile(tab, 1)
    drawn_after(tab, "exact", lambda: button.click())
    assert tab.evaluate("window.unravelSwap.state.a").startswith("closer:")
    assert tile(tab, 0) == before[0] and tile(tab, 1) != before[1]
    expect(button).to_have_text("Back to the first reading")
    drawn_after(tab, "exact", lambda: button.click())
    assert (tile(tab, 0), tile(tab, 1)) == before
