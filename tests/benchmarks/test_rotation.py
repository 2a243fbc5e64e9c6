"""The rotation, and the measures that tell what it does."""

import math

import pytest
import torch

from benchmarks.rotation import (
    TEACHERS,
    VIEWS,
    Options,
    Run,
    Scene,
    alignment,
    continued,
    query_accuracy,
    rotate,
    shares,
    train,
)
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


@pytest.mark.parametrize("view", VIEWS)
def test_the_only_latent_is_always_told_right(view):
    model = continued(tiny_vae(), Run("turned", view, 1), Options())
    model.active[1] = 1
    assert query_accuracy(model, scene(), 0).tolist() == pytest.approx([0, 1, 0, 0], abs=1e-5)


def test_the_continued_model_is_the_same_until_trained():
    base, x = tiny_vae(), noise(4).float() / 255
    model = continued(base, Run("turned", "pair", 1), Options())
    torch.testing.assert_close(model.decode(model.encode(x)), base.decode(base.encode(x)))


@pytest.mark.parametrize("teacher", TEACHERS)
def test_only_prototypes_train_an_embedder(teacher):
    run, options = Run("turned", teacher, 3), Options(steps=6)
    model = continued(tiny_vae(), run, options)
    model.kl.fill_(10)  # active from the first step
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    accuracies = train(model, tiny_vae(), [0, 2], run, scene(), options)
    moved = {name.split(".")[0] for name, weight in model.named_parameters() if (weight != before[name]).any()}
    assert moved == {"encoder", "decoder"} | ({"embedder"} if run.asks else set())
    assert len(accuracies) == (2 if run.asks else 0)
    assert all(((0 <= accuracy) & (accuracy <= 1.0001)).all() for accuracy in accuracies)


def test_pulled_to_their_old_codes_two_latents_turn_back():
    base, run = tiny_vae(), Run("turned", "codes", 1e6)
    options, x = Options(steps=30, lr=1e-3), noise(8).float() / 255
    start = continued(base, run, options)
    rotate(start, [0, 2], 45)
    model = continued(start, run, options)
    train(model, base, [0, 2], run, scene(), options)
    before, after = ((m.encode(x) - base.encode(x))[:, [0, 2]].norm() for m in (start, model))
    assert after < before / 2
