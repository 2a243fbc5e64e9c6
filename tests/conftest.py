"""Fixtures that several tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import Engine, checkpoint, factors
from tests.tiny import noise, save_tiny


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


@pytest.fixture(scope="session")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A running engine with a tiny DisDiff, whose fields already say something, and a VAE, which has none."""
    from tests.engine.methods.test_disdiff import fresh

    folder, images = tmp_path_factory.mktemp("divided"), noise(64)
    save_tiny(folder / "vae")
    model = fresh(between=(0.3, 0.7)).eval()
    table, mean = factors.fit(model, images), model.encode(images.float() / 255).detach().mean(0)
    checkpoint.save(folder / "disdiff", model, table, mean, "shapes3d", "# A tiny model\n", {})
    engine = Engine(folder)
    yield engine
    engine.close()
