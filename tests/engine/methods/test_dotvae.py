import json
import math
from copy import deepcopy

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.functional import softplus

from engine import checkpoint, export, factors, gaussian, train
from engine.method import Slot
from engine.methods.dotvae import Config, Discriminator, DotVAE, Schedule
from tests.tiny import gradients, noise, seeded

FACTORS, LATENTS = 3, 4
SIZE = FACTORS + LATENTS
TINY = {"factors": FACTORS, "latents": LATENTS, "encoder_width": 4, "decoder_width": 4}
ALONE, FULL = 100, 200  # z has its first price until the one step, and its full price from the other


def fresh(open=(1, 0, 1), trial=2, channels=1, **options):
    """A small model whose code changes the picture, in the middle of a trial that does not end."""
    defaults = TINY | {"alone": ALONE, "beta_full": FULL, "settle": 1000, "give_up": 1000}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DotVAE(Config(**defaults | options), channels)
    schedule = model.schedule
    with torch.no_grad():
        for part in (model.encoder, model.decoder):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(3)  # torch's default lets the signal fade
        model.encoder.head.weight.mul_(8)  # so that images have codes of their own, with KLs of a nat or so
        schedule.open.copy_(torch.tensor(open))
        schedule.kept.copy_(schedule.open * (torch.arange(len(open)) != trial))
        schedule.trial.fill_(trial)
        schedule.since.fill_(1)
    return model


def images(channels=1):
    return noise(8, channels).float() / 255


def same_state(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_is_called_and_laid_out_as_factors_beside_a_residual():
    model = fresh()
    assert model.title == "DOT-VAE" and model.ordered
    assert model.layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 7, "residual"))
    assert model.code_size == SIZE and model.stages() == (ALONE,)


def test_the_discriminator_is_infogan_crs():
    layers = Discriminator(3).layers
    convolutions = [m for m in layers if isinstance(m, nn.Conv2d)]
    linear = [m for m in layers if isinstance(m, nn.Linear)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(3, 32), (32, 32), (32, 64), (64, 64)]
    assert all((m.kernel_size, m.stride, m.padding) == ((4, 4), (2, 2), (1, 1)) for m in convolutions)
    assert [(m.in_features, m.out_features) for m in linear] == [(1024, 128), (128, 1)]
    assert [m.negative_slope for m in layers if isinstance(m, nn.LeakyReLU)] == [0.2] * 5
    assert isinstance(layers[-1], nn.Linear)
    x = torch.rand(2, 3, 64, 64, generator=seeded())
    with torch.no_grad():
        for _ in range(200):  # each pass is one step of the power iteration
            assert layers(x).shape == (2, 1)
        for m in (*convolutions, *linear):
            assert torch.linalg.matrix_norm(m.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


# --- closed factors

def test_a_closed_factor_is_zero_in_the_code_and_as_the_prior_in_the_posterior():
    model, x = fresh(open=(1, 0, 1)), images()
    mean, log_variance = model.encoder(x).chunk(2, dim=1)
    got = model.posterior(x)
    for ours, raw in zip(got, (mean, log_variance), strict=True):
        assert ours.shape == (8, SIZE) and not ours[:, 1].any() and raw[:, 1].all()
        rest = [0, *range(2, SIZE)]
        assert torch.equal(ours[:, rest], raw[:, rest])
    kl = gaussian.kl_to_prior(*got)
    assert kl[1] == 0 and (kl[[0, *range(2, SIZE)]] > 0).all()
    assert torch.equal(model.encode(x), got[0])


@pytest.mark.parametrize("open", [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 1)])
def test_the_decoder_does_not_see_a_closed_factor(open):
    model, code = fresh(open=open), torch.randn(5, SIZE, generator=seeded())
    picture = model.decode(code)
    torch.testing.assert_close(picture, model.decoder(code * torch.tensor([*open, *[1] * LATENTS])).sigmoid())
    for j in range(SIZE):
        other = code.clone()
        other[:, j] += 3
        assert torch.equal(model.decode(other), picture) == (j < FACTORS and not open[j])


@pytest.mark.parametrize("stage", [0, 1])
def test_closed_factors_get_no_gradient(stage):
    open = (1, 0, 1) if stage else (0, 0, 0)
    model = fresh(open=open, trial=2 if stage else -1)
    model.loss(images(), torch.tensor(ALONE), seeded(), stage)["loss"].backward()
    carries = torch.tensor([*open, *[1] * LATENTS])
    for parameter in (model.encoder.head.weight, model.encoder.head.bias):
        reached = parameter.grad.reshape(2, SIZE, -1).abs().sum(2)
        assert torch.equal(reached > 0, carries.expand(2, -1) > 0)
    assert torch.equal(model.decoder.hidden[0].weight.grad.abs().sum(0) > 0, carries > 0)


# --- total correlation over a part of the code

def codes(count=6):
    mean, log_variance = 2 * torch.randn(2, count, SIZE, generator=seeded())
    return gaussian.sample(mean, log_variance, seeded(1)), mean, log_variance


def test_closed_factors_cancel_in_the_total_correlation():
    shown, closed = [1, 3, 4, 5, 6], [0, 2]
    sampled, mean, log_variance = (t.requires_grad_() for t in codes())
    keep = torch.tensor([float(j not in closed) for j in range(SIZE)])  # the prior for every image
    whole = gaussian.total_correlation(sampled, mean * keep, log_variance * keep)
    alone = gaussian.total_correlation(*(t[:, shown] for t in (sampled, mean, log_variance)))
    # But for a constant, of which the estimate drops some more.
    torch.testing.assert_close(whole, alone - len(closed) * math.log(6))
    leaves = sampled, mean, log_variance
    for of_whole, of_alone in zip(torch.autograd.grad(whole, leaves), torch.autograd.grad(alone, leaves), strict=True):
        torch.testing.assert_close(of_whole, of_alone)


