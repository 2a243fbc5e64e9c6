"""The benchmark of a diffusion model's edits."""

import pytest
import torch
from PIL import Image

from benchmarks import edits
from engine import checkpoint
from tests.tiny import noise, seeded


def test_every_row_has_one_factor_moved_within_its_range(divided):
    known = divided.model("disdiff")
    codes = torch.stack([torch.from_numpy(divided.draw("disdiff", n)) for n in range(30)])
    moved = edits.edited(codes, known.sliders, seeded())
    touched = torch.stack([(moved[:, slice(*f.where)] != codes[:, slice(*f.where)]).any(1) for f in known.sliders], 1)
    assert touched.sum(1).tolist() == [1] * 30 and touched.any(0).all()
    for k, f in enumerate(known.sliders):
        there = f.read(moved[touched[:, k]])
        assert (there >= f.low - 1e-4).all() and (there <= f.high + 1e-4).all()


def test_both_ways_are_timed_and_called_what_the_page_calls_them(divided, capsys):
    found = edits.times(divided.folder / "disdiff", 4, "cpu")
    assert list(found) == [f"one edit, {way}, {what}, ms" for way in ("student, 1 step", "refined, 3 steps")
                           for what in ("median", "nine in ten")]
    quick, quick_high, slow, slow_high = found.values()
    assert 0 < quick <= quick_high and 0 < slow <= slow_high and "on CPU" in capsys.readouterr().out


def test_the_slow_sampler_is_asked_for_twice_its_steps_and_is_left_as_it_was(divided):
    model, *_ = checkpoint.load(divided.folder / "disdiff")
    codes, counted = model.encode(torch.rand(2, 3, 64, 64, generator=seeded())), []
    known, predict = model.refine(codes), model.predict
    model.predict = lambda *given: (counted.append(1), predict(*given))[1]
    other = edits.finer(model, codes)
    once = len(counted)
    again = model.refine(codes)
    assert once == 2 * (len(counted) - once) and torch.equal(again, known) and not torch.equal(other, known)


def test_quick_and_slow_are_compared_on_the_same_edits(divided, tmp_path, monkeypatch):
    model, table, config = checkpoint.load(divided.folder / "disdiff")
    monkeypatch.setattr(checkpoint, "load", lambda _: (model, table, {**config, "data": str(tmp_path)}))
    for k, picture in enumerate(noise(60).permute(0, 2, 3, 1).numpy()):
        Image.fromarray(picture).save(tmp_path / f"{k}.png")
    found = edits.measure(divided.folder / "disdiff", 8)
    names = list(found)
    assert 0 < found[names[0]] < 100 and all(0 <= found[name] <= 1 for name in names[1:4])
    assert 0 < found[names[4]] <= 1                          # some edits can be seen
    read = model.represent
    monkeypatch.setattr(model, "represent", lambda x: read(x) + 100 * torch.eye(1, read(x).shape[1]))
    assert edits.measure(divided.folder / "disdiff", 8) == found  # what moves is told from the unmoved picture
    monkeypatch.setattr(model, "quick", model.slow)          # then quick is slow: no difference that a byte shows
    both = edits.measure(divided.folder / "disdiff", 8)
    assert both[names[0]] > found[names[0]] and both[names[2]] == both[names[6]] == 1
    assert all(both[name] == found[name] for name in names[3:5])  # told by the slow sampler alone
    with pytest.raises(SystemExit, match="no quick and no slow"):
        monkeypatch.setattr(checkpoint, "load", lambda _: (torch.nn.Identity(), table, config))
        edits.measure(divided.folder / "vae", 1)
