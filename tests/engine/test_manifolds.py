"""Manifolds drawn by the shipped models."""

import pytest
import torch

from engine import checkpoint
from engine.data import DataError
from engine.factors import visible
from engine.manifolds import DRAWN, decoded, manifold, names
from engine.serve import MODELS


def test_there_are_ten_and_more_of_several_dimensions():
    assert len(names()) >= 10 and sum("faces" in name for name in names()) >= 6
    dimensions = {len(drawn.ranks) for drawn in DRAWN.values()}
    assert {2, 4, 8} <= dimensions


@pytest.mark.parametrize("name", DRAWN)
def test_a_model_draws_along_its_sliders(name):
    data = manifold(name, 6)
    assert data.images(torch.arange(6)).shape == (6, data.channels, 64, 64)
    _, table, _ = checkpoint.load(MODELS / DRAWN[name].model)
    for factor, rank in zip(data.factors, DRAWN[name].ranks, strict=True):  # by what it is called, and its own name
        assert factor.name.endswith(f" ({visible(table)[rank].name})")
    assert manifold("drawn-shapes3d-2-5", 1).factors[0].name.startswith("object hue")


def test_factors_are_positions_between_the_ends_of_the_sliders():
    drawn = DRAWN["drawn-faces-2-3"]
    model, table, config = checkpoint.load(MODELS / drawn.model)
    one, other = (visible(table)[rank] for rank in drawn.ranks)
    code = torch.tensor([config["mean"]])
    code = other.write(one.write(code, torch.tensor([one.low])), torch.tensor([(other.low + other.high) / 2]))
    expected = (255 * model.decode(code)).round().byte()
    assert torch.equal(decoded(drawn)(torch.tensor([[-1.0, 0.0]])), expected)


def test_rendered_ones_are_here_too_and_others_refused():
    data = manifold("manifold-blob", 4, seed=2, law="gaussian")
    assert data.name == "manifold-blob-gaussian" and len(data) == 4
    with pytest.raises(DataError, match=r"'torus'; known are blob.*drawn-faces-8d"):
        manifold("torus")
