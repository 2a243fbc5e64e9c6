import pytest
import torch
from torch import distributions

from engine import checkpoint
from engine.method import Slot
from engine.methods.annealed import AnnealedVAE, Config, capacity
from tests.tiny import noise, seeded


def fresh(channels=3, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AnnealedVAE(Config(**{"latents": 4, "encoder_width": 4, "decoder_width": 4} | options), channels)


def images(channels=3):
    return noise(8, channels).float() / 255


def parts(model, x):
    """Reconstruction and KL of a batch, by torch's distributions."""
    mean, log_variance = model.posterior(x)
    deviation = (0.5 * log_variance).exp()
    z = mean + deviation * torch.randn(mean.shape, generator=seeded())  # the loss draws nothing else
    pixels = distributions.Bernoulli(probs=model.decode(z), validate_args=False)
    kl = distributions.kl_divergence(distributions.Normal(mean, deviation), distributions.Normal(0.0, 1.0))
    return -pixels.log_prob(x).sum((1, 2, 3)).mean(), kl.sum(1).mean()


def test_it_is_called_and_laid_out_as_the_field_does():
    model = fresh()
    assert model.title == "AnnealedVAE"
    assert model.layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 4))
    assert (Config().gamma, Config().c_max, Config().capacity_full) == (1000, 25, 20_000)


def test_the_capacity_rises_in_a_straight_line_and_stays():
    steps = (0, 1, 5, 9, 10, 11, 10**6)
    assert [capacity(torch.tensor(s), 25.0, 10).item() for s in steps] == pytest.approx(
        [0, 2.5, 12.5, 22.5, 25, 25, 25]
    )


@pytest.mark.parametrize("full", [0, 1])
def test_the_capacity_may_be_full_from_the_start(full):
    assert [capacity(torch.tensor(s), 8.0, full).item() for s in (1, 2)] == [8, 8]


@pytest.mark.parametrize("step", [0, 3, 10, 500])
@pytest.mark.parametrize("bias", [0.0, 4.0])  # a KL below the capacity, and one far above it
def test_the_loss_is_the_documented_sum(step, bias):
    model, x = fresh(gamma=7.0, c_max=12.0, capacity_full=10), images()
    with torch.no_grad():
        model.encoder.head.bias[:4] = bias
    terms = model.loss(x, torch.tensor(step), seeded())
    assert set(terms) == {"loss", "reconstruction", "kl", "capacity"}
    nll, kl = parts(model, x)
    c = 12 * min(step / 10, 1)
    assert (kl > c) == (bias > 0 or step == 0)
    torch.testing.assert_close(terms["reconstruction"], nll)
    torch.testing.assert_close(terms["kl"], kl)
    assert terms["capacity"].item() == pytest.approx(c)
    torch.testing.assert_close(terms["loss"], nll + 7 * abs(kl - c))


@pytest.mark.parametrize(("step", "sign"), [(0, 1), (10, -1)])
def test_the_kl_is_pushed_towards_the_capacity_from_either_side(step, sign):
    model, x = fresh(gamma=1000.0, c_max=12.0, capacity_full=10), images()
    terms = model.loss(x, torch.tensor(step), seeded())
    bias = model.encoder.head.bias
    whole, reconstruction, kl = (
        torch.autograd.grad(terms[name], bias, retain_graph=True)[0] for name in ("loss", "reconstruction", "kl")
    )
    torch.testing.assert_close(whole - reconstruction, sign * 1000 * kl, rtol=1e-3, atol=1e-2)
    assert kl.abs().max() > 0


def test_every_parameter_gets_a_gradient():
    model = fresh()
    model.loss(images(), torch.tensor(100), seeded())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_its_randomness_is_the_generators():
    model, x = fresh(), images()
    first, same, other = (model.loss(x, torch.tensor(3), seeded(s))["loss"].item() for s in (0, 0, 1))
    assert first == same != other


@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_the_code_comes_to_hold_the_capacity(bias):
    model, x, generator = fresh(channels=1, gamma=100.0, c_max=5.0, capacity_full=50), images(1), seeded()
    with torch.no_grad():
        model.encoder.head.bias[:4] = bias
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    kl = []
    for number in range(150):
        terms = model.loss(x, torch.tensor(number), generator)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        kl.append(terms["kl"].item())
    assert kl[0] < 0.1 or kl[0] > 15
    assert sum(kl[-20:]) / 20 == pytest.approx(5, abs=0.8)


def test_a_run_learns_and_its_model_comes_back(trained):
    folder, log = trained(AnnealedVAE, Config(latents=3, encoder_width=4, decoder_width=4, capacity_full=30))
    assert log[-1]["reconstruction"] < log[0]["reconstruction"] - 50
    assert [row["capacity"] for row in log] == pytest.approx([25 * k / 30 for k in range(30)], abs=1e-4)
    model, _, config = checkpoint.load(folder)
    assert type(model) is AnnealedVAE and config["config"]["capacity_full"] == 30
    assert model.decode(model.encode(images())).isfinite().all()