# --- the loss on data

def by_loops(model, x, open):
    """Reconstruction, KL of each dimension and total correlation in double precision, one number at a time."""
    raw = model.encoder(x).detach()
    noise_ = torch.randn(len(x), SIZE, generator=seeded())
    carries = [bool(o) for o in open] + [True] * LATENTS
    mean, variance, code = ([[0.0] * SIZE for _ in x] for _ in range(3))
    for i in range(len(x)):
        for j in range(SIZE):
            if carries[j]:
                mean[i][j], variance[i][j] = raw[i, j].item(), math.exp(raw[i, SIZE + j].item())
                code[i][j] = mean[i][j] + math.sqrt(variance[i][j]) * noise_[i, j].item()
    p = model.decoder(torch.tensor(code)).detach().double().sigmoid()
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).sum().item() / len(x)
    kl = [sum(m[j] ** 2 + v[j] - math.log(v[j]) - 1 for m, v in zip(mean, variance, strict=True)) / 2 / len(x)
          if carries[j] else 0.0 for j in range(SIZE)]

    def density(i, k, j):  # q(code j of image i | image k); a closed dimension is certain
        if not carries[j]:
            return 1.0
        off = (code[i][j] - mean[k][j]) ** 2 / variance[k][j]
        return math.exp(-off / 2) / math.sqrt(2 * math.pi * variance[k][j])

    rows = range(len(x))
    tc = sum(math.log(sum(math.prod(density(i, k, j) for j in range(SIZE)) for k in rows))
             - sum(math.log(sum(density(i, k, j) for k in rows)) for j in range(SIZE)) for i in rows) / len(x)
    return reconstruction, kl, tc


def test_before_any_factor_it_is_an_elbo_of_z_and_its_total_correlation():
    model, x = fresh(open=(0, 0, 0), trial=-1, beta_tc=3.5, beta=9.0), images()
    before = deepcopy(model)
    terms = model.loss(x, torch.tensor(ALONE - 1), seeded())
    assert set(terms) == {"loss", "reconstruction", "kl", "tc"}
    reconstruction, kl, tc = by_loops(model, x, (0, 0, 0))
    assert terms["reconstruction"].item() == pytest.approx(reconstruction, rel=1e-5)
    assert terms["kl"].item() == pytest.approx(sum(kl), rel=1e-4)
    assert terms["tc"].item() == pytest.approx(tc, rel=1e-4)
    assert terms["loss"].item() == pytest.approx(reconstruction + sum(kl) + 3.5 * tc, rel=1e-5)
    assert all(g is None for g in gradients(terms["loss"], model.discriminator).values())
    before.schedule.know(torch.tensor(kl))  # nothing else changes
    torch.testing.assert_close(model.state_dict(), before.state_dict())


@pytest.mark.parametrize(("step", "ramp"), [(ALONE, 0), (125, 0.25), (150, 0.5), (FULL, 1), (10**6, 1)])
@pytest.mark.parametrize("boost", [1.0, 1.5])
def test_awake_z_grows_dearer_than_the_open_factors(step, ramp, boost):
    open = (1, 0, 1)
    model, x = fresh(open, beta=5.0, gamma=0.7, beta_tc=3.5, recover_weight=0, realism_weight=0), images()
    model.schedule.boost.fill_(boost)
    terms = model.loss(x, torch.tensor(step), seeded(), stage=1)
    reconstruction, kl, tc = by_loops(model, x, open)
    price = boost * (1 + 4 * ramp)
    assert terms["kl"].item() == pytest.approx(sum(kl[FACTORS:]), rel=1e-4)
    assert terms["kl_c"].item() == pytest.approx(kl[0] + kl[2], rel=1e-4)
    expected = reconstruction + price * sum(kl[FACTORS:]) + 0.7 * (kl[0] + kl[2]) + 3.5 * tc
    assert (terms["loss"] - terms["discrimination"]).item() == pytest.approx(expected, rel=1e-5)
    assert min(kl[0], sum(kl[FACTORS:]), abs(tc)) > 1e-4 * reconstruction  # each has its say
    assert terms["open"] == 2


def test_the_price_may_be_full_at_once():
    for full in (ALONE, 0):
        model = fresh(beta_full=full, beta=5.0, recover_weight=0, realism_weight=0, beta_tc=0)
        terms = model.loss(images(), torch.tensor(ALONE + 1), seeded(), stage=1)
        expected = terms["reconstruction"] + 5 * terms["kl"] + terms["kl_c"] + terms["discrimination"]
        torch.testing.assert_close(terms["loss"], expected)


def test_the_loss_is_the_documented_sum():
    weights = {"recover_weight": 3.0, "realism_weight": 0.3}
    alone, whole = (
        fresh(**w).loss(images(), torch.tensor(ALONE), seeded(), stage=1)
        for w in (dict.fromkeys(weights, 0), weights)
    )
    assert set(whole) == {"loss", "reconstruction", "kl", "kl_c", "tc", "recover", "realism", "discrimination", "open"}
    for name in ("recover", "realism", "discrimination"):
        assert whole[name] > 0
    torch.testing.assert_close(whole["loss"], alone["loss"] + 3 * whole["recover"] + 0.3 * whole["realism"])


