import json
from dataclasses import replace

import pytest
import torch

from engine import checkpoint, export, factors, metrics
from engine.data import Dataset, KnownFactor, split
from engine.methods.protovae import Config, ProtoVAE
from engine.methods.vae import VAE
from tests.tiny import tiny_vae

COMMAND = "python -m engine.train vae --data tiny --seeds 3 5"
OPTIONS = {"seeds": [3, 5], "steps": 12_000, "batch": 64}
LOG = [{"step": 12_000, "terms": [{"loss": 333.25, "kl": 3.5}, {"loss": 555.5, "kl": 5.25}]}]
TRAIN, HELD_OUT = split(300)


class Tiny(Dataset):
    """Images whose first pixels hold their factors: a class of four and a number in [0, 1].

    The rest is one grey level: held-out images have another than those to train on.
    """

    name = "tiny"
    channels = 3
    factors = (KnownFactor("kind", (0.0, 1.0, 2.0, 3.0)), KnownFactor("size"))
    origin = "Drawn by hand for a test, CC0."

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 300

    def images(self, index):
        self.asked.append(index)
        images = torch.full((len(index), 3, 64, 64), 64, dtype=torch.uint8)
        images[torch.isin(index, HELD_OUT)] = 192
        labels = self.labels(index)
        images[:, 0, 0, 0] = (80 * labels[:, 0]).byte()
        images[:, 0, 0, 1] = (255 * labels[:, 1]).round().byte()
        return images

    def labels(self, index):
        return torch.stack([index % 4, (index // 4 * 37 % 75) / 80], dim=1).float()


class Unknown(Tiny):
    factors = ()


class Seer(VAE):
    """Reads the first of the data's factors from the pixels, and nothing else."""

    def encode(self, x):
        return torch.nn.functional.pad(x[:, 0, 0, :1], (0, self.code_size - 1))


def seer():
    model = tiny_vae()
    model.__class__ = Seer  # saved and loaded as what it inherits from
    return model


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr(export, "MEASURED", 1500)


def write(folder, model, dataset, seed=5, log=LOG):
    assert export.export(folder, model, dataset, OPTIONS, COMMAND, seed, log) == folder
    return checkpoint.load(folder)


def test_what_is_measured_is_what_the_folder_holds(tmp_path):
    model = tiny_vae()
    model.stored = torch.int8
    before = {name: t.clone() for name, t in model.state_dict().items()}
    loaded, _, config = write(tmp_path / "seed5", model, Tiny())
    assert any(not torch.equal(t, before[name]) for name, t in loaded.state_dict().items())
    psnr = metrics.reconstruction(loaded, Tiny().images(HELD_OUT))
    assert config["figures"]["psnr_held_out_db"] == round(psnr, 4)


def test_a_folder_that_loads_as_the_model_that_was_exported(tmp_path):
    model = tiny_vae()
    loaded, table, config = write(tmp_path / "seed5", model, Tiny())
    x = Tiny().images(TRAIN[:5]).float() / 255
    assert torch.equal(loaded.encode(x), model.encode(x))
    assert torch.equal(loaded.decode(loaded.encode(x)), model.decode(model.encode(x)))
    assert config["method"] == "vae" and config["data"] == "tiny" and config["channels"] == 3
    assert [f.name for f in table] == ["z0", "z1", "z2", "z3"]
    assert {"psnr_held_out_db", "mig", "visible_factors"} <= config["figures"].keys()


def test_the_mean_and_the_ranges_are_of_the_images_to_train_on(tmp_path):
    dataset = Tiny()
    _, table, config = write(tmp_path, seer(), dataset)
    measured, held_out = dataset.asked
    assert len(measured) == 1500 and torch.isin(measured, TRAIN).all() and len(measured.unique()) > 250
    assert torch.equal(held_out.sort().values, HELD_OUT.sort().values)
    assert config["mean"] == pytest.approx([(measured % 4).float().mean().item() * 80 / 255, 0, 0, 0], abs=1e-5)
    assert (table[0].low, table[0].high) == pytest.approx((0, 240 / 255))
    assert [f.low == f.high == 0 for f in table] == [False, True, True, True]
    assert config["figures"]["visible_factors"] == 1 and factors.visible(table) == [table[0]]


def test_the_reconstruction_is_of_held_out_images(tmp_path):
    model = tiny_vae()
    _, _, config = write(tmp_path, model, Tiny())
    by = {name: metrics.reconstruction(model, Tiny().images(i)) for name, i in (("no", TRAIN), ("yes", HELD_OUT))}
    assert abs(by["no"] - by["yes"]) > 0.1
    assert config["figures"]["psnr_held_out_db"] == pytest.approx(by["yes"], abs=1e-3)


def test_mig_counts_discrete_and_continuous_factors(tmp_path):
    # The code is one of the two factors; were the other's values cut to whole numbers, it would not count.
    _, _, config = write(tmp_path, seer(), Tiny())
    assert config["figures"]["mig"] == pytest.approx(0.5, abs=0.03)


def test_nothing_known_is_nothing_measured(tmp_path):
    _, _, config = write(tmp_path, tiny_vae(), Unknown())
    assert "mig" not in config["figures"]
    assert "Known factors, used for measuring only: none." in (tmp_path / "card.md").read_text()


def test_the_card_says_what_where_and_how(tmp_path):
    model = tiny_vae()
    _, _, config = write(tmp_path, model, Tiny())
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("# vae on tiny, seed 5\n")
    assert f"\n    {COMMAND}\n" in card
    assert "12,000 steps of 64 images" in card and "`seed5`" in card and "on CPU" in card
    assert "Drawn by hand for a test, CC0." in card and "kind, size" in card
    assert model.paper.title in card and model.paper.link in card and "confused" not in card
    assert f"{sum(p.numel() for p in model.parameters()):,}" in card
    for name, value in config["figures"].items():
        assert f"| {name} | {value:g} |" in card


def test_the_card_tells_of_weak_labels(tmp_path, monkeypatch):
    write(tmp_path / "without", tiny_vae(), Tiny())
    monkeypatch.setattr(VAE, "asks", "kind")
    write(tmp_path / "with", tiny_vae(), Tiny())
    without, told = (" ".join((tmp_path / name / "card.md").read_text().split()) for name in ("without", "with"))
    assert "Trained without labels by" in without and "used for measuring only: kind, size" in without
    assert "Trained with weak labels, which pictures are alike in 'kind', by" in told
    assert "used for measuring only but for kind: kind, size" in told and "without labels" not in told
    monkeypatch.setattr(VAE, "supposes", "is whole")
    write(tmp_path / "more", tiny_vae(), Tiny())
    more = " ".join((tmp_path / "more" / "card.md").read_text().split())
    assert "Trained with weak labels, which pictures are alike in 'kind', and that each kind is whole, by" in more


def test_the_card_tells_of_pictures_that_were_made_to_be_told(tmp_path, monkeypatch):
    class Sat(Tiny):
        def alike(self, kind):
            return Unknown() if kind == "person" else self

    monkeypatch.setattr(VAE, "asks", "person")
    write(tmp_path, tiny_vae(), Sat())
    told = " ".join((tmp_path / "card.md").read_text().split())
    assert f"for a test, CC0. Trained on {Unknown.origin} Known factors, used for measuring only: kind, size." in told
    assert "None of the images it is measured on was trained on." in told and "2 % of" not in told


@pytest.mark.parametrize(("seed", "row", "other"), [(3, "333.2", "555.5"), (5, "555.5", "333.2")])
def test_the_card_has_the_last_row_of_its_own_seed(tmp_path, seed, row, other):
    write(tmp_path, tiny_vae(), Tiny(), seed)
    card = (tmp_path / "card.md").read_text()
    assert f"loss {row}" in card and other not in card


def test_a_run_without_a_log_has_a_card(tmp_path):
    write(tmp_path, tiny_vae(), Tiny(), log=[])
    assert json.loads((tmp_path / "config.json").read_text())["figures"]


def test_a_name_that_another_paper_has_too_is_told_apart(tmp_path):
    model = ProtoVAE(replace(Config(), latents=3, encoder_width=4, decoder_width=4), 3)
    model.train()
    loaded, _, _ = write(tmp_path, model, Tiny())
    assert not model.training and loaded.name == "protovae"
    assert "Not to be confused with the supervised ProtoVAE of Gautam et al." in (tmp_path / "card.md").read_text()


def test_a_model_with_one_latent_is_measured_too(tmp_path):
    _, table, config = write(tmp_path, tiny_vae(latents=1), Tiny())
    assert len(table) == 1 and 0 <= config["figures"]["mig"] <= 1
