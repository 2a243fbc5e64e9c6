"""The isometry terms on maps whose isometry is known, and what the autoencoders make of them."""

import pytest
import torch

from engine import checkpoint
from engine.data.manifolds import rendered
from engine.method import Slot
from engine.methods.isometric import Config, Isometric, decoder_distortion, divergence, neighbour_distortion
from tests.tiny import gradients, seeded

TINY = {"encoder_width": 8, "decoder_width": 8}
SPOTS = rendered("blob", 300)
IMAGES = SPOTS.images(torch.arange(300))
FORMS = ({}, {"isometry": "decoder"}, {"isometry": "none"}, {"isometry": "none", "linear_layers": 3})


def some(count):
    return IMAGES[:count]


def fresh(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Isometric(Config(**TINY | options), 1)
    model.prepare(some)
    return model


def loss(model, x=None):
    return model.loss(IMAGES[:8].float() / 255 if x is None else x, torch.tensor(0), seeded())


# ------------------------------------------------------------------------------------------------
# The terms

def test_neighbours_as_far_apart_as_their_codes_are_no_distortion():
    generator = seeded()
    apart = torch.randn(50, 3, generator=generator)
    length = apart.norm(dim=1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    assert neighbour_distortion(5 * apart @ turn, length, torch.tensor(-1.0)) > 0.1
    assert neighbour_distortion(5 * apart @ turn, length, -torch.tensor(5.0).log()) < 1e-9
    scale = torch.zeros((), requires_grad=True)
    stretched = apart * torch.tensor([1.0, 1.0, 3.0])
    values = [neighbour_distortion(stretched, length, a) for a in torch.linspace(-3, 1, 41)]
    assert min(values) > 0.05  # no scale makes up for unequal units
    neighbour_distortion(0 * apart, length, scale).backward()
    assert scale.grad.isfinite()


def test_codes_that_coincide_have_a_finite_gradient():
    codes = torch.zeros(4, 2, requires_grad=True)
    neighbour_distortion(codes, torch.ones(4), torch.zeros(())).backward()
    assert codes.grad.isfinite().all()


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_an_isometric_decoder_has_no_distortion_whatever_its_scale(dimensions):
    basis = torch.linalg.qr(torch.randn(12, dimensions, generator=seeded()))[0].T
    z = torch.randn(20, dimensions, generator=seeded(1))
    for scale in (0.1, 1.0, 9.0):
        assert decoder_distortion(lambda z, s=scale: s * z @ basis, z, seeded()).abs() < 1e-4


def test_a_linear_decoder_has_the_distortion_of_its_singular_values():
    lengths = torch.tensor([1.0, 3.0])
    basis = torch.linalg.qr(torch.randn(12, 2, generator=seeded()))[0].T
    z = torch.randn(20_000, 2, generator=seeded(1))
    found = decoder_distortion(lambda z: z * lengths @ basis, z, seeded())
    squares = lengths**2
    assert found.item() == pytest.approx((2 * (squares**2).sum() / squares.sum() ** 2 - 1).item(), abs=0.02)


def test_a_circle_is_isometric_and_a_parabola_is_not():
    z = torch.linspace(-1, 1, 50)[:, None]
    assert decoder_distortion(lambda z: torch.cat([z.cos(), z.sin()], 1), z, seeded()).abs() < 1e-5
    assert decoder_distortion(lambda z: torch.cat([z, 2 * z**2], 1), z, seeded()) > 0.2


def test_the_divergence_of_pixels_is_zero_for_the_picture_itself():
    x = torch.rand(4, 1, 8, 8, generator=seeded())
    assert divergence(x.logit(), x) == pytest.approx(0, abs=1e-3)
    assert divergence(100 * (x.round() - 0.5), x.round()) < 1e-3
    assert divergence(torch.zeros_like(x), x) > 1


# ------------------------------------------------------------------------------------------------
# The model

@pytest.mark.parametrize("options", FORMS, ids=str)
def test_every_trained_parameter_gets_a_gradient(options):
    model = fresh(**options)
    for name, gradient in gradients(loss(model)["loss"], model).items():
        assert gradient is not None and gradient.isfinite().all() and gradient.abs().sum() > 0, name


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_the_loss_is_the_documented_sum(options):
    model = fresh(**options, weight=3.0)
    x = IMAGES[:8].float() / 255
    terms = loss(model, x)
    variance = (IMAGES.float() / 255).var(0, correction=0).sum()
    torch.testing.assert_close(terms["reconstruction"], divergence(model.decoder(model.mixed(x)), x) / variance)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 3 * terms.get("distortion", 0))


def test_pairs_are_neighbours_and_their_distances():
    model = fresh()
    codes_apart, apart = model._pairs(500, seeded())
    assert codes_apart.shape == (500, 2) and apart.shape == (500,)
    pixels = IMAGES.flatten(1).float() / 255
    distances = torch.cdist(pixels, pixels)
    assert apart.max() < distances.median() / 2 and apart.min() > 0
    one, pick = (torch.randint(n, (5,), generator=g) for g in [seeded()] for n in (300, 8))
    both = model.images[one], model.images[model.table[one, pick]]
    expected = (both[0].float() - both[1].float()).flatten(1).norm(dim=1) / 255
    torch.testing.assert_close(model._pairs(5, seeded())[1], expected, rtol=1e-4, atol=1e-4)


def test_a_term_pulls_codes_to_the_distances_of_their_pictures():
    model, generator = fresh(), seeded()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    values = []
    for _ in range(60):
        distortion = neighbour_distortion(*model._pairs(32, generator), model.log_scale)
        optimizer.zero_grad()
        distortion.backward()
        optimizer.step()
        values.append(distortion.item())
    assert sum(values[-5:]) < 0.3 * sum(values[:5])


@pytest.mark.parametrize("options", FORMS, ids=str)
def test_ica_settles_the_axes_and_changes_no_picture(options):
    model = fresh(**options)
    with torch.no_grad():
        model.encoder.head.weight.mul_(20)  # codes that are worth unmixing
        x = IMAGES[:50].float() / 255
        before = model.decode(model.encode(x))
        torch.testing.assert_close(model.encode(x), model.mixed(x))
        model.finish(some)
        codes = model.encode(IMAGES.float() / 255)
        torch.testing.assert_close(model.decode(model.encode(x)), before, atol=1e-4, rtol=1e-3)
        first = model.unmixing.clone()
        model.finish(some)  # a run that is continued at its end
    assert torch.equal(model.unmixing, first)
    assert codes.mean(0).tolist() == pytest.approx([0, 0], abs=1e-2)
    assert codes.std(0).tolist() == pytest.approx([1, 1], abs=1e-2)


def test_of_a_wide_code_the_largest_components_are_kept_and_the_mean_of_the_others():
    model = fresh(isometry="none", linear_layers=2, wide=6)
    with torch.no_grad():
        model.encoder.head.weight.mul_(20)
        mixed = model.mixed(IMAGES.float() / 255).double()
        model.finish(some)
        codes = model.encode(IMAGES.float() / 255)
        _, values, axes = torch.linalg.svd(mixed - mixed.mean(0), full_matrices=False)
        kept = mixed.mean(0) + (mixed - mixed.mean(0)) @ axes[:2].T @ axes[:2]
        torch.testing.assert_close(model.decode(codes), model.drawn(kept.float()), atol=1e-4, rtol=1e-3)
    assert values[2] > 1e-3 * values[0] and codes.shape == (len(IMAGES), 2) == (len(IMAGES), model.code_size)
    assert codes.mean(0).tolist() == pytest.approx([0, 0], abs=1e-2)
    assert codes.std(0).tolist() == pytest.approx([1, 1], abs=1e-2)


def test_a_code_narrower_than_what_is_asked_of_it_is_refused():
    with pytest.raises(ValueError, match="--wide must be --latents, 2, or more"):
        fresh(wide=1)


def test_it_is_called_what_it_is():
    names = [fresh(**options).title for options in FORMS]
    assert names == ["LI-AE (neighbours)", "LI-AE (decoder)", "AE", "IRMAE"]
    assert fresh().layout() == (Slot(0, 1), Slot(1, 2))


def test_training_makes_a_model_folder_that_says_the_same(trained, monkeypatch):
    monkeypatch.setattr("engine.train.load", lambda name: SPOTS)
    folder, terms = trained(Isometric, Config(**TINY))
    assert terms[-1]["loss"] < terms[0]["loss"]
    model, table, config = checkpoint.load(folder)
    assert config["method"] == "isometric" and len(table) == 2
    assert not torch.equal(model.unmixing, torch.eye(2))
    torch.testing.assert_close(model.unmixing @ model.mixing, torch.eye(2), atol=1e-4, rtol=0)
