"""What each field does to a picture, held against the model itself."""

import numpy as np
import pytest
import torch

from engine import Refusal, checkpoint, fields
from engine.serve import Answer
from tests.tiny import noise


@pytest.fixture(scope="module")
def net(divided):
    return checkpoint.load(divided.folder / "disdiff")[0]


@pytest.fixture(scope="module")
def code(divided):
    """A picture's code with one factor edited."""
    known = divided.model("disdiff")
    own = divided.encode("disdiff", noise(1, seed=7).permute(0, 2, 3, 1).numpy()).get()[0]
    return divided.edit("disdiff", own, {known.sliders[0].name: known.sliders[0].high})


@pytest.fixture(scope="module")
def found(divided, code):
    return fields.fields(divided, "disdiff", code)


def near(image, picture):
    """Whether an image (1, 3, 64, 64) in [0, 1] is the picture (64, 64, 3) uint8, to the rounding of a byte."""
    return np.abs(255 * image[0].permute(1, 2, 0).numpy() - picture).max() <= 1


def test_the_picture_is_the_exact_one(divided, code, found):
    assert np.abs(divided.refine("disdiff", code[None]).get()[0].astype(int) - found.picture).max() <= 1


@torch.inference_mode()
def test_every_factor_is_drawn_with_its_own_field_alone(divided, net, code, found):
    shown = divided.model("disdiff").sliders
    assert list(found.each) == [f.name for f in shown] and len(shown) >= 2
    z = net.parts(torch.from_numpy(code)[None])[0]
    assert near(net.alone(z, torch.zeros(net.count)), found.none)
    for factor in shown:
        on = (torch.arange(net.count) * net.size == factor.where[0]).float()
        assert near(net.alone(z, on), found.each[factor.name].alone)
        assert np.abs(found.each[factor.name].alone.astype(int) - found.none).max() > 3


@torch.inference_mode()
def test_a_heat_map_is_the_mean_over_the_times_at_which_factors_are_kept_apart(divided, net, code, found):
    rows = torch.from_numpy(code)[None]
    z, latents = net.parts(rows)[0], net.refined(rows)
    times = torch.linspace(0.3 * 999, 0.7 * 999, fields.TIMES).round().long()
    heat = torch.stack([net.touched(latents, z, t[None])[0] for t in times]).mean(0)
    for factor in divided.model("disdiff").sliders:
        mine = found.each[factor.name].touched
        assert mine.shape == (64, 64) and mine.max() > 0.5
        np.testing.assert_allclose(mine, heat[factor.where[0] // net.size], atol=1e-2)


def test_the_work_is_done_in_small_parts_that_others_can_come_between(divided, code, monkeypatch):
    rows, real = [], divided.perform
    monkeypatch.setattr(divided, "perform", lambda *a: (rows.append((len(a[2]), a[3])), real(*a))[1])
    fields.fields(divided, "disdiff", code, ("p", "fields"))
    assert max(count for count, _ in rows) <= fields.PART and {lane for _, lane in rows} == {("p", "fields")}


def test_what_was_overtaken_ends_without_an_answer(divided, code, monkeypatch):
    calls, real = [], divided.perform

    def overtaken(*request):
        calls.append(request)
        return real(*request) if len(calls) < 3 else Answer(1, stale=True)

    monkeypatch.setattr(divided, "perform", overtaken)
    assert fields.fields(divided, "disdiff", code, ("p", "fields")) is None and len(calls) == 3


def test_a_model_without_fields_and_a_wrong_code_are_refused(divided, code):
    assert divided.model("disdiff").divides and not divided.model("vae").divides
    with pytest.raises(Refusal, match="VAE has no field for each factor"):
        fields.fields(divided, "vae", divided.draw("vae", 1))
    with pytest.raises(Refusal, match="numbers"):
        fields.fields(divided, "disdiff", code[:-1])
    with pytest.raises(Refusal, match="no model called"):
        fields.fields(divided, "none", code)


def test_only_models_with_two_ways_say_what_they_are_called(divided):
    assert divided.model("disdiff").ways == ("student, 1 step", "refined, 3 steps")
    assert divided.model("vae").ways == ("", "")
