from dataclasses import replace

import pytest
import torch
from torch import nn

from engine import checkpoint
from engine.method import Slot
from engine.methods.encdiff import Config, EncDiff
from tests.tiny import gradients, noise, seeded

TINY = Config(factors=3, token=5, encoder_width=8, decoder_width=8, unet_width=8, autoencoder_until=100,
              quick_steps=2, slow_steps=5, warm_up=1)


def fresh(channels=3, **options):
    """A small model whose net already says something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = EncDiff(replace(TINY, **options), channels)
        nn.init.normal_(model.unet.out[-1].weight, std=0.1)
    model.autoencoder.spread.fill_(0.1)
    with torch.no_grad():
        model.encoder.head.weight.mul_(20)  # so that images have scalars of their own
    return model


def images(rows=8, channels=3):
    return noise(rows, channels).float() / 255


def test_it_is_called_and_laid_out_as_scalars_beside_what_is_the_pictures_own():
    model = fresh()
    assert model.title == "EncDiff" and model.stages() == (100,)
    assert model.layout()[:3] == (Slot(0, 1), Slot(1, 2), Slot(2, 3))
    assert {slot.role for slot in model.layout()[3:]} == {"residual"}
    assert (Config().factors, Config().token, Config().schedule) == (20, 32, "cosine")


def test_it_has_one_loss_the_error_of_the_noise_given_the_tokens():
    model, x, generator = fresh(), images(), seeded()
    terms = model.loss(x, torch.tensor(100), seeded(), 1)
    latents, raw = model.autoencoder.encode(x), model.encoder(x)
    z = (raw - raw.mean(0)) / raw.var(0, correction=0).add(1e-6).sqrt()
    t = torch.randint(1000, (8,), generator=generator)
    eps = torch.randn(latents.shape, generator=generator)
    tokens = model.tokens(z[:, :, None])
    predicted, _ = model.unet(model.schedule.noised(latents, t, eps), t, tokens)
    torch.testing.assert_close(terms["loss"], ((predicted - eps) ** 2).mean())
    assert set(terms) == {"loss", "diffusion"}


@pytest.mark.parametrize(("stage", "learning"), [(0, {"autoencoder"}), (1, {"encoder", "tokens", "unet"})])
def test_encoder_and_diffusion_learn_together_after_the_autoencoder(stage, learning):
    model = fresh()
    result = model.loss(images(), torch.tensor(100), seeded(), stage)["loss"]
    for part in ("autoencoder", "encoder", "tokens", "unet"):
        given = gradients(result, getattr(model, part)).items()
        assert all((g is not None) == (part in learning) for _, g in given), part
        for name, gradient in given:
            # A common key changes no softmax, and a common scalar is taken away again.
            if gradient is not None and not name.endswith(("key_value.bias", "head.bias")):
                assert gradient.isfinite().all() and gradient.any(), (part, name)


def test_a_scalar_reaches_the_picture_through_its_own_token():
    model, x = fresh(), torch.randn(2, 4, 16, 16, generator=seeded())
    z = torch.randn(2, 3, 1, generator=seeded(1)).requires_grad_()
    tokens = model.tokens(z)
    for k in range(3):
        [gradient] = torch.autograd.grad(tokens[:, k].sum(), z, retain_graph=True)
        assert torch.equal((gradient[:, :, 0] != 0).any(0), torch.arange(3) == k)
    [gradient] = torch.autograd.grad(model.predict(x, torch.tensor([300, 600]), z).square().sum(), z)
    assert (gradient != 0).all()


def test_scalars_are_standardised():
    model = fresh()
    for _ in range(800):
        model.standard.follow(model.raw(images()).detach())
    z = model.represent(images())
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), atol=0.05, rtol=0)


def test_neutral_sliders_are_the_autoencoders_picture():
    model, x = fresh().eval(), images()
    with torch.no_grad():
        code, expected = model.encode(x), model.autoencoder.decode(model.autoencoder.encode(x))
        for picture in (model.decode(code), model.refine(code)):
            assert ((255 * picture).round() - (255 * expected).round()).abs().max() <= 1
        code[:, 0] += 1
        assert (model.decode(code) - expected).abs().max() > 1e-3


def test_both_samplers_solve_the_same_equation():
    model, start = fresh(), torch.randn(2, 4, 16, 16, generator=seeded())
    z = torch.randn(2, 3, 1, generator=seeded(1))
    with torch.no_grad():
        few = fresh(quick_steps=5)
        torch.testing.assert_close(few.quick(start, z), model.slow(start, z))
        assert not torch.allclose(model.quick(start, z), model.slow(start, z))
        assert model.slow(start, z).abs().max() <= 4


def test_a_run_learns_and_its_model_comes_back(trained):
    folder, log = trained(EncDiff, replace(TINY, autoencoder_until=20))
    assert log[19]["loss"] < 0.7 * log[0]["loss"] and "diffusion" in log[29]
    model, table, config = checkpoint.load(folder)
    assert type(model) is EncDiff and config["config"]["schedule"] == "cosine" and len(table) == 6
    x = images(2)
    code = model.encode(x)
    torch.testing.assert_close(model.decode(code), model.autoencoder.decode(model.autoencoder.encode(x)),
                               atol=2e-3, rtol=0)
