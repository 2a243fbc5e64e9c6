"""The tab about local isometry in a real browser: clouds that share the pointer, mouse and keys."""

import pytest
from playwright.sync_api import Page, expect

STATE = "i => document.querySelector(`#cloud-${i} .plot`).unravel"
WAIT = 120_000  # milliseconds for a study on a busy machine


@pytest.fixture
def proof(visit) -> Page:
    """The page with the tab open and its first study shown."""
    page = visit.open()
    page.get_by_role("tab", name="When is it possible?").click()
    expect(page.locator("#isometry-verdict dl")).to_be_visible(timeout=WAIT)
    page.wait_for_function(f"({STATE})(3)?.counters.painted >= 500", timeout=WAIT)
    return page


def place(page: Page, cloud: int, point: int) -> tuple[float, float]:
    """Where a point is on the screen."""
    box = page.locator(f"#cloud-{cloud} canvas").bounding_box()
    x, y = page.evaluate(f"([c, i]) => ({STATE})(c).place(i)", [cloud, point])
    return box["x"] + x, box["y"] + y


def test_the_pointer_shows_a_picture_and_the_same_point_in_all_clouds(proof):
    expect(proof.locator("#isometry-verdict")).to_contain_text("The factors are found")
    expect(proof.locator("#mosaic img")).to_be_visible()
    proof.locator("#cloud-1").scroll_into_view_if_needed()
    proof.mouse.move(*place(proof, 1, 7))
    expect(proof.locator("#cloud-1 .thumb")).to_be_visible()
    for cloud in range(4):
        expect(proof.locator(f"#cloud-{cloud} .ring")).to_be_visible()
        assert (proof.locator(f"#cloud-{cloud} .thumb").is_visible()) == (cloud == 1)


def test_wheel_zooms_drag_pans_double_click_goes_home(proof):
    proof.locator("#cloud-1").scroll_into_view_if_needed()
    view = lambda: proof.evaluate(f"({STATE})(1).view")  # noqa: E731
    home, (x, y) = view(), place(proof, 1, 3)
    proof.mouse.move(x, y)
    proof.mouse.wheel(0, -500)
    proof.wait_for_function(f"s => ({STATE})(1).view.scale > s", arg=home["scale"])
    assert place(proof, 1, 3) == pytest.approx((x, y), abs=1.5)  # about the pointer
    proof.mouse.down()
    proof.mouse.move(x + 40, y + 10, steps=4)
    proof.mouse.up()
    proof.wait_for_function(f"([a, b]) => Math.hypot(({STATE})(1).place(3)[0] - a, 0) > 1", arg=[0, 0])
    assert place(proof, 1, 3) == pytest.approx((x + 40, y + 10), abs=2)
    proof.mouse.dblclick(x, y)
    assert view() == home


def test_keys_walk_and_the_point_is_said(proof):
    proof.locator("#cloud-1 canvas").focus()
    said = proof.locator("#cloud-1 .said")
    proof.keyboard.press("ArrowRight")
    expect(said).to_contain_text("from -1 to")
    first = said.text_content()
    for _ in range(4):
        proof.keyboard.press("ArrowRight")
    expect(said).not_to_have_text(first)


def test_one_choice_of_colour_is_the_choice_of_all(proof):
    menus = proof.locator("#isometry-clouds select")
    menus.nth(0).select_option("1")
    for k in range(4):
        expect(menus.nth(k)).to_have_value("1")


def test_gaussian_factors_are_another_study(proof):
    figures = proof.locator("#isometry-verdict dd").first
    before = figures.text_content()
    proof.get_by_label("Gaussian").check()
    expect(figures).not_to_have_text(before, timeout=WAIT)