def test_every_stage_follows_the_kl_of_its_batch():
    for stage in (0, 1):
        model, x = fresh(), images()
        model.loss(x, torch.tensor(ALONE), seeded(), stage)
        torch.testing.assert_close(model.schedule.kl, 0.01 * gaussian.kl_to_prior(*model.posterior(x)))
        assert not model.schedule.kl.requires_grad


def test_the_discriminator_has_its_own_momentum():
    vae, discriminator = fresh().groups()
    assert "betas" not in vae and discriminator["betas"] == (0.5, 0.9)
    assert len(discriminator["params"]) == 12 and "lr" not in discriminator


def test_every_parameter_gets_a_gradient():
    model = fresh(open=(1, 1, 1))
    model.loss(images(), torch.tensor(FULL), seeded(), stage=1)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


def test_its_randomness_is_the_generators():
    first, same, other = (
        {k: t.item() for k, t in fresh().loss(images(), torch.tensor(ALONE), seeded(s), stage=1).items()}
        for s in (0, 0, 1)
    )
    assert first == same
    assert all(first[name] != other[name] for name in ("loss", "reconstruction", "tc", "recover", "discrimination"))


# --- which factor an intervention moves

def shares(open, trial, count=8000):
    model = fresh(open=open, trial=trial)
    chosen = model.choose(count, seeded())
    assert chosen.shape == (count, FACTORS) and chosen.dtype == torch.float32
    assert set(chosen.unique().tolist()) <= {0.0, 1.0}
    assert torch.equal(chosen.sum(1), torch.full((count,), float(any(open))))
    return chosen.mean(0).tolist()


@pytest.mark.parametrize(
    ("open", "trial", "expected"),
    [((1, 1, 1), 2, (1 / 4, 1 / 4, 1 / 2)), ((1, 1, 1), 1, (1 / 4, 1 / 2, 1 / 4)), ((1, 0, 1), 2, (1 / 2, 0, 1 / 2)),
     ((1, 0, 0), 0, (1, 0, 0)), ((1, 1, 1), -2, (1 / 3, 1 / 3, 1 / 3)), ((0, 1, 1), -2, (0, 1 / 2, 1 / 2)),
     ((0, 0, 0), -1, (0, 0, 0)), ((0, 0, 0), -2, (0, 0, 0))],
)
def test_the_newest_factor_is_moved_in_half_of_the_images_and_a_closed_one_in_none(open, trial, expected):
    got = shares(open, trial)
    for share, wanted in zip(got, expected, strict=True):
        # five standard deviations, and none at all where the outcome is certain
        assert abs(share - wanted) <= 5 * math.sqrt(wanted * (1 - wanted) / 8000)


def test_choices_are_drawn_from_their_generator_only():
    model, state = fresh(open=(1, 1, 1)), torch.get_rng_state()
    first, same, other = (model.choose(100, seeded(s)) for s in (0, 0, 1))
    assert torch.equal(first, same) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


# --- asleep

def asleep(model, x=None, seed=0):
    """Terms of the sleep step, the means it started from and the codes that it decoded first.

    The discriminator's weights stand still meanwhile, so that it can be asked again."""
    x = images() if x is None else x
    model.discriminator.eval()
    decoded, decode = [], model.decode
    model.decode = lambda code: (decoded.append(code), decode(code))[1]
    mean = model.encode(x).detach()
    terms = model.sleep(x, mean, seeded(seed))
    del model.decode
    return terms, mean, decoded[0]


@pytest.mark.parametrize("open", [(1, 1, 1), (1, 0, 1), (0, 0, 1)])
@pytest.mark.parametrize("source", ["prior", "posterior"])
def test_asleep_one_open_factor_of_each_image_is_replaced(open, source):
    x, moved = images(), set()
    for seed in range(6):
        model = fresh(open=open, interventions=source)
        _, mean, target = asleep(model, x, seed)
        generator = seeded(seed)
        chosen = model.choose(len(x), generator).argmax(1)  # drawn first
        values = torch.randn(len(x), generator=generator)
        assert torch.equal((target != mean).sum(1), torch.ones(8, dtype=torch.int64))
        assert torch.equal((target != mean).int().argmax(1), chosen)
        for i, k in enumerate(chosen.tolist()):
            if source == "prior":
                assert target[i, k].item() == pytest.approx(values[i].item(), abs=1e-5)
            else:
                others = [mean[j, k].item() for j in range(len(x)) if j != i]
                assert min(abs(target[i, k].item() - value) for value in others) < 1e-5
            moved.add(k)
    assert moved == {k for k in range(FACTORS) if open[k]}


def test_before_any_factor_is_open_nothing_is_replaced():
    model = fresh(open=(0, 0, 0), trial=-1)
    (recover, *_), mean, target = asleep(model)
    assert torch.equal(target, mean) and recover.isfinite()
    assert not any(getattr(model.schedule, name).any() for name in ("error", "energy", "change", "reach"))


