"""Maps as files: that they come back, that the shipped ones are of the shipped models, and what a damaged one says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine import checkpoint, map_store
from engine.data import load
from engine.files import Damaged
from engine.latent_map import encoded
from engine.map_store import MAPS, map_of, maps_of, read, save
from engine.serve import MODELS, Refusal


def test_a_map_comes_back_from_its_file(grouped, tmp_path):
    path = save(tmp_path, grouped, "a command")
    again = read("m", tmp_path)
    assert path.name == "m.safetensors" and again.figures == grouped.figures
    assert (again.command, again.seed) == ("a command", grouped.seed)
    for name in ("index", "cluster", "columns", "axes"):
        assert np.array_equal(getattr(again, name), getattr(grouped, name))
    assert again.codes == pytest.approx(grouped.codes, abs=float(np.ptp(grouped.codes)) / 500)  # half a step of 8 bits
    assert again.flat == pytest.approx(grouped.flat, abs=1e-3) and again.solid == pytest.approx(grouped.solid, abs=1e-3)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged, match="sha256"):
        read("m", tmp_path)
    with pytest.raises(Refusal, match="no map"):
        read("other", tmp_path)


def test_a_damaged_map_is_refused_in_a_sentence(monkeypatch):
    def damaged(name):
        raise Damaged("The map is damaged.")

    monkeypatch.setattr(map_store, "read", damaged)
    with pytest.raises(Refusal, match="is damaged"):
        map_of("damaged")


def test_codes_that_lie_column_by_column_come_back_in_their_places(grouped, tmp_path):
    """Columns chosen from an array do, and safetensors writes bytes as they lie."""
    codes = np.asfortranarray(grouped.codes)
    save(tmp_path, replace(grouped, codes=codes), "a command")
    assert read("m", tmp_path).codes == pytest.approx(codes, abs=float(np.ptp(codes)) / 500)


@pytest.mark.parametrize("name", [path.stem for path in sorted(MAPS.glob("*.safetensors"))])
def test_a_shipped_map_is_of_the_shipped_model(name):
    made = read(name)
    model, _, config = checkpoint.load(MODELS / made.model)
    assert config["data"] == made.data and (MAPS / f"{name}.safetensors").stat().st_size < 300_000
    count = min(10_000, len(load(made.data)))
    assert len(made.index) == count and f"--part {made.part} --count {count}" in made.command
    codes = encoded(model, load(made.data), torch.from_numpy(made.index[:32]))
    spread = made.codes.std(0)  # a step of the packed codes is a thirtieth of it, and weights are of half precision
    assert made.standard(codes) / spread == pytest.approx(made.codes[:32] / spread, abs=0.05)


def test_maps_are_of_the_parts_that_a_model_tells_apart():
    assert [made.part for made in maps_of("csdismo-glyphs")] == ["code", "content", "style"]
    assert [made.part for made in maps_of("vae-faces")] == ["code"] and maps_of("nobody") == []
    content, style = maps_of("csdismo-glyphs")[1:]
    assert not set(content.columns) & set(style.columns) and np.array_equal(content.index, style.index)


def test_all_maps_together_stay_small():
    assert sum(path.stat().st_size for path in MAPS.iterdir()) < 4 * 2**20
