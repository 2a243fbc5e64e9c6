"""The benchmark of local isometry, from nothing to its page, on few pictures and few steps."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.isometry import __main__ as isometry
from benchmarks.isometry import figure, work
from benchmarks.isometry.report import report
from benchmarks.isometry.store import KEPT, Store
from engine import checkpoint, export, study
from engine.files import read_verified

NETS = "AE", "LI-AE", work.DISTILLED


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("isometry")
    return isometry.Options(
        manifolds=("disc-hue",), nets=NETS, seeds=(0,), steps=2, count=300, samples=1, device="cpu",
        out=folder / "out", results=folder / "isometry.json", figure=folder / "figure" / "figure.webp",
    )


@pytest.fixture(scope="module")
def done(options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MEASURED", 64)
        patch.setattr(work, "UNSEEN", 100)
        isometry.main(options)
    return options


def test_every_cell_is_measured(done):
    entries = json.loads(done.results.read_text())
    names = {"spectral", "spectral/gaussian/0", "spectral/warped/0", *NETS}
    arcs = {f"arcs/{d}" for d in work.CURVED}
    assert set(entries) == {"timing"} | arcs | {f"{m}/{name}" for m in done.manifolds for name in names}
    spectral = entries["disc-hue/spectral"]
    assert spectral["dimension"] == 2 and set(spectral["MCC"]) == {"PCA", "PCA + ICA", "HLLE", "HLLE + ICA"}
    assert spectral["MCC"]["HLLE + ICA"] > 0.98 > spectral["MCC"]["HLLE"]
    assert entries["disc-hue/spectral/warped/0"]["MCC"]["HLLE + ICA"] < 0.9
    [row] = entries["disc-hue/AE"]["seeds"]
    assert set(row) == {"MCC before ICA", "MCC", "MCC unseen", "isometry", "PSNR unseen"}


def test_arcs_are_found_and_a_neighbourhood_spans_more_of_them_the_more_dimensions_there_are(done):
    found = {d: json.loads(done.results.read_text())[f"arcs/{d}"] for d in work.CURVED}
    assert all(entry["MCC"] > 0.98 and entry["estimated dimension"] == d for d, entry in found.items() if d < 8)
    assert found[2]["span"] < found[4]["span"] < found[8]["span"] < 1
    assert found[8]["made with"]["points"] == 2 * found[4]["made with"]["points"] == 600


def test_the_page_tells_the_figures(done):
    page = done.results.with_suffix(".md").read_text()
    entries = json.loads(done.results.read_text())
    assert f"{entries['disc-hue/spectral']['MCC']['HLLE + ICA']:.3f}" in page
    assert all(net in page for net in NETS) and "scikit-learn's hessian" in page
    assert "mean MCC of the two-dimensional manifolds | .97" in page


def test_a_page_of_nothing_is_its_head():
    assert report({}).startswith("# Local isometry") and "|" not in report({}).replace("|z|", "")


def test_what_was_measured_is_not_measured_again(done, monkeypatch):
    before = done.results.read_text()
    monkeypatch.setattr(work.Spectral, "run", lambda *a: pytest.fail("measured again"))
    monkeypatch.setattr(work.Net, "run", lambda *a: pytest.fail("trained again"))
    isometry.main(done)
    assert done.results.read_text() == before


def test_other_settings_are_measured_anew(done):
    store, setting = Store(done.results, done.out), work.Setting((0,), 3, 300, torch.device("cpu"), Path())
    assert not store.has("disc-hue/AE", work.Net("disc-hue", "AE").made_with(setting))
    assert store.has("disc-hue/spectral", work.Spectral("disc-hue").made_with(setting))


def test_the_distilled_net_is_a_model_folder(done):
    model, table, config = checkpoint.load(done.out / "models" / "disc-hue")
    assert config["method"] == "local_isometry" and config["data"] == "manifold-disc-hue" and len(table) == 2
    assert "python -m benchmarks.isometry" in (done.out / "models" / "disc-hue" / "card.md").read_text()


def test_the_figure_shows_the_planes(done):
    store = Store(done.results, done.out)
    assert store.codes("disc-hue/AE")["AE"].shape == (300, 2)
    assert store.codes("disc-hue/spectral")["factors"].shape[0] <= KEPT
    read_verified(done.figure.parent, "figure.webp")
    with Image.open(done.figure) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50 and pixels[-1, -1].tolist() == [255, 255, 255]


def test_the_codes_of_the_nets_are_kept_for_the_page(done, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", done.figure.parent)
    kept, stored = study.nets("disc-hue"), Store(done.results, done.out)
    assert set(kept) == {"AE", "LI-AE"}
    for net, codes in kept.items():
        assert codes == pytest.approx(stored.codes(f"disc-hue/{net}")[net], rel=1e-3, abs=1e-4)


def test_the_committed_page_is_what_the_committed_numbers_say():
    entries = json.loads(isometry.RESULTS.read_text(encoding="utf-8"))
    assert report(entries) == isometry.RESULTS.with_suffix(".md").read_text(encoding="utf-8")


def test_several_runs_may_add_to_one_file(tmp_path):
    one, other = (Store(tmp_path / "isometry.json", tmp_path) for _ in range(2))
    one.add("blob/AE", {"seeds": [0]}, {"dimension": 2}, {})
    other.add("spots/AE", {"seeds": [0]}, {"dimension": 4}, {})
    assert Store(tmp_path / "isometry.json", tmp_path).entries.keys() == {"blob/AE", "spots/AE"}


@pytest.mark.parametrize("net", work.NETS)
def test_every_net_can_be_built(net):
    cls, options = work.NETS[net]
    assert cls(cls.Config(latents=2, **options), 1).code_size == 2


def test_eight_factors_have_twice_the_pictures():
    setting = work.Setting((0,), 1, 300, torch.device("cpu"), Path())
    assert (setting.pictures("drawn-faces-8d"), setting.pictures("blob")) == (600, 300)


def test_colours_tell_both_factors():
    corners = figure.colours(np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]))
    assert corners.tolist() == figure.CORNERS.reshape(4, 3).tolist()


def test_nothing_is_drawn_of_nothing(tmp_path):
    figure.write(tmp_path / "figure.webp", Store(tmp_path / "none.json", tmp_path), ["disc-hue"])
    assert not list(tmp_path.iterdir())


def test_an_unknown_manifold_ends_in_a_sentence(done):
    with pytest.raises(ValueError, match="no manifold called 'torus'"):
        work.Spectral("torus").run(work.Setting((0,), 1, 300, torch.device("cpu"), Path()))
