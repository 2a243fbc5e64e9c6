import math
from dataclasses import dataclass

import pytest
import torch

from engine import gaussian
from engine.latent import FOLLOW, LIMIT, Autoencoder, LatentMethod, Standard, left
from engine.method import Slot
from tests.tiny import gradients, noise, seeded

PICTURE = 4 * 16 * 16
REST = slice(12, 12 + PICTURE)                 # of the quick sampler, in the codes of Shift
LATENTS = slice(12 + PICTURE, 12 + 2 * PICTURE)


@dataclass(frozen=True)
class Config:
    encoder_width: int = 8
    decoder_width: int = 8
    kl_weight: float = 0.5
    rates: tuple[float, float, float] = (1.0, 0.5, 0.25)
    warm_up: int = 10


class Shift(LatentMethod):
    """Factors are means of parts of the latents; samplers add them to the noise, each in its own way."""

    def __init__(self, channels=3):
        super().__init__(Config(), channels, 3, 2)

    def stages(self):
        return (100, 300)

    def read(self, x, latents):
        return self.standard(latents.flatten(1)[:, :600].unflatten(1, (3, 2, 100)).mean(3))

    def quick(self, noise, z):
        return noise + 0.5 * z.sum((1, 2))[:, None, None, None]

    def slow(self, noise, z):
        return noise - z[:, 0, 0, None, None, None]

    def loss(self, x, step, generator, stage=0):
        raise NotImplementedError


def built(kind, *arguments):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*arguments)


def images(channels=3):
    return noise(8, channels).float() / 255


def shift():
    model = built(Shift)
    model.autoencoder.spread.fill_(0.05)  # about that of the untrained encoder, so that pictures differ
    return model.eval()


# --- the autoencoder

@pytest.mark.parametrize("channels", [1, 3])
def test_latents_are_a_sixteenth_of_the_pixels(channels):
    model = built(Autoencoder, channels, 8, 8)
    latents = model.encode(images(channels))
    assert latents.shape == (8, 4, 16, 16) and model.decode(latents).shape == (8, channels, 64, 64)
    wild = model.decode(1000 * torch.randn(2, 4, 16, 16, generator=seeded()))
    assert wild.min() == 0 and wild.max() == 1


def test_latents_are_standardised_and_bounded():
    model = built(Autoencoder, 3, 8, 8)
    mean, _ = model.posterior(images())
    model.centre.copy_(mean.mean((0, 2, 3))[:, None, None])
    model.spread.copy_(mean.std((0, 2, 3))[:, None, None])
    latents = model.encode(images())
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=0.1, rtol=0)  # but for the bounds
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=0.1, rtol=0)
    model.spread /= 100
    assert model.encode(images()).abs().max() == LIMIT


def test_the_decoder_undoes_the_standardisation():
    model = built(Autoencoder, 3, 8, 8)
    model.centre.fill_(0.3)
    model.spread.fill_(2.0)
    latents = torch.randn(2, 4, 16, 16, generator=seeded())
    torch.testing.assert_close(model.decode(latents), model.decoder(2 * latents + 0.3).clamp(0, 1))


def test_the_autoencoders_loss_is_the_documented_sum_and_it_follows_its_latents():
    model, x = built(Autoencoder, 3, 8, 8), images()
    mean, log_variance = model.posterior(x)
    terms = model.loss(x, 0.5, seeded())
    assert set(terms) == {"loss", "absolute", "squared", "kl"}
    eps = torch.randn(mean.shape, generator=seeded())
    wrong = model.decoder(mean + (log_variance / 2).exp() * eps) - x
    torch.testing.assert_close(terms["absolute"], wrong.abs().mean())
    torch.testing.assert_close(terms["squared"], (wrong**2).mean())
    kl = gaussian.kl_to_prior(mean, log_variance).sum()
    torch.testing.assert_close(terms["kl"], kl)
    pixels = 3 * 64 * 64
    torch.testing.assert_close(terms["loss"], wrong.abs().mean() + (wrong**2).mean() + 0.5 / pixels * kl)
    torch.testing.assert_close(model.centre.flatten(), FOLLOW * mean.mean((0, 2, 3)))
    torch.testing.assert_close(model.spread.flatten(), 1 - FOLLOW + FOLLOW * mean.std((0, 2, 3)))
    assert all(g.any() for g in gradients(terms["loss"], model).values())


# --- standardised factors

def test_factors_are_standardised_one_by_one():
    standard, raw = Standard(3, 2), 5 + 3 * torch.randn(500, 3, 2, generator=seeded())
    raw[:, 1] *= torch.tensor([10.0, 1.0])
    centre, spread = standard.follow(raw)
    z = (raw - centre) / spread
    torch.testing.assert_close(z.mean(0), torch.zeros(3, 2), atol=1e-4, rtol=0)
    torch.testing.assert_close((z**2).mean((0, 2)), torch.ones(3))
    assert z[:, 1, 0].std() > 5 * z[:, 1, 1].std()  # one number for each factor, so directions stay
    torch.testing.assert_close(standard.centre, FOLLOW * centre)
    torch.testing.assert_close(standard.spread, 1 - FOLLOW + FOLLOW * spread)
    for _ in range(1500):
        standard.follow(raw)
    torch.testing.assert_close(standard(raw), z, atol=1e-3, rtol=1e-3)