def test_asleep_the_terms_are_those_of_the_decoded_interventions():
    model, x = fresh(), images()
    (recover, realism, discrimination), _, target = asleep(model, x)
    with torch.no_grad():
        dreamt = model.decode(target)
        wrong = model.encode(dreamt) - target
        real, fake = model.discriminator(x).tolist(), model.discriminator(dreamt).tolist()
    assert recover.item() == pytest.approx(sum(w**2 for row in wrong.tolist() for w in row) / 8, rel=1e-5)
    assert realism.item() == pytest.approx(-sum(math.log(1 / (1 + math.exp(-v))) for v in fake) / 8, rel=1e-5)
    assert max(map(abs, fake)) > 1e-3 and abs(sum(real) - sum(fake)) > 1e-3
    cost = sum(math.log(1 + math.exp(-v)) for v in real) / 8 + sum(math.log(1 + math.exp(v)) for v in fake) / 8
    assert discrimination.item() == pytest.approx(cost, rel=1e-5)


def test_realism_teaches_the_decoder_alone():
    model = fresh()
    (_, realism, _), _, target = asleep(model)
    assert all(g is None for part in (model.discriminator, model.encoder) for g in gradients(realism, part).values())
    got = gradients(realism, model.decoder)
    expected = gradients(softplus(-model.discriminator(model.decode(target))).mean(), model.decoder)
    for name in got:
        torch.testing.assert_close(got[name], expected[name])
        assert got[name].abs().sum() > 0


def test_discrimination_teaches_the_discriminator_alone():
    model, x = fresh(), images()
    (_, _, discrimination), _, _ = asleep(model, x)
    for part in (model.encoder, model.decoder):
        assert all(g is None for g in gradients(discrimination, part).values())
    assert all(g.abs().sum() > 0 for g in gradients(discrimination, model.discriminator).values())
    terms = fresh().loss(x, torch.tensor(ALONE), seeded(), stage=1)
    assert terms["discrimination"].isfinite()


def test_the_whole_loss_teaches_the_discriminator_its_own_only():
    model = fresh(realism_weight=7.0)
    terms = model.loss(images(), torch.tensor(ALONE), seeded(), stage=1)
    whole, own = (gradients(terms[name], model.discriminator) for name in ("loss", "discrimination"))
    assert all(torch.equal(whole[name], own[name]) for name in own)
    for name in ("reconstruction", "kl", "kl_c", "tc", "recover", "realism"):
        assert all(g is None for g in gradients(terms[name], model.discriminator).values()), name


def test_recovery_teaches_encoder_and_decoder_towards_a_target_that_stands_still():
    model = fresh()
    terms = model.loss(images(), torch.tensor(ALONE), seeded(), stage=1)
    generator = seeded()
    torch.randn(8, SIZE, generator=generator)  # the code of the wake step
    mean = model.encode(images()).detach()
    chosen = model.choose(8, generator)
    target = mean.clone()
    for i, k in enumerate(chosen.argmax(1).tolist()):
        target[i, k] = 0
    target[:, :FACTORS] += chosen * torch.randn(8, generator=generator)[:, None]
    expected = ((model.encode(model.decode(target)) - target) ** 2).sum() / 8
    torch.testing.assert_close(terms["recover"], expected)
    for part in (model.encoder, model.decoder):
        got, wanted = gradients(terms["recover"], part), gradients(expected, part)
        for name in got:
            torch.testing.assert_close(got[name], wanted[name], rtol=1e-4, atol=1e-3)
            assert got[name].abs().max() > 0.1, name


def test_what_interventions_do_is_followed_factor_by_factor():
    model, x = fresh(open=(1, 0, 1)), images()
    _, mean, target = asleep(model, x)
    with torch.no_grad():
        pictures, again = model.decode(target), model.encode(model.decode(target))
        change = (pictures - model.decode(mean)).abs()
    schedule, moved = model.schedule, target - mean
    for k in range(FACTORS):
        rows = [i for i in range(8) if moved[i, k]]
        assert bool(rows) == (k != 1)
        for name, values in (
            ("error", (again - target)[:, k] ** 2),
            ("energy", target[:, k] ** 2),
            ("change", change.mean((1, 2, 3))),
            ("reach", moved[:, k].abs()),
        ):
            expected = sum(values[i].item() for i in rows) / max(len(rows), 1)
            assert getattr(schedule, name)[k].item() == pytest.approx(0.01 * expected, rel=1e-3), (k, name)
    pair = sum((x[i] - x[i - 1]).abs().mean().item() for i in range(8)) / 8
    assert schedule.pair.item() == pytest.approx(0.01 * pair, rel=1e-4)
    assert not any(b.requires_grad for b in schedule.buffers())


def test_a_factor_that_was_not_moved_keeps_its_figures():
    schedule = Schedule(Config(**TINY))
    for name in ("error", "energy", "change", "reach"):
        getattr(schedule, name).fill_(1)
    chosen = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 1]])
    schedule.watch(chosen, torch.tensor([1.0, -3, 0]), torch.tensor([2.0, -4, 0]), torch.tensor([1.0, 3, 11]),
                   torch.tensor([0.5, 0.7, 2]), torch.tensor(5.0))
    assert schedule.error.tolist() == pytest.approx([0.99 + 0.01 * 5, 1, 0.99 + 0.01 * 121])
    assert schedule.energy.tolist() == pytest.approx([0.99 + 0.01 * 5, 1, 0.99])
    assert schedule.change.tolist() == pytest.approx([0.99 + 0.01 * 0.6, 1, 0.99 + 0.01 * 2])
    assert schedule.reach.tolist() == pytest.approx([0.99 + 0.01 * 3, 1, 0.99])
    assert schedule.pair.item() == pytest.approx(0.05)
    schedule.error.copy_(torch.tensor([1.0, 0, 3]))
    schedule.energy.copy_(torch.tensor([4.0, 2, 3]))
    assert schedule.r2().tolist() == [0.75, 1, 0]


