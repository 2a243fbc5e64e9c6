"""The benchmark of swaps measures what it says, on tiny models."""

import pytest

from benchmarks.swaps import SIDE, measure
from engine import exchange
from engine.serve import MAX_ROWS


@pytest.mark.parametrize("model", ["first", "third-grey"])
def test_swaps_matrices_and_their_batch_are_timed(engine, model, monkeypatch):
    shapes, matrix = [], exchange.matrix

    def noted(*arguments):
        answer = matrix(*arguments)
        shapes.append(answer.get().shape)
        return answer

    monkeypatch.setattr(exchange, "matrix", noted)
    ms = measure(engine, model, 2)
    assert list(ms) == ["swap", "matrix", "batch"] and min(ms.values()) > 0
    assert shapes == [(SIDE, SIDE, 64, 64, 3)] * 3 and SIDE**2 <= MAX_ROWS  # the first one warms up
