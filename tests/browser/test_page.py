"""The page in a real browser, with real mouse, keys and touch."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from app import uploads
from tests.serving import Served, chequers, hostile_files

REST = "window.unravel.shown.kind === 'exact'"

# Filed by animation frame: a hash of the canvas and what the page says is on it.
RECORD = """() => {
  const canvas = document.querySelector("#canvas canvas"), pen = canvas.getContext("2d");
  window.record = [];
  const look = () => {
    const hash = pen.getImageData(0, 0, 64, 64).data.reduce((h, byte) => (h * 31 + byte) | 0, 7);
    window.record.push([hash, window.unravel.shown.kind, window.unravel.shown.value]);
    requestAnimationFrame(look);
  };
  look();
}"""

PIXELS = """() => {
  const canvas = document.querySelector("#canvas canvas");
  return canvas.toDataURL("image/png");
}"""


def pixels(page: Page) -> np.ndarray:
    """What is on the canvas, (64, 64, 3) uint8."""
    return decoded(page.evaluate(PIXELS))


def decoded(address: str) -> np.ndarray:
    """The picture (H, W, 3) uint8 that a data: address holds."""
    return np.asarray(Image.open(BytesIO(b64decode(address.split(",")[1]))).convert("RGB"))


def at_rest(page: Page) -> dict:
    """The page's view once the exact picture of the present sliders is shown."""
    page.wait_for_function(REST)
    return page.evaluate("window.unravel.view")


def by_api(api, view: dict) -> np.ndarray:
    """The picture that the named endpoint draws for a page's view."""
    path = api.predict(view["model"], view["base"], view["edits"], api_name="/edit")
    return np.asarray(Image.open(path).convert("RGB"))


def track(page: Page, index: int = 0) -> tuple[float, float, float]:
    """Left end, right end and middle height of a slider's track, in view."""
    slider = page.locator(f"#factor-{index} input[type=range]")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    return box["x"] + 8, box["x"] + box["width"] - 8, box["y"] + box["height"] / 2


def drag(page: Page, index: int = 0, moves: int = 60) -> None:
    """A real mouse along a slider from end to end."""
    left, right, y = track(page, index)
    page.mouse.move(left, y)
    page.mouse.down()
    for k in range(1, moves + 1):
        page.mouse.move(left + (right - left) * k / moves, y)
        page.evaluate("new Promise(requestAnimationFrame)")
    page.mouse.up()


def choose_model(page: Page, name: str, place: int) -> None:
    """Pick the model that stands at `place` in the list."""
    page.locator("#model input").click()
    page.get_by_role("option").nth(place).click()
    page.wait_for_function("name => window.unravel.view.model === name", arg=name)


def noted_joins(page: Page) -> list[dict]:
    """What the page sends to the queue from now on."""
    joins = []
    page.on("request", lambda request: "/queue/join" in request.url and joins.append(request.post_data_json))
    return joins


def held_joins(page: Page, which: Callable[[dict], Any] = bool) -> list[Route]:
    """Events of the page that are kept from the queue until `let_go`; `which` tells them by what they send."""
    joins = []
    page.route("**/queue/join**", lambda route: (
        joins.append(route) if which(route.request.post_data_json) else route.continue_()))
    return joins


def let_go(page: Page, joins: list[Route]) -> None:
    """Let the events go, each when the one before has been taken, and none is held from now on."""
    page.route("**/queue/join**", lambda route: route.continue_())
    for join in joins:
        with page.expect_response(lambda response, join=join: response.request == join.request):
            join.continue_()


def seeded(page: Page, seed: int) -> dict:
    """The view of a random picture, by its seed in the box."""
    box = page.locator("#seed input")
    box.fill(str(seed))
    box.press("Enter")
    page.wait_for_function("base => window.unravel.view.base === base", arg=f"seed:{seed}")
    return at_rest(page)


# --- Opening
def test_page_opens_with_its_picture_before_any_script_and_stays_at_home(visit, api):
    page = visit.open()
    view = at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, view))
    picture = page.locator("#canvas canvas")
    assert "data:image/png;base64," in picture.evaluate("canvas => canvas.style.backgroundImage")
    expect(picture).to_be_visible()
    assert page.title() == "Unravel" and page.evaluate("window.unravel.counters.errors") == 0


