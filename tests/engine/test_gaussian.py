import math

import pytest
import torch
from torch import distributions

from engine import gaussian


def posterior(batch=6, dims=3, seed=0):
    """Mean and log variance (batch, dims) of a posterior that is far from the prior."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, dims, generator=generator), 1.5 * torch.randn(batch, dims, generator=generator)


def normal(mean, log_variance):
    return distributions.Normal(mean, (0.5 * log_variance).exp())


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_kl_is_that_of_torch_distributions_for_each_dimension():
    mean, log_variance = posterior()
    expected = distributions.kl_divergence(normal(mean, log_variance), distributions.Normal(0.0, 1.0)).mean(0)
    kl = gaussian.kl_to_prior(mean, log_variance)
    assert kl.shape == (3,)
    torch.testing.assert_close(kl, expected)


def test_kl_of_the_prior_is_zero():
    assert gaussian.kl_to_prior(torch.zeros(4, 2), torch.zeros(4, 2)).tolist() == [0, 0]


def test_log_normal_is_that_of_torch_distributions():
    mean, log_variance = posterior()
    z = posterior(seed=1)[0]
    torch.testing.assert_close(gaussian.log_normal(z, mean, log_variance), normal(mean, log_variance).log_prob(z))


def test_bernoulli_nll_by_hand():
    # Sums over the pixels of an image, averages over the two images.
    x = torch.tensor([[1.0, 0.0], [0.25, 1.0]])
    logits = torch.tensor([[math.log(3), 0.0], [0.0, -math.log(4)]])  # p = 3/4, 1/2, 1/2, 1/5
    by_hand = (-math.log(3 / 4) - math.log(1 / 2) - math.log(1 / 2) - math.log(1 / 5)) / 2
    assert gaussian.bernoulli_nll(logits, x).item() == pytest.approx(by_hand, rel=1e-6)


def test_bernoulli_nll_of_certain_pixels_is_finite():
    logits = torch.tensor([[200.0, -200.0]])
    assert gaussian.bernoulli_nll(logits, torch.tensor([[1.0, 0.0]])) == 0
    assert gaussian.bernoulli_nll(logits, torch.tensor([[0.0, 1.0]])) == 400


def test_bernoulli_nll_adds_up_half_precision_logits_in_single_precision():
    logits = torch.zeros(1, 3 * 64 * 64, dtype=torch.bfloat16)
    nll = gaussian.bernoulli_nll(logits, torch.ones(1, 3 * 64 * 64))
    assert nll.item() == pytest.approx(3 * 64 * 64 * math.log(2), rel=1e-5)


def test_total_correlation_is_the_double_loop():
    mean, log_variance = posterior()
    z = gaussian.sample(mean, log_variance, seeded(1))
    batch, dims = z.shape
    expected = 0.0
    for i in range(batch):
        log_q = [[normal(mean[k, j], log_variance[k, j]).log_prob(z[i, j]).item() for j in range(dims)]
                 for k in range(batch)]
        joint = math.log(sum(math.exp(sum(log_q[k])) for k in range(batch)))
        marginals = sum(math.log(sum(math.exp(log_q[k][j]) for k in range(batch))) for j in range(dims))
        expected += (joint - marginals) / batch
    assert gaussian.total_correlation(z, mean, log_variance).item() == pytest.approx(expected, abs=1e-4)


def test_total_correlation_of_independent_and_of_repeated_codes():
    # With the dropped constant put back, the estimate is the textbook value for jointly Gaussian codes.
    batch = 1500
    mean = torch.randn(batch, 2, generator=seeded(0))
    log_variance = torch.full((batch, 2), math.log(0.25))
    repeated = mean[:, :1].expand(-1, 2)
    estimates = [
        gaussian.total_correlation(gaussian.sample(m, log_variance, seeded(1)), m, log_variance).item()
        + math.log(batch)
        for m in (mean, repeated)
    ]
    correlation = 1 / 1.25
    assert estimates[0] == pytest.approx(0, abs=0.05)
    assert estimates[1] == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.05)


def test_sample_has_the_posteriors_moments():
    mean = torch.tensor([[-1.0, 0.0, 2.0]]).expand(100_000, -1)
    log_variance = torch.tensor([[0.0, math.log(9), math.log(0.01)]]).expand(100_000, -1)
    z = gaussian.sample(mean, log_variance, seeded(0))
    torch.testing.assert_close(z.mean(0), torch.tensor([-1.0, 0.0, 2.0]), atol=0.03, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([1.0, 3.0, 0.1]), atol=0, rtol=0.02)
    torch.testing.assert_close(torch.corrcoef(z.T), torch.eye(3), atol=0.02, rtol=0)


def test_sample_draws_from_its_generator_only():
    mean, log_variance = posterior()
    state = torch.get_rng_state()
    first = gaussian.sample(mean, log_variance, seeded(3))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, gaussian.sample(mean, log_variance, seeded(3)))
    assert not torch.equal(first, gaussian.sample(mean, log_variance, seeded(4)))


def test_sample_passes_gradients_to_mean_and_variance():
    mean, log_variance = (t.requires_grad_() for t in posterior())
    z = gaussian.sample(mean, log_variance, seeded(0))
    noise = (z - mean).detach()
    z.sum().backward()
    assert torch.equal(mean.grad, torch.ones_like(mean))
    torch.testing.assert_close(log_variance.grad, 0.5 * noise)


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1), (100, 1), (125, 1 / 2), (150, 1 / 4), (175, 1 / 8), (200, 1 / 16), (10_000, 1 / 16)],
)
def test_relaxed_is_geometric_between_its_ends(step, expected):
    assert gaussian.relaxed(torch.tensor(step), 1 / 16, (100, 200)).item() == pytest.approx(expected)


@pytest.mark.parametrize("step", [0, 150, 10**6])
def test_relaxed_to_one_stays(step):
    assert gaussian.relaxed(torch.tensor(step), 1.0, (100, 200)) == 1


@pytest.mark.parametrize(("step", "expected"), [(99, 1), (100, 1), (101, 1 / 16)])
def test_relaxed_may_be_a_step(step, expected):
    assert gaussian.relaxed(torch.tensor(step), 1 / 16, (100, 100)) == expected


@pytest.mark.parametrize("beta", [1.0, 6.0])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_the_bounds_are_composed_as_documented(beta, weight):
    mean, log_variance = posterior()
    z = gaussian.sample(mean, log_variance, seeded(1))
    x = torch.rand(6, 1, 4, 4, generator=seeded(2))
    logits = torch.randn(6, 1, 4, 4, generator=seeded(3))
    nll = -distributions.Bernoulli(logits=logits, validate_args=False).log_prob(x).sum((1, 2, 3)).mean()
    kl = distributions.kl_divergence(normal(mean, log_variance), distributions.Normal(0.0, 1.0)).sum(1).mean()
    tc = gaussian.total_correlation(z, mean, log_variance)
    share = torch.tensor(weight)

    plain = gaussian.evidence_bound(logits, x, z, mean, log_variance, "beta", beta, share)
    assert set(plain) == {"loss", "reconstruction", "kl"}
    torch.testing.assert_close(plain["reconstruction"], nll)
    torch.testing.assert_close(plain["kl"], kl)
    torch.testing.assert_close(plain["loss"], nll + weight * beta * kl)

    with_tc = gaussian.evidence_bound(logits, x, z, mean, log_variance, "tc", beta, share)
    assert set(with_tc) == {"loss", "reconstruction", "kl", "tc"}
    torch.testing.assert_close(with_tc["tc"], tc)
    torch.testing.assert_close(with_tc["loss"], nll + weight * (kl + (beta - 1) * tc))
