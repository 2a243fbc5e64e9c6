"""Maps of latent spaces: what they keep, where they put newcomers, and what a damaged one says."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness

from engine import checkpoint, latent_map
from engine.data import load
from engine.data.dataset import Dataset, KnownFactor
from engine.files import Damaged
from engine.latent_map import MAPS, apart, arranged, make, map_of, membership, parts, read, save, trust
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


@pytest.fixture(scope="module")
def groups() -> tuple[np.ndarray, np.ndarray]:
    """Five hundred codes in four groups of six dimensions, and which group each is in."""
    random = np.random.default_rng(0)
    group = random.integers(0, 4, 500)
    codes = 6 * np.eye(6)[group] + random.normal(size=(500, 6))
    return codes.astype(np.float32), group


@pytest.fixture(scope="module")
def grouped(groups):
    codes, _ = groups
    return arranged(codes, 0, lambda share, what: None, model="m", data="d", part="code", index=np.arange(500),
                    centre=np.zeros(6, np.float32), scale=np.ones(6, np.float32), columns=np.arange(6))


def test_groups_of_codes_are_groups_on_the_map(grouped, groups):
    _, group = groups
    assert grouped.flat.shape == (500, 2) and grouped.solid.shape == (500, 3)
    middles = np.stack([grouped.flat[group == k].mean(0) for k in range(4)])
    nearest = np.linalg.norm(grouped.flat[:, None] - middles, axis=2).argmin(1)
    assert (nearest == group).mean() > 0.97
    found = [np.bincount(group[grouped.cluster == k], minlength=4) for k in range(grouped.cluster.max() + 1)]
    assert len(found) == 4 and all(counts.max() > 0.95 * counts.sum() for counts in found)


def test_a_newcomer_goes_to_its_group_and_a_stranger_is_told(grouped, groups):
    random = np.random.default_rng(1)
    group = random.integers(0, 4, 100)
    places, strange = grouped.place(6 * np.eye(6)[group] + random.normal(size=(100, 6)))
    middles = np.stack([grouped.flat[groups[1] == k].mean(0) for k in range(4)])
    assert (np.linalg.norm(places[:, None] - middles, axis=2).argmin(1) == group).mean() > 0.97
    assert (strange < 1.3).mean() > 0.9 and grouped.place(np.full((1, 6), 40.0))[1][0] > 3
    solid, again = grouped.place(6 * np.eye(6)[group], 3)
    middles = np.stack([grouped.solid[groups[1] == k].mean(0) for k in range(4)])
    assert solid.shape == (100, 3) and len(again) == 100
    assert (np.linalg.norm(solid[:, None] - middles, axis=2).argmin(1) == group).mean() > 0.97


def test_a_code_of_the_map_is_placed_beside_itself(grouped, groups):
    places, _ = grouped.place(groups[0])
    apart_now = np.linalg.norm(places - grouped.flat, axis=1)
    assert np.median(apart_now) < 0.1 * np.ptp(grouped.flat)


def test_between_points_there_is_a_blend_and_far_from_them_a_warning(grouped):
    near, weight, empty = grouped.nearest(grouped.flat[:3])
    assert (near[:, 0] == np.arange(3)).all() and weight.sum(1) == pytest.approx(1) and (weight[:, 0] > 0.9).all()
    assert (empty < 1).all() and grouped.nearest(grouped.flat[:1] + 50)[2][0] > 10


def test_a_map_comes_back_from_its_file(grouped, tmp_path):
    path = save(tmp_path, grouped, "a command")
    again = read("m", tmp_path)
    assert path.name == "m.safetensors" and again.figures == grouped.figures
    assert (again.command, again.seed) == ("a command", grouped.seed)
    for name in ("index", "flat", "cluster", "columns"):
        assert np.array_equal(getattr(again, name), getattr(grouped, name))
    assert again.codes == pytest.approx(grouped.codes, abs=1e-2)
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
    assert read("m", tmp_path).codes == pytest.approx(codes, abs=1e-2)


@pytest.mark.parametrize("name", [path.stem for path in sorted(MAPS.glob("*.safetensors"))])
def test_a_shipped_map_is_of_the_shipped_model(name):
    made = read(name)
    model, _, config = checkpoint.load(MODELS / made.model)
    assert config["data"] == made.data and (MAPS / f"{name}.safetensors").stat().st_size < 700_000
    codes = latent_map.encoded(model, load(made.data), torch.from_numpy(made.index[:32]))
    assert made.standard(codes) == pytest.approx(made.codes[:32], abs=0.05)  # weights of half precision


def test_what_it_keeps_is_measured_as_defined(grouped, groups):
    codes, _ = groups
    figures = trust(codes, grouped.flat)
    assert figures["trustworthiness"] == pytest.approx(trustworthiness(codes, grouped.flat, n_neighbors=15), abs=1e-3)
    assert trust(codes, codes) == {"trustworthiness": 1.0, "kept": 1.0}
    assert trust(codes, np.random.default_rng(0).normal(size=(500, 2)))["kept"] < 0.1 < figures["kept"]


def test_weights_of_neighbours_are_those_of_umap():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap.umap_ import smooth_knn_dist

    distance = np.sort(np.random.default_rng(0).random((50, 15)), axis=1).astype(np.float32)
    sigma, _ = smooth_knn_dist(distance, 15.0, local_connectivity=0.0)
    assert membership(distance) == pytest.approx(np.exp(-distance / sigma[:, None]), abs=1e-3)


def test_a_place_is_where_most_neighbours_are_and_not_between_them():
    random = np.random.default_rng(0)
    heap = np.concatenate([random.normal(size=(9, 2)), random.normal(size=(6, 2)) + 50])[None]
    even, other = np.ones((1, 15)), np.where(np.arange(15) < 9, 0.1, 1.0)[None]
    assert np.linalg.norm(latent_map.densest(heap, even, 2)[0]) < 1.5
    assert np.linalg.norm(latent_map.densest(heap, other, 2)[0] - 50) < 1.5
    assert latent_map.densest(heap, even, 1e6)[0] == pytest.approx(heap.mean((0, 1)), rel=1e-3)  # wide: their mean


def test_maps_are_of_what_a_code_is_made_of():
    layout = (Slot(0, 1), Slot(1, 5), Slot(5, 7, "content"), Slot(7, 8, "style"), Slot(8, 20, "residual"))
    found = {name: list(numbers) for name, numbers in parts(layout).items()}
    assert found == {"code": list(range(8)), "content": [5, 6], "style": [7], "z1": [1, 2, 3, 4]}


def test_a_model_and_its_data_become_a_map_the_same_each_time():
    told = []
    first = make(tiny_vae(), "tiny", Noise(), count=120, progress=lambda share, what: told.append(share))
    again = make(tiny_vae(), "tiny", Noise(), count=120)
    assert np.array_equal(first.flat, again.flat) and told == sorted(told) and told[-1] == 1
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
