"""The rotation, and the measures that tell what it does."""

import math

import pytest
import torch

from benchmarks.rotation import Options, Scene, alignment, continued, query_accuracy, rotate, shares, train
from tests.tiny import noise, tiny_vae


def scene() -> Scene:
    images = noise(40)
    return Scene(lambda generator: images[:8].float() / 255, images, torch.zeros(40, 2, dtype=torch.int64))


@pytest.mark.parametrize("degrees", [30, 45, 180])
def test_a_turned_model_reconstructs_as_before(degrees):
    model, x = tiny_vae(), noise(16).float() / 255
    codes, pictures = model.encode(x), model.decode(model.encode(x))
    rotate(model, [2, 0], degrees)
    turned = model.encode(x)
    torch.testing.assert_close(model.decode(turned), pictures, atol=1e-4, rtol=0)
    assert (turned[:, [0, 2]] - codes[:, [0, 2]]).abs().max() > 0.1
    torch.testing.assert_close(turned[:, [1, 3]], codes[:, [1, 3]])
    torch.testing.assert_close(turned.norm(dim=1), codes.norm(dim=1))


def test_at_45_degrees_both_latents_are_equally_uncertain():
    model, x = tiny_vae(), noise(16).float() / 255
    before = model.posterior(x)[1]
    rotate(model, [0, 2], 45)
    after = model.posterior(x)[1]
    torch.testing.assert_close(after[:, [0, 2]], before[:, [0, 2]].mean(1, keepdim=True).expand(-1, 2))


def test_turned_by_nothing_every_weight_stays():
    model, same = tiny_vae(), tiny_vae()
    rotate(model, [0, 2], 0)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, same.state_dict()[name], atol=0, rtol=0)


def test_shares_of_codes_of_known_worth():
    classes = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    codes = classes.double() ** 2  # not only what is linear counts
    torch.testing.assert_close(shares(codes, classes), torch.eye(2, dtype=torch.float64))
    assert alignment(shares(codes, classes)) == pytest.approx(1)
    turn = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=torch.float64) / math.sqrt(2)
    held = shares(codes @ turn.T, classes)
    torch.testing.assert_close(held, torch.full((2, 2), 0.5, dtype=torch.float64))
    assert alignment(held) == pytest.approx(0, abs=1e-9)


def test_shares_of_codes_that_hold_nothing():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(3, (5000, 2), generator=generator)
    assert shares(torch.randn(5000, 4, generator=generator), classes).max() < 0.01


@pytest.mark.parametrize("view", ["pair", "change"])
def test_the_only_latent_is_always_told_right(view):
    model = continued(tiny_vae(), view, 1.0, Options())
    model.active[1] = 1
    assert query_accuracy(model, scene(), 0) == pytest.approx(1, abs=1e-5)


def test_the_continued_model_is_the_same_until_trained():
    base, x = tiny_vae(), noise(4).float() / 255
    model = continued(base, "pair", 1.0, Options())
    torch.testing.assert_close(model.decode(model.encode(x)), base.decode(base.encode(x)))


@pytest.mark.parametrize("stage", [0, 1])
def test_prototypes_are_asked_only_where_they_teach(stage):
    options = Options(steps=6)
    model = continued(tiny_vae(), "pair", 3.0, options)
    model.kl.fill_(10)  # active from the first step
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    accuracies = train(model, stage, scene(), options)
    moved = {name for name, weight in model.named_parameters() if (weight != before[name]).any()}
    assert {name.split(".")[0] for name in moved} == {"encoder", "decoder", *(["embedder"] * stage)}
    assert all(0 <= accuracy <= 1 if stage else math.isnan(accuracy) for accuracy in accuracies)