@pytest.mark.parametrize(("reading", "explains"), [(lambda value: 0 * value, 0.0), (lambda value: 0.5 * value, 0.75)])
def test_r2_is_the_share_of_the_new_values_that_is_read_back(reading, explains):
    schedule, generator = Schedule(Config(factors=1)), seeded()
    for _ in range(1500):
        old, value = torch.randn(2, 64, generator=generator)
        schedule.watch(torch.ones(64, 1), value, value - old, reading(value) - value, torch.ones(64), torch.tensor(1.0))
    assert schedule.r2().item() == pytest.approx(explains, abs=0.05)


# --- the schedule

QUICK = {"factors": 4, "latents": 3, "settle": 20, "give_up": 43, "check": 10, "rejects": 2, "raise_beta": 1.25,
         "keep_kl": 0.2, "keep_r2": 0.5, "keep_change": 0.01}
GOOD = {"kl": 1.0, "r2": 0.9, "change": 0.1}
BAD = [{"kl": 0.19}, {"r2": 0.49}, {"change": 0.0095}, {"reach": 10.5}, {"pair": 10.5}]


class Ledger:
    """A schedule whose statistics are what the test says, and what became of it."""

    def __init__(self, **options):
        self.schedule = Schedule(Config(**QUICK | options))
        self.history = []  # (trial, since, open) after each step

    def decide(self, steps=1, kl=1.0, r2=0.9, change=0.1, reach=1.0, pair=1.0):
        """Decide `steps` times while every factor looks as told; figures may be functions of `since`."""
        schedule = self.schedule
        for _ in range(steps):
            now = schedule.since.item() + 1
            at = lambda value: value(now) if callable(value) else value  # noqa: E731, B023
            schedule.kl.fill_(at(kl))
            schedule.energy.fill_(4)
            schedule.error.fill_(4 * (1 - at(r2)))
            schedule.change.fill_(at(change))
            schedule.reach.fill_(reach)
            schedule.pair.fill_(pair)
            schedule.decide()
            self.history.append((self.trial, schedule.since.item(), tuple(schedule.open.tolist())))
        return self

    def until_it_ends(self, **figures):
        """Decide until the trial is over; returns the number of its steps."""
        mine = self.trial
        for number in range(1, 200):
            if self.decide(**figures).trial != mine:
                return number
        raise AssertionError("the trial does not end")

    def values(self, name):
        return getattr(self.schedule, name).tolist()

    @property
    def trial(self):
        return self.schedule.trial.item()


def opened(**options):
    """A schedule with its first factor on trial."""
    return Ledger(**options).decide()


def test_at_first_all_are_closed_and_the_first_step_opens_one():
    ledger = Ledger()
    assert ledger.trial == -1 and ledger.values("open") == [0, 0, 0, 0] and ledger.values("boost") == 1
    ledger.decide()
    assert ledger.trial == 0 and ledger.values("open") == [1, 0, 0, 0] and ledger.values("since") == 0
    ledger.decide(7)
    assert ledger.trial == 0 and ledger.values("open") == [1, 0, 0, 0] and ledger.values("since") == 7


def test_a_good_factor_is_kept_and_the_next_one_opened():
    ledger = opened()
    assert ledger.until_it_ends(**GOOD) == 20
    assert ledger.trial == 1 and ledger.values("since") == 0
    assert ledger.values("kept") == [1, 0, 0, 0] and ledger.values("open") == [1, 1, 0, 0]
    assert ledger.values("rejected") == 0 and ledger.values("boost") == 1
    assert ledger.until_it_ends(**GOOD) == 20
    assert ledger.values("kept") == [1, 1, 0, 0] and ledger.values("open") == [1, 1, 1, 0]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: next(iter(bad)))
def test_a_factor_must_carry_information_be_read_back_and_change_the_picture(bad):
    ledger = opened()
    ledger.until_it_ends(**GOOD | bad)
    assert ledger.trial == 1 and ledger.values("since") == 0
    assert ledger.values("kept") == [0, 0, 0, 0] and ledger.values("open") == [0, 1, 0, 0]
    assert ledger.values("rejected") == 1 and ledger.values("boost") == 1.25


@pytest.mark.parametrize("barely", [{"kl": 0.21}, {"r2": 0.51}, {"change": 0.0105}, {"reach": 9.5}, {"pair": 9.5}],
                         ids=lambda barely: next(iter(barely)))
def test_barely_good_is_good(barely):
    ledger = opened()
    ledger.until_it_ends(**GOOD | barely)
    assert ledger.values("kept") == [1, 0, 0, 0] and ledger.values("rejected") == 0


def test_it_is_judged_by_its_own_figures():
    for good in (0, 1):
        ledger = opened()
        ledger.until_it_ends()
        for _ in range(19):
            ledger.decide()
        schedule = ledger.schedule
        mine = torch.arange(7) == 1
        schedule.kl.copy_(torch.where(mine, float(good), float(not good)))
        schedule.before[0] = float(good)
        schedule.decide()
        if not good:  # no information at all never counts as settled
            assert ledger.trial == 1
            for _ in range(23):
                schedule.decide()
        assert ledger.trial == 2 and ledger.values("kept") == [1, good, 0, 0]


def growing(rate):
    return lambda now: rate**now


