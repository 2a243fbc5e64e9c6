"""Maps of latent spaces: what they keep, where they put newcomers, and what a damaged one says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness

from engine import checkpoint, latent_map
from engine.data import load
from engine.data.dataset import Dataset, KnownFactor
from engine.files import Damaged
from engine.latent_map import MAPS, MOST, apart, arranged, make, map_of, maps_of, parts, read, save, trust
from engine.method import Slot
from engine.serve import MODELS, Refusal
from tests.tiny import noise, tiny_vae


class Noise(Dataset):
    """Smooth random pictures."""

    name, channels, factors, origin = "noise", 3, (KnownFactor("none", low=0, high=1),), "Drawn here."

    def __len__(self) -> int:
        return 300

    def images(self, index: torch.Tensor) -> torch.Tensor:
        return noise(300)[index]

    def labels(self, index: torch.Tensor) -> torch.Tensor:
        return index[:, None] / 300


def test_groups_of_codes_are_groups_on_the_map(grouped, groups):
    _, group = groups
    assert grouped.flat.shape == (500, 2) and grouped.solid.shape == (500, 3)
    middles = np.stack([grouped.flat[group == k].mean(0) for k in range(4)])
    nearest = np.linalg.norm(grouped.flat[:, None] - middles, axis=2).argmin(1)
    assert (nearest == group).mean() > 0.97
    found = [np.bincount(group[grouped.cluster == k], minlength=4) for k in range(grouped.cluster.max() + 1)]
    assert len(found) == 4 and all(counts.max() > 0.95 * counts.sum() for counts in found)


def test_a_code_of_the_map_is_placed_beside_itself(grouped, groups):
    places, _ = grouped.place(groups[0])
    apart_now = np.linalg.norm(places - grouped.flat, axis=1)
    assert np.median(apart_now) < 0.1 * np.ptp(grouped.flat)


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

    monkeypatch.setattr(latent_map, "read", damaged)
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
    codes = latent_map.encoded(model, load(made.data), torch.from_numpy(made.index[:32]))
    assert made.standard(codes) == pytest.approx(made.codes[:32], abs=0.05)  # weights of half precision


def test_maps_are_of_the_parts_that_a_model_tells_apart():
    assert [made.part for made in maps_of("csdismo-glyphs")] == ["code", "content", "style"]
    assert [made.part for made in maps_of("vae-faces")] == ["code"] and maps_of("nobody") == []
    content, style = maps_of("csdismo-glyphs")[1:]
    assert not set(content.columns) & set(style.columns) and np.array_equal(content.index, style.index)


def test_all_maps_together_stay_small():
    assert sum(path.stat().st_size for path in MAPS.iterdir()) < 3.25 * 2**20


def test_of_many_numbers_the_principal_directions_are_kept_and_the_map_is_of_all(groups):
    codes, group = groups
    random = np.random.default_rng(0)
    wide = np.concatenate([codes, 0.1 * random.normal(size=(500, 20)).astype(np.float32)], 1)
    made = arranged(wide, 0, lambda share, what: None, model="m", data="d", part="code", index=np.arange(500),
                    centre=np.zeros(26, np.float32), scale=np.ones(26, np.float32), columns=np.arange(26))
    assert made.codes.shape == (500, MOST) and made.axes.T @ made.axes == pytest.approx(np.eye(MOST), abs=1e-5)
    assert made.standard(wide) == pytest.approx(made.codes, abs=1e-5)
    assert np.abs(made.restored(made.codes) - wide)[:, :6].max() < 0.5 < np.abs(wide[:, :6]).max()
    middles = np.stack([made.flat[group == k].mean(0) for k in range(4)])
    assert (np.linalg.norm(made.place(wide)[0][:, None] - middles, axis=2).argmin(1) == group).mean() > 0.97


def test_pictures_that_are_all_the_same_have_no_map():
    class Same(Noise):
        def images(self, index: torch.Tensor) -> torch.Tensor:
            return super().images(0 * index)

    with pytest.raises(Refusal, match="the same code"):
        make(tiny_vae(), "tiny", Same(), count=120)


def test_what_it_keeps_is_measured_as_defined(grouped, groups):
    codes, _ = groups
    figures = trust(codes, grouped.flat)
    assert figures["trustworthiness"] == pytest.approx(trustworthiness(codes, grouped.flat, n_neighbors=15), abs=1e-3)
    assert trust(codes, codes) == {"trustworthiness": 1.0, "kept": 1.0}
    assert trust(codes, np.random.default_rng(0).normal(size=(500, 2)))["kept"] < 0.1 < figures["kept"]


def test_maps_are_of_what_a_code_is_made_of():
    layout = (Slot(0, 1), Slot(1, 5), Slot(5, 7, "content"), Slot(7, 8, "style"), Slot(8, 20, "residual"))
    found = {name: list(numbers) for name, numbers in parts(layout).items()}
    assert found == {"code": list(range(8)), "content": [5, 6], "style": [7], "z1": [1, 2, 3, 4]}


def test_a_model_and_its_data_become_a_map_the_same_each_time():
    told = []
    first = make(tiny_vae(), "tiny", Noise(), count=120, progress=lambda share, what: told.append(share))
    again = make(tiny_vae(), "tiny", Noise(), count=120)
    assert np.array_equal(first.flat, again.flat) and np.array_equal(first.solid, again.solid)
    assert np.array_equal(first.codes, again.codes) and np.array_equal(first.cluster, again.cluster)
    assert told == sorted(told) and told[-1] == 1
    codes = latent_map.encoded(tiny_vae(), Noise(), torch.from_numpy(first.index))
    assert first.standard(codes) == pytest.approx(first.codes, abs=1e-5)
    assert len(set(first.index)) == 120 and first.data == "noise"


@pytest.mark.parametrize(("part", "count", "named"), [("style", 120, "no map of 'style'"), ("code", 10, "at least")])
def test_what_cannot_be_mapped_is_said(part, count, named):
    with pytest.raises(Refusal, match=named):
        make(tiny_vae(), "tiny", Noise(), part, count)


def test_what_sets_points_apart_is_measured_in_deviations():
    random = np.random.default_rng(0)
    values, chosen = random.normal(size=(4000, 3)), np.arange(4000) < 500
    values[chosen, 1] += 2
    values[:, 2] = 1
    effect = apart(values, chosen)
    assert abs(effect[0]) < 0.15 and 1.5 < effect[1] < 2.1 and effect[2] == 0
    assert (apart(values, np.zeros(4000, bool)) == 0).all()
