"""Scores of swaps, on hand-made models of which it is known what content and style are."""

import json

import pytest
import torch

from engine import checkpoint, evaluate, evaluate_swaps, export, readers
from engine.data.dataset import Dataset, Grid, KnownFactor
from engine.evaluate_swaps import score
from engine.files import read_verified
from engine.method import Method, Slot
from engine.methods.csdismo import Config, CSDisMo

CONTENT, STYLE = Slot(0, 2, "content"), Slot(2, 4, "style")


class Tiles(Grid):
    """Two factors, each the brightness of a half of the picture, and one of a single value."""

    name, channels, origin = "tiles", 1, "Made by a test."
    factors = (
        KnownFactor("left", tuple(range(12)), categorical=True), KnownFactor("one", (0.0,)),
        KnownFactor("right", tuple(range(100))),
    )

    def images(self, index):
        left, right = (self.classes(index)[:, [0, 2]] * torch.tensor([20, 2])).unbind(1)
        half = (torch.arange(64) < 32)[None, None, None]
        return torch.where(half, left.view(-1, 1, 1, 1), right.view(-1, 1, 1, 1)).expand(-1, 1, 64, 64).byte()


class Shades(Dataset):
    """The same halves, with continuous brightness."""

    name, channels, origin = "shades", 1, "Made by a test."
    factors = KnownFactor("left"), KnownFactor("right")

    def __len__(self):
        return 1200

    def labels(self, index):
        return torch.rand(1200, 2, generator=torch.Generator().manual_seed(3))[index]

    def images(self, index):
        both = (230 * self.labels(index)).byte()
        half = (torch.arange(64) < 32)[None, None, None]
        return torch.where(half, *both.view(-1, 2, 1, 1, 1).unbind(1)).expand(-1, 1, 64, 64)


def perfect_reader(x):
    """Reads Tiles without error."""
    left = (255 * x[:, 0, 0, 0] / 20).round()
    right = (255 * x[:, 0, 0, 63] / 2).round()
    return [readers.target(Tiles.factors[0], left.clamp(0, 11)), readers.target(Tiles.factors[2], right)]


def shade_reader(x):
    return [readers.target(f, 255 * column / 230) for f, column in zip(Shades.factors, (x[:, 0, 0, 0], x[:, 0, 0, 63]),
                                                                      strict=True)]


class Halves(Method):
    """Reads the two brightnesses and draws them again. `mixing` turns them into each other before content and
    style get one each, and `dead` makes pictures that say nothing."""

    name, channels, code_size = "halves", 1, 4

    def __init__(self, mixing=0.0, dead=False, fidelity=None):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        turn = torch.tensor(mixing)
        self.turn = torch.stack([torch.stack([turn.cos(), turn.sin()]), torch.stack([-turn.sin(), turn.cos()])])
        self.dead = dead
        if fidelity:
            self.register_buffer("fidelity", torch.tensor(fidelity))

    def layout(self):
        return CONTENT, STYLE

    def encode(self, x):
        both = x[:, 0, 0, [0, 63]] @ self.turn
        spare = torch.zeros(len(x), 1)
        return torch.cat([both[:, :1], spare, both[:, 1:], spare], 1)

    def decode(self, code):
        both = (code[:, [0, 2]] @ self.turn.T).clamp(0, 1)
        both = torch.full_like(both, 0.5) if self.dead else both
        half = (torch.arange(64) < 32)[None, None, None]
        return torch.where(half, *both.view(-1, 2, 1, 1, 1).unbind(1)).expand(-1, 1, 64, 64)

    def loss(self, x, step, generator, stage=0):
        raise NotImplementedError


