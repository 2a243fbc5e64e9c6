"""Scoring a model folder: what is measured, on which samples, and what is written."""

import json

import numpy as np
import pytest
import torch

from engine import checkpoint, evaluate, factors, metrics
from engine.data.dataset import Dataset, Grid, KnownFactor
from engine.files import Damaged, read_verified
from engine.method import Method, Slot
from tests.tiny import save_tiny

VALUES = tuple(range(6))
COUNT = 3000


class Levels(Grid):
    """Three factors, each the brightness of a third of the picture; one of a single value."""

    name, channels, origin = "levels", 1, "Made by a test."
    factors = (
        KnownFactor("top", VALUES), KnownFactor("one", (0,)), KnownFactor("middle", VALUES), KnownFactor("low", VALUES),
    )

    def images(self, index):
        thirds = self.classes(index)[:, [0, 2, 3]].float() * 50
        rows = torch.arange(64) * 3 // 64
        return thirds[:, rows][:, None, :, None].expand(-1, 1, 64, 64).to(torch.uint8)


class Smooth(Dataset):
    """The same thirds, with continuous brightness in [-1, 1]."""

    name, channels, origin = "smooth", 1, "Made by a test."
    factors = tuple(KnownFactor(name, low=-1.0) for name in ("top", "middle", "low"))

    def __len__(self):
        return COUNT

    def labels(self, index):
        table = torch.rand(COUNT, 3, generator=torch.Generator().manual_seed(5)) * 2 - 1
        return table[index]

    def images(self, index):
        rows = torch.arange(64) * 3 // 64
        thirds = (self.labels(index) + 1) * 127
        return thirds[:, rows][:, None, :, None].expand(-1, 1, 64, 64).to(torch.uint8)


class Reader(Method):
    """Reads the thirds' brightness, one latent each."""

    name, channels, code_size = "reader", 1, 3

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def layout(self):
        return tuple(Slot(j, j + 1) for j in range(3))

    def encode(self, x):
        return x[:, 0, [5, 32, 60], 0] * 4

    def decode(self, code):
        rows = torch.arange(64) * 3 // 64
        return (code / 4)[:, rows][:, None, :, None].expand(-1, 1, 64, 64)

    def loss(self, x, step, generator, stage=0):
        raise NotImplementedError


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Fewer samples and votes than the protocol has."""
    monkeypatch.setattr(evaluate, "TRAIN", 1200)
    monkeypatch.setattr(evaluate, "TEST", 600)
    for name in ("factor_vae", "beta_vae"):
        whole = getattr(metrics, name)
        monkeypatch.setattr(metrics, name, lambda r, s, whole=whole: whole(r, s, 300, 200))


def test_a_perfect_model_of_a_grid_gets_every_score():
    scores = evaluate.score(Reader(), Levels(), torch.device("cpu"))
    assert scores["psnr held out"] > 40
    for name in ("FactorVAE", "beta-VAE", "MIG", "DCI disentanglement", "DCI completeness", "DCI informativeness",
                 "modularity", "IRS", "MCC", "Info modularity", "Info compactness", "Info explicitness"):
        assert scores[name] > 0.9, name
    assert scores["SAP"] > 0.2
    assert scores == json.loads(json.dumps(scores))


def test_continuous_factors_are_cut_and_nothing_is_held_fixed():
    scores = evaluate.score(Reader(), Smooth(), torch.device("cpu"))
    assert "FactorVAE" not in scores and "beta-VAE" not in scores
    assert scores["MIG"] > 0.8 and scores["DCI disentanglement"] > 0.9
    assert scores["MCC"] > 0.999  # against the values themselves, not their classes


def test_a_sample_has_all_scores_that_need_no_grid_and_the_same():
    whole, sampled = (evaluate.score(Reader(), Levels(), torch.device("cpu"), grid) for grid in (True, False))
    assert whole.keys() - sampled.keys() == {"FactorVAE", "beta-VAE"}
    assert sampled == {name: whole[name] for name in sampled}


def test_classes_cover_the_range_of_a_factor():
    class Ends(Smooth):
        factors = (KnownFactor("a", low=-1.0), KnownFactor("b", VALUES), KnownFactor("c", low=2.0, high=4.0))

    labels = torch.tensor([[-1.0, 5, 2.0], [-0.81, 0, 2.1], [-0.79, 3, 2.3], [1.0, 1, 4.0]])
    assert evaluate.in_classes(Ends(), labels).tolist() == [[0, 5, 0], [0, 0, 0], [1, 3, 1], [9, 1, 9]]


def test_codes_come_in_the_order_asked_for():
    index = torch.tensor([5, 3, 215, 0, 7]).repeat(60)  # several batches
    codes = evaluate.encode(Reader(), Levels(), index, torch.device("cpu"))
    one_by_one = [evaluate.encode(Reader(), Levels(), part[None], torch.device("cpu"))[0] for part in index[:5]] * 60
    assert np.array_equal(codes, np.stack(one_by_one))


def test_a_vector_factor_counts_as_its_principal_component_and_a_copied_picture_not_at_all():
    class Vectors(Reader):
        code_size = 9

        def layout(self):
            return Slot(0, 2), Slot(2, 4), Slot(4, 6), Slot(6, 9, "residual")

        def represent(self, x):
            return torch.stack([super().encode(x), torch.zeros(len(x), 3)], 2).flatten(1)

        def encode(self, x):
            return torch.cat([self.represent(x), super().encode(x)], 1)

        def decode(self, code):
            return super().decode(code[:, :6:2])

    index = torch.arange(200)
    seen = evaluate.encode(Vectors(), Levels(), index, torch.device("cpu"))
    np.testing.assert_allclose(seen, evaluate.encode(Reader(), Levels(), index, torch.device("cpu")), atol=1e-6)
    both = [evaluate.score(model, Levels(), torch.device("cpu")) for model in (Vectors(), Reader())]
    assert both[0] == pytest.approx(both[1], abs=1e-3)


def test_scores_are_written_beside_the_model_and_covered_by_its_manifest(tmp_path, monkeypatch):
    folder = save_tiny(tmp_path / "tiny", channels=1, data="levels")
    monkeypatch.setattr(evaluate, "load", lambda name: {"levels": Levels()}[name])
    scores = evaluate.evaluate(folder)
    assert json.loads(read_verified(folder, evaluate.METRICS)) == scores
    assert len(factors.visible(checkpoint.load(folder)[1])) == 4  # the model is still whole
    assert evaluate.evaluate(folder) == scores


def test_what_cannot_be_scored_is_said(tmp_path, monkeypatch):
    class Unknown(Levels):
        factors = ()

    folder = save_tiny(tmp_path / "tiny", channels=1, data="photos")
    monkeypatch.setattr(evaluate, "load", lambda name: Unknown())
    with pytest.raises(ValueError, match="factors of 'photos' are not known"):
        evaluate.evaluate(folder)
    assert not (folder / evaluate.METRICS).exists()
    with pytest.raises(Damaged, match=r"config\.json|MANIFEST\.json"):
        evaluate.evaluate(tmp_path)
