import math

import pytest
import torch
from torch import distributions

from engine import gaussian
from engine.method import Slot
from engine.methods.vae import VAE, Config
from tests.tiny import noise, seeded, tiny_vae


def fresh(channels=3, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VAE(Config(latents=4, encoder_width=4, decoder_width=4, **options), channels)


def images(channels=3):
    return noise(8, channels).float() / 255


def test_every_latent_is_a_factor_of_its_own():
    assert fresh().layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 4))


def test_the_code_is_the_posteriors_mean():
    model, x = tiny_vae(), images()
    mean, log_variance = model.posterior(x)
    features = model.encoder(x)
    assert torch.equal(mean, features[:, :4]) and torch.equal(log_variance, features[:, 4:])
    assert torch.equal(model.encode(x), mean)


def test_decode_answers_probabilities_of_the_decoders_logits():
    model = tiny_vae()
    code = torch.randn(3, 4, generator=seeded())
    image = model.decode(code)
    assert image.min() >= 0 and image.max() <= 1 and image.std() > 0.01
    torch.testing.assert_close(image, 1 / (1 + (-model.decoder(code)).exp()))


@pytest.mark.parametrize("objective", ["beta", "tc"])
@pytest.mark.parametrize("beta", [1.0, 5.0])
def test_the_loss_is_the_documented_sum(objective, beta):
    model, x = fresh(objective=objective, beta=beta), images()
    terms = model.loss(x, torch.tensor(0), seeded())
    mean, log_variance = model.posterior(x)
    z = gaussian.sample(mean, log_variance, seeded())  # the loss draws nothing else
    pixels = distributions.Bernoulli(probs=model.decode(z), validate_args=False)
    posterior = distributions.Normal(mean, (0.5 * log_variance).exp())
    nll = -pixels.log_prob(x).sum((1, 2, 3)).mean()
    kl = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(terms["reconstruction"], nll)
    torch.testing.assert_close(terms["kl"], kl)
    if objective == "beta":
        assert set(terms) == {"loss", "reconstruction", "kl"}
        torch.testing.assert_close(terms["loss"], nll + beta * kl)
    else:
        assert set(terms) == {"loss", "reconstruction", "kl", "tc"}
        tc = gaussian.total_correlation(z, mean, log_variance)
        torch.testing.assert_close(terms["tc"], tc)
        torch.testing.assert_close(terms["loss"], nll + kl + (beta - 1) * tc)


def test_the_default_is_the_plain_vae():
    config = Config()
    assert config.objective == "beta" and config.beta == 1 and config.relax_to == 1
    terms = VAE(config, 1).loss(images(1), torch.tensor(10**6), seeded())
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + terms["kl"])


@pytest.mark.parametrize("objective", ["beta", "tc"])
def test_the_whole_regulariser_relaxes_with_the_step(objective):
    model, x = fresh(objective=objective, beta=4.0, relax_to=1 / 16, relax_during=(10, 20)), images()
    with torch.no_grad():
        model.encoder.head.bias[:4] = 4  # a regulariser worth seeing
    regularisers = []
    for step in (0, 10, 15, 20, 99):
        terms = model.loss(x, torch.tensor(step), seeded())
        regularisers.append((terms["loss"] - terms["reconstruction"]).item())
    shares = [r / regularisers[0] for r in regularisers]
    assert shares == pytest.approx([1, 1, 1 / 4, 1 / 16, 1 / 16], rel=1e-2)


@pytest.mark.parametrize("objective", ["beta", "tc"])
def test_every_parameter_gets_a_gradient(objective):
    model = fresh(objective=objective, beta=4.0)
    model.loss(images(), torch.tensor(0), seeded())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_a_hopeless_beta_empties_the_code():
    # With no picture worth its price, the posterior is the prior: KL goes to zero.
    model, x, generator = fresh(channels=1, beta=1000.0), images(1), seeded()
    with torch.no_grad():
        model.encoder.head.bias.copy_(torch.tensor([1.0, -1, 2, -2, -3, 1, -2, -1]))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    kl = []
    for number in range(150):
        terms = model.loss(x, torch.tensor(number), generator)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        kl.append(terms["kl"].item())
    assert kl[0] > 3 and kl[-1] < 0.1
    mean, log_variance = model.posterior(x)
    assert mean.abs().max() < 0.3 and log_variance.abs().max() < math.log(2)