@pytest.fixture(autouse=True, scope="module")
def few():
    """Few swaps and short trainings of probes, which read a number or two here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate_swaps, "PAIRS", 600)
        patch.setattr(readers, "BATCH", 128)
        patch.setattr(readers.of_codes, "__defaults__", (300,))
        yield


@pytest.fixture(scope="module")
def perfect(few):
    return score(Halves(), Tiles(), torch.device("cpu"), perfect_reader)


def test_a_perfect_model_follows_one_side_and_not_the_other(perfect):
    assert perfect["swap left content"] == perfect["swap right style"] == 1
    assert abs(perfect["swap left style"]) < 0.1 and abs(perfect["swap right content"]) < 0.1
    assert perfect["one-sided"] == perfect["mostly one-sided"] == 2
    assert perfect["content kept"] == perfect["style kept"] == pytest.approx(1, abs=1e-4)


def test_a_perfect_model_leaks_nothing(perfect):
    assert perfect["probe left content"] > 0.6 and perfect["probe right style"] > 0.8
    assert perfect["leak left"] == perfect["probe left style"] < 0.15
    assert perfect["leak right"] == perfect["probe right content"] < 0.15


def test_its_nearest_have_the_factor_of_that_side_in_common(perfect):
    assert perfect["near left content"] > 0.9 and perfect["near right style"] > 0.9
    assert perfect["near left style"] < 0.3 and perfect["near right content"] < 0.3


def test_pictures_that_it_never_saw_are_made_of_two_that_it_saw(perfect):
    assert perfect["unseen pairs"] == 24 * (600 // 24)  # of 1,200 pairs a fiftieth, each as often as makes 600 swaps
    assert perfect["unseen pairs psnr"] > 60
    assert perfect["unseen pairs left right"] == perfect["unseen pairs left in 10"] == 1
    assert perfect["psnr training"] > 60 and perfect["psnr held out"] > 60
    assert not {"psnr embeddings", "psnr closer"} & perfect.keys()


def test_the_reader_says_how_much_can_be_had():
    blind = lambda x: [torch.full((len(x), 12), 1 / 12), perfect_reader(x)[1]]  # noqa: E731
    scores = score(Halves(), Tiles(), torch.device("cpu"), blind)
    assert scores["read left"] == scores["swap left content"] == 0 and scores["read right"] == 1
    assert scores["one-sided"] == 1


def test_a_model_that_shows_nothing_has_no_side():
    scores = score(Halves(dead=True), Tiles(), torch.device("cpu"), perfect_reader)
    for name in ("swap left content", "swap left style", "swap right content", "swap right style", "one-sided"):
        assert scores[name] == 0
    assert scores["content kept"] <= 0 and scores["psnr training"] < 20
    assert scores["probe left content"] > 0.6  # it is there, though the decoder makes nothing of it


def test_an_entangled_model_follows_both_sides():
    scores = score(Halves(mixing=0.7854), Shades(), torch.device("cpu"), shade_reader)
    for name in ("left", "right"):
        assert abs(abs(scores[f"swap {name} content"]) - abs(scores[f"swap {name} style"])) < 0.15
        assert 0.2 < scores[f"leak {name}"] < 0.8
    assert scores["one-sided"] == scores["mostly one-sided"] == 0
    assert scores["psnr held out"] > 40 and "unseen pairs" not in scores


def test_sides_may_be_exchanged_or_given():
    scores = score(Halves(), Shades(), torch.device("cpu"), shade_reader, ([STYLE], [CONTENT]))
    assert scores["swap left style"] > 0.99 and scores["swap right content"] > 0.99 and scores["one-sided"] == 2


def test_what_embeddings_had_is_told():
    scores = score(Halves(fidelity=(31.5, 30.25)), Shades(), torch.device("cpu"), shade_reader)
    assert (scores["psnr embeddings"], scores["psnr embedded"]) == (31.5, 30.25)
    assert scores["psnr closer"] >= scores["psnr held out"] > 40


def test_a_reader_is_trained_where_none_is_given(monkeypatch):
    asked = []
    monkeypatch.setattr(evaluate_swaps.readers, "of_pictures",
                        lambda images, labels, factors: asked.append((images, labels, factors)) or perfect_reader)
    score(Halves(), Tiles(), torch.device("cpu"))
    [(images, labels, factors)] = asked
    assert images.shape == (1176, 1, 64, 64) and images.dtype == torch.uint8
    assert labels.shape == (1176, 2) and [f.name for f in factors] == ["left", "right"]


def test_what_cannot_be_scored_is_an_error(monkeypatch):
    class Unsided(Halves):
        def layout(self):
            return Slot(0, 2), Slot(2, 4)

    class Unknown(Shades):
        factors = ()

    with pytest.raises(ValueError, match="not made of content and style"):
        score(Unsided(), Tiles(), torch.device("cpu"), perfect_reader)
    with pytest.raises(ValueError, match="not known"):
        score(Halves(), Unknown(), torch.device("cpu"), perfect_reader)


@pytest.mark.parametrize("correlations, content", [
    ({"a": (0.9, 0.1), "b": (0.1, 0.9)}, {"a"}),
    ({"a": (0.9, 0.1), "b": (0.5, 0.4), "c": (0.8, 0.3)}, {"a", "c"}),  # the least decided goes to the other side
    ({"a": (0.1, 0.9), "b": (0.0, 0.3)}, {"b"}),
    ({"a": (0.0, 0.0), "b": (0.0, 0.0)}, {"a"}),
])
def test_each_side_is_allotted_what_follows_it_and_one_factor_at_least(correlations, content):
    sides = evaluate_swaps.allotted(correlations)
    assert sides == {name: "content" if name in content else "style" for name in correlations}


def test_pairs_are_unseen_also_where_all_factors_follow_one_side():
    class Content(Halves):
        """Both brightnesses are content."""

        def encode(self, x):
            return torch.cat([x[:, 0, 0, [0, 63]], torch.zeros(len(x), 2)], 1)

        def decode(self, code):
            return Halves.decode(self, code[:, [0, 2, 1, 3]])

    scores = score(Content(), Tiles(), torch.device("cpu"), perfect_reader)
    assert scores["swap left content"] == scores["swap right content"] == 1 and scores["one-sided"] == 2
    assert scores["unseen pairs"] >= 20 * (600 // 24) and scores["unseen pairs psnr"] < 40
    rightly = [scores["unseen pairs left right"], scores["unseen pairs right"]]
    assert max(rightly) == 1 and min(rightly) < 0.5  # the picture is the content's giver, in both


# --- from a model folder

@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An untrained C-S DisMo, exported as if it had learnt Tiles."""
    monkeypatch.setattr(export, "MEASURED", 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CSDisMo(Config(content=4, style=4, encoder_width=4, decoder_width=4, images=1), 1)
    options = {"steps": 0, "batch": 1, "seeds": [0]}
    return export.export(tmp_path / "model", model, Tiles(), options, "python", 0, [])


def test_a_card_of_content_and_style_has_no_score_of_single_numbers(folder):
    figures = checkpoint.load(folder)[2]["figures"]
    assert set(figures) == {"psnr_held_out_db", "visible_factors"}
    assert "mig" not in (folder / "card.md").read_text(encoding="utf-8")


def test_a_model_of_content_and_style_is_evaluated_by_its_swaps(folder, monkeypatch):
    monkeypatch.setattr(evaluate, "load", lambda name: Tiles())
    monkeypatch.setattr(evaluate_swaps.readers, "of_pictures", lambda *_: perfect_reader)
    scores = evaluate.evaluate(folder)
    assert {"swap left content", "leak right", "near left style", "content kept", "one-sided"} <= set(scores)
    assert "MIG" not in scores and json.loads(read_verified(folder, evaluate.METRICS)) == scores
