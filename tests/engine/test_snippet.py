"""Programs that draw a picture again: run in a process of their own, they give the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import MODELS, Engine, gallery, pictures_of, provenance, snippet
from tests.serving import chequers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shipped():
    engine = Engine()
    yield engine
    engine.close()


def run(text: str, folder: Path) -> np.ndarray:
    """The picture that a program saves."""
    done = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True, timeout=200,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return np.asarray(Image.open(folder / "picture.png"))


def starts(engine: Engine, model: str) -> dict[str, np.ndarray]:
    """Codes of bases of every kind."""
    data = engine.model(model).data

    def encoded(image: np.ndarray) -> np.ndarray:
        return engine.encode(model, image[None]).get()[0]

    return {"gallery:7": encoded(gallery(data)[7]), "picture:4711": encoded(pictures_of(data, [4711])[0]),
            "seed:42": engine.draw(model, 42), "upload:" + "0" * 64: encoded(chequers(2))}


@pytest.mark.parametrize("base", ["gallery:7", "picture:4711", "seed:42", "upload:" + "0" * 64])
def test_a_program_draws_the_same_picture_bit_for_bit(shipped, tmp_path, base):
    model, edits = "vae-shapes3d", {"z1": 0.123456789, "z0": -1}
    edits = {factor.name: value for factor, value in zip(shipped.model(model).sliders, edits.values(), strict=False)}
    start = starts(shipped, model)[base]
    own = provenance.origin(shipped, model, base, shipped.edit(model, start, edits), edits,
                            names={next(iter(edits)): "wall\nhue"})
    text = snippet.as_python(shipped, own, start)
    assert text.count("#") >= 3 and "# wall hue" in text and max(map(len, text.splitlines())) <= 120
    assert np.array_equal(run(text, tmp_path), provenance.redraw(shipped, own))


def test_without_edits_nothing_is_edited_and_other_models_are_said_to_be_elsewhere(engine, shipped):
    start = engine.draw("first", 1)
    text = snippet.as_python(engine, provenance.origin(engine, "first", "seed:1", start, {}), start)
    assert "engine.edit" not in text and 'Path("models")' in text and str(engine.folder) not in text
    compile(text, "program", "exec")
    assert shipped.folder == MODELS
