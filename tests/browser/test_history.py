"""Undo and redo: the pure functions of history.js by themselves, and on the page with real keys."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from app.session import OPENING
from tests.browser.test_deck import address
from tests.browser.test_page import at_rest, choose_model, drag, pixels, seeded

HISTORY = (Path(__file__).parents[2] / "app" / "static" / "history.js").read_text("utf-8")
STATE = "window.unravel.state"


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Page:
    """A page with nothing but the functions of history.js."""
    page = browser.new_page()
    page.add_script_tag(content=HISTORY)
    yield page
    page.close()


def step(page: Page, button: str, times: int = 1) -> None:
    """Press Undo or Redo that often, each time after what it asked of the server has come."""
    for _ in range(times):
        before = page.evaluate(STATE)
        page.locator(f"[data-do={button}]").click()
        page.wait_for_function("before => JSON.stringify(window.unravel.state) !== before",
                               arg=page.evaluate("JSON.stringify", before))


# --- The functions
def test_a_thousand_random_steps_are_undone_to_the_exact_start_and_done_again(blank):
    start, end, undone, redone, steps, frozen = blank.evaluate("""() => {
      const pick = (all) => all[Math.floor(Math.random() * all.length)], factors = ["z0", "z1", "z2"];
      const start = { model: "a", base: "seed:1", edits: {}, locks: [], names: {} };
      let timeline = begin(start), steps = 0;
      for (let k = 0; k < 1000; k++) {
        const now = structuredClone(timeline.present), change = Math.random();
        if (change < 0.7) now.edits[pick(factors)] = Math.random() * 4 - 2;
        else if (change < 0.8) now.locks = now.locks.length ? [] : [pick(factors)];
        else if (change < 0.9) now.names = { [pick(factors)]: String(Math.random()) };
        else Object.assign(now, { model: pick(["a", "b"]), base: `seed:${k + 2}`, edits: {} });
        timeline = record(timeline, now);
      }
      const end = timeline.present, frozen = JSON.stringify(end);
      for (let to; (to = undo(timeline)); steps++) timeline = to;
      const undone = timeline.present;
      for (let to; (to = redo(timeline));) timeline = to;
      return [start, end, undone, timeline.present, steps, JSON.stringify(end) === frozen];
    }""")
    assert undone == start and redone == end != start and steps == 1000 and frozen


def test_a_gesture_is_one_step_and_a_way_there_and_back_is_none(blank):
    past, none, two = blank.evaluate("""() => {
      const at = (value) => ({ model: "a", base: "b", edits: { z0: value }, locks: [], names: {} });
      const start = begin(at(0));
      const drag = (timeline, values, name) => settle(values.reduce((t, v) => record(t, at(v), name), timeline));
      return [drag(start, [1, 2, 3], "held 1").past, drag(start, [1, 2, 0], "held 1").past,
              drag(drag(start, [1, 2], "held 1"), [3, 4], "held 2").past.map((state) => state.edits.z0)];
    }""")
    assert [state["edits"] for state in past] == [{"z0": 0}] and none == [] and two == [0, 2]


def test_the_order_of_keys_makes_no_step_and_a_new_step_ends_redo(blank):
    assert blank.evaluate("""() => {
      const at = (edits, names = {}) => ({ model: "a", base: "b", edits, locks: [], names });
      const timeline = record(begin(at({ z0: 1, z1: 2 })), at({ z1: 2, z0: 1 }));
      const back = undo(record(record(timeline, at({})), at({}, { z0: "hue" })));
      return [timeline.past.length, back.future.length, record(back, at({ z0: 5 })).future.length];
    }""") == [0, 1, 0]


def test_pictures_that_are_gone_are_forgotten_and_the_oldest_steps_too(blank):
    left, length, oldest = blank.evaluate("""() => {
      const at = (base, value) => ({ model: "a", base, edits: { z0: value }, locks: [], names: {} });
      let timeline = begin(at("keep", 0));
      for (const [base, value] of [["lost", 0], ["lost", 1], ["keep", 2]]) timeline = record(timeline, at(base, value));
      let long = begin(at("keep", -1));
      for (let k = 0; k <= STEPS; k++) long = record(long, at("keep", k));
      return [forget(timeline, at("lost", 9)).past.map((s) => s.base), long.past.length, long.past[0].edits.z0];
    }""")
    assert left == ["keep"] and length == 5000 and oldest == 0


def test_the_nearest_steps_of_each_way_are_those_that_outlive_the_page(blank):
    assert blank.evaluate("""() => {
      const { past, future } = recent({ past: [...Array(2000).keys()], future: [...Array(1000).keys()] });
      return [past[0], past.at(-1), future[0], future.at(-1)];
    }""") == [1500, 1999, 0, 499]


# --- The page
def test_a_thousand_edits_of_the_page_are_undone_to_the_exact_start(visit):
    page = visit.open()
    at_rest(page)
    start, drawn = page.evaluate(STATE), pixels(page)
    undo = page.locator("[data-do=undo]")
    expect(undo).to_be_disabled()
    page.evaluate("""async () => {
      const { factors } = window.unravel.view;
      for (let k = 0; k < 1000; k++) {
        const i = k % factors.length, range = document.querySelector(`#factor-${i} input[type=range]`);
        range.dispatchEvent(new PointerEvent("pointerdown", { bubbles: true }));
        range.value = factors[i].minimum + Math.random() * (factors[i].maximum - factors[i].minimum);
        range.dispatchEvent(new Event("input", { bubbles: true }));
        range.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
        if (k % 50 === 0) await new Promise(requestAnimationFrame);
      }
    }""")
    at_rest(page)
    assert page.evaluate(STATE) != start and not np.array_equal(pixels(page), drawn)
    steps = page.evaluate("""async () => {
      const undo = document.querySelector("[data-do=undo]");
      let steps = 0;
      for (; !undo.disabled; steps++) {
        undo.click();
        if (steps % 50 === 0) await new Promise(requestAnimationFrame);
      }
      return steps;
    }""")
    assert 950 < steps <= 1000      # as good as never a value is drawn that the slider has already
    assert page.evaluate(STATE) == start
    page.wait_for_timeout(300)      # what sliders that Gradio moves might still change
    at_rest(page)
    assert page.evaluate(STATE) == start and np.array_equal(pixels(page), drawn)
    expect(page.locator("#factor-0 input[type=number]")).to_have_value(f"{at_rest(page)['values'][0]:.10g}")


def test_a_drag_is_one_step_by_keys_and_a_text_field_keeps_its_own_undo(visit):
    page = visit.open()
    at_rest(page)
    start = page.evaluate(STATE)
    drag(page, 0, moves=10)
    drag(page, 1, moves=10)
    both = page.evaluate(STATE)
    page.keyboard.press("Control+z")
    assert list(page.evaluate(STATE)["edits"]) == list(both["edits"])[:1]
    page.keyboard.press("Control+z")
    assert page.evaluate(STATE) == start
    expect(page.locator("[data-do=undo]")).to_be_disabled()
    for keys in ("Control+Shift+z", "Control+y"):
        page.keyboard.press(keys)
    assert page.evaluate(STATE) == both
    page.locator("#seed input").focus()
    page.keyboard.press("Control+z")
    assert page.evaluate(STATE) == both


def test_pictures_and_models_are_steps_too(visit, api):
    page = visit.open()
    at_rest(page)
    start, drawn = page.evaluate(STATE), pixels(page)
    names = [model["name"] for model in api.predict(api_name="/models")]
    drag(page, 0, moves=4)
    seeded(page, 5)
    drag(page, 1, moves=4)
    other = next(name for name in names if name.startswith("vae-shapes3d"))
    choose_model(page, other, names.index(other))
    end = page.evaluate(STATE)
    assert end["model"] == other and end["base"] == "seed:5"
    step(page, "undo", 4)
    expect(page.locator("#model input")).to_have_value("ProtoVAE · 3D Shapes")
    at_rest(page)
    assert page.evaluate(STATE) == start and np.array_equal(pixels(page), drawn)
    step(page, "redo", 4)
    at_rest(page)
    assert page.evaluate(STATE) == end


def test_a_picture_that_the_server_has_lost_is_said_and_skipped(visit):
    page = visit.open()
    at_rest(page)
    page.evaluate("window.unravel.go({ model: window.unravel.state.model, base: 'seed:3' })")
    page.wait_for_function("window.unravel.state.base === 'seed:3'")
    seeded(page, 5)
    page.route("**/queue/join**", lambda route: route.continue_(
        post_data=route.request.post_data.replace("seed:3", "upload:" + "0" * 64)))
    page.locator("[data-do=undo]").click()
    expect(page.locator("#canvas .status")).to_have_text(
        "That picture is no longer on the server; please choose it again.")
    assert page.evaluate(STATE)["base"] == "seed:5"
    page.locator("[data-do=undo]").click()
    page.wait_for_function("window.unravel.state.base.startsWith('gallery:')")
    expect(page.locator("[data-do=undo]")).to_be_disabled()


def test_steps_outlive_a_lost_connection_and_a_page_that_is_loaded_again_on_its_way(visit):
    page = visit.open(calm=False)
    at_rest(page)
    start = page.evaluate(STATE)
    drag(page, 0, moves=4)
    seeded(page, 5)
    drag(page, 1, moves=4)
    end = page.evaluate(STATE)
    step(page, "undo")
    here, url = page.evaluate(STATE), address(page)
    page.route("**/queue/data**", lambda route: route.abort())
    with page.expect_event("load", timeout=60_000):       # Gradio loads the page again
        page.locator("#random").click()
        expect(page.get_by_text("Connection to the server was lost")).to_be_visible()
        page.route("**/queue/join**", lambda route: None)  # and the server is slow
    page.unroute("**/queue/data**")
    page.wait_for_function("window.unravel?.shown.kind === 'exact'")
    page.wait_for_timeout(350)
    assert page.url == url
    page.unroute("**/queue/join**")
    page.reload()
    page.wait_for_function("base => window.unravel?.state.base === base", arg=here["base"])
    assert page.evaluate(STATE) == here
    step(page, "redo")
    assert page.evaluate(STATE) == end
    step(page, "undo", 3)
    assert page.evaluate(STATE) == start
    expect(page.locator("[data-do=undo]")).to_be_disabled()


def test_steps_do_not_outlive_the_page_where_another_link_is_opened(visit):
    page = visit.open()
    drag(page, 0, moves=4)
    address(page)
    page.goto("about:blank")
    page.goto(f"{visit.served.url}#m={OPENING}&b=seed:3")
    page.wait_for_function("window.unravel?.state.base === 'seed:3'")
    expect(page.locator("[data-do=undo]")).to_be_disabled()


def test_a_move_is_a_move_where_the_browser_has_no_room_to_keep_it(visit):
    page = visit.open()
    at_rest(page)
    page.evaluate("""() => {
      for (let size = 2 ** 24; size >= 1; size /= 2) {
        try { sessionStorage.setItem(`filled ${size}`, "x".repeat(size)); } catch { }
      }
    }""")
    drag(page, 0, moves=4)
    here = page.evaluate(STATE)
    address(page)
    step(page, "undo")
    step(page, "redo")
    page.reload()
    page.wait_for_function("Object.keys(window.unravel?.state.edits ?? {}).length === 1")
    assert page.evaluate(STATE) == here
    expect(page.locator("[data-do=undo]")).to_be_disabled()
