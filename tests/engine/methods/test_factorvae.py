import math
from itertools import permutations

import pytest
import safetensors.torch
import torch
from torch import nn

from engine import checkpoint, gaussian
from engine.files import Damaged, write_manifest
from engine.method import Slot
from engine.methods.factorvae import (
    Config,
    Discriminator,
    FactorVAE,
    density_ratio,
    discrimination_loss,
    permute_dimensions,
)
from tests.tiny import gradients, noise, seeded

TINY = {"latents": 4, "encoder_width": 4, "decoder_width": 4, "discriminator_width": 16}


def fresh(channels=3, confidence=3, **options):
    """A small model whose untrained discriminator already has an opinion."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FactorVAE(Config(**TINY | options), channels)
    with torch.no_grad():
        for name, parameter in model.discriminator.named_parameters():
            parameter.mul_(confidence if name.endswith("weight") else 1)
    return model


def images(channels=3):
    return noise(8, channels).float() / 255


def test_it_is_called_and_laid_out_as_the_field_does():
    model = fresh()
    assert model.title == "FactorVAE"
    assert model.layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 4))


# --- permuted codes

def test_permuted_codes_keep_every_marginal_and_nothing_else():
    z = torch.randn(64, 1, generator=seeded()).expand(-1, 5).contiguous()  # five copies of one number
    permuted = permute_dimensions(z, seeded(1))
    assert torch.equal(permuted.sort(0).values, z.sort(0).values)
    correlation = torch.corrcoef(permuted.T) - torch.eye(5)
    assert correlation.abs().max() < 0.5
    assert (permuted != z).float().mean() > 0.9


def test_every_order_is_equally_likely():
    z = torch.arange(3.0)[:, None].expand(-1, 3000)  # each column an experiment
    orders = [tuple(column) for column in permute_dimensions(z, seeded()).T.int().tolist()]
    counts = {order: orders.count(order) for order in permutations(range(3))}
    assert sum(counts.values()) == 3000
    assert all(abs(count - 500) < 100 for count in counts.values())  # five standard deviations


def test_the_permutation_is_drawn_from_its_generator_only():
    z = torch.randn(32, 4, generator=seeded())
    state = torch.get_rng_state()
    first, same, other = (permute_dimensions(z, seeded(s)) for s in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


# --- the discriminator and its losses

def test_the_discriminator_is_the_papers():
    layers = list(Discriminator(10, Config().discriminator_width).layers)
    linear, leaky = layers[::2], layers[1::2]
    sizes = [(layer.in_features, layer.out_features) for layer in linear]
    assert sizes == [(10, 1000), *[(1000, 1000)] * 5, (1000, 2)]
    assert len(leaky) == 6
    assert all(isinstance(layer, nn.LeakyReLU) and layer.negative_slope == 0.2 for layer in leaky)


def test_both_losses_are_those_of_the_documented_probabilities():
    joint, permuted = 3 * torch.randn(2, 9, 2, generator=seeded())

    def probability(a, b):  # that a code with these logits came from q(z)
        return math.exp(a) / (math.exp(a) + math.exp(b))

    ratio = sum(math.log(probability(a, b) / (1 - probability(a, b))) for a, b in joint.tolist()) / 9
    entropy = -0.5 * (
        sum(math.log(probability(a, b)) for a, b in joint.tolist()) / 9
        + sum(math.log(1 - probability(a, b)) for a, b in permuted.tolist()) / 9
    )
    assert density_ratio(joint).item() == pytest.approx(ratio, rel=1e-4)
    assert discrimination_loss(joint, permuted).item() == pytest.approx(entropy, rel=1e-5)
    assert discrimination_loss(torch.zeros(9, 2), torch.zeros(9, 2)).item() == pytest.approx(math.log(2))


def test_no_certainty_makes_the_loss_infinite():
    sure = torch.tensor([[200.0, -200.0]]).requires_grad_()
    loss = discrimination_loss(sure, sure)
    loss.backward()
    assert loss.item() == pytest.approx(200) and sure.grad.isfinite().all()


@pytest.mark.parametrize("rho", [0.0, 0.8, 0.95])
def test_a_trained_discriminator_tells_the_total_correlation(rho):
    """Of two Gaussian numbers with correlation rho it is -log(1 - rho^2) / 2."""
    model, generator = fresh(confidence=1, latents=2, discriminator_width=64), seeded()

    def codes(count):
        z = torch.randn(count, 2, generator=generator)
        return torch.stack([z[:, 0], rho * z[:, 0] + math.sqrt(1 - rho**2) * z[:, 1]], 1)

    optimizer = torch.optim.Adam(model.discriminator.parameters(), betas=(0.5, 0.9))
    for number in range(250):
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - number / 250)
        loss = model.discrimination(codes(512), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        estimate = model.total_correlation(codes(4096)).item()
    assert estimate == pytest.approx(-0.5 * math.log(1 - rho**2), rel=0.15, abs=0.03)


# --- the whole loss

def test_the_loss_is_the_documented_sum():
    model, x, generator = fresh(gamma=7.0), images(), seeded()
    terms = model.loss(x, torch.tensor(0), seeded())
    assert set(terms) == {"loss", "reconstruction", "kl", "tc", "discriminator"}
    mean, log_variance = model.posterior(x)
    z = gaussian.sample(mean, log_variance, generator)
    permuted = permute_dimensions(z, generator)  # drawn second
    logits = model.discriminator(z)
    expected = {
        "reconstruction": gaussian.bernoulli_nll(model.decoder(z), x),
        "kl": gaussian.kl_to_prior(mean, log_variance).sum(),
        "tc": density_ratio(logits),
        "discriminator": discrimination_loss(logits, model.discriminator(permuted)),
    }
    assert expected["tc"].abs() > 1e-3
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(
        terms["loss"], terms["reconstruction"] + terms["kl"] + 7 * terms["tc"] + terms["discriminator"]
    )


def test_the_vae_learns_nothing_from_the_discriminators_loss():
    model = fresh()
    terms = model.loss(images(), torch.tensor(0), seeded())
    for part in (model.encoder, model.decoder):
        assert all(g is None for g in gradients(terms["discriminator"], part).values())
        whole = gradients(terms["loss"], part)
        bound = gradients(terms["reconstruction"] + terms["kl"] + 20 * terms["tc"], part)
        for name in whole:
            torch.testing.assert_close(whole[name], bound[name])
    assert all(g.abs().sum() > 0 for g in gradients(terms["tc"], model.encoder).values())
    assert all(g is None for g in gradients(terms["tc"], model.decoder).values())


def test_the_discriminator_learns_nothing_from_the_vaes_loss():
    model = fresh()
    terms = model.loss(images(), torch.tensor(0), seeded())
    for name in ("reconstruction", "kl", "tc"):
        assert all(g is None for g in gradients(terms[name], model.discriminator).values())
    whole, own = (gradients(terms[name], model.discriminator) for name in ("loss", "discriminator"))
    for name, gradient in own.items():
        assert gradient.abs().sum() > 0, name
        assert torch.equal(whole[name], gradient)


def test_the_codes_are_taught_by_the_discriminator_as_it_is():
    model, z = fresh(), torch.randn(8, 4, generator=seeded()).requires_grad_()
    [taught] = torch.autograd.grad(model.total_correlation(z), z)
    [direct] = torch.autograd.grad(density_ratio(model.discriminator(z)), z)
    torch.testing.assert_close(taught, direct)
    assert taught.abs().max() > 0


def test_the_discriminator_has_its_own_momentum():
    vae, discriminator = fresh().groups()
    assert "betas" not in vae and discriminator["betas"] == (0.5, 0.9)
    assert len(discriminator["params"]) == 14 and "lr" not in discriminator


def test_every_parameter_gets_a_gradient():
    model = fresh()
    model.loss(images(), torch.tensor(0), seeded())["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_its_randomness_is_the_generators():
    model, x = fresh(), images()
    first, same, other = (
        {name: t.item() for name, t in model.loss(x, torch.tensor(3), seeded(s)).items()} for s in (0, 0, 1)
    )
    assert first == same
    assert all(first[name] != other[name] for name in ("loss", "reconstruction", "tc", "discriminator"))


# --- what is kept

def test_a_run_learns_and_its_model_comes_back_without_the_discriminator(trained):
    folder, log = trained(FactorVAE, Config(**TINY))
    assert log[-1]["loss"] < log[0]["loss"] - 50
    state = safetensors.torch.load_file(folder.parent / "state.safetensors")
    kept = safetensors.torch.load_file(folder / "model.safetensors")
    assert any("discriminator" in name for name in state)  # a run can be resumed
    assert not any("discriminator" in name for name in kept)
    model, *_ = checkpoint.load(folder)
    assert all(torch.equal(t, state[f"0.model.{name}"]) for name, t in model.state_dict().items())
    assert not hasattr(model, "discriminator")
    assert model.decode(model.encode(images())).isfinite().all()


def test_a_folder_that_holds_a_part_of_training_loads_the_same(trained):
    folder, _ = trained(FactorVAE, Config(**TINY))
    without, *_ = checkpoint.load(folder)
    path = folder / "model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())  # not mapped, as the file is overwritten
    more = {f"discriminator.{name}": t for name, t in fresh().discriminator.state_dict().items()}
    path.write_bytes(safetensors.torch.save(tensors | more))
    write_manifest(folder)
    model, *_ = checkpoint.load(folder)
    assert model.state_dict().keys() == without.state_dict().keys() == tensors.keys()
    assert all(torch.equal(t, tensors[name]) for name, t in model.state_dict().items())
    path.write_bytes(safetensors.torch.save(tensors | {"discriminators.x": torch.zeros(1)}))
    write_manifest(folder)
    with pytest.raises(Damaged, match="discriminators"):
        checkpoint.load(folder)


def test_a_model_folder_of_full_size_is_small(tmp_path, models):
    _, table, _ = checkpoint.load(models / "first")
    checkpoint.save(tmp_path, FactorVAE(Config(latents=4), 3), table, torch.zeros(4), "shapes3d", "", {})
    assert (tmp_path / "model.safetensors").stat().st_size < 3 * 2**20
