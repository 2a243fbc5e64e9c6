import json
import math
from copy import deepcopy
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from engine import checkpoint, export, factors, train
from engine.method import Slot
from engine.methods.disdiff import Config, DisDiff, FactorEncoder, Lessons, disentangling_losses, mixed, summed
from tests.tiny import gradients, noise, seeded

N, SIZE = 3, 2
TINY = Config(factors=N, size=SIZE, encoder_width=8, decoder_width=8, unet_width=8, field_width=8, student_width=8,
              autoencoder_until=100, diffusion_until=200, disentangled_until=300, data_until=400,
              ramp=(0, 0), slow_steps=3, taught=4, remembered=6, warm_up=1)
PARTS = ("autoencoder", "base", "encoder", "fields", "tokens", "student")


def fresh(channels=3, speaking=True, **options):
    """A small model whose nets, unless told otherwise, already say something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DisDiff(replace(TINY, **options), channels)
        if speaking:
            for net in (model.base, model.fields, model.student):
                nn.init.normal_(net.out[-1].weight, std=0.1)
    model.autoencoder.spread.fill_(0.1)  # about that of the untrained encoder, so that pictures differ
    return model


def images(rows=8, channels=3):
    return noise(rows, channels).float() / 255


def step_of(stage):
    return torch.tensor(100 * stage + 50)


def loss(model, stage, x=None, seed=0):
    return model.loss(images() if x is None else x, step_of(stage), seeded(seed), stage)


def inputs(rows=4, count=N):
    """Latents, times and factors."""
    x = torch.randn(rows, 4, 16, 16, generator=seeded(1))
    return x, torch.tensor([10, 300, 500, 900])[:rows], torch.randn(rows, count, SIZE, generator=seeded(2))


def test_it_is_called_and_laid_out_as_vectors_beside_what_is_the_pictures_own():
    model = fresh()
    assert model.title == "DisDiff" and model.stages() == (100, 200, 300, 400)
    assert model.layout()[:N] == (Slot(0, 2), Slot(2, 4), Slot(4, 6))
    assert {slot.role for slot in model.layout()[N:]} == {"residual"}


def test_the_default_model_fits_where_it_must():
    model = DisDiff(Config(), 3)
    assert sum(p.numel() for p in model.parameters()) * 2 < 15 * 2**20  # bytes at half precision
    assert model.count == 12 and model.size == 16


# --- one factor's field

def test_before_training_the_fields_are_zero_and_change_nothing():
    model = fresh(speaking=False)
    with torch.no_grad():
        nn.init.normal_(model.base.out[-1].weight, std=0.1)
    x, t, z = inputs()
    base, features = model.base(x, t)
    assert not model.fields(features, t, z).any() and base.any()
    assert torch.equal(model.predict(x, t, z), base)


def test_a_field_depends_on_its_own_factor_only():
    model, (x, t, z) = fresh(), inputs()
    _, features = model.base(x, t)
    z.requires_grad_()
    fields = model.fields(features, t, z)
    assert fields.shape == (4, N, 4, 16, 16)
    for k in range(N):
        [gradient] = torch.autograd.grad((fields[:, k] * torch.randn(4, 4, 16, 16, generator=seeded())).sum(), z,
                                         retain_graph=True)
        touched = gradient.abs().sum(2) > 0
        assert torch.equal(touched, torch.eye(N, dtype=torch.bool)[k].expand(4, -1))
    moved = z.detach().clone()
    moved[:, 1] += 2
    other = model.fields(features, t, moved)
    assert torch.equal((other != fields).flatten(2).any(2), torch.tensor([False, True, False]).expand(4, -1))


def test_the_same_code_means_another_thing_for_another_factor():
    model, (x, t, z) = fresh(), inputs()
    fields = model.fields(model.base(x, t)[1], t, z[:, :1].expand(-1, N, -1))
    assert min((fields[:, a] - fields[:, b]).abs().max() for a, b in ((0, 1), (1, 2), (0, 2))) > 1e-3


def test_folding_the_factors_into_the_batch_changes_nothing():
    model, (x, t, z) = fresh(), inputs()
    _, features = model.base(x, t)
    together = model.fields(features, t, z)
    for k in range(N):
        alone = deepcopy(model.fields)
        alone.identity = nn.Parameter(model.fields.identity[k:k + 1])
        torch.testing.assert_close(alone(features, t, z[:, k:k + 1])[:, 0], together[:, k])


def test_the_prediction_is_the_frozen_one_less_the_fields_times_the_noise():
    model, (x, t, z) = fresh(), inputs()
    base, features = model.base(x, t)
    fields, strength = model.fields(features, t, z), model.schedule.noise[t]
    expected = [base[i] - strength[i] * sum(fields[i]) for i in range(4)]
    torch.testing.assert_close(model.predict(x, t, z), torch.stack(expected))


@pytest.mark.parametrize("off", range(N))
def test_a_fields_strength_can_be_set_alone(off):
    model, (x, t, z) = fresh(), inputs()
    base, features = model.base(x, t)
    fields, strength = model.fields(features, t, z), model.schedule.noise[t][:, None, None, None]
    on = torch.ones(N)
    on[off] = 0
    without = model.predict(x, t, z, on)
    torch.testing.assert_close(without, model.predict(x, t, z) + strength * fields[:, off])
    assert torch.equal(model.predict(x, t, z, on.expand(4, -1)), without)
    moved = z.clone()
    moved[:, off] += 5
    assert torch.equal(model.predict(x, t, moved, on), without)  # it has nothing to say any more
    torch.testing.assert_close(model.predict(x, t, z, torch.zeros(N)), base)
    torch.testing.assert_close(model.predict(x, t, z, 1 - on), base - strength * fields[:, off])
    only = model.slow(x, z, 1 - on)
    assert torch.equal(only, model.slow(x, torch.where((1 - on)[:, None] > 0, z, z + 3), 1 - on))
    assert not torch.allclose(only, model.slow(x, z), atol=1e-3)


# --- what one field does

def test_one_field_alone_is_the_solvers_picture_with_the_others_off():
    model, (_, _, z) = fresh(), inputs()
    with torch.no_grad():
        off = model.alone(z, torch.zeros(N))
        assert torch.equal(off, model.alone(z + 3, torch.zeros(N)))  # without any, nothing is said of the picture
        only = model.alone(z, torch.eye(N)[1])
        expected = model.schedule.dpm(
            lambda x, t: model.base(x, t)[0] - model.schedule.noise[t][:, None, None, None]
            * model.fields(model.base(x, t)[1], t, z)[:, 1], model.start(z), 3, 4.0)
    torch.testing.assert_close(only, model.autoencoder.decode(expected))
    assert (only - off).abs().max() > 1e-2


def test_a_heat_map_is_what_one_field_changes_in_the_guess_at_the_picture():
    model, (latents, t, z) = fresh(), inputs()
    with torch.no_grad():
        heat = model.touched(latents, z, t)
        signal, strength = (s[t].view(-1, 1, 1, 1) for s in (model.schedule.signal, model.schedule.noise))
        x = signal * latents + strength * model.noise
        base, features = model.base(x, t)
        fields = model.fields(features, t, z)
        guess = lambda eps: model.autoencoder.decode(((x - strength * eps) / signal).clamp(-4, 4))  # noqa: E731
        for k in range(N):
            change = (guess(base - strength * fields[:, k]) - guess(base)).abs()
            torch.testing.assert_close(heat[:, k], 255 * change.mean(1), atol=2e-2, rtol=1e-3)
        moved = z.clone()
        moved[:, 1] += 2
        other = model.touched(latents, moved, t)
    assert heat.shape == (4, N, 64, 64) and heat.amax((2, 3)).min() > 0.1
    torch.testing.assert_close(other[:, [0, 2]], heat[:, [0, 2]])
    assert (other[:, 1] - heat[:, 1]).abs().max() > 0.1


def test_before_training_no_field_touches_anything():
    model, (latents, t, z) = fresh(speaking=False), inputs()
    assert not model.touched(latents, z, t).any()


def test_identities_begin_orthogonal():
    identity = fresh().fields.identity
    torch.testing.assert_close(identity @ identity.T, 128 * torch.eye(N), atol=1e-3, rtol=0)


# --- what is frozen and what learns

@pytest.mark.parametrize(("stage", "learning"), [
    (0, {"autoencoder"}), (1, {"base"}), (2, {"encoder", "fields"}), (3, {"tokens", "student"}),
    (4, {"tokens", "student"}),
])
def test_every_stage_trains_its_own_parts_and_all_of_them(stage, learning):
    model = fresh()
    result = loss(model, stage)["loss"]
    for part in PARTS:
        given = gradients(result, getattr(model, part))
        if part not in learning:
            assert all(g is None for g in given.values()), part
        for name, gradient in given.items():
            if part in learning:
                if name.endswith("key_value.bias"):
                    gradient = gradient.chunk(2)[1]  # a common key changes no softmax
                assert gradient is not None and gradient.isfinite().all() and gradient.any(), (part, name)


def test_the_base_stays_as_it_is_while_factors_are_learnt():
    run = train.Run(DisDiff, TINY, 3, 0, train.Plan(data="", lr=1e-2), torch.device("cpu"))
    before = {name: t.clone() for name, t in run.model.state_dict().items()}
    for number in range(200, 205):
        run.advance(lambda generator: images(), torch.tensor(number), 2)
    after = run.model.state_dict()
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"encoder", "fields", "standard"}


def test_only_the_second_stage_moves_what_factors_are_standardised_by():
    for stage in range(5):
        model = fresh()
        before = deepcopy(model.standard.state_dict())
        loss(model, stage)
        assert (stage == 2) == any(not torch.equal(before[k], v) for k, v in model.standard.state_dict().items())


# --- the disentangling losses

def read(rows=6, count=N):
    return (torch.randn(rows, count, SIZE, generator=seeded(k)) for k in range(3))


def test_both_losses_are_the_logarithm_of_the_number_of_factors_where_nothing_was_said():
    alone, _, target = read()
    invariance, variance, _ = disentangling_losses(alone, alone, target, torch.tensor([0, 1, 2, 0, 1, 2]))
    for value in (invariance, variance):
        torch.testing.assert_close(value, torch.full((6,), math.log(N)))


def test_before_training_the_losses_are_uniform_and_weigh_nothing():
    model = fresh(speaking=False)
    terms = loss(model, 2)
    assert terms["weight"] == 0 and torch.equal(terms["loss"], terms["reconstruction"])
    assert terms["invariance"].item() == pytest.approx(math.log(N)) == terms["variance"].item()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_the_losses_one_number_at_a_time(temperature):
    alone, moved, target = read()
    chosen = torch.tensor([0, 1, 2, 2, 1, 0])
    answer = disentangling_losses(alone, moved, target, chosen, temperature)
    far = lambda a, b: [math.dist(p, q) / temperature for p, q in zip(a.tolist(), b.tolist(), strict=True)]  # noqa: E731
    for i, c in enumerate(chosen.tolist()):
        changed = far(moved[i], alone[i])
        nearer = [a - b for a, b in zip(far(alone[i], target[i]), far(moved[i], target[i]), strict=True)]
        for value, logits in zip(answer, (changed, nearer), strict=False):
            expected = math.log(sum(map(math.exp, logits))) - logits[c]
            assert value[i].item() == pytest.approx(expected, rel=1e-5)
        assert answer[2][i].item() == float(changed.index(max(changed)) == c)


def test_a_factor_that_moves_alone_to_its_target_is_what_they_want():
    alone, _, target = read()
    chosen = torch.tensor([0, 1, 2, 2, 1, 0])
    pick = nn.functional.one_hot(chosen, N)[:, :, None].float()
    good = disentangling_losses(alone, alone + pick * (target - alone), target, chosen, 0.01)
    assert good[0].max() < 0.01 and good[1].max() < 0.01 and good[2].all()
    bad = disentangling_losses(alone, alone + pick.roll(1, 1) * (target - alone), target, chosen, 0.01)
    assert bad[0].min() > 10 and bad[1].min() > 10 and not bad[2].any()


def by_hand(model, x):
    """Every term of the second stage, computed from what the model is made of and the same draws."""
    latents, generator = model.autoencoder.encode(x).detach(), seeded()
    t = model.times(len(x), generator)
    eps = torch.randn(latents.shape, generator=generator)
    draw = torch.randint(N, (2, len(x)), generator=generator)
    share = torch.rand(len(x), 1, generator=generator)[:, 0]
    signal, strength = (s[t].view(-1, 1, 1, 1) for s in (model.schedule.signal, model.schedule.noise))
    x_t = signal * latents + strength * eps
    raw = model.encoder(latents)
    centre = raw.mean(0)
    spread = ((raw - centre) ** 2).mean((0, 2)).add(1e-6).sqrt()[:, None]
    base, features = model.base(x_t, t)
    fields = model.fields(features, t, (raw - centre) / spread)
    reconstruction, alone, moved = [], [], []
    for i in range(len(x)):
        total = sum(fields[i, k] for k in range(N) if not (share[i] < model.config.omitted and k == draw[0, i]))
        reconstruction.append(model.schedule.weight[t[i]] * ((base[i] - strength[i] * total - eps[i]) ** 2).mean())
        alone.append((x_t[i] - strength[i] * base[i]) / signal[i])
        moved.append(alone[i] + strength[i] ** 2 / signal[i] * fields[i, draw[1, i]])
    alone, moved = torch.stack(alone), torch.stack(moved)
    again = [(model.encoder(v) - centre) / spread for v in (alone, moved)]
    changed = (again[0] - again[1]).norm(dim=2)
    z = (raw - centre) / spread
    nearer = (again[0] - z).norm(dim=2) - (again[1] - z).norm(dim=2)
    weight = ((alone - moved) ** 2).mean((1, 2, 3))
    return t, torch.stack(reconstruction), changed, nearer, weight, draw[1]


@pytest.mark.parametrize("omitted", [0.0, 0.1, 1.0])
def test_the_second_stages_loss_is_the_documented_sum(omitted):
    options = {"omitted": omitted, "gamma": 3.0, "invariance_weight": 0.7, "variance_weight": 0.2, "most": 0.45}
    model, x = fresh(**options), images()
    terms = loss(model, 2, x)
    with torch.no_grad():
        t, reconstruction, changed, nearer, weight, chosen = by_hand(model, x)
    inside = (t >= 100) & (t <= 800)
    assert 0 < inside.sum() < len(x) and ((weight > 0.45) & inside).any() and ((weight < 0.45) & inside).any()
    weight = 3.0 * weight.clamp(max=0.45) * inside
    invariance, variance = (cross_entropy(v, chosen, reduction="none") for v in (changed, nearer))
    torch.testing.assert_close(terms["reconstruction"], reconstruction.mean())
    torch.testing.assert_close(terms["invariance"], invariance.mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["variance"], variance.mean(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["weight"], weight.mean(), rtol=1e-4, atol=1e-6)
    expected = reconstruction.mean() + (weight * (0.7 * invariance + 0.2 * variance)).mean()
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("step", "share"), [(200, 0), (209, 0), (210, 0), (215, 0.5), (220, 1), (10**6, 1)])
def test_the_weight_ramps_up_from_the_start_of_the_stage(step, share):
    model = fresh(ramp=(10, 20))
    full = loss(fresh(), 2)["weight"]
    weight = model.loss(images(), torch.tensor(step), seeded(), 2)["weight"]
    torch.testing.assert_close(weight, share * full)


def test_no_gradient_goes_into_the_reading_of_predictions_nor_into_the_weight():
    """The encoder learns through the factors that steer the fields, and by no other way."""
    model, x = fresh(omitted=0.0), images()
    asked = []
    forward = FactorEncoder.forward

    def noted(self, latents):
        asked.append((latents.requires_grad, [p.requires_grad for p in self.parameters()]))
        return forward(self, latents)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FactorEncoder, "forward", noted)
        terms = loss(model, 2, x)
    learns = [any(flags) for _, flags in asked]
    assert learns == [True, False, False]             # x_0, then both predictions by frozen weights
    assert [through for through, _ in asked] == [False, False, True]  # only the moved one leads to a field
    assert not terms["weight"].requires_grad
    assert loss(fresh(stop_gradient=False), 2, x)["weight"].requires_grad


def test_the_gradient_is_that_of_the_losses_with_the_weight_held():
    options = {"omitted": 0.0, "gamma": 2.0, "most": 1e9}
    model, free, x = fresh(**options), fresh(**options, stop_gradient=False), images()
    got, other = (gradients(loss(m, 2, x)["loss"], m.fields) for m in (model, free))
    t, reconstruction, changed, nearer, weight, chosen = by_hand(model, x)
    held = 2.0 * weight.detach() * ((t >= 100) & (t <= 800))
    both = sum(cross_entropy(v, chosen, reduction="none") for v in (changed, nearer))
    expected = gradients(reconstruction.mean() + (held * both).mean(), model.fields)
    for name in got:
        torch.testing.assert_close(got[name], expected[name], rtol=2e-3, atol=1e-4)
    assert not torch.allclose(other["out.2.weight"], got["out.2.weight"], rtol=0.1)


@pytest.mark.parametrize(("name", "other"), [("invariance_weight", "variance"), ("variance_weight", "invariance")])
def test_each_loss_can_be_left_out(name, other):
    terms = loss(fresh(**{name: 0.0, "most": 1e-6, "between": (0.0, 1.0), "gamma": 1e3}), 2)
    expected = terms["reconstruction"] + terms["weight"] * terms[other]  # the weight is the same everywhere
    torch.testing.assert_close(terms["loss"], expected, rtol=1e-3, atol=1e-5)


def test_half_of_the_times_are_where_the_losses_count():
    t = fresh().times(4000, seeded())
    assert t[1::2].min() >= 100 and t[1::2].max() < 800 and t[::2].min() < 20 and t[::2].max() > 980
    assert t[1::2].float().mean().item() == pytest.approx(450, abs=20)
    assert t[::2].float().mean().item() == pytest.approx(500, abs=30)


# --- stages 1, 3 and 4

def test_the_first_diffusion_is_a_plain_prediction_of_noise():
    model, x = fresh(), images()
    generator, latents = seeded(), model.autoencoder.encode(x)
    t = torch.randint(1000, (8,), generator=generator)
    eps = torch.randn(latents.shape, generator=generator)
    predicted, _ = model.base(model.schedule.noised(latents, t, eps), t)
    torch.testing.assert_close(loss(model, 1, x)["loss"], ((predicted - eps) ** 2).mean())


def test_the_student_goes_straight():
    model, (start, _, z) = fresh(), inputs()
    end, generator = torch.randn(start.shape, generator=seeded(5)), seeded()
    terms = model.straighten(start, end, z, generator)
    share = torch.rand(4, generator=seeded())
    time = torch.tensor([0, math.sin(math.pi / 2 * share[1]) ** 2, 0, math.sin(math.pi / 2 * share[3]) ** 2])
    wrong = []
    for i in range(4):
        x = (1 - time[i]) * start[i] + time[i] * end[i]
        velocity, _ = model.student(x[None], 1000 * time[i:i + 1], model.tokens(z[i:i + 1]))
        wrong.append(((velocity[0] - (end[i] - start[i])) ** 2).mean())
    wrong = torch.stack(wrong)
    torch.testing.assert_close(terms["velocity"], wrong.mean())
    torch.testing.assert_close(terms["one_step"], wrong[::2].mean())
    torch.testing.assert_close(terms["loss"], ((wrong + 1e-4).sqrt() - 0.01).mean())


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_in_the_end_the_student_learns_where_it_will_be_asked_and_mends_what_it_did(steps, monkeypatch):
    model, (start, _, z) = fresh(quick_steps=steps), inputs()
    start, z = start.repeat(8, 1, 1, 1), z.repeat(8, 1, 1)
    end = torch.randn(start.shape, generator=seeded(5))
    asked, velocity = [], model.velocity
    monkeypatch.setattr(model, "velocity", lambda x, time, z: (asked.append((x, time)), velocity(x, time, z))[1])
    model.quick(start, z)
    walked = torch.stack([x for x, _ in asked])
    asked.clear()
    terms = model.straighten(start, end, z, seeded(), asked=True)
    x, time = asked[-1]
    passed = (steps * time).long()
    assert set(passed.tolist()) == set(range(steps)) and not x.requires_grad  # each step learns by itself
    torch.testing.assert_close(x, walked[passed, torch.arange(len(z))])
    there = x + (1 - time)[:, None, None, None] * velocity(x, time, z)  # straight on, that is where it would end
    wrong = (((there - end) / (1 - time)[:, None, None, None]) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(terms["velocity"], wrong.mean())
    torch.testing.assert_close(terms["one_step"], wrong[time == 0].mean())
    terms["loss"].backward()
    assert all(p.grad is not None for p in model.student.parameters())


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_quick_sampler_follows_the_students_velocity(steps):
    model, (x, _, z) = fresh(quick_steps=steps), inputs()
    answer = model.quick(x, z)
    for k in range(steps):
        x = x + model.student(x, torch.full((4,), 1000 * k / steps), model.tokens(z))[0] / steps
    torch.testing.assert_close(answer, x)


def test_first_it_learns_from_data_and_then_from_the_model():
    seen, ends = [], []
    model, x = fresh(), images()
    straighten = model.straighten
    model.straighten = lambda *given, asked=False: (
        seen.append(given), ends.append(asked), straighten(*given, asked=asked))[2]
    loss(model, 3, x)
    latents = model.autoencoder.encode(x)
    start, end, z, _ = seen[0]
    assert torch.equal(end, latents) and torch.equal(z, model.read(x, latents)) and not z.requires_grad
    assert torch.equal(start, torch.randn(latents.shape, generator=seeded()))
    loss(model, 4, x)
    start, end, z, _ = seen[1]
    assert ends == [False, True] and torch.equal(start, model.start(z)) and not end.requires_grad
    few = x[:4]  # of eight: the model's own pictures are dear
    given = mixed(model.read(few, model.autoencoder.encode(few)), seeded())
    source = (z[:, None] - given).abs().amax((2, 3)).argmin(1)
    assert len(z) == 8 and len(set(source.tolist())) > 1
    torch.testing.assert_close(z, given[source], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(end, model.slow(start, given[source]), rtol=1e-3, atol=1e-3)


def test_the_model_teaches_in_full_precision_on_a_cpu():
    x = images(4)
    plain, within = fresh(), fresh()
    expected = plain.lesson(x, 3, seeded())
    with torch.autocast("cpu", torch.bfloat16):
        taught = within.lesson(x, 3, seeded())
    assert all(torch.equal(a, b) for a, b in zip(taught, expected, strict=True))


def test_what_is_fused_teaches_and_nothing_else_uses_it(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda f: lambda *given: (calls.append(given), f(*given))[1])
    calls, x, model = [], images(4), fresh()
    expected = model.lesson(x, 3, seeded())
    fused = fresh()
    fused.fuse()
    assert all(torch.equal(a, b) for a, b in zip(fused.lesson(x, 3, seeded()), expected, strict=True))
    assert len(calls) == TINY.slow_steps
    assert torch.equal(fused.refine(fused.encode(x)), model.refine(model.encode(x))) and len(calls) == TINY.slow_steps


def test_what_was_taught_is_learnt_from_again():
    model, x = fresh(), images()
    model.lesson(x[:4], 1, seeded())
    first = model.lessons.latents[:4].clone()
    generator = seeded(5)
    answers = torch.cat([model.lesson(x[4:6], 60, generator)[1] for _ in range(3)])  # its room is six
    known = (answers[:, None] == first.float()).flatten(2).all(2)
    assert known[:60].any(0).all() and not known[120:].any()


def lessons(*numbers):
    """Factors and latents that all are one of `numbers`."""
    values = torch.tensor(numbers, dtype=torch.float32)
    return values[:, None, None].expand(-1, N, SIZE), values[:, None, None, None].expand(-1, 4, 16, 16)


def drawn(store):
    z, latents = store.draw(400, seeded())
    assert z.shape == (400, N, SIZE) and latents.shape == (400, 4, 16, 16) and z.dtype == latents.dtype == torch.float32
    number = z[:, 0, 0]
    assert torch.equal(z, number[:, None, None].expand_as(z))
    assert torch.equal(latents, -number[:, None, None, None].expand_as(latents))
    values, counts = number.unique(return_counts=True)
    assert counts.min() > 400 / len(values) * 0.6
    return values.tolist()


def test_the_last_lessons_are_drawn_alike_often_and_none_that_was_not_given():
    store = Lessons(5, N, SIZE)
    for given, held in (((1, 2), [1, 2]), ((3, 4), [1, 2, 3, 4]), ((5, 6), [2, 3, 4, 5, 6]), ((7, 8), [4, 5, 6, 7, 8])):
        z, latents = lessons(*given)
        store.add(z, -latents)
        assert drawn(store) == held
    again = Lessons(5, N, SIZE)
    again.load_state_dict(store.state_dict())  # as a resumed run does
    assert drawn(again) == [4, 5, 6, 7, 8]
    again.add(*(sign * part for sign, part in zip((1, -1), lessons(9), strict=True)))
    assert drawn(again) == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(("taught", "remembered"), [(0, 4), (5, 4)])
def test_more_must_be_remembered_than_is_taught_at_once(taught, remembered):
    with pytest.raises(ValueError, match="--taught must be 1 or more, and --remembered as much or more"):
        fresh(taught=taught, remembered=remembered)


def test_up_to_two_factors_are_moved_as_sliders_and_swaps_move_them():
    z = torch.randn(8000, 5, 8, generator=seeded(3))
    result, other, third = mixed(z, seeded()), z.roll(1, 0), z.roll(2, 0)
    moved = (result != z).any(2)
    counts = torch.bincount(moved.sum(1), minlength=3) / len(z)
    assert counts.tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 4], abs=0.03) and len(counts) == 3
    assert moved.float().mean(0).tolist() == pytest.approx([1 / 5] * 5, abs=0.02)
    kinds = []
    for way in (other - z, other - third):  # towards a neighbour's, or as far as two others lie apart
        share = ((result - z) * way).sum(2) / (way**2).sum(2)
        kinds.append(moved & (result - (z + share[:, :, None] * way)).abs().amax(2).lt(1e-3))
        share = share[kinds[-1]]
        assert share.numel() / moved.sum().item() == pytest.approx(1 / 2, abs=0.03)
        along = share[share < 0.999]
        assert share.max() < 1.001 and 1 - len(along) / len(share) == pytest.approx(3 / 8, abs=0.03)
        assert along.min() > -0.26 and along.mean().item() == pytest.approx(0.375, abs=0.03)
        assert (along < 0).float().mean().item() == pytest.approx(0.2, abs=0.03)
    assert (kinds[0] | kinds[1])[moved].all() and (kinds[0] & kinds[1]).sum() < 0.01 * moved.sum()
    there = torch.isclose(result, other, atol=1e-5).all(2)  # a swap leaves nothing of its own
    assert there.sum().item() / kinds[0].sum().item() == pytest.approx(3 / 8, abs=0.03)


def test_fields_are_summed_by_their_strengths():
    fields, on = torch.randn(2, N, 4, 16, 16, generator=seeded()), torch.tensor([[1.0, 0, 2], [0, 0.5, 0]])
    expected = torch.stack([fields[0, 0] + 2 * fields[0, 2], 0.5 * fields[1, 1]])
    torch.testing.assert_close(summed(fields, on), expected)
    torch.testing.assert_close(summed(fields, on[0])[0], expected[0])


# --- pictures

def test_neutral_sliders_are_the_autoencoders_picture_and_moved_ones_are_tied_to_it():
    model, x = fresh().eval(), images()
    with torch.no_grad():
        expected, code = model.autoencoder.decode(model.autoencoder.encode(x)), model.encode(x)
        for decode in (model.decode, model.refine):
            assert ((255 * decode(code)).round() - (255 * expected).round()).abs().max() <= 1
            last = 0.0
            for distance in (1e-3, 0.1, 1.0):
                moved = code.clone()
                moved[:, 0] += distance
                change = (decode(moved) - expected).abs().max().item()
                assert change > last
                last = change
                if distance == 1e-3:
                    assert change < 0.05


# --- a run

@pytest.fixture(scope="module")
def runs(pictures, tmp_path_factory):
    """Two folders of the same short run of all stages, the second one interrupted in each of the last."""
    folder = tmp_path_factory.mktemp("runs")
    config = replace(TINY, autoencoder_until=20, diffusion_until=24, disentangled_until=32, data_until=36)

    def fit(name):
        plan = train.Plan(data=str(pictures), out=folder / name, steps=40, batch=8, lr=5e-3, device="cpu",
                          log_every=2, save_every=2)
        [out] = train.fit(DisDiff, config, plan)
        assert out == folder / name / "seed0"

    class Interrupted(Exception):
        pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "MEASURED", 40)
        fit("whole")
        advance = train.Trainer.advance
        for at in (22, 29, 34, 39):
            def stopping(self, number, at=at):
                if number == at:
                    raise Interrupted
                advance(self, number)

            patch.setattr(train.Trainer, "advance", stopping)
            with pytest.raises(Interrupted):
                fit("broken")
        patch.setattr(train.Trainer, "advance", advance)
        fit("broken")
    return folder


def test_one_command_trains_all_stages_and_an_interrupted_one_ends_alike(runs):
    whole, broken = (safetensors.torch.load_file(runs / name / "state.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == broken.keys() and all(torch.equal(whole[name], broken[name]) for name in whole)
    log = json.loads((runs / "whole" / "log.json").read_text())
    terms = {row["step"]: row["terms"][0] for row in log}
    assert "absolute" in terms[20] and "diffusion" in terms[24] and "variance" in terms[32]
    assert "velocity" in terms[36] and "velocity" in terms[40]
    assert terms[20]["loss"] < 0.7 * terms[2]["loss"]


def test_its_folder_holds_a_model_in_eight_bits_whose_sliders_move_the_picture(runs):
    folder = runs / "whole" / "seed0"
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert {t.dtype for t in weights.values()} == {torch.int8, torch.bfloat16, torch.float16}
    assert not any("lessons" in name for name in weights)
    model, table, config = checkpoint.load(folder)
    assert type(model) is DisDiff and config["method"] == "disdiff" and len(table) == N + 3
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    state = safetensors.torch.load_file(runs / "whole" / "state.safetensors")
    for name, tensor in model.state_dict().items():  # within half a step of the largest
        trained = state[f"0.model.{name}"]
        torch.testing.assert_close(tensor, trained, rtol=1e-3, atol=trained.abs().max().item() / 250)
    for factor in table[:N]:
        assert factor.where[1] - factor.where[0] == len(factor.axis) == SIZE and factor.low < factor.high
    x = images(2)
    code = model.encode(x)
    assert all(f.role == "factor" for f in factors.visible(table))
    moved = table[0].write(code, torch.tensor([table[0].high, table[0].low]))
    assert not torch.equal(model.decode(moved), model.decode(code))
    torch.testing.assert_close(model.decode(code), model.autoencoder.decode(model.autoencoder.encode(x)),
                               atol=2e-3, rtol=0)
