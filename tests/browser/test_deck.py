"""Locks, randomise, the look at the unedited picture, links and names, in a real browser."""

from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from app.session import OPENING
from tests.browser.test_page import at_rest, by_api, choose_model, drag, pixels
from tests.serving import Served, chequers

STATE = "window.unravel.state"
ADDRESSED = "location.hash.length > 1"


def address(page: Page) -> str:
    """The page's address once it tells the present state."""
    page.wait_for_timeout(350)
    page.wait_for_function(ADDRESSED)
    return page.url


def rename(page: Page, index: int, text: str) -> None:
    """Call a factor by another name."""
    page.locator(f"#factor-{index} .rename").click()
    page.keyboard.type(text)
    page.keyboard.press("Enter")


# --- State
def test_state_is_plain_data_of_its_own_and_apply_brings_it_back(visit, api):
    page = visit.open()
    view = at_rest(page)
    assert page.evaluate(STATE) == {"model": view["model"], "base": view["base"], "edits": {}, "locks": [], "names": {}}
    a, b = (factor["name"] for factor in view["factors"][:2])
    value = view["factors"][1]["low"] / 2 + 0.00123      # between two steps of the slider
    wanted = {"edits": {b: value}, "locks": [a], "names": {b: "my name"}}
    page.evaluate("wanted => window.unravel.apply(wanted)", wanted)
    page.evaluate("window.unravel.state.edits.z0 = 5")
    assert page.evaluate(STATE) == {**wanted, "model": view["model"], "base": view["base"]}
    page.wait_for_timeout(300)                           # what Gradio's own slider says must not come in between
    view = at_rest(page)
    assert page.evaluate(STATE)["edits"] == {b: value} and np.array_equal(pixels(page), by_api(api, view))
    page.locator("[data-do=undo]").click()
    assert page.evaluate(STATE) == {"model": view["model"], "base": view["base"], "edits": {}, "locks": [], "names": {}}


# --- Locks and dice
def test_locked_factor_stays_where_it_is_and_the_others_go_where_they_would(visit):
    page = visit.open()
    factors = at_rest(page)["factors"]
    drag(page, 0, moves=4)
    first = factors[0]["name"]
    kept = page.evaluate(STATE)["edits"][first]
    lock = page.get_by_role("button", name=f"Lock {factors[0]['label']}")
    expect(lock).to_have_attribute("aria-pressed", "false")
    lock.click()
    expect(lock).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#factor-0 .undo")).to_be_disabled()
    page.evaluate("window.unravel.randomise(7)")
    shut = page.evaluate(STATE)
    assert shut["locks"] == [first] and shut["edits"][first] == kept and len(shut["edits"]) > 3
    page.locator("#reset-all").click()
    page.wait_for_function("Object.keys(window.unravel.state.edits).length === 1")
    assert page.evaluate(STATE)["edits"] == {first: kept}
    expect(page.locator("#reset-all")).to_be_disabled()
    lock.click()
    page.evaluate("window.unravel.randomise(7)")
    free = page.evaluate(STATE)
    assert free["locks"] == [] and free["edits"][first] != kept
    assert {k: v for k, v in free["edits"].items() if k != first} == {
        k: v for k, v in shut["edits"].items() if k != first}


def test_randomise_stays_inside_the_ends_is_one_step_and_another_one_each_time(visit, api):
    page = visit.open()
    factors = at_rest(page)["factors"]
    button = page.get_by_role("button", name="Randomise unlocked factors")
    button.click()
    one = at_rest(page)
    assert np.array_equal(pixels(page), by_api(api, one)) and one["base"] == page.evaluate(STATE)["base"]
    for factor, value in zip(factors, one["values"], strict=True):
        assert factor["low"] <= value <= factor["high"]
    expect(page.locator("#canvas .remark")).to_contain_text("Randomised with seed")
    button.click()
    assert page.evaluate(STATE)["edits"] != one["edits"]
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert page.evaluate(STATE)["edits"] == {}
    spread = page.evaluate("""() => Array.from({ length: 200 }, (_, seed) => {
      window.unravel.randomise(seed);
      const { factors, values } = window.unravel.view, { minimum, maximum } = factors[0];
      return (values[0] - minimum) / (maximum - minimum);
    })""")
    assert min(spread) < 0.05 and max(spread) > 0.95 and abs(np.mean(spread) - 0.5) < 0.1


