import numpy as np
import pytest
import torch

from engine import checkpoint, gaussian
from engine.method import Slot
from engine.methods.dipvae import DIPVAE, Config, aggregate_covariance
from tests.tiny import noise, seeded


def fresh(channels=3, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DIPVAE(Config(**{"latents": 4, "encoder_width": 4, "decoder_width": 4} | options), channels)


def images(channels=3):
    return noise(8, channels).float() / 255


def posteriors(count=50, latents=4):
    """Correlated means and log variances, neither centred."""
    mixing = torch.randn(latents, latents, generator=seeded(1))
    mean = torch.randn(count, latents, generator=seeded(2)) @ mixing + 3
    return mean, torch.randn(count, latents, generator=seeded(3)) - 1


def test_it_is_called_and_laid_out_as_the_field_does():
    model = fresh()
    assert model.title == "DIP-VAE-II"
    assert model.layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 4))
    assert Config().lambda_od == Config().lambda_d == 10


def test_the_covariance_is_that_of_the_codes():
    mean, log_variance = posteriors()
    expected = np.cov(mean.double().numpy().T, bias=True) + np.diag(np.exp(log_variance.double().numpy()).mean(0))
    np.testing.assert_allclose(aggregate_covariance(mean, log_variance).numpy(), expected, rtol=1e-4, atol=1e-4)
    z = gaussian.sample(mean.repeat(4000, 1), log_variance.repeat(4000, 1), seeded())
    np.testing.assert_allclose(np.cov(z.numpy().T), expected, atol=0.05 * np.abs(expected).max())


def test_the_covariance_is_not_rounded_by_autocast():
    mean, log_variance = posteriors()
    with torch.autocast("cpu", torch.bfloat16):
        covariance = aggregate_covariance(mean, log_variance)
    assert covariance.dtype == torch.float32
    assert torch.equal(covariance, aggregate_covariance(mean, log_variance))


@pytest.mark.parametrize(("lambda_od", "lambda_d"), [(10.0, 10.0), (3.0, 0.0), (0.0, 5.0)])
def test_the_loss_is_the_documented_sum(lambda_od, lambda_d):
    model, x = fresh(lambda_od=lambda_od, lambda_d=lambda_d), images()
    with torch.no_grad():
        for name, parameter in model.encoder.named_parameters():
            parameter.mul_(3 if name.endswith("weight") else 0)  # covariances worth seeing
    terms = model.loss(x, torch.tensor(0), seeded())
    assert set(terms) == {"loss", "reconstruction", "kl", "covariances", "variances"}

    mean, log_variance = model.posterior(x)
    nll = gaussian.bernoulli_nll(model.decoder(gaussian.sample(mean, log_variance, seeded())), x)
    kl = gaussian.kl_to_prior(mean, log_variance).sum()
    mu, variance = mean.tolist(), log_variance.exp().tolist()
    covariances = variances = 0.0
    for i in range(4):
        for j in range(4):
            average = [sum(row[k] for row in mu) / 8 for k in range(4)]
            entry = sum((row[i] - average[i]) * (row[j] - average[j]) for row in mu) / 8
            if i == j:
                variances += (entry + sum(row[i] for row in variance) / 8 - 1) ** 2
            else:
                covariances += entry**2
    assert terms["covariances"].item() == pytest.approx(covariances, rel=1e-3) and covariances > 1e-3
    assert terms["variances"].item() == pytest.approx(variances, rel=1e-4)
    expected = nll.item() + kl.item() + lambda_od * covariances + lambda_d * variances
    assert terms["loss"].item() == pytest.approx(expected, rel=1e-6)


def test_the_prior_costs_nothing():
    covariance = aggregate_covariance(torch.zeros(8, 4), torch.zeros(8, 4))
    assert torch.equal(covariance, torch.eye(4))
    model = fresh()
    with torch.no_grad():
        model.encoder.head.weight.zero_()
        model.encoder.head.bias.zero_()
    terms = model.loss(images(), torch.tensor(0), seeded())
    assert terms["covariances"] == terms["variances"] == terms["kl"] == 0


def test_duplicated_codes_are_pulled_apart():
    mean, log_variance = posteriors()
    mean[:, 1] = mean[:, 0] + 0.01 * mean[:, 2]
    mean.requires_grad_()
    optimizer = torch.optim.Adam([mean], 0.05)
    for _ in range(300):
        covariance = aggregate_covariance(mean, log_variance - 4)
        loss = ((covariance - torch.eye(4)) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    correlation = np.corrcoef(mean.detach().numpy().T) - np.eye(4)
    assert np.abs(correlation).max() < 0.05


def test_every_parameter_gets_a_gradient():
    model = fresh()
    model.loss(images(), torch.tensor(0), seeded())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_the_penalty_teaches_the_encoder_only():
    model = fresh()
    terms = model.loss(images(), torch.tensor(0), seeded())
    for name in ("covariances", "variances"):
        decoder, encoder = (
            torch.autograd.grad(terms[name], list(part.parameters()), retain_graph=True, allow_unused=True)
            for part in (model.decoder, model.encoder)
        )
        assert all(g is None for g in decoder) and all(g is not None for g in encoder)


def test_its_randomness_is_the_generators():
    model, x = fresh(), images()
    first, same, other = (model.loss(x, torch.tensor(3), seeded(s))["loss"].item() for s in (0, 0, 1))
    assert first == same != other


def test_a_run_learns_and_its_model_comes_back(trained):
    folder, log = trained(DIPVAE, Config(latents=3, encoder_width=4, decoder_width=4))
    assert log[-1]["loss"] < log[0]["loss"] - 50
    model, _, config = checkpoint.load(folder)
    assert type(model) is DIPVAE and config["config"]["lambda_od"] == 10
    assert model.decode(model.encode(images())).isfinite().all()
