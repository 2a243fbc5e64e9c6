"""The map in a real browser: from a point to the sliders and back, lasso, space, and a model without a map."""

from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from pyarrow import parquet

from engine import map_of, pictures_of
from tests.browser.test_page import held_joins, let_go

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


def test_two_points_are_clicked_without_a_pause_and_the_second_stays(atlas):
    joins = held_joins(atlas, lambda wish: "index" in (wish["event_data"] or {}))
    for point in (40, 400):
        with atlas.expect_request("**/queue/join**"):
            atlas.mouse.click(*place(atlas, point))
    point = joins[-1].request.post_data_json["event_data"]["index"]
    let_go(atlas, joins)
    atlas.wait_for_function("base => window.unravel.view.base === base", timeout=WAIT,
                            arg=f"picture:{map_of('protovae-shapes3d').index[point]}")


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


def test_the_picture_on_the_sliders_is_a_ring_on_both_maps(atlas):
    atlas.get_by_label("Compare with").click()
    atlas.get_by_role("option", name="vae-shapes3d").last.click()
    other = PLOT.replace("#atlas-cloud", "#atlas-other")
    for plot in (PLOT, other):
        atlas.wait_for_function(f"document.querySelector('#atlas-other .plot')?.unravel && {plot}.trail.here"
                                f" && {plot}.trail.path.length === 33", timeout=WAIT)
    expect(atlas.locator("#atlas-other circle.here")).to_be_visible()
    before = atlas.evaluate(f"[{PLOT}.trail.here, {other}.trail.here]")
    atlas.locator("#atlas-trail input").evaluate(
        "r => { r.value = r.max; r.dispatchEvent(new Event('input', { bubbles: true })); }")
    for plot, here in zip((PLOT, other), before, strict=True):
        atlas.wait_for_function(f"before => {plot}.trail.here.join() !== before.join()", arg=here, timeout=WAIT)
        ends = atlas.evaluate(f"[{plot}.trail.path.at(-1), {plot}.trail.here]")
        assert np.abs(np.subtract(*ends)).sum() < 0.05


def test_content_and_style_have_maps_of_their_own_and_stand_side_by_side(atlas):
    atlas.locator("#model input").click()
    atlas.get_by_role("option", name="C-S DisMo · Glyphs").click()
    atlas.locator("#atlas-part input").click()
    atlas.get_by_role("option", name="style").click()
    expect(atlas.locator("#atlas-figures h3")).to_have_text("C-S DisMo (csdismo-glyphs), style", timeout=WAIT)
    atlas.get_by_label("Compare with").click()
    atlas.get_by_role("option", name="csdismo-glyphs), content").click()
    atlas.wait_for_function("document.querySelector('#atlas-other .plot')?.unravel?.counters.painted >= 1000",
                            timeout=WAIT)
    assert "csdismo-glyphs), content" in atlas.locator("#atlas-other canvas").get_attribute("aria-label")


def test_the_colours_of_found_factors_have_the_names_of_the_sliders(atlas):
    names = atlas.locator("#atlas-cloud select option").all_inner_texts()
    factors = atlas.evaluate("window.unravel.view.factors.map(({ label, name }) => `${label} (${name})`)")
    assert set(factors) <= set(names) and not any(name.startswith("Factor 1") for name in factors)


def test_own_pictures_become_a_map_that_leads_to_the_sliders_and_is_downloaded(atlas, tmp_path):
    for number, index in enumerate(range(0, 480_000, 6_000)):
        Image.fromarray(pictures_of("shapes3d", [index])[0]).save(tmp_path / f"{number}.png")
    with ZipFile(tmp_path / "own.zip", "w") as packed:
        for path in sorted(tmp_path.glob("*.png")):
            packed.write(path, f"some/{path.name}")
    atlas.locator("#atlas-own input[type=file]").first.set_input_files(tmp_path / "own.zip")
    expect(atlas.get_by_role("button", name="Cancel")).to_be_visible(timeout=WAIT)
    expect(atlas.locator("#atlas-words")).to_have_text("The map is made.", timeout=5 * WAIT)
    atlas.wait_for_function(f"{PLOT}.counters.painted === 80", timeout=WAIT)
    expect(atlas.locator("#atlas-figures")).to_contain_text("80 pictures from own.zip")
    for name in ("npz", "parquet"):
        with atlas.expect_download() as saved:
            atlas.get_by_role("button", name=f"Download {name}").click()
        assert saved.value.suggested_filename == f"map-protovae-shapes3d.{name}"
        saved.value.save_as(tmp_path / f"map.{name}")
    table = parquet.read_table(tmp_path / "map.parquet")
    assert table.num_rows == 80 and {"x", "y", "code", "file_name", "image"} <= set(table.column_names)
    atlas.locator("#atlas-own input[type=file]").first.set_input_files(tmp_path / "0.png")
    expect(atlas.locator("#atlas-words")).to_contain_text("at least 60", timeout=WAIT)
    expect(atlas.get_by_role("button", name="Download npz")).to_be_visible()  # what was made before is still there
    with np.load(tmp_path / "map.npz", allow_pickle=False) as held:
        assert held["x"].tolist() == table["x"].to_pylist()
    atlas.mouse.move(*place(atlas, 3))
    expect(atlas.locator("#atlas-cloud .thumb")).to_be_visible(timeout=WAIT)
    atlas.locator("#atlas-cloud canvas").focus()
    atlas.keyboard.press("ArrowRight")
    atlas.keyboard.press("Enter")
    atlas.wait_for_function("window.unravel.view.base.startsWith('upload:')", timeout=WAIT)


def test_a_job_is_cancelled_and_too_few_pictures_are_said(atlas, tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(60)]
    for path, image in zip(paths, pictures_of("shapes3d", range(60)), strict=True):
        Image.fromarray(image).save(path)
    chooser = atlas.locator("#atlas-own input[type=file]").first
    chooser.set_input_files(paths[:2])
    expect(atlas.locator("#atlas-words")).to_contain_text("at least 60", timeout=WAIT)
    chooser.set_input_files(paths)
    atlas.get_by_role("button", name="Cancel").click(timeout=WAIT)
    expect(atlas.locator("#atlas-words")).to_have_text("Cancelled.", timeout=WAIT)
    expect(atlas.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(atlas.locator("#atlas-figures")).to_contain_text("10,000 pictures")  # what was shown is still there


def test_the_map_needs_no_webgl(visit):
    page = visit.open()
    page.evaluate("""() => {
      const plain = HTMLCanvasElement.prototype.getContext;
      HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
        return /webgl|webgpu/.test(kind) ? null : plain.call(this, kind, ...rest);
      };
    }""")
    page.get_by_role("tab", name="Map").click()
    painted(page)
    colours = page.locator("#atlas-cloud canvas").evaluate("""canvas => new Set(new Uint32Array(
      canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size""")
    assert colours > 50


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
