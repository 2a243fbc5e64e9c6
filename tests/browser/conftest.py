"""A real browser on the page, which a process of its own serves as a user would start it."""

from collections.abc import Iterator

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, Page

from benchmarks.browser import chromium
from tests.serving import Served


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page, for all tests that leave the server alone."""
    served = Served(log=tmp_path_factory.mktemp("served") / "log")
    yield served
    served.kill()


@pytest.fixture(scope="session")
def api(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The same server's named endpoints."""
    client = Client(served.url, verbose=False, download_files=tmp_path_factory.mktemp("api"))
    yield client
    client.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator["Visit"]:
    """Opens pages and, at the end, closes them and checks that they were well behaved."""
    visit = Visit(browser, served)
    yield visit
    visit.close()


class Visit:
    """Pages of one test. `calm` pages may neither log errors nor call other hosts."""

    def __init__(self, browser: Browser, served: Served):
        self.browser, self.served = browser, served
        self.contexts, self.errors, self.strangers = [], [], []

    def open(self, url: str = "", calm: bool = True, **options) -> Page:
        """A page in a browser context of its own, when its first picture and films are there."""
        url = url or self.served.url
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        self.contexts.append(context)
        page = context.new_page()
        if calm:
            page.on("pageerror", lambda error: self.errors.append(str(error)))
            page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        page.on("request", lambda request: self._note(request.url, url.partition("#")[0]))
        page.goto(url)
        page.wait_for_function("window.unravel?.shown.kind === 'exact' && window.unravel.counters.films > 0")
        return page

    def close(self) -> None:
        """Close all pages; AssertionError if one misbehaved."""
        for context in self.contexts:
            context.close()
        assert not self.errors and not self.strangers

    def _note(self, url: str, home: str) -> None:
        if not url.startswith((home, "data:", "blob:")):
            self.strangers.append(url)
