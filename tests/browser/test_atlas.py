"""The map in a real browser: from a point to the sliders and back, lasso, space, and a model without a map."""

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from engine import map_of

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


def test_a_picture_lit_in_one_map_is_lit_in_the_other_and_a_click_keeps_it(atlas):
    atlas.get_by_label("Compare with").click()
    atlas.get_by_role("option", name="vae-shapes3d").last.click()
    other = PLOT.replace("#atlas-cloud", "#atlas-other")
    atlas.wait_for_function("document.querySelector('#atlas-other .plot')?.unravel?.counters.painted >= 1000",
                            timeout=WAIT)
    maps = [map_of(name) for name in ("protovae-shapes3d", "vae-shapes3d")]
    atlas.mouse.move(*place(atlas, 40))
    same = int(np.flatnonzero(maps[1].index == maps[0].index[40])[0])
    atlas.wait_for_function(f"point => {other}.found === point", arg=same, timeout=WAIT)
    box = atlas.locator("#atlas-other canvas").bounding_box()
    x, y = atlas.evaluate(f"i => {other}.place(i)", same)
    atlas.mouse.click(box["x"] + x, box["y"] + y)
    expect(atlas.locator("#atlas-side")).to_contain_text("by ProtoVAE", timeout=WAIT)
    atlas.mouse.move(2, 2)
    mine, theirs = atlas.evaluate(f"[{PLOT}.found, {other}.found]")
    assert mine >= 0 <= theirs and maps[0].index[mine] == maps[1].index[theirs]


def test_the_picture_on_the_sliders_is_a_ring_that_follows_them(atlas):
    atlas.wait_for_function(f"{PLOT}.trail.path?.length === 33 && {PLOT}.trail.here", timeout=WAIT)
    path, before = atlas.evaluate(f"[{PLOT}.trail.path, {PLOT}.trail.here]")
    name = atlas.evaluate("window.unravel.view.factors[0].name")
    atlas.locator("#atlas-trail input").evaluate(
        "r => { r.value = r.max; r.dispatchEvent(new Event('input', { bubbles: true })); }")
    atlas.wait_for_function("name => window.unravel.view.edits[name] > 0", arg=name, timeout=WAIT)
    atlas.wait_for_function(f"before => {PLOT}.trail.here.join() !== before.join()", arg=before, timeout=WAIT)
    here = np.array(atlas.evaluate(f"{PLOT}.trail.here"))
    ends = np.abs(np.array(path)[[0, -1]] - here).sum(1)
    assert ends[1] < 0.05 and np.array(path).shape == (33, 2)
    atlas.get_by_label("Factor whose path").select_option(label="no factor")
    atlas.wait_for_function(f"{PLOT}.trail.path.length === 0", timeout=WAIT)


def test_the_map_is_saved_as_a_figure(atlas, tmp_path):
    with atlas.expect_download(timeout=WAIT) as saved:
        atlas.get_by_role("button", name="Save as a plotly figure").click()
    saved.value.save_as(tmp_path / "map.html")
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert saved.value.suggested_filename == "map-protovae-shapes3d-2d.html" and "floor hue" in text
    assert "python -m engine.latent_map" in text  # the command that made it


def test_the_map_can_be_walked_by_keys_and_says_what_there_is(atlas):
    canvas = atlas.locator("#atlas-cloud canvas")
    assert "Arrow keys walk" in canvas.get_attribute("aria-description")
    assert "Group 1" in canvas.get_attribute("aria-description")
    canvas.focus()
    atlas.keyboard.press("ArrowRight")
    expect(atlas.locator("#atlas-cloud .said")).to_contain_text("floor hue")
    x = atlas.evaluate(f"{PLOT}.view.x")
    atlas.keyboard.press("Shift+ArrowRight")
    assert atlas.evaluate(f"{PLOT}.view.x") > x
    atlas.keyboard.press("Enter")
    atlas.wait_for_function("window.unravel.view.base.startsWith('picture:')", timeout=WAIT)