@pytest.mark.parametrize("last", [{}, {"r2": 0.1}])
def test_a_factor_that_does_not_settle_is_judged_when_its_time_is_up(last):
    ledger = opened()
    assert ledger.until_it_ends(kl=growing(1.02), **last) == 43  # not at a check
    assert ledger.trial == 1 and ledger.values("kept") == [float(not last), 0, 0, 0]


@pytest.mark.parametrize("settle", [20, 30, 31, 40])
def test_no_trial_ends_before_it_may(settle):
    ledger = opened(settle=settle)
    assert ledger.until_it_ends(**GOOD) == 10 * math.ceil(settle / 10)


@pytest.mark.parametrize(("check", "steps"), [(8, 24), (7, 21), (15, 30), (20, 40)])
def test_a_trial_that_changes_no_more_ends_at_a_check(check, steps):
    # At the first check there is nothing yet to compare with but what went before.
    ledger = opened(check=check)
    ledger.schedule.before.fill_(-9)
    assert ledger.until_it_ends(**GOOD) == steps


def test_a_trial_goes_on_for_as_long_as_checks_differ():
    until = lambda end: lambda now: min(now, end) / 40  # noqa: E731
    assert opened(give_up=90).until_it_ends(kl=until(20)) == 30
    assert opened(give_up=90).until_it_ends(kl=until(35)) == 50
    assert opened(give_up=90).until_it_ends(r2=until(35)) == 50
    swinging = lambda now: 1 + math.sin(2 * math.pi * now / 10) / 2  # the same at every check  # noqa: E731
    assert opened().until_it_ends(kl=swinging) == 20


@pytest.mark.parametrize(
    ("change", "ends"),
    [({"kl": lambda now: 1 + 0.0045 * now}, 20), ({"kl": lambda now: 1 + 0.0060 * now}, 40),
     ({"kl": lambda now: 1 - 0.0045 * now}, 20), ({"kl": lambda now: 2 * (1 - 0.0060 * now)}, 43),
     ({"r2": lambda now: 0.6 + 0.0009 * now}, 20), ({"r2": lambda now: 0.6 + 0.0011 * now}, 43),
     ({"r2": lambda now: 0.6 - 0.0009 * now}, 20), ({"r2": lambda now: 0.6 - 0.0011 * now}, 43)],
)
def test_still_is_less_than_a_twentieth_of_kl_and_a_hundredth_of_r2(change, ends):
    assert opened().until_it_ends(**GOOD | change) == ends


def test_every_rejected_factor_makes_z_dearer():
    ledger, bad = opened(), {"r2": 0.1}
    for figures, boost, rejected in (({}, 1, 0), (bad, 1.25, 1), ({}, 1.25, 0)):
        ledger.until_it_ends(**figures)
        assert (ledger.values("boost"), ledger.values("rejected")) == (boost, rejected)
    ledger.until_it_ends(**bad)
    assert ledger.values("boost") == 1.25**2 and ledger.values("rejected") == 1
    assert ledger.values("kept") == [1, 0, 1, 0] == ledger.values("open")


@pytest.mark.parametrize("rejects", [1, 2, 3])
def test_the_search_is_over_after_so_many_rejected_in_a_row(rejects):
    ledger = opened(rejects=rejects, factors=6)
    ledger.until_it_ends(**GOOD)
    for number in range(rejects):
        assert ledger.trial == 1 + number
        ledger.until_it_ends(kl=0.1)
    assert ledger.trial == -2
    before = [ledger.values(name) for name in ("open", "kept", "trial", "boost", "rejected")]
    assert before[:2] == [[1, 0, 0, 0, 0, 0]] * 2
    ledger.decide(100, **GOOD)
    assert [ledger.values(name) for name in ("open", "kept", "trial", "boost", "rejected")] == before


def test_rejections_that_are_not_in_a_row_end_nothing():
    ledger = opened(factors=6)
    for number in range(6):
        assert ledger.trial == number
        ledger.until_it_ends(kl=(1.0, 0.1)[number % 2])
    assert ledger.values("kept") == [1, 0, 1, 0, 1, 0] and ledger.trial == -2


@pytest.mark.parametrize("last", [{}, {"kl": 0.1}])
def test_the_search_is_over_after_the_last_factor(last):
    ledger = opened()
    for _ in range(3):
        ledger.until_it_ends(**GOOD)
    assert ledger.trial == 3
    ledger.until_it_ends(**GOOD | last)
    assert ledger.trial == -2
    expected = [1, 1, 1, float(not last)]
    assert ledger.values("open") == ledger.values("kept") == expected
    ledger.decide(100, **GOOD)
    assert ledger.trial == -2 and ledger.values("open") == ledger.values("kept") == expected


def test_a_rejected_factor_stays_closed_and_a_kept_one_open_for_ever():
    ledger = opened(factors=6)
    for number in range(6):
        ledger.until_it_ends(**GOOD | ({"change": 0} if number in (0, 3) else {}))
    ledger.decide(50, **GOOD)
    fate = {0: 0.0, 1: 1.0, 2: 1.0, 3: 0.0, 4: 1.0, 5: 1.0}
    for trial, _, state in ledger.history:
        at = trial if trial >= 0 else 6
        assert state == tuple(fate[k] if k < at else float(k == at) for k in range(6))
    assert [t for t, *_ in ledger.history] == sorted((t for t, *_ in ledger.history[:-51]), key=int) + [-2] * 51


