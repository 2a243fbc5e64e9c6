"""The robot: as many moves as factors where every slider does one thing, and an end where none helps."""

import numpy as np
import pytest

from benchmarks import rebuild as robot
from engine import Engine, truth_of
from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    save_tiny(folder / "first")
    engine = Engine(folder)
    yield engine
    engine.close()


class Squares:
    """An engine whose picture is a row of bars, one for each of three numbers in the code, as high as the number."""

    def __init__(self, mixed: bool = False):
        self.mixed = mixed
        self.table = [robot.Factor(f"z{k}", (k, k + 1), "factor", (1.0,), 0.0, 1.0, k, {"effect": 10.0})
                      for k in range(3)]

    def decode(self, model, codes):
        images = np.zeros((len(codes), 64, 64, 3), np.uint8)
        heights = np.asarray(codes)
        if self.mixed:  # every slider moves all bars
            heights = heights @ (np.full((3, 3), 0.25) + np.eye(3) * 0.5)
        for image, code in zip(images, heights, strict=True):
            for k, height in enumerate(code):
                image[:int(60 * np.clip(height, 0, 1)), 20 * k:20 * k + 20] = 255
        return Answer(images)

    def films(self, model, code, names, frames):
        rows = [[self.edit(model, code, {name: v}) for v in np.linspace(0, 1, frames)] for name in names]
        return Answer(self.decode(model, np.concatenate(rows)).get().reshape(len(names), frames, 64, 64, 3))

    def edit(self, model, code, values):
        code = np.array(code)
        for name, value in values.items():
            code[int(name[1:])] = value
        return code


class Answer:
    def __init__(self, value):
        self.value = value

    def get(self):
        return self.value


@pytest.mark.parametrize("changed", [1, 2, 3])
def test_where_every_slider_does_one_thing_a_factor_takes_one_move(changed):
    world, start, goal = Squares(), np.full(3, 0.2), np.full(3, 0.2)
    goal[:changed] = 0.8
    game = robot.play(world, "m", start, world.decode("m", goal[None]).get()[0], world.table, changed)
    assert game.won and game.moves == changed and game.share == pytest.approx(1, abs=0.1)


def test_where_sliders_mix_it_takes_more_or_is_lost():
    world, start, goal = Squares(mixed=True), np.array([0.1, 0.9, 0.1]), np.array([0.9, 0.1, 0.9])
    game = robot.play(world, "m", start, world.decode("m", goal[None]).get()[0], world.table, 1)
    assert game.moves > 1


def test_a_target_that_no_slider_brings_nearer_ends_at_once():
    world = Squares()
    game = robot.play(world, "m", np.ones(3), np.full((64, 64, 3), 255, np.uint8), world.table, 1)
    assert not game.won and game.moves == 0


def test_pairs_differ_in_as_many_true_factors_as_asked():
    for count in (1, 2, 3):
        pair = robot.differing("shapes3d", count, np.random.default_rng(0))
        _, values = truth_of("shapes3d", np.array(pair))
        assert (values[0] != values[1]).sum() == count


def test_all_deals_are_played_and_told_in_a_row(engine):
    games = robot.scored(engine, "first", "own", 3)
    assert [game.changed for game in games] == [1, 2, 3] and all(game.moves <= robot.LOST for game in games)
    row = robot.line("first", "own", [robot.Game(2, 3, 0.95), robot.Game(1, 12, 0.5)])
    assert row == "| first | own | 2 | 50 % | 1.50 | 0.72 |"
    assert robot.line("first", "true", []).endswith("| 0 | 0 % |  |  |")
