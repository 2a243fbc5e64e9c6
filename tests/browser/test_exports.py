"""The panel "Save" in a real browser: files are downloaded, and a saved picture brings the sliders back."""

import json

import av
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from engine import provenance
from tests.browser.test_page import choose_model

WAIT = 60_000


@pytest.fixture
def page(visit) -> Page:
    """The page with the panel opened from the keyboard, and one slider moved."""
    page = visit.open()
    page.locator("#save summary").focus()
    page.keyboard.press("Enter")
    move(page, "0.5")
    return page


def move(page: Page, value: str) -> None:
    """Move a slider and wait until the exact picture is there."""
    before = page.evaluate("window.unravel.counters.exact")
    page.locator("#factor-0 input[type=range]").fill(value)
    page.wait_for_function("n => window.unravel.counters.exact > n", arg=before, timeout=WAIT)


def saved(page: Page, name: str):
    """The file that a button hands over."""
    with page.expect_download(timeout=WAIT) as download:
        page.get_by_role("button", name=name).click()
    return download.value


def near(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether pictures differ by rounding only: the page's are drawn in batches with others, a saved one is not."""
    return np.abs(a.astype(int) - b).max() <= 1


def shown(page: Page) -> np.ndarray:
    """What is on the canvas."""
    pixels = page.evaluate("[...document.querySelector('#canvas canvas').getContext('2d')"
                           ".getImageData(0, 0, 64, 64).data]")
    return np.reshape(pixels, (64, 64, 4))[..., :3]


def test_a_saved_picture_brings_its_sliders_back(page, tmp_path):
    before, picture = page.evaluate("window.unravel.state"), shown(page)
    file = saved(page, "Save the picture as PNG")
    own = provenance.of(file.path().read_bytes())
    assert (own.base, own.edits) == (before["base"], before["edits"])
    assert near(np.asarray(Image.open(file.path())), picture)
    page.get_by_role("button", name="Random", exact=True).click()
    page.wait_for_function("window.unravel.state.base.startsWith('seed:')", timeout=WAIT)
    file.save_as(tmp_path / file.suggested_filename)
    page.locator("#explore input[type=file]").first.set_input_files(tmp_path / file.suggested_filename)
    page.wait_for_function("b => window.unravel.state.base === b", arg=before["base"], timeout=WAIT)
    expect(page.locator("#save .reopened")).to_contain_text("sliders are back")
    page.wait_for_function("window.unravel.shown.kind === 'exact'")
    assert page.evaluate("window.unravel.state") == before and near(shown(page), picture)


def test_a_sheet_and_a_film_through_keyframes(page):
    sheet = saved(page, "Save the sheet as SVG").path().read_text(encoding="utf-8")
    assert sheet.count("<image ") == 11 * page.evaluate("Math.min(10, window.unravel.view.factors.length)")
    page.locator("#save .add").click()
    move(page, "-0.5")
    page.locator("#save .add").click()
    expect(page.locator("#save .frames button")).to_have_count(2)
    film = saved(page, "Save the film as MP4")
    with av.open(film.path()) as played:
        stops = json.loads(played.metadata["comment"])["made"]["keyframes"]
        assert [list(stop["edits"].values()) for stop in stops] == [[0.5], [-0.5]]
    page.get_by_role("button", name="Take out keyframe 1").click()
    expect(page.locator("#save .frames button")).to_have_count(1)
    page.get_by_role("button", name="Save the film as GIF").click()
    expect(page.locator("#save .said")).to_contain_text("Add two keyframes")


def test_a_program_is_shown_and_the_panel_fits_a_phone(visit):
    page = visit.open(viewport={"width": 390, "height": 844})
    page.locator("#save summary").click()
    page.get_by_role("button", name="Copy as Python").click()
    expect(page.locator("#save .program")).to_be_visible(timeout=WAIT)
    assert "engine.refine" in page.locator("#save .program").input_value()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_keyframes_outlive_the_page_and_stay_with_their_model(page, api):
    frames = page.locator("#save .frames button")
    page.locator("#save .add").click()
    move(page, "-0.5")
    page.locator("#save .add").click()
    move(page, "0.25")
    page.locator("#save .add").click()
    page.get_by_role("button", name="Take out keyframe 3").click()
    drawn = frames.evaluate_all("all => all.map((frame) => frame.style.backgroundImage)")
    page.reload()
    page.locator("#save summary").click()
    expect(frames).to_have_count(2)
    assert frames.evaluate_all("all => all.map((frame) => frame.style.backgroundImage)") == drawn
    page.locator("#save .path").select_option("keyframes")
    with av.open(saved(page, "Save the film as MP4").path()) as played:
        stops = json.loads(played.metadata["comment"])["made"]["keyframes"]
        assert [list(stop["edits"].values()) for stop in stops] == [[0.5], [-0.5]]
    names = [model["name"] for model in api.predict(api_name="/models")]
    choose_model(page, "vae-faces", names.index("vae-faces"))
    page.locator("#save .path").focus()
    expect(frames).to_have_count(0)
