"""Fixtures for the tests of the app: fresh sessions, and the page as a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.session import Sessions
from engine import Engine
from tests.serving import Served


@pytest.fixture
def sessions(engine: Engine) -> Sessions:
    """Sessions that remember nothing yet."""
    return Sessions(engine)


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