@pytest.mark.parametrize("at", [0, 1, 9, 15, 30, 34, 57, 120])
def test_the_schedule_goes_on_from_its_saved_state(at):
    """A good factor, two bad ones apart, one that takes all its time; saved anywhere in between."""
    figures = lambda now, trial: {  # noqa: E731
        0: {"kl": 1 - 0.5**now}, 1: {"r2": 0.2}, 2: {"kl": 1.02**now}, 3: {"change": 0.0}}.get(trial, {})

    def follow(ledger, steps):
        for _ in range(steps):
            now = ledger.schedule.since.item() + 1
            ledger.decide(**GOOD | figures(now, ledger.trial))
        return ledger

    first, second = follow(Ledger(), at), Ledger()
    second.schedule.load_state_dict(first.schedule.state_dict())
    for _ in range(150 - at):
        follow(first, 1), follow(second, 1)
        pairs = zip(first.schedule.buffers(), second.schedule.buffers(), strict=True)
        assert all(torch.equal(ours, other) for ours, other in pairs)
    assert first.trial == -2 and first.values("kept") == [1, 0, 1, 0]


# --- an opened factor starts as a part of z

def about_to_open(most=2, kept=(1, 0, 0), trial=0, **options):
    """A model that opens factor trial + 1 in its next step, while dimension `most` of z carries most."""
    model = fresh(open=kept, trial=trial, **options | {"settle": 10, "check": 10, "give_up": 10})
    schedule = model.schedule
    schedule.since.fill_(9)
    kl = 0.5 + 0.1 * torch.arange(float(SIZE))
    kl[FACTORS + most] = 2.0
    kl[:FACTORS] = torch.tensor([5.0, 0.0, 0.0])  # a factor's is not for the taking
    schedule.kl.copy_(kl)
    for name, value in (("energy", 1.0), ("error", 0.1), ("change", 0.1), ("reach", 1.0), ("pair", 1.0)):
        getattr(schedule, name).fill_(value)
    return model


def opened_by(model):
    """The model a moment later: the next factor is open and has changed places."""
    model = deepcopy(model)
    model.schedule.decide()
    assert model.schedule.trial >= 0 and model.schedule.since == 0
    model.hand_over()
    return model


@pytest.mark.parametrize(("most", "kept", "trial"), [(2, (1, 0, 0), 0), (0, (1, 0, 0), 0), (3, (0, 0, 0), -1)])
def test_a_new_factor_changes_places_with_the_dimension_that_carries_most(most, kept, trial):
    before, x = about_to_open(most, kept, trial), images()
    after = opened_by(before)
    new, place = trial + 1, FACTORS + most
    assert after.schedule.open.tolist() == [float(k == new or kept[k]) for k in range(FACTORS)]
    order = list(range(SIZE))
    order[new], order[place] = place, new
    for ours, old in zip(after.encoder(x).chunk(2, 1), before.encoder(x).chunk(2, 1), strict=True):
        torch.testing.assert_close(ours, old[:, order])
    code = torch.randn(5, SIZE, generator=seeded())
    torch.testing.assert_close(after.decoder(code[:, order]), before.decoder(code))
    assert torch.equal(after.schedule.kl, before.schedule.kl[order])
    untouched = [name for name in before.state_dict() if not name.startswith(("schedule", "encoder.head"))
                 and name != "decoder.hidden.0.weight"]
    assert all(torch.equal(after.state_dict()[name], before.state_dict()[name]) for name in untouched)


def test_the_code_is_the_same_but_for_names_and_a_fresh_dimension_and_so_is_the_picture():
    before, x = about_to_open(most=2), images()
    after = opened_by(before)
    new, place = 1, FACTORS + 2
    for ours, old in zip(after.posterior(x), before.posterior(x), strict=True):
        torch.testing.assert_close(ours[:, new], old[:, place])
        rest = [j for j in range(SIZE) if j not in (new, place)]
        torch.testing.assert_close(ours[:, rest], old[:, rest])
    code = after.encode(x)
    # What the closed factor would have said is z's new dimension; the decoder has never heard it.
    torch.testing.assert_close(code[:, place], before.encoder(x)[:, new])
    assert not torch.allclose(after.decode(code), before.decode(before.encode(x)), atol=1e-3)
    code[:, place] = 0
    torch.testing.assert_close(after.decode(code), before.decode(before.encode(x)))


def test_places_change_in_the_step_of_the_opening_only():
    model = about_to_open()
    model.schedule.decide()
    model.hand_over()
    for since, trial in ((1, 1), (5, 2), (0, -2), (0, -1), (10, 0)):
        model.schedule.since.fill_(since)
        model.schedule.trial.fill_(trial)
        before = deepcopy(model)
        model.hand_over()
        assert same_state(model, before), (since, trial)


def test_places_change_before_anything_else_in_the_step():
    model, x = about_to_open(most=2), images()
    carried = gaussian.kl_to_prior(*model.posterior(x))
    terms = model.loss(x, torch.tensor(ALONE), seeded(), stage=1)
    torch.testing.assert_close(terms["kl_c"], carried[0] + carried[FACTORS + 2])
    head = model.encoder.head.weight.clone()
    terms = model.loss(x, torch.tensor(ALONE), seeded(), stage=1)
    torch.testing.assert_close(terms["kl_c"], carried[0] + carried[FACTORS + 2])
    assert torch.equal(model.encoder.head.weight, head) and model.schedule.since == 1


