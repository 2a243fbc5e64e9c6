"""The spectral coordinates as a net: what it learns from, what it keeps and what it warns of."""

import pytest
import torch

from engine import chart, checkpoint
from engine.data.manifolds import rendered
from engine.method import Slot
from engine.methods.local_isometry import Config, LocalIsometry
from engine.metrics import mcc
from tests.tiny import gradients, noise, seeded

TINY = {"encoder_width": 8, "decoder_width": 8}
SPOTS = rendered("blob", 600)
IMAGES = SPOTS.images(torch.arange(600))


def some(count):
    return IMAGES[:count]


def fresh(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LocalIsometry(Config(**TINY | options), 1)
    model.prepare(some)
    return model


@pytest.fixture(scope="module")
def learnt():
    """A model trained for some hundred steps."""
    model, generator = fresh(encoder_width=16), seeded()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for number in range(250):
        x = IMAGES[torch.randint(600, (16,), generator=generator)].float() / 255
        optimizer.zero_grad()
        model.loss(x, torch.tensor(number), generator)["loss"].backward()
        optimizer.step()
    model.finish(some)
    return model.eval()


def test_every_factor_is_a_slot():
    assert fresh(latents=2).layout() == (Slot(0, 1), Slot(1, 2))


def test_it_learns_from_the_charted_landmarks():
    model, found = fresh(), chart.fit(IMAGES, 2)
    assert torch.equal(model.images, IMAGES[torch.from_numpy(found.index)])
    torch.testing.assert_close(model.coordinates, torch.from_numpy(found.codes).float())
    torch.testing.assert_close(model.found, torch.from_numpy(found.flat.spectrum))


def test_no_more_landmarks_than_asked_for_and_neighbours_as_given():
    model = fresh(landmarks=400, neighbours=20)
    assert len(model.images) <= 400
    torch.testing.assert_close(model.coordinates, torch.from_numpy(chart.fit(some(400), 2, 20).codes).float())


def test_the_loss_is_the_documented_sum():
    model, x = fresh(shake=0.0), IMAGES[:8].float() / 255
    terms = model.loss(x, torch.tensor(0), seeded())
    pick = torch.randint(len(model.images), (8,), generator=seeded())  # the first that is drawn
    known = model.images[pick].float() / 255
    code = model.encode(known)
    torch.testing.assert_close(terms["coordinates"], ((code - model.coordinates[pick]) ** 2).mean())
    shown = model.decode(torch.cat([model.coordinates[pick], model.encode(x)]))
    target = torch.cat([known, x])
    nll = torch.nn.functional.binary_cross_entropy(shown, target, reduction="sum") / 16
    torch.testing.assert_close(terms["reconstruction"], nll)
    torch.testing.assert_close(terms["loss"], terms["coordinates"] + nll)


def test_pictures_do_not_teach_the_encoder_its_axes():
    model = fresh()
    terms = model.loss(IMAGES[:8].float() / 255, torch.tensor(0), seeded())
    by_coordinates, by_pictures = (gradients(terms[name], model) for name in ("coordinates", "reconstruction"))
    for name in by_coordinates:
        taught, other = (by_coordinates, by_pictures) if name.startswith("encoder") else (by_pictures, by_coordinates)
        assert taught[name].abs().sum() > 0 and other[name] is None, name


def test_unseen_pictures_get_the_factors_they_were_made_from(learnt):
    unseen = rendered("blob", 200, seed=1)
    x = unseen.images(torch.arange(200)).float() / 255
    with torch.no_grad():
        code = learnt.encode(x)
        rebuilt = learnt.decode(code)
    assert mcc(code.numpy(), unseen.values.numpy()) > 0.98
    assert ((rebuilt - x) ** 2).mean() < 0.2 * x.var(0).mean()


def test_pictures_off_the_manifold_are_strange(learnt):
    with torch.no_grad():
        on = learnt.strangeness(rendered("blob", 200, seed=1).images(torch.arange(200)).float() / 255)
        off = learnt.strangeness(noise(20, 1).float() / 255)
        known = learnt.strangeness(IMAGES.float() / 255)
    assert (known > 1).float().mean() == pytest.approx(0.01, abs=0.004)
    assert on.median() < 1 and off.min() > 2


def test_training_makes_a_model_folder_that_says_the_same(trained, monkeypatch):
    monkeypatch.setattr("engine.train.load", lambda name: SPOTS)
    folder, terms = trained(LocalIsometry, Config(**TINY, landmarks=300), starts=2, start_steps=2)
    assert terms[-1]["loss"] < terms[0]["loss"]
    model, table, config = checkpoint.load(folder)
    assert config["method"] == "local_isometry" and config["data"] == "manifold-blob" and len(table) == 2
    assert model.spectrum[3] > 10 * model.spectrum[2] > 0 and model.usual != 1
    assert not {"images", "coordinates"} & set(model.state_dict())
