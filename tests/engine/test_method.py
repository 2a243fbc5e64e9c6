"""What every registered method promises; a new one is tested here without a new line."""

import dataclasses
import importlib
import itertools
import pkgutil

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import engine.methods
from engine.method import Method, Slot, method, methods, named_slots

METHODS = methods()
NARROW = {"encoder_width": 8, "decoder_width": 8, "discriminator_width": 64}
# Diffusion starts where a thousandth of the signal is left, and multiplies rounding errors by as much.
ROUNDING = {name: {"atol": 2e-3, "rtol": 2e-3} for name in ("disdiff", "encdiff")}
GENTLE = {
    "annealed": {"gamma": 3.0, "capacity_full": 1},
    "csdismo": {"images": 64},  # each is seen often enough
    "dotvae": {"decoder_width": 32},
}


def build(name, channels=1, seed=0):
    """A fresh model of the method with its default options, but less wide where it has widths, and with
    a gentle regulariser or its own width where it would not learn anything in seconds without."""
    cls = METHODS[name]
    fields = {f.name for f in dataclasses.fields(cls.Config)}
    config = cls.Config(**{k: value for k, value in NARROW.items() if k in fields} | GENTLE.get(name, {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(config, channels)
    model.prepare(lambda count: (255 * discs(min(count, 400))).byte().expand(-1, channels, -1, -1))
    return model


def discs(count, seed=0):
    """Grey images (count, 1, 64, 64) of a disc at a random place."""
    centre = 16 + 32 * torch.rand(count, 2, 1, generator=torch.Generator().manual_seed(seed))
    y, x = ((torch.arange(64.0) - centre) ** 2).unbind(1)
    return (y[:, None, :, None] + x[:, None, None, :] < 100).float()


def terms(model, x, stage=0, seed=0, step=0):
    return model.loss(x, torch.tensor(step), torch.Generator().manual_seed(seed), stage)


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


def test_every_file_of_the_folder_is_a_method_of_that_name():
    files = [m.name for m in pkgutil.iter_modules(engine.methods.__path__)]
    assert list(METHODS) == sorted(files)
    for name, cls in METHODS.items():
        module = importlib.import_module(f"engine.methods.{name}")
        assert cls.name == name and cls.__module__ == module.__name__
        assert method(name) is cls


def test_an_unknown_method_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'gan'.*" + ", ".join(METHODS)):
        method("gan")


def test_slots_are_named_by_their_place():
    slots = Slot(0, 1), Slot(1, 5, "content"), Slot(5, 6, "residual")
    assert list(named_slots(slots)) == [("z0", slots[0]), ("z1", slots[1]), ("z2", slots[2])]


def test_it_can_be_cited_and_configured(name):
    cls = METHODS[name]
    assert issubclass(cls, Method)
    assert cls.paper.title and cls.paper.authors and 1990 < cls.paper.year < 2100
    assert cls.paper.link.startswith("https://")
    config = cls.Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_codes_and_images_have_the_promised_form(name, channels):
    model = build(name, channels).eval()
    assert model.channels == channels and isinstance(model.config, METHODS[name].Config)
    x = torch.rand(3, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        code = model.encode(x)
        assert code.shape == (3, model.code_size) and code.dtype == torch.float32
        wild = 30 * torch.randn(3, model.code_size, generator=torch.Generator().manual_seed(1))
        for image in (model.decode(code), model.decode(wild)):
            assert image.shape == x.shape and image.dtype == torch.float32
            assert image.min() >= 0 and image.max() <= 1


def test_the_slots_cover_the_code_once(name):
    model = build(name)
    covered = [j for slot in model.layout() for j in range(slot.start, slot.stop)]
    assert sorted(covered) == list(range(model.code_size))
    assert {slot.role for slot in model.layout()} <= {"factor", "content", "style", "residual"}


def test_encode_and_decode_are_deterministic_and_treat_images_one_by_one(name):
    model = build(name).eval()
    x = discs(4)
    with torch.inference_mode():
        code = model.encode(x)
        assert torch.equal(model.encode(x), code)
        assert torch.equal(model.decode(code), model.decode(code))
        torch.testing.assert_close(model.encode(x[2:3])[0], code[2], **ROUNDING.get(name, {}))
        torch.testing.assert_close(model.decode(code[2:3])[0], model.decode(code)[2], **ROUNDING.get(name, {}))


def test_what_scores_see_is_the_beginning_of_the_code(name):
    model, x = build(name).eval(), discs(4)
    with torch.inference_mode():
        seen = model.represent(x)
        torch.testing.assert_close(seen, model.encode(x)[:, :seen.shape[1]])
    ends = [slot.stop for slot in model.layout() if slot.role != "residual"]
    assert seen.shape[1] in (max(ends), model.code_size)


def test_a_refined_picture_has_the_form_of_any_other(name):
    model = build(name).eval()
    with torch.inference_mode():
        code = model.encode(discs(2))
        image = model.refine(code)
        assert image.shape == (2, 1, 64, 64) and image.min() >= 0 and image.max() <= 1
        torch.testing.assert_close(image, model.decode(code), **ROUNDING.get(name, {}))


def test_the_learning_rate_begins_above_nothing_and_ends_at_nothing(name):
    model = build(name)
    ends = (*model.stages(), 60_000)
    for stage, (first, last) in enumerate(itertools.pairwise((0, *ends))):
        shares = [model.rate(torch.tensor(step), 60_000, stage).item() for step in range(first, last, 50)]
        assert 0 < min(shares) and max(shares) <= 1
    assert model.rate(torch.tensor(60_000), 60_000, len(ends) - 1).item() == pytest.approx(0, abs=1e-6)


def test_the_optimiser_groups_hold_every_parameter_once(name):
    model = build(name)
    held = [id(p) for group in model.groups() for p in group["params"]]
    assert len(held) == len(set(held))
    assert set(held) == {id(p) for p in model.parameters()}


def test_stages_are_in_order(name):
    stages = build(name).stages()
    assert list(stages) == sorted(set(stages)) and all(s > 0 for s in stages)


def test_the_loss_is_named_finite_scalars_at_every_stage(name):
    stages = build(name).stages()
    for stage, step in enumerate((0, *stages)):
        answer = terms(build(name), discs(4), stage, step=step)
        assert "loss" in answer and len(answer) > 1
        assert all(value.shape == () and value.isfinite() for value in answer.values())


class Blind(TorchDispatchMode):
    """Refuses what makes a GPU wait for the host, or a shape depend on values: neither can be recorded."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        called = str(func)
        assert not any(word in called for word in ("_local_scalar_dense", "nonzero", "masked_select", "unique")), called
        return func(*args, **kwargs or {})


def test_a_step_can_be_recorded(name):
    for stage, step in enumerate((0, *build(name).stages())):
        model, x, number = build(name), discs(4), torch.tensor(step)
        with Blind():
            model.rate(number, 10**6, stage)
            model.loss(x, number, torch.Generator().manual_seed(0), stage)["loss"].backward()


def test_the_losss_randomness_is_its_generators(name):
    state = torch.get_rng_state()
    drawn, differs = False, False
    for stage in range(len(build(name).stages()) + 1):
        generator = torch.Generator().manual_seed(0)
        first = build(name).loss(discs(4), torch.tensor(10**6), generator, stage)["loss"].item()
        drawn |= not torch.equal(generator.get_state(), torch.Generator().manual_seed(0).get_state())
        same, other = (terms(build(name), discs(4), stage, seed, step=10**6)["loss"].item() for seed in (0, 1))
        assert first == same
        differs |= same != other
    assert differs == drawn  # a method need not draw anything
    assert torch.equal(torch.get_rng_state(), state)


def test_it_learns_a_toy_set_in_seconds(name):
    model = build(name)
    optimizer = torch.optim.Adam([{"lr": 2e-3} | group for group in model.groups()])
    images, generator = discs(256), torch.Generator().manual_seed(0)
    losses = []
    for number in range(200):
        x = images[torch.randint(256, (16,), generator=generator)]
        loss = model.loss(x, torch.tensor(number), generator)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])
    fresh = discs(64, seed=1)
    with torch.inference_mode():
        error = ((model.eval().decode(model.encode(fresh)) - fresh) ** 2).mean()
    assert error < 0.7 * ((fresh - images.mean(0)) ** 2).mean()
