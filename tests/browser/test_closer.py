"""Explore with a user's own picture in a real browser: a warning, and a closer fit that can be undone."""

from PIL import Image
from playwright.sync_api import expect

from tests.serving import chequers

WAIT = 60_000


def test_a_strange_picture_is_said_to_be_one_and_is_fitted_more_closely(visit, tmp_path):
    page = visit.open()
    button, warning = page.locator("#canvas .closer"), page.locator("#canvas .warning")
    expect(button).to_be_hidden()
    path = tmp_path / "mine.png"
    Image.fromarray(chequers(0)).convert("L").resize((300, 200)).save(path)
    page.locator("#explore input[type=file]").set_input_files(path)
    expect(button).to_be_visible(timeout=WAIT)
    expect(warning).to_contain_text("Your picture is far from all that this model has seen")
    drawn = lambda: page.evaluate("document.querySelector('#canvas canvas').toDataURL()")  # noqa: E731
    page.wait_for_function("document.querySelector('#canvas .chip').textContent === 'exact'", timeout=WAIT)
    before = drawn()
    button.click()
    expect(button).to_have_text("Back to the first reading", timeout=WAIT)
    page.wait_for_function("old => document.querySelector('#canvas canvas').toDataURL() !== old", arg=before,
                           timeout=WAIT)
    expect(warning).to_contain_text("far from all")
    page.locator("#canvas [data-do=undo]").click()
    expect(button).to_have_text("Fit more closely", timeout=WAIT)
    page.wait_for_function("old => document.querySelector('#canvas canvas').toDataURL() === old", arg=before,
                           timeout=WAIT)
    page.locator("#gallery button").nth(2).click()
    expect(button).to_be_hidden(timeout=WAIT)
    expect(warning).to_be_empty()