@pytest.mark.parametrize(("handed", "stage"), [(False, 1), (True, 0), (True, 1)])
def test_places_change_in_the_second_stage_and_unless_told_otherwise(handed, stage):
    model = about_to_open(handed=handed)
    called, before = [], deepcopy(model)
    hand_over = model.hand_over
    model.hand_over = lambda: (called.append(model.schedule.since.item()), hand_over())
    model.loss(images(), torch.tensor(ALONE), seeded(), stage)
    moved = handed and stage == 1
    assert called == [0.0] * moved
    for name in ("encoder.head.weight", "encoder.head.bias", "decoder.hidden.0.weight"):
        assert torch.equal(model.get_parameter(name), before.get_parameter(name)) != moved
    assert model.schedule.trial == stage  # stage 0 decides nothing


def test_a_handed_factor_goes_on_learning():
    model = about_to_open()
    model.loss(images(), torch.tensor(ALONE), seeded(), stage=1)["loss"].backward()
    for parameter in (model.encoder.head.weight, model.encoder.head.bias):
        reached = parameter.grad.reshape(2, SIZE, -1).abs().sum(2) > 0
        assert reached[:, [0, 1, *range(FACTORS, SIZE)]].all() and not reached[:, 2].any()


# --- what is kept

def test_the_table_ranks_kept_factors_in_the_order_they_were_learnt():
    model = fresh(open=(1, 0, 1, 1), trial=-2, factors=4).eval()
    with torch.no_grad():  # each shows more than the one before it, and the residual most of all
        model.decoder.hidden[0].weight.mul_(torch.tensor([1.0, 9, 2, 4, 9, 9, 9, 9]))
        model.encoder.head.weight.mul_(5)
    table = factors.fit(model, noise(64, 1))
    assert [f.where for f in table] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 8)]
    assert [f.role for f in table] == ["factor"] * 4 + ["residual"]
    effects = [f.evidence["effect"] for f in table]
    assert 1 < effects[0] < effects[2] < effects[3] < effects[4] and effects[1] < 1e-3
    assert [f.rank for f in table] == [0, -1, 1, 2, -1]
    assert [f.name for f in factors.visible(table)] == ["z0", "z2", "z3"]


RUN = Config(factors=3, latents=4, encoder_width=4, decoder_width=4, alone=5, beta_full=15, settle=8, give_up=9,
             check=4, keep_kl=-1, keep_r2=-1e9, keep_change=-1)  # everything is kept


@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory):
    """Two folders of the same short run, the second one interrupted in the middle of a trial."""
    folder = tmp_path_factory.mktemp("runs")

    def fit(name):
        plan = train.Plan(data=str(pictures), out=folder / name, steps=40, batch=4, lr=5e-3, device="cpu",
                          log_every=2, save_every=10)
        [out] = train.fit(DotVAE, RUN, plan)
        assert out == folder / name / "seed0"

    class Interrupted(Exception):
        pass

    def stopping(self, number, advance=train.Trainer.advance):
        if number == 24:
            raise Interrupted
        advance(self, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MEASURED", 64)
        fit("whole")
        with patch.context() as inner:
            inner.setattr(train.Trainer, "advance", stopping)
            with pytest.raises(Interrupted):
                fit("broken")
        saved = safetensors.torch.load((folder / "broken" / "state.safetensors").read_bytes())
        schedule = {k.rpartition(".")[2]: v for k, v in saved.items() if ".schedule." in k}
        assert schedule["trial"] >= 0 and 0 < schedule["since"] < RUN.settle  # saved in the middle of a trial
        fit("broken")
    return folder


def test_an_interrupted_run_ends_as_if_it_had_not_been(runs):
    whole, broken = (safetensors.torch.load_file(runs / name / "state.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == broken.keys() and any("discriminator" in name for name in whole)
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    first, second = (
        [(row["step"], row["terms"]) for row in json.loads((runs / name / "log.json").read_text())]
        for name in ("whole", "broken")
    )
    assert first == second and len(first) == 20
    for name in ("model.safetensors", "factors.json", "config.json"):
        assert (runs / "whole" / "seed0" / name).read_bytes() == (runs / "broken" / "seed0" / name).read_bytes()


def test_a_run_learns_and_opens_one_factor_after_another(runs):
    log = [row["terms"][0] for row in json.loads((runs / "whole" / "log.json").read_text())]
    assert log[-1]["reconstruction"] < log[0]["reconstruction"] - 50
    number = [row.get("open", 0) for row in log]
    assert number == sorted(number) and number[1] == 0 and number[-1] == 3
    assert all(("recover" in row) == (step > 1) for step, row in enumerate(log))


def test_its_model_comes_back_without_the_discriminator(runs):
    folder = runs / "whole" / "seed0"
    state = safetensors.torch.load_file(runs / "whole" / "state.safetensors")
    kept = safetensors.torch.load_file(folder / "model.safetensors")
    assert not any("discriminator" in name for name in kept)
    model, table, _ = checkpoint.load(folder)
    assert model.state_dict().keys() == kept.keys() and not hasattr(model, "discriminator")
    halved = {name: state[f"0.model.{name}"].half().float() for name in kept}   # as it is stored
    assert all(torch.equal(t, halved[name]) for name, t in model.state_dict().items())
    assert model.schedule.open.tolist() == [1, 1, 1]
    assert model.decode(model.encode(images(3))).isfinite().all()
    assert [f.role for f in table] == ["factor"] * 3 + ["residual"] and table[-1].rank == -1
    assert [f.rank for f in factors.visible(table)] == list(range(len(factors.visible(table))))
