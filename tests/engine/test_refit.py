"""The table of a model folder, measured again."""

import hashlib
import json

import pytest

from engine import checkpoint, export, factors, naming, refit
from tests.tiny import noise, save_tiny


class Smooth:
    """A data set of smooth images, of which so many numbers were asked for."""

    name, factors = "shapes3d", ()

    def __len__(self):
        return 400

    def images(self, index):
        self.asked = index
        return noise(400)[index]

    def labels(self, index):
        raise AssertionError("no labels are needed")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MEASURED", 128)
    for module in (refit, naming):
        monkeypatch.setattr(module, "load", lambda name: Smooth())
    naming._sample.cache_clear()
    yield save_tiny(tmp_path / "model")
    naming._sample.cache_clear()


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_table_is_that_of_the_images_of_the_export_and_the_rest_stays(folder, capsys):
    before = {name: digest(folder / name) for name in checkpoint.FILES}
    refit.main([str(folder)])
    after = {name: digest(folder / name) for name in checkpoint.FILES}
    assert {name for name in after if after[name] != before[name]} == {"factors.json"}
    model, table, _ = checkpoint.load(folder)
    assert table == factors.fit(model, noise(400)[export.measured(Smooth())])
    assert table[0].name in capsys.readouterr().out
    record = json.loads((folder / "names.json").read_text())
    assert record["factors"] == after["factors.json"]
    assert set(record["names"]) == {f.name for f in factors.visible(table)}
    assert refit.refit(folder) == table                                  # and the same when asked again


@pytest.mark.parametrize("command", [refit.main, naming.main])
def test_a_folder_that_is_no_model_is_said_in_a_sentence(command, tmp_path):
    with pytest.raises(SystemExit, match=r"MANIFEST.json is missing\.$"):
        command([str(tmp_path)])


def test_a_table_that_the_card_would_belie_is_refused(folder, monkeypatch):
    monkeypatch.setattr(factors, "VISIBLE", 1e6)
    before = digest(folder / "factors.json")
    with pytest.raises(ValueError, match="0 factors of model are visible, not 4"):
        refit.refit(folder)
    assert digest(folder / "factors.json") == before
