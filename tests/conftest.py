"""Fixtures that several tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine
from tests.tiny import save_tiny


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two colour models and a grey one; not to be written to."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("first", "second")):
        save_tiny(folder / name, seed)
    save_tiny(folder / "third-grey", 2, channels=1, data="dsprites")
    return folder


@pytest.fixture(scope="session")
def engine(models: Path) -> Iterator[Engine]:
    """A running engine with those models, on the CPU."""
    engine = Engine(models)
    yield engine
    engine.close()