def test_a_larger_scale_is_no_gain():
    raw, standard = torch.randn(50, 3, 2, generator=seeded()).requires_grad_(), Standard(3, 2)
    centre, spread = standard.follow(raw)
    ((raw - centre) / spread).pow(3).sum().backward()
    assert abs((raw.grad * raw).sum().item()) < 1e-2 and raw.grad.abs().max() > 0.1
    assert not standard.spread.requires_grad


def test_a_factor_that_never_changes_is_no_division_by_zero():
    standard = Standard(1, 2)
    centre, spread = standard.follow(torch.ones(4, 1, 2, requires_grad=True))
    assert ((torch.ones(4, 1, 2) - centre) / spread).isfinite().all() and spread > 0


# --- the code

def test_a_code_is_factors_twice_a_rest_and_the_latents():
    model, x = shift(), images()
    code, latents = model.encode(x), model.autoencoder.encode(x)
    assert model.code_size == 2 * 6 + 2 * PICTURE
    assert model.layout() == (
        Slot(0, 2), Slot(2, 4), Slot(4, 6), Slot(6, 12, "residual"),
        Slot(REST.start, REST.stop, "residual"), Slot(LATENTS.start, LATENTS.stop, "residual"),
    )
    z = model.read(x, latents)
    assert torch.equal(code[:, :6], z.flatten(1)) and torch.equal(code[:, 6:12], z.flatten(1))
    assert torch.equal(model.represent(x), z.flatten(1))
    assert torch.equal(code[:, LATENTS], latents.flatten(1))
    made = model.quick(model.start(z), z)
    torch.testing.assert_close(made + code[:, REST].unflatten(1, (4, 16, 16)), latents)


def test_all_pictures_start_from_one_noise_which_is_the_same_for_every_model():
    one, other = built(Shift), built(Shift, 1)
    start = one.start(torch.zeros(5, 3, 2))
    assert start.shape == (5, 4, 16, 16) and torch.equal(start[0], start[4])
    assert torch.equal(one.noise, other.noise) and "noise" not in one.state_dict()
    assert one.noise.mean().item() == pytest.approx(0, abs=0.1) and one.noise.std().item() == pytest.approx(1, abs=0.1)


def test_at_rest_the_picture_is_the_autoencoders_whatever_the_sampler():
    model, x = shift(), images()
    expected = model.autoencoder.decode(model.autoencoder.encode(x))
    code = model.encode(x)
    for picture in (model.decode(code), model.refine(code)):
        assert ((255 * picture).round() - (255 * expected).round()).abs().max() <= 1
        torch.testing.assert_close(picture, expected, atol=1e-4, rtol=0)
    assert code[:, REST].abs().max() > 0.1
    assert expected.flatten(1).std(0).max() > 1e-3


@pytest.mark.parametrize("distance", [0.5, 1.0, 4.0])
def test_what_a_sampler_lacks_fades_with_the_distance_from_home(distance):
    home = torch.randn(3, 3, 2, generator=seeded())
    assert torch.equal(left(home, home), torch.ones(3, 1, 1, 1))
    moved = home.clone()
    moved[:, 1, 0] += distance
    torch.testing.assert_close(left(moved, home), torch.full((3, 1, 1, 1), math.exp(-distance / math.sqrt(2) / 4)))
    torch.testing.assert_close(left(moved, home, 0.5), left(moved, home) ** 8)
    assert torch.equal(left(moved, home, math.inf), torch.ones(3, 1, 1, 1))


def test_a_moved_picture_is_what_the_sampler_makes_and_what_is_left_of_what_it_lacked():
    model = shift()
    code = model.encode(images())
    code[:, 0] += 0.7
    z, home, rest, latents = model.parts(code)
    start, share = model.start(z), left(z, home)
    for picture, made, lacked in (
        (model.decode(code), model.quick(start, z), rest),
        (model.refine(code), model.slow(start, z), latents - model.slow(start, home)),
    ):
        torch.testing.assert_close(picture, model.autoencoder.decode((made + share * lacked).clamp(-4, 4)))
    assert 0.5 < share.min() and share.max() < 1
    assert (model.decode(code) - model.refine(code)).abs().max() > 1e-3


# --- the learning rate

def test_every_stage_has_a_learning_rate_of_its_own():
    model, bounds = shift(), (0, 100, 300, 1000)
    for stage, peak in enumerate((1.0, 0.5, 0.25)):
        first, last = bounds[stage:stage + 2]
        for step in (first, first + 4, first + 9, (first + last) // 2, last - 1):
            share = (step - first) / (last - first)
            expected = peak * min(1, (step - first + 1) / 10) * 0.5 * (1 + math.cos(math.pi * share))
            assert model.rate(torch.tensor(step), 1000, stage).item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_weights_are_stored_in_eight_bits():
    assert LatentMethod.stored == torch.int8
