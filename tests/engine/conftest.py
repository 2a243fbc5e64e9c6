"""What the tests of training share."""

from pathlib import Path

import pytest
from PIL import Image

from tests.tiny import noise


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of forty small PNGs, all dark, so that there is something to learn at once."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(noise(40, seed=3).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(image // 2).save(folder / f"{number:02}.png")
    return folder