def test_every_slider_has_a_name_and_a_film_with_pictures(visit):
    page = visit.open()
    view = at_rest(page)
    assert page.locator("input[type=range]:visible").count() == len(view["factors"])
    for index, factor in enumerate(view["factors"]):
        expect(page.get_by_role("slider", name=factor["label"]).first).to_be_attached()
        colours = page.locator(f"#factor-{index} canvas.film").evaluate("""film =>
            new Set(new Uint32Array(film.getContext("2d").getImageData(0, 0, film.width, 64).data.buffer)).size""")
        assert colours > 50


# --- Sliders
def test_drag_changes_the_picture_on_most_moves_and_ends_in_the_exact_one(visit, api):
    page = visit.open()
    at_rest(page)
    page.evaluate(RECORD)
    drag(page, moves=60)
    record = page.evaluate("window.record")
    assert len({hash for hash, *_ in record}) > 40
    kinds = [kind for _, kind, _ in record]
    assert kinds.count("preview") > 40
    values = [value for _, kind, value in record if kind == "preview"]
    assert values == sorted(values) and len(set(values)) > 40
    counters = page.evaluate("window.unravel.counters")
    assert counters["scrubbed"] > 50 and counters["errors"] == 0
    view = at_rest(page)
    factor = view["factors"][0]
    assert view["edits"] == {factor["name"]: view["values"][0]} and view["values"][0] > factor["neutral"]
    assert np.array_equal(pixels(page), by_api(api, view))


def test_film_of_a_second_factor_shows_the_first_one_edited(visit, api):
    page = visit.open()
    drag(page, 0, moves=5)
    at_rest(page)
    drag(page, 1, moves=20)
    view = at_rest(page)
    assert len(view["edits"]) == 2
    assert np.array_equal(pixels(page), by_api(api, view))


def test_arrow_keys_home_end_and_the_number_box_move_the_picture(visit, api):
    page = visit.open()
    factor = at_rest(page)["factors"][0]
    slider, number = (page.locator(f"#factor-0 input[type={kind}]") for kind in ("range", "number"))
    slider.focus()
    for key, value in (
        ("Home", factor["minimum"]), ("ArrowRight", factor["minimum"] + factor["step"]), ("End", factor["maximum"]),
        ("ArrowLeft", factor["maximum"] - factor["step"]),
    ):
        slider.press(key)
        assert page.evaluate("window.unravel.view.values[0]") == pytest.approx(value)
        expect(number).to_have_value(f"{value:.10g}".removesuffix(".0"))
    middle = round((factor["minimum"] + factor["maximum"]) / 2 / factor["step"]) * factor["step"]
    number.fill(f"{middle:.10g}")
    number.press("Enter")
    page.wait_for_function("value => Math.abs(window.unravel.view.values[0] - value) < 1e-6", arg=middle)
    expect(slider).to_have_value(f"{middle:.10g}")
    view = at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, view))


def test_number_beyond_the_range_is_clipped(visit, api):
    page = visit.open()
    factor = at_rest(page)["factors"][0]
    number = page.locator("#factor-0 input[type=number]")
    number.fill("99999")
    number.press("Tab")
    page.wait_for_function("value => window.unravel.view.values[0] === value", arg=factor["maximum"])
    expect(number).to_have_value(f"{factor['maximum']:.10g}")
    view = at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, view))


def test_one_factor_and_all_factors_can_be_reset(visit):
    page = visit.open()
    at_rest(page)
    before = pixels(page)
    reset_all = page.get_by_role("button", name="Reset all")
    expect(reset_all).to_be_disabled()
    for index in (0, 1):
        drag(page, index, moves=3)
    assert len(at_rest(page)["edits"]) == 2
    page.locator("#factor-0 .undo").click()
    page.wait_for_function("Object.keys(window.unravel.view.edits).length === 1")
    expect(page.locator("#factor-0 .undo")).to_be_disabled()
    assert not np.array_equal(before, pixels(page))
    reset_all.click()
    page.wait_for_function("Object.keys(window.unravel.view.edits).length === 0")
    at_rest(page)
    assert np.array_equal(before, pixels(page))
    expect(reset_all).to_be_disabled()


def test_click_on_a_film_puts_the_slider_there(visit, api):
    page = visit.open()
    factor = at_rest(page)["factors"][0]
    film = page.locator("#factor-0 canvas.film")
    film.scroll_into_view_if_needed()
    box = film.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 8.5 / 9, box["y"] + box["height"] / 2)
    view = at_rest(page)
    assert view["values"][0] == pytest.approx(factor["high"], abs=2 * factor["step"])
    assert np.array_equal(pixels(page), by_api(api, view))


