"""Maps of latent spaces: what they keep, and what cannot be mapped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness

from engine import latent_map, map_store
from engine.data.dataset import Dataset, KnownFactor
from engine.latent_map import MOST, arranged, make, parts, trust
from engine.method import Slot
from engine.serve import Refusal
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


def test_pictures_are_read_once_for_the_maps_of_several_parts(monkeypatch, tmp_path):
    model, read = tiny_vae(), []
    layout = Slot(0, 2, "content"), Slot(2, 4, "style")
    monkeypatch.setattr(type(model), "layout", lambda self: layout)
    class Counted(Noise):
        def images(self, index: torch.Tensor) -> torch.Tensor:
            read.append(len(index))
            return super().images(index)

    monkeypatch.setattr(latent_map, "load", lambda name: Counted())
    monkeypatch.setattr(latent_map.checkpoint, "load", lambda folder: (model, [], {"data": "noise"}))
    latent_map.chart(Path("tiny"), None, 120, tmp_path)
    assert sum(read) == 120
    alone = {part: make(model, "tiny", Noise(), part, 120) for part in ("code", "content", "style")}
    for part, made in alone.items():
        kept = map_store.read("tiny" if part == "code" else f"tiny-{part}", tmp_path)
        assert kept.flat == pytest.approx(made.flat, abs=1e-3) and np.array_equal(kept.columns, made.columns)
        assert f"--part {part} --count 120" in kept.command


@pytest.mark.parametrize(("part", "count", "named"), [("style", 120, "no map of 'style'"), ("code", 10, "at least")])
def test_what_cannot_be_mapped_is_said(part, count, named):
    with pytest.raises(Refusal, match=named):
        make(tiny_vae(), "tiny", Noise(), part, count)
