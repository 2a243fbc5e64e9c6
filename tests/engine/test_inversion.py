"""Codes found by descent: nearer to the picture, not far from the encoder's."""

import pytest
import torch

from engine import Engine, Refusal, inversion
from tests.tiny import noise, save_tiny, tiny_vae


@pytest.fixture
def model():
    return tiny_vae()


def far(model):
    """A picture that the decoder can draw, and whose code the encoder does not know."""
    return model.decode(2 * torch.randn(3, model.code_size, generator=torch.Generator().manual_seed(1)))


def test_what_is_found_draws_the_picture_better(model):
    x = far(model)
    before, after = (inversion.distance(model.decode(code), x)
                     for code in (model.encode(x), inversion.approach(model, x, 40, 0.2)))
    assert (after < 0.7 * before).all()


def test_no_step_and_no_way_to_go_leave_the_encoders_code(model):
    x = far(model)
    assert torch.equal(inversion.approach(model, x, 0), model.encode(x))
    held = inversion.approach(model, x, 20, 0.05, hold=1e4)
    torch.testing.assert_close(held, model.encode(x), atol=0.05, rtol=0)


def test_it_is_never_worse(model):
    x = noise(4).float() / 255
    wild = inversion.approach(model, x, 5, rate=50.0)
    assert (inversion.distance(model.decode(wild), x) <= inversion.distance(model.decode(model.encode(x)), x)).all()


def test_every_picture_is_for_itself_and_the_model_stays(model):
    x, before = far(model), {k: v.clone() for k, v in model.state_dict().items()}
    together = inversion.approach(model, x, 5)
    torch.testing.assert_close(together[1:2], inversion.approach(model, x[1:2], 5), atol=1e-4, rtol=1e-4)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and not together.requires_grad


def test_it_works_where_the_server_answers(model):
    with torch.inference_mode():
        x = noise(2).float() / 255
        assert inversion.approach(model, x, 2).shape == (2, model.code_size)


def test_a_served_model_finds_the_same_while_others_are_answered(tmp_path, model):
    save_tiny(tmp_path / "tiny")
    engine = Engine(tmp_path)
    image = (255 * far(model)[0]).byte().permute(1, 2, 0).contiguous().numpy()
    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    asked, perform = [], engine.perform

    def counted(name, work, rows, lane=None):
        asked.append(engine.decode("tiny", engine.model("tiny").mean[None]).get())  # between any two steps
        return perform(name, work, rows, lane)

    engine.perform = counted
    try:
        found = torch.from_numpy(inversion.closer(engine, "tiny", image, 12))
        wanted = inversion.approach(model, x, 12)
        torch.testing.assert_close(found, wanted[0], atol=1e-3, rtol=1e-3)
        assert len(asked) == 13 and not torch.equal(found, model.encode(x)[0])
        torch.testing.assert_close(torch.from_numpy(inversion.closer(engine, "tiny", image, 0)), model.encode(x)[0])
        with pytest.raises(Refusal):
            inversion.closer(engine, "none", image)
        with pytest.raises(Refusal, match="64x64"):
            inversion.closer(engine, "tiny", image[:32])
    finally:
        engine.close()