# --- Pictures and models
def test_gallery_is_chosen_by_click_and_by_keys(visit, api):
    page = visit.open()
    chosen = page.locator("#gallery button[aria-pressed=true]")
    expect(chosen).to_have_attribute("data-index", at_rest(page)["base"].removeprefix("gallery:"))
    drag(page, moves=3)
    thumbs = page.locator("#gallery button")
    thumbs.nth(2).click()
    page.wait_for_function("window.unravel.view.base === 'gallery:2'")
    view = at_rest(page)
    assert view["edits"] == {} and np.array_equal(pixels(page), by_api(api, view))
    expect(chosen).to_have_attribute("data-index", "2")
    page.keyboard.press("ArrowRight")
    expect(thumbs.nth(3)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_function("window.unravel.view.base === 'gallery:3'")
    page.keyboard.press("ArrowLeft")
    expect(thumbs.nth(2)).to_be_focused()
    assert thumbs.evaluate_all("all => all.filter((thumb) => thumb.tabIndex === 0).length") == 1


def test_two_samples_are_clicked_without_a_pause_and_the_second_stays(visit):
    page = visit.open()
    joins = held_joins(page)
    for place in (1, 3):
        with page.expect_request("**/queue/join**"):
            page.locator("#gallery button").nth(place).click()
    let_go(page, joins)
    page.wait_for_function("window.unravel.view.base === 'gallery:3'")
    expect(page.locator("#gallery button[aria-pressed=true]")).to_have_attribute("data-index", "3")


def test_undo_pressed_twice_without_a_pause_goes_back_two_pictures(visit):
    page = visit.open()
    for seed in (1, 2, 3):
        seeded(page, seed)
    joins, undo = held_joins(page), page.locator("[data-do=undo]")
    for _ in range(2):
        with page.expect_request("**/queue/join**"):
            undo.click()
    let_go(page, joins)
    page.wait_for_function("window.unravel.view.base === 'seed:1'")


def test_a_seed_entered_while_another_is_drawn_is_drawn_too(visit):
    page = visit.open()
    joins, box = held_joins(page), page.locator("#seed input")
    box.fill("5")
    with page.expect_request("**/queue/join**"):
        box.press("Enter")
    box.fill("6")
    box.press("Enter")
    let_go(page, joins)
    page.wait_for_function("window.unravel.view.base === 'seed:6'")


def test_random_pressed_while_a_picture_is_drawn_ends_in_the_seed_that_it_shows(visit):
    page = visit.open()
    button, box = page.locator("#random"), page.locator("#seed input")
    joins = held_joins(page, lambda wish: wish["data"])      # seeds are drawn, pictures are not
    with page.expect_request(lambda request: "/queue/join" in request.url and request.post_data_json["data"]):
        button.click()
    first = box.input_value()
    button.click()
    expect(box).not_to_have_value(first)
    second = box.input_value()
    let_go(page, joins)
    page.wait_for_function("seed => window.unravel.view.base === `seed:${seed}`", arg=second)
    expect(box).to_have_value(second)


def test_random_shows_its_seed_and_the_same_seed_is_the_same_picture(visit):
    page = visit.open()
    page.locator("#random").click()
    page.wait_for_function("window.unravel.view.base.startsWith('seed:')")
    view = at_rest(page)
    drawn, seed = pixels(page), int(view["base"].removeprefix("seed:"))
    expect(page.locator("#seed input")).to_have_value(str(seed))
    seeded(page, seed + 1)
    assert not np.array_equal(drawn, pixels(page))
    other = visit.open()
    assert seeded(other, seed)["values"] == view["values"]
    assert np.array_equal(drawn, pixels(other))


def test_until_the_picture_of_another_model_is_drawn_the_page_does_not_call_what_is_shown_exact(visit, api):
    page = visit.open()
    names = [model["name"] for model in api.predict(api_name="/models")]
    at_rest(page)
    page.evaluate("""() => {
      const made = window.createImageBitmap, gate = new Promise((open) => { window.letGo = open; });
      window.createImageBitmap = async (...given) => { await gate; return made(...given); };
    }""")
    choose_model(page, names[1], 1)
    assert page.evaluate("window.unravel.shown.kind") == "preview"
    expect(page.locator("[data-kind=exact]")).to_have_count(0)
    page.evaluate("window.letGo()")
    view = at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, view))


