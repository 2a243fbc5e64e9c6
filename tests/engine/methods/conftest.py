"""What the tests of single methods share: a tiny run from the first step to a loaded model folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import export, train
from engine.method import Method


@pytest.fixture
def trained(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """A function that trains a method for thirty steps on the CPU, by what else the plan shall say, and returns its
    model folder and the terms of its loss, step by step."""
    monkeypatch.setattr(export, "MEASURED", 64)

    def fit(cls: type[Method], config: object, **more: object) -> tuple[Path, list[dict[str, float]]]:
        plan = train.Plan(data=str(pictures), out=tmp_path / "run", steps=30, batch=4, lr=5e-3, device="cpu",
                          log_every=1, save_every=30, **more)
        [folder] = train.fit(cls, config, plan)
        return folder, [row["terms"][0] for row in json.loads((plan.out / "log.json").read_text())]

    return fit
