import json

import pytest

from engine import factors, names
from engine.files import Damaged, write_manifest
from engine.names import LONGEST, Evidence, Name
from engine.serve import MODELS, Engine
from tests.tiny import save_tiny

RIGHT = Evidence("moves the object right", "28 px", "r", 0.974, 0.91)
HUE = Evidence("wall hue", "", "R²", 0.9312, 0.9312)
NAME = Name("wall hue", "labels", "moves the object right", (RIGHT,), (HUE,), ((0.25, 0.25), (0.5, 0.0)))


@pytest.fixture
def folder(tmp_path):
    """A model folder whose first factor has a name."""
    folder = save_tiny(tmp_path / "model")
    names.save(folder, {"z0": NAME}, 1000, 32)
    return folder


def test_names_come_back_as_they_were_saved(folder):
    assert names.load(folder) == {"z0": NAME}


def test_the_best_evidence_is_that_of_the_name():
    assert NAME.strongest == "R² .93"
    assert Name("moves the object right", "pictures", "", (RIGHT,), (HUE,), ()).strongest == "r .97"
    assert Name("nothing visible", "nothing", "", (), (HUE,), ()).strongest == ""
    assert Evidence("", "", "r", -0.5, 0).measured == "r −.50" and Evidence("", "", "r", 1.0, 0).measured == "r 1.00"


def test_a_folder_without_the_file_has_no_names(tmp_path):
    assert names.load(save_tiny(tmp_path / "model")) == {}


def test_names_of_another_table_of_factors_are_not_believed(folder):
    path = folder / "factors.json"
    path.write_text(path.read_text().replace('"z1"', '"y1"'))
    write_manifest(folder)
    assert names.load(folder) == {}


def test_a_changed_byte_is_refused(folder):
    path = folder / names.FILE
    path.write_bytes(path.read_bytes().replace(b"wall", b"ball", 1))
    with pytest.raises(Damaged, match="differs"):
        names.load(folder)


@pytest.mark.parametrize(("key", "value"), [
    ("name", "a" * (LONGEST + 1)), ("name", ""), ("name", 3), ("source", "a guess"), ("seen", None), ("labels", None),
    ("where", [["much"]]), ("pictures", [{"what": "x"}]), ("pictures", [{**vars(RIGHT), "share": float("nan")}]),
    ("pictures", [{**vars(RIGHT), "amount": 28}]), ("more", 1),
])
def test_what_is_no_record_of_names_is_refused(folder, key, value):
    record = json.loads((folder / names.FILE).read_text())
    record["names"]["z0"][key] = value
    (folder / names.FILE).write_text(json.dumps(record))
    write_manifest(folder)
    with pytest.raises(Damaged, match="not a record of names"):
        names.load(folder)


def test_a_served_model_has_its_names(folder):
    engine = Engine(folder.parent)
    assert engine.model("model").names == {"z0": NAME}
    engine.close()


@pytest.mark.parametrize("folder", sorted(p for p in MODELS.iterdir() if p.is_dir()), ids=lambda p: p.name)
def test_shipped_names_are_those_of_the_visible_factors(folder):
    size = len(json.loads((folder / "config.json").read_text())["mean"])
    shown = factors.visible(factors.loads((folder / "factors.json").read_text(), size))
    found = names.load(folder)
    assert list(found) == [factor.name for factor in shown]
    for name in found.values():
        assert name.source in ("labels", "pictures") and abs(sum(map(sum, name.where)) - 1) < 0.01
        assert sum(e.share for e in name.pictures) <= 1