# --- The unedited picture
def test_unedited_picture_is_shown_as_long_as_something_is_held(visit):
    page = visit.open()
    at_rest(page)
    own = pixels(page)
    button, plain = page.locator("[data-do=compare]"), page.locator("#canvas .plain")
    expect(button).to_be_disabled()
    drag(page, 0, moves=4)
    at_rest(page)
    expect(plain).to_be_hidden()
    box = button.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    expect(plain).to_be_visible()
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#canvas .chip")).to_have_text("unedited")
    shown = page.evaluate("""() => {
      const pen = Object.assign(document.createElement("canvas"), { width: 64, height: 64 }).getContext("2d");
      pen.drawImage(document.querySelector("#canvas .plain"), 0, 0);
      return [...pen.getImageData(0, 0, 64, 64).data];
    }""")
    assert np.array_equal(np.array(shown, np.uint8).reshape(64, 64, 4)[..., :3], own)
    page.mouse.up()
    expect(plain).to_be_hidden()
    expect(page.locator("#canvas .chip")).to_have_text("exact")
    for where, key in (("[data-do=compare]", " "), ("#factor-0 input[type=range]", "b")):
        page.locator(where).focus()
        page.keyboard.down(key)
        expect(plain).to_be_visible()
        page.keyboard.up(key)
        expect(plain).to_be_hidden()
    page.locator("#reset-all").click()
    expect(button).to_be_disabled()


# --- Links
def test_link_opens_the_same_state_and_picture_on_another_server(visit, api, tmp_path):
    page = visit.open()
    assert "#" not in page.url                            # nothing was done yet
    names = [model["name"] for model in api.predict(api_name="/models")]
    choose_model(page, "vae-faces", names.index("vae-faces"))
    page.evaluate("window.unravel.randomise(3)")
    factors = at_rest(page)["factors"]
    page.evaluate("names => window.unravel.apply({ ...window.unravel.state, names, locks: [Object.keys(names)[0]] })",
                  {factors[1]["name"]: "größer & = # 100 %"})
    state, url = page.evaluate(STATE), address(page)
    assert len(url.split("#")[1]) <= 2000 and state["names"] and state["locks"] and len(state["edits"]) > 5
    at_rest(page)
    elsewhere = Served(log=tmp_path / "log")
    try:
        other = visit.open(url.replace(visit.served.url, elsewhere.url))
        other.wait_for_function("model => window.unravel.state.model === model", arg=state["model"])
        at_rest(other)
        other.wait_for_timeout(300)
        assert other.evaluate(STATE) == state and np.array_equal(pixels(other), pixels(page))
        expect(other.get_by_role("slider", name="größer & = # 100 %").first).to_be_attached()
        expect(other.locator("[data-do=undo]")).to_be_disabled()
        assert other.evaluate("decodeURIComponent(location.hash)") == page.evaluate("decodeURIComponent(location.hash)")
        other.close()
    finally:
        elsewhere.kill()


