"""The benchmark of what content and style take."""

import dataclasses
import shlex

import pytest
import torch

from benchmarks import splits
from engine import readers, train
from engine.data import Dataset, KnownFactor
from engine.methods.csdismo import Config
from tests.tiny import noise

FACTORS = KnownFactor("letter", tuple(range(12)), categorical=True), KnownFactor("size")
LABELS = torch.stack([torch.arange(240) % 12, torch.rand(240, generator=torch.Generator().manual_seed(3))], 1)


class Told:
    """A model whose embeddings are labels: those of the columns that it is told are content, and style."""

    def __init__(self, content, style):
        self.columns = torch.tensor([column in content for column in (0, 1)]), \
            torch.tensor([column in style for column in (0, 1)])
        self.images = (255 * self.draw(*self.embedded(torch.arange(240)))).byte()

    def embedded(self, pick):
        return tuple(LABELS[pick] * kind for kind in self.columns)

    def draw(self, content, style):
        images = torch.zeros(len(content), 1, 64, 64)
        images[:, 0, 0, :2] = (content + style) / 20
        return images


def reader(images):
    """Reads such pictures without error."""
    labels = (20 * images[:, 0, 0, :2]).unbind(1)
    return [readers.target(factor, label.round() if factor.categorical else label)
            for factor, label in zip(FACTORS, labels, strict=True)]


def correlations(model):
    found = splits.swapped(model, reader, LABELS, FACTORS)
    return {f.name: tuple(found[side][f.name]["correlation"] for side in ("content", "style", "own")) for f in FACTORS}


def test_a_clean_split_is_told_from_one_that_is_the_other_way_and_from_none():
    close = pytest.approx((1, 0, 1), abs=0.06)
    assert correlations(Told({0}, {1})) == {"letter": close, "size": pytest.approx((0, 1, 1), abs=0.06)}
    assert correlations(Told({1}, {0})) == {"letter": pytest.approx((0, 1, 1), abs=0.06), "size": close}
    assert correlations(Told({0, 1}, set())) == {"letter": close, "size": close}
    nothing = correlations(Told(set(), set()))
    assert nothing == {name: pytest.approx((0, 0, 0), abs=0.06) for name in ("letter", "size")}


def test_classes_are_also_counted_as_right_and_as_among_ten():
    found = splits.swapped(Told({0}, {1}), reader, LABELS, FACTORS)
    assert found["content"]["letter"]["right"] == 1 and found["content"]["letter"]["in 10"] == 1
    assert found["style"]["letter"]["right"] == pytest.approx(1 / 12, abs=0.04)
    assert set(found["own"]["size"]) == {"correlation"} and found["psnr"] > 40


def test_a_factor_counts_as_one_sided_if_it_follows_one_side_only():
    def entry(*pairs):
        return {side: {str(k): {"correlation": pair[s]} for k, pair in enumerate(pairs)}
                for s, side in enumerate(("content", "style"))}

    assert splits.clear(entry((0.9, 0.1), (0.1, 0.9), (0.9, -0.2))) == 3
    assert splits.clear(entry((0.9, 0.4), (0.7, 0.0), (0.9, -0.4), (0.0, 0.0))) == 0


@pytest.mark.parametrize(("data", "name"), [(d, n) for d, found in splits.VARIANTS.items() for n in found])
def test_the_options_that_are_shown_are_those_that_were_tried(data, name):
    options = splits.VARIANTS[data][name]
    _, config, _ = train.parse(["csdismo", "--data", data, *shlex.split(splits.flags(options))])
    assert config == Config(**options)


class Noise(Dataset):
    name, channels, factors, origin = "noise", 1, FACTORS, "Drawn here."

    def __len__(self):
        return 240

    def images(self, index):
        return noise(240, 1)[index]

    def labels(self, index):
        return LABELS[index]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Options of a run that takes seconds."""
    small = {"content": 4, "style": 3, "encoder_width": 4, "decoder_width": 4}
    monkeypatch.setattr(splits, "VARIANTS", {"noise": {"one": small, "other": small | {"alone": "style"}}})
    monkeypatch.setattr(splits, "load", lambda _: Noise())
    learnt = readers.of_pictures
    monkeypatch.setattr(readers, "of_pictures", lambda *given: learnt(*given, steps=2))
    return splits.Options(data=("noise",), steps=3, batch=8, device="cpu", results=tmp_path / "splits.json",
                          sheets=tmp_path / "sheets")


def test_what_is_stored_is_not_measured_again(tiny, monkeypatch, capsys):
    splits.main(dataclasses.replace(tiny, only=("other",)))
    assert list(splits.read(tiny.results)["noise"]) == ["other"]
    splits.main(tiny)
    entries = splits.read(tiny.results)["noise"]
    assert set(entries) == {"one", "other"} and entries["other"]["options"].endswith("--alone style")
    assert all(entry["steps"] == 3 and entry["machine"] == "CPU" for entry in entries.values())
    assert sorted(p.name for p in tiny.sheets.iterdir()) == ["noise one.png", "noise other.png"]
    page = tiny.results.with_suffix(".md").read_text()
    assert "| one | " in page and "letter, right / in ten" in page and "`" + entries["one"]["options"] + "`" in page
    with monkeypatch.context() as closed:
        closed.setattr(splits, "Trainer", None)  # nothing is trained
        splits.main(tiny)
    assert splits.read(tiny.results)["noise"] == entries and "noise, one" in capsys.readouterr().out
    splits.main(dataclasses.replace(tiny, steps=4, only=("one",)))
    again = splits.read(tiny.results)["noise"]
    assert again["one"]["steps"] == 4 and again["other"] == entries["other"]


def test_the_table_says_where_another_reader_begins(tiny):
    splits.main(tiny)
    entries = splits.read(tiny.results)
    rows = lambda: [line.split(" | ")[0] for line in splits.report(entries).splitlines() if line.startswith("| ")]  # noqa: E731
    header, reader, first, second = "| options", "| real pictures", "| one", "| other"
    assert rows()[0] == header and rows().count(reader) == rows().count(header) == 2
    entries["noise"]["other"]["real"] = {name: {key: value / 2 for key, value in told.items()}
                                         for name, told in entries["noise"]["one"]["real"].items()}
    assert [row for row in rows() if row != "| ---"] == 2 * [header, reader, first, reader, second]


def test_an_unknown_data_set_is_named(tiny):
    with pytest.raises(SystemExit, match="nothing to try on cars; choose among noise"):
        splits.main(dataclasses.replace(tiny, data=("cars",)))