def test_another_model_keeps_the_picture_and_its_sliders_work(visit, api):
    page = visit.open()
    names = [model["name"] for model in api.predict(api_name="/models")]
    seeded(page, 5)
    drag(page, moves=3)
    for name in names[1:] + names[:1]:
        choose_model(page, name, names.index(name))
        view = at_rest(page)
        assert view["base"] == "seed:5" and np.array_equal(pixels(page), by_api(api, view))
        drag(page, moves=8)
        view = at_rest(page)
        assert list(view["edits"]) == [view["factors"][0]["name"]]
        assert np.array_equal(pixels(page), by_api(api, view))
        page.locator("#reset-all").click()
        page.wait_for_function("Object.keys(window.unravel.view.edits).length === 0")


@pytest.mark.parametrize("keys", (False, True))
def test_choice_of_a_model_is_asked_once_and_what_is_moved_after_its_answer_stays(visit, api, keys):
    page = visit.open()
    names = [model["name"] for model in api.predict(api_name="/models")]
    place = names.index(at_rest(page)["model"]) + 1
    asked = noted_joins(page)
    if keys:
        page.locator("#model input").focus()
        expect(page.locator("[role=option]").first).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_function("name => window.unravel.view.model === name", arg=names[place])
    else:
        choose_model(page, names[place], place)
    page.evaluate("window.unravel.randomise(3)")
    edits = at_rest(page)["edits"]
    page.wait_for_timeout(1500)                # a second answer came 0.3 s after the first
    assert edits and at_rest(page)["edits"] == edits
    events = [event["fn_index"] for event in asked]
    assert events and len(set(events)) == len(events)


def test_list_of_models_opened_and_left_asks_nothing(visit):
    page = visit.open()
    at_rest(page)
    asked = noted_joins(page)
    page.locator("#model input").click()
    expect(page.locator("[role=option]").first).to_be_visible()
    page.locator("#seed input").focus()
    expect(page.locator("[role=option]")).to_have_count(0)
    page.wait_for_timeout(300)
    assert not asked


def test_films_of_one_model_do_not_stand_under_the_factors_of_another(visit, api):
    page = visit.open()
    drawn = """() => window.unravel.view.factors.map((_, i) => {
        const film = document.querySelector(`#factor-${i} .film`);
        return film.getContext("2d").getImageData(0, 0, film.width, film.height).data.some((value) => value > 0);
    })"""
    assert all(page.evaluate(drawn))
    held = []
    page.route(re.compile("/component_server"), lambda route: (
        held.append(route) if '"films"' in route.request.post_data else route.continue_()))
    other = [model["name"] for model in api.predict(api_name="/models")][1]
    choose_model(page, other, 1)
    page.wait_for_function("() => document.querySelector('#factor-0 .film')")
    assert not any(page.evaluate(drawn))
    for _ in range(100):                       # until the request is there
        if held:
            break
        page.wait_for_timeout(50)
    films = page.evaluate("window.unravel.counters.films")
    held[0].continue_()
    page.wait_for_function("films => window.unravel.counters.films > films", arg=films)
    assert all(page.evaluate(drawn))


def test_turning_the_page_leaves_no_edits_behind(visit):
    page = visit.open()
    for seed in (11, 12, 13):
        view = seeded(page, seed)
        for index, factor in enumerate(view["factors"]):
            expect(page.locator(f"#factor-{index} input[type=range]")).to_have_value(f"{factor['neutral']:.10g}")
        page.evaluate("window.unravel.follow(), new Promise((done) => setTimeout(done, 100))")
        assert page.evaluate("window.unravel.view.edits") == {}


def test_uploaded_picture_stands_in_the_sliders(visit, api, tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(chequers(9)).save(path)
    page = visit.open()
    own = page.locator("#canvas .original")
    expect(own).to_be_hidden()
    page.locator("#explore input[type=file]").set_input_files(path)
    page.wait_for_function("window.unravel.view.base.startsWith('upload:')")
    view = at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, view))
    expect(own).to_be_visible()
    assert np.array_equal(decoded(own.get_attribute("src")), chequers(9))
    drag(page, moves=8)
    view = at_rest(page)
    assert view["edits"] and np.array_equal(pixels(page), by_api(api, view))
    page.locator("#gallery button").nth(2).click()
    page.wait_for_function("window.unravel.view.base === 'gallery:2'")
    expect(own).to_be_hidden()


