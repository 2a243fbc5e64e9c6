import pytest
import torch
from torch import distributions

from engine import checkpoint, train
from engine.method import Slot
from engine.methods.qlae import QLAE, Config, Quantiser
from tests.tiny import gradients, noise, seeded

TINY = {"latents": 4, "values": 5, "encoder_width": 4, "decoder_width": 4}


def fresh(channels=3, **options):
    """A small model whose latents take different values on different images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = QLAE(Config(**TINY | options), channels)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "quantiser" not in name:
                parameter.mul_(3 if name.endswith("weight") else 0)
    return model


def images(channels=3):
    return noise(8, channels).float() / 255


def scattered(latents=4, values=5):
    """A quantiser whose codebooks differ and are in no order."""
    quantiser = Quantiser(latents, values)
    with torch.no_grad():
        quantiser.values.copy_(torch.randn(latents, values, generator=seeded(7)))
    return quantiser


def test_it_is_called_and_laid_out_as_the_field_does():
    model = fresh()
    assert model.title == "QLAE"
    assert model.layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 4))
    config = Config()
    assert (config.latents, config.values, config.weight_decay) == (10, 10, 0.1)


# --- the quantiser

def test_every_latent_starts_with_the_same_even_ladder():
    values = Quantiser(3, 5).values
    assert values.tolist() == [pytest.approx([-0.5, -0.25, 0, 0.25, 0.5])] * 3


def test_every_number_becomes_the_nearest_value_of_its_own_codebook():
    quantiser, x = scattered(), torch.randn(50, 4, generator=seeded())
    books = quantiser.values.tolist()
    expected = [[min(books[j], key=lambda v: abs(v - row[j])) for j in range(4)] for row in x.tolist()]
    assert torch.equal(quantiser(x), torch.tensor(expected))


def test_quantising_twice_is_quantising_once():
    quantiser, x = scattered(), 3 * torch.randn(50, 4, generator=seeded())
    once = quantiser(x)
    assert torch.equal(quantiser(once), once) and not torch.equal(once, x)


def test_a_value_gets_the_gradients_of_all_who_took_it():
    quantiser, x = scattered(), torch.randn(50, 4, generator=seeded())
    weight = torch.randn(50, 4, generator=seeded(1))
    quantised = quantiser(x)
    (weight * quantised).sum().backward()
    for j, book in enumerate(quantiser.values.detach()):
        for k, value in enumerate(book):
            expected = weight[quantised[:, j] == value, j].sum()
            torch.testing.assert_close(quantiser.values.grad[j, k], expected, rtol=1e-4, atol=1e-5)


def test_codes_are_values_and_any_code_can_be_decoded():
    model = fresh()
    code = model.encode(images())
    assert all((code[:, j, None] == model.quantiser.values[j]).any(1).all() for j in range(4))
    assert len(code.unique(dim=0)) > 1
    between = code + 0.06
    assert not torch.equal(model.decode(between), model.decode(code))
    torch.testing.assert_close(model.decode(between), 1 / (1 + (-model.decoder(between)).exp()))


# --- the loss

@pytest.mark.parametrize("channels", [1, 3])
def test_the_loss_is_the_authors_times_the_number_of_pixels(channels):
    model, x = fresh(channels, quantisation_weight=0.02, commitment_weight=0.05), images(channels)
    terms = model.loss(x, torch.tensor(0), seeded())
    assert set(terms) == {"loss", "reconstruction", "quantisation", "commitment"}
    continuous, code = model.encoder(x), model.encode(x)
    error = sum(
        (c - q) ** 2 for a, b in zip(continuous.tolist(), code.tolist(), strict=True) for c, q in zip(a, b, strict=True)
    ) / (8 * 4)
    entropy = -distributions.Bernoulli(probs=model.decode(code), validate_args=False).log_prob(x).mean().item()
    assert terms["quantisation"].item() == terms["commitment"].item() == pytest.approx(error, rel=1e-5)
    pixels = channels * 64 * 64
    assert terms["reconstruction"].item() == pytest.approx(pixels * entropy, rel=1e-5)
    assert terms["loss"].item() / pixels == pytest.approx(entropy + (0.02 + 0.05) * error, rel=1e-5)
    assert error > 1e-4


def test_the_reconstruction_teaches_the_encoder_straight_through_the_quantiser():
    model, x = fresh(), images()
    reconstruction = model.loss(x, torch.tensor(0), seeded())["reconstruction"]
    code = model.encode(x).detach().requires_grad_()
    pixels = distributions.Bernoulli(logits=model.decoder(code), validate_args=False)
    [at_code] = torch.autograd.grad(-pixels.log_prob(x).sum() / 8, code)
    # The head's bias moves every continuous number of its latent alike.
    torch.testing.assert_close(gradients(reconstruction, model.encoder)["head.bias"], at_code.sum(0))
    assert at_code.abs().max() > 0


def test_each_loss_teaches_whom_it_should():
    model = fresh()
    terms = model.loss(images(), torch.tensor(0), seeded())
    taught = {
        name: {part for part in ("encoder", "quantiser", "decoder")
               if any(g is not None and g.any() for g in gradients(terms[name], getattr(model, part)).values())}
        for name in terms
    }
    assert taught == {
        "loss": {"encoder", "quantiser", "decoder"}, "reconstruction": {"encoder", "decoder"},
        "quantisation": {"quantiser"}, "commitment": {"encoder"},
    }


def test_nothing_is_drawn():
    model, x, generator = fresh(), images(), seeded()
    first = model.loss(x, torch.tensor(0), generator)["loss"]
    assert torch.equal(generator.get_state(), seeded().get_state())
    assert torch.equal(model.loss(x, torch.tensor(9), seeded(5))["loss"], first)


# --- weight decay

def test_the_trainers_adam_decays_the_weights_and_spares_biases_and_values():
    plan = train.Plan(data="", lr=0.01)
    run = train.Run(QLAE, Config(**TINY, weight_decay=0.3), 3, 0, plan, torch.device("cpu"))
    before = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for p in run.model.parameters():
        p.grad = torch.zeros_like(p)
    run.optimizer.step()
    shares = {}
    for name, p in run.model.named_parameters():
        shares[name] = 1 - 0.01 * 0.3 if name.endswith("weight") else 1.0
        torch.testing.assert_close(p.detach(), shares[name] * before[name])
    assert shares["quantiser.values"] == shares["encoder.head.bias"] == 1 != shares["decoder.hidden.0.weight"]


def test_the_decay_is_decoupled_from_the_gradient():
    """The first step of Adam is the learning rate whatever the gradient's size; a decay inside the
    gradient would drown in it."""
    plan = train.Plan(data="", lr=0.01)
    run = train.Run(QLAE, Config(**TINY, weight_decay=0.3), 3, 0, plan, torch.device("cpu"))
    weight = run.model.encoder.head.weight
    before = weight.detach().clone()
    for p in run.model.parameters():
        p.grad = torch.full_like(p, 1e4)
    run.optimizer.step()
    torch.testing.assert_close(weight.detach(), before * (1 - 0.01 * 0.3) - 0.01)


def test_a_run_learns_and_its_model_comes_back(trained):
    folder, log = trained(QLAE, Config(**TINY))
    assert log[-1]["loss"] < log[0]["loss"] - 50
    model, _, config = checkpoint.load(folder)
    assert type(model) is QLAE and config["config"]["values"] == 5
    code = model.encode(images())
    assert torch.equal(model.quantiser(code), code)
    assert not torch.equal(model.quantiser.values, Quantiser(4, 5).values)  # the values have moved
