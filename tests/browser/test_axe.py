"""Every tab, light and dark, against the rules of axe; none scrolls sideways on a telephone; all is reached by Tab."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WAIT = 60_000
PAINTED = "document.querySelector('#atlas-cloud .plot')?.unravel?.counters.painted >= 1000"
QUIET = """() => new Promise((done) => {
  const wait = () => setTimeout(() => { observer.disconnect(); done(); }, 1000);
  let timer = wait();
  const observer = new MutationObserver(() => { clearTimeout(timer); timer = wait(); });
  observer.observe(document.querySelector("#tabs"), { childList: true, subtree: true });
})"""
NAMELESS = """() => [...document.querySelectorAll("button, a[href], input, select, textarea, canvas, img")]
  .filter((e) => e.checkVisibility() && !e.closest("[aria-hidden=true]") && e.ariaHidden !== "true")
  .filter((e) => !(e.ariaLabel || e.alt || e.title || e.innerText?.trim() || e.labels?.length
    || e.getAttribute("aria-labelledby") || e.closest("label")))
  .map((e) => e.outerHTML.slice(0, 200))"""


def tabs(page: Page) -> list[str]:
    """The names of all tabs, also of those that a narrow page keeps in a menu: Gradio measures them in a hidden row."""
    return page.locator("#tabs > .tab-wrapper .tab-container[aria-hidden=true] button").all_inner_texts()


def turn(page: Page, name: str) -> None:
    """Go to a tab as far as it has something to show."""
    tab = page.get_by_role("tab", name=name, exact=True)
    if not tab.count():  # it is in the menu
        page.locator(".overflow-menu > button").click()
        tab = page.locator(".overflow-dropdown button", has_text=name)
    tab.click()
    if name == "Map":
        page.wait_for_function(PAINTED, timeout=WAIT)
    if name == "Rebuild":
        page.locator("#rebuild .start").click()
        page.wait_for_function("window.unravelRebuild.counters.films > 0", timeout=WAIT)
        page.locator("#rebuild .skip").click()
    page.evaluate(QUIET)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab(visit, scheme):
    page = visit.open(color_scheme=scheme)
    assert page.evaluate("document.body.classList.contains('dark')") == (scheme == "dark")
    found = {}
    for name in tabs(page):
        turn(page, name)
        report = Axe().run(page).response["violations"]
        found[name] = [(v["impact"], v["id"], node["html"][:120]) for v in report for node in v["nodes"]]
        found[name] += [("serious", "nameless", html) for html in page.evaluate(NAMELESS)]
    assert len(found) >= 5 and not any(found.values()), found


def test_no_tab_scrolls_sideways_on_a_telephone(visit):
    page = visit.open(viewport={"width": 390, "height": 844})
    wide = {}
    for name in tabs(page):
        turn(page, name)
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
    assert set(wide.values()) == {390}, wide
