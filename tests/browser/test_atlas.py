"""The map in a real browser: from a point to the sliders and back, lasso, space, and a model without a map."""

import pytest
from playwright.sync_api import Page, expect

PLOT = "document.querySelector('#atlas-cloud .plot').unravel"
WAIT = 60_000


@pytest.fixture
def atlas(visit) -> Page:
    """The page with the map of the opening model painted."""
    page = visit.open()
    page.get_by_role("tab", name="Map").click()
    painted(page)
    return page


def painted(page: Page) -> None:
    page.wait_for_function(f"document.querySelector('#atlas-cloud .plot')?.unravel && {PLOT}.counters.painted >= 1000",
                           timeout=WAIT)


def place(page: Page, point: int) -> tuple[float, float]:
    box = page.locator("#atlas-cloud canvas").bounding_box()
    x, y = page.evaluate(f"i => {PLOT}.place(i)", point)
    return box["x"] + x, box["y"] + y


def test_a_point_is_seen_and_taken_to_the_sliders_and_the_map_stays(atlas):
    before = atlas.evaluate("window.unravel.view")
    atlas.mouse.move(*place(atlas, 40))
    expect(atlas.locator("#atlas-cloud .thumb")).to_be_visible()
    atlas.mouse.click(*place(atlas, 40))
    atlas.wait_for_function("b => window.unravel.view.base !== b && window.unravel.view.base.startsWith('picture:')",
                            arg=before["base"], timeout=WAIT)
    expect(atlas.locator("#canvas canvas")).to_be_visible()
    view = atlas.evaluate("window.unravel.view")
    assert view["model"] == before["model"] and view["values"] != before["values"]
    atlas.get_by_role("tab", name="Map").click()
    expect(atlas.locator("#atlas-cloud canvas")).to_be_visible()


def test_a_lasso_tells_what_is_inside_and_escape_lets_go(atlas):
    atlas.get_by_role("button", name="Lasso").click()
    x, y = place(atlas, 40)
    atlas.mouse.move(x - 60, y - 60)
    atlas.mouse.down()
    for corner in ((x + 60, y - 60), (x + 60, y + 60), (x - 60, y + 60)):
        atlas.mouse.move(*corner, steps=4)
    atlas.mouse.up()
    side = atlas.locator("#atlas-side")
    expect(side).to_contain_text("pictures chosen", timeout=WAIT)
    expect(side.locator("img")).to_be_visible()
    atlas.locator("#atlas-cloud canvas").focus()
    atlas.keyboard.press("Escape")
    expect(side).not_to_contain_text("pictures chosen", timeout=WAIT)


def test_the_map_turns_in_space(atlas):
    atlas.get_by_label("in space").check()
    atlas.wait_for_function(f"{PLOT}.dims === 3 && {PLOT}.counters.painted >= 1000", timeout=WAIT)
    x, y = place(atlas, 40)
    atlas.mouse.move(x, y)
    atlas.mouse.down()
    atlas.mouse.move(x + 80, y, steps=5)
    atlas.mouse.up()
    atlas.wait_for_function(f"{PLOT}.view.yaw > 1", timeout=WAIT)


def test_a_colour_is_chosen_by_name(atlas):
    menu = atlas.locator("#atlas-cloud select")
    menu.select_option(label="shape")
    expect(atlas.locator("#atlas-cloud .legend")).to_contain_text("3")
    menu.select_option(label="groups")
    expect(atlas.locator("#atlas-cloud .legend")).to_contain_text("group 1")