def test_link_to_an_uploaded_picture_carries_its_code(visit, tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(chequers(9)).save(path)
    page = visit.open()
    page.locator("#explore input[type=file]").first.set_input_files(path)
    page.wait_for_function("window.unravel.view.base.startsWith('upload:')")
    drag(page, 0, moves=4)
    at_rest(page)
    url, drawn = address(page), pixels(page)
    assert "b=code:" in url and "upload" not in url
    elsewhere = Served(log=tmp_path / "log")              # it never saw the picture
    try:
        other = visit.open(url.replace(visit.served.url, elsewhere.url))
        other.wait_for_function("window.unravel.state.base.startsWith('code:')")
        at_rest(other)
        assert other.evaluate(STATE)["edits"] == page.evaluate(STATE)["edits"]
        assert np.array_equal(pixels(other), drawn)
        other.close()
    finally:
        elsewhere.kill()


def test_link_to_an_uploaded_picture_of_a_large_code_says_that_it_stays_here(visit, api, tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(chequers(9)).save(path)
    page = visit.open(permissions=["clipboard-read", "clipboard-write"])
    page.locator("#explore input[type=file]").first.set_input_files(path)
    page.wait_for_function("window.unravel.view.base.startsWith('upload:')")
    names = [model["name"] for model in api.predict(api_name="/models")]
    choose_model(page, "disdiff-shapes3d", names.index("disdiff-shapes3d"))
    page.locator("[data-do=link]").click()
    expect(page.locator("#canvas .remark")).to_contain_text("too long for a link")
    assert "b=upload:" in page.evaluate("navigator.clipboard.readText()")


def test_copied_link_is_the_address(visit):
    page = visit.open(permissions=["clipboard-read", "clipboard-write"])
    drag(page, 0, moves=3)
    page.get_by_role("button", name="Copy link").click()
    expect(page.locator("#canvas .remark")).to_have_text("Link copied.")
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    assert OPENING in page.url


GOOD = f"m={OPENING}&b=seed:3"
BAD = {
    "anything": "This link is damaged: it holds something that is not part of a page.",
    f"m={OPENING}": "This link is damaged: it names no model or no picture.",
    f"{GOOD}&e.z7=NaN": "This link is damaged: an edit in it is no number.",
    f"{GOOD}&e.z7=": "This link is damaged: an edit in it is no number.",
    f"{GOOD}&e.z7=1e99": "The value of factor 'z7' is not a usable number.",
    f"{GOOD}&e.z99=1": f"'z99' is no factor of {OPENING}.",
    "m=none&b=seed:3": "There is no model called 'none';",
    f"m={OPENING}&b=file:/etc/passwd": "A picture is named",
    f"m={OPENING}&b=code:AAAA": "The code of that picture is cut off or damaged.",
    f"m={OPENING}&b=code:AAAAAA": f"A code of {OPENING} is 10 numbers.",
    f"m={OPENING}&b=upload:{'0' * 64}": "That picture is no longer on the server;",
    f"{GOOD}&n.z7={'x' * 5000}": "This link is damaged: it is longer than any that this page makes.",
    f"m={quote('<img src=x onerror=window.broken=1>')}&b=seed:3": "There is no model called '<img",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_link_gets_a_sentence_and_the_page_opens_as_usual(visit, api, text):
    page = visit.open(f"{visit.served.url}#{text}")
    expect(page.locator("#canvas .status")).to_contain_text(BAD[text])
    view = at_rest(page)
    assert view["model"] == OPENING and view["edits"] == {} and np.array_equal(pixels(page), by_api(api, view))
    assert page.evaluate("window.broken") is None
    drag(page, 0, moves=3)
    assert at_rest(page)["edits"]


def test_link_is_followed_in_an_open_page_and_can_be_undone(visit):
    page = visit.open()
    drag(page, 0, moves=3)
    before = page.evaluate(STATE)
    page.evaluate("hash => { location.hash = hash; }", f"{GOOD}&e.z7=99")
    page.wait_for_function("window.unravel.state.base === 'seed:3'")
    view = at_rest(page)
    assert view["edits"] == {"z7": view["factors"][0]["maximum"]}      # brought into its range
    page.locator("[data-do=undo]").click()
    page.wait_for_function("base => window.unravel.state.base === base", arg=before["base"])
    assert page.evaluate(STATE) == before


# --- Names
def test_factor_is_renamed_by_pencil_f2_and_double_click(visit, api):
    page = visit.open()
    view = at_rest(page)
    name, label = view["factors"][0]["name"], view["factors"][0]["label"]
    page.get_by_role("button", name=f"Rename {label}").click()
    page.keyboard.type("x" * 50)
    page.keyboard.press("Enter")
    assert page.evaluate(STATE)["names"] == {name: "x" * 40}
    expect(page.locator("#factor-0 .rename")).to_be_focused()
    page.locator("#factor-0 input[type=range]").press("F2")
    page.keyboard.type("<b>sky</b>")
    page.keyboard.press("Enter")
    expect(page.get_by_role("slider", name="<b>sky</b>").first).to_be_focused()
    page.locator("#factor-0 .head label span").dblclick()
    page.keyboard.type("never")
    page.keyboard.press("Escape")
    expect(page.locator("#factor-0 .head label span")).to_have_text("<b>sky</b>")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    expect(page.locator("#factor-0 .head label span")).to_have_text(label)
    expect(page.locator("[data-do=undo]")).to_be_disabled()
    page.keyboard.press("Control+y")
    page.locator("#gallery button").nth(2).click()       # another picture keeps the names, another model has its own
    page.wait_for_function("window.unravel.view.base === 'gallery:2'")
    expect(page.locator("#factor-0 .head label span")).to_have_text("x" * 40)
    names = [model["name"] for model in api.predict(api_name="/models")]
    choose_model(page, "vae-shapes3d", names.index("vae-shapes3d"))
    page.wait_for_timeout(200)
    assert page.evaluate(STATE)["names"] == {}
    assert page.locator("#factor-0 .head label span").inner_text() == at_rest(page)["factors"][0]["label"]
    choose_model(page, view["model"], names.index(view["model"]))
    expect(page.locator("#factor-0 .head label span")).to_have_text("x" * 40)
    page = page.context.new_page()                       # this browser remembers
    page.goto(visit.served.url)
    page.wait_for_function("window.unravel?.counters.films > 0")
    expect(page.locator("#factor-0 .head label span")).to_have_text("x" * 40)
    page.locator("#factor-0 .rename").click()
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(page.locator("#factor-0 .head label span")).to_have_text(label)
    assert page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('unravel'))") == []


def test_two_tabs_name_factors_and_neither_loses_what_the_other_named(visit):
    page = visit.open()
    model, (a, b) = at_rest(page)["model"], [factor["name"] for factor in at_rest(page)["factors"][:2]]
    other = page.context.new_page()
    other.goto(visit.served.url)
    other.wait_for_function("window.unravel?.counters.films > 0")
    kept = "model => JSON.parse(localStorage.getItem(`unravel:names:${model}`) ?? '{}')"
    rename(page, 0, "sky")
    rename(other, 1, "floor")
    assert page.evaluate(kept, model) == {a: "sky", b: "floor"}
    rename(page, 0, "heaven")
    page.locator("[data-do=undo]").click()
    assert page.evaluate(kept, model) == {a: "sky", b: "floor"}
    page.locator("[data-do=undo]").click()
    assert page.evaluate(kept, model) == {b: "floor"}