@pytest.mark.parametrize(
    "name, sentence",
    [("text.png", uploads.UNKNOWN), ("cut.jpg", uploads.ENDS_EARLY), ("huge.png", uploads.TOO_LARGE)],
)
def test_file_that_is_no_usable_picture_is_said_and_the_page_lives_on(visit, tmp_path, name, sentence):
    page = visit.open()
    base = at_rest(page)["base"]
    page.locator("#explore input[type=file]").set_input_files(hostile_files(tmp_path)[name])
    expect(page.locator("#canvas .status")).to_have_text(sentence)
    assert page.evaluate("window.unravel.view.base") == base
    drag(page, moves=3)
    assert at_rest(page)["edits"]


# --- Trouble
def test_server_that_goes_and_comes_back_is_noticed_and_the_page_recovers(visit, tmp_path):
    served = Served(log=tmp_path / "log")
    try:
        page = visit.open(served.url, calm=False)
        status = page.locator("#canvas .status")
        served.kill()
        drag(page, moves=20)
        expect(status).to_have_text("The server does not answer; trying again.")
        assert page.evaluate("window.unravel.shown.kind") == "preview"  # the films here still play
        served.start()
        view = at_rest(page)
        assert view["edits"]
        expect(status).to_have_text("")
        counters = page.evaluate("window.unravel.counters")
        seeded(page, 21)
        assert counters["errors"] > 0
    finally:
        served.kill()


def test_sentences_of_refused_requests_are_shown_as_text(visit):
    page = visit.open()
    page.route(re.compile("/component_server"), lambda route: route.fulfill(
        status=200, content_type="application/json",
        body=json.dumps({"stamp": 1, "error": "<img src=x onerror=window.broken=1> is no factor."}),
    ))
    drag(page, moves=3)
    expect(page.locator("#canvas .status")).to_have_text("<img src=x onerror=window.broken=1> is no factor.")
    assert page.evaluate("window.broken") is None


def test_two_pages_do_not_touch_each_other(visit, api):
    pages = [visit.open(), visit.open()]
    for page, seed in zip(pages, (31, 32), strict=True):
        seeded(page, seed)
    for index in (0, 1):
        for page in pages:
            drag(page, index, moves=4)
    for page, seed in zip(pages, (31, 32), strict=True):
        view = at_rest(page)
        assert view["base"] == f"seed:{seed}" and np.array_equal(pixels(page), by_api(api, view))


# --- Screens
PHONE = {
    "viewport": {"width": 412, "height": 839}, "device_scale_factor": 2.625, "is_mobile": True, "has_touch": True,
    "user_agent": "Mozilla/5.0 (Linux; Android 15; Pixel 7) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
}


def test_phone_has_no_overflow_and_the_picture_stays_in_view_at_the_last_slider(visit):
    page = visit.open(**PHONE)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
    last = len(at_rest(page)["factors"]) - 1
    left, right, y = track(page, last)
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": left, "y": y}]})
    for k in range(1, 11):
        point = {"x": left + (right - left) * k / 10, "y": y}
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert at_rest(page)["edits"]
    picture = page.locator("#canvas canvas").bounding_box()
    slider = page.locator(f"#factor-{last} input[type=range]").bounding_box()
    assert picture["y"] >= 0 and picture["y"] + picture["height"] <= slider["y"]
    assert picture["x"] >= 0 and picture["x"] + picture["width"] <= 412


CONTRAST = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colours) => {                     // stacked colours, the topmost last
    paint.fillStyle = "white";
    paint.fillRect(0, 0, 1, 1);
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const poor = [];
  const walk = document.createTreeWalker(document.querySelector(".gradio-container"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const holder = walk.currentNode.parentElement;
    const hidden = !walk.currentNode.data.trim() || !holder.checkVisibility({ opacityProperty: true });
    if (hidden || holder.closest("script, style, :disabled")) continue;
    const behind = [];
    for (let part = holder; part; part = part.parentElement) behind.unshift(getComputedStyle(part).backgroundColor);
    const text = light(over([...behind, getComputedStyle(holder).color])), ground = light(over(behind));
    const ratio = (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
    if (ratio < 4.5) poor.push([walk.currentNode.data.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
  }
  return [poor, light(over([getComputedStyle(document.body).backgroundColor]))];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(visit, scheme):
    page = visit.open(color_scheme=scheme)
    poor, ground = page.evaluate(CONTRAST)
    assert poor == []
    assert ground < 0.1 if scheme == "dark" else ground > 0.8
