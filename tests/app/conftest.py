"""Fixtures for the tests of the app: fresh sessions, and the page as a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.session import Sessions
from engine import Engine
from tests.serving import Served
from tests.tiny import save_tiny
from tests.two_sided import SCORES, save_two_sided


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    """Sessions that remember nothing yet."""
    return Sessions(engine)


@pytest.fixture(scope="session")
def both_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A running engine with a model that tells content from style, and one that does not."""
    folder = tmp_path_factory.mktemp("both-kinds")
    save_two_sided(folder / "two-sided", SCORES)
    save_tiny(folder / "factors")
    engine = Engine(folder)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def served(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page with those models."""
    served = Served("--models", models, log=tmp_path_factory.mktemp("served") / "log")
    yield served
    served.kill()


@pytest.fixture(scope="session")
def address(served: Served) -> str:
    """Where the page is, with a slash at the end."""
    return served.url
