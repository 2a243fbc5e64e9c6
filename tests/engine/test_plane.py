"""Two factors at once."""

import numpy as np
import pytest
import torch

from engine import plane


@pytest.mark.parametrize("model", ["first", "third-grey"])
def test_every_picture_of_the_square_is_that_of_both_edits(engine, model):
    code, count = engine.draw(model, 2), 4
    across, up = engine.model(model).sliders[:2]
    answer = plane.plane(engine, model, code, [across.name, up.name], count)
    square = answer.get()
    assert square.shape == (count, count, 64, 64, 3) and square.dtype == np.uint8 and answer.rows == count**2
    for r, high in enumerate(torch.linspace(up.low, up.high, count).tolist()):
        for c, wide in enumerate(torch.linspace(across.low, across.high, count).tolist()):
            edited = engine.edit(model, code, {across.name: wide, up.name: high})
            true = engine.decode(model, edited[None]).get()[0]
            assert np.abs(square[r, c].astype(int) - true).max() <= 1


def test_wrong_plane_is_refused_in_a_sentence(engine):
    code = engine.draw("first", 2)
    for names, count, words in (
        (["z0", "z0"], 3, "two different factors"), (["z0"], 3, "two different factors"), ("z0", 3, "two different"),
        (["z0", "z1"], 23, "from 2 to 22 pictures"), (["z0", "z1"], 2.0, "from 2 to 22"),
        (["z0", "z9"], 3, "no factor"),
    ):
        assert words in plane.plane(engine, "first", code, names, count).error
    assert "4 numbers" in plane.plane(engine, "first", [1.0], ["z0", "z1"], 3).error
