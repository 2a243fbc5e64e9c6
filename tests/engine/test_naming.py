import json
import math

import numpy as np
import pytest
import torch

from engine import changes, naming
from engine.data import KnownFactor, split
from engine.factors import Factor
from engine.files import MANIFEST
from engine.naming import between, bits, fits, fitting
from tests.tiny import save_tiny

Y, X = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
RED = (0.9, 0.1, 0.1)
STEPS = torch.linspace(-1, 1, 9)


def rainbow(turn):
    """Full colours (3,) around the circle of hues."""
    third = 2 * math.pi * torch.arange(3) / 3
    return 0.5 + 0.4 * torch.cos(2 * math.pi * turn - third)


def sprite(x=32.0, y=32.0, radius=9.0, long=1.0, angle=0.0, square=False, colour=(1.0,) * 3, ground=(0.0,) * 3):
    """A soft-edged ellipse or square (3, 64, 64); `angle` is clockwise, in degrees."""
    turn = math.radians(angle)
    u = ((X - x) * math.cos(turn) + (Y - y) * math.sin(turn)) / long
    v = ((Y - y) * math.cos(turn) - (X - x) * math.sin(turn)) * long
    far = torch.maximum(u.abs(), v.abs()) if square else (u * u + v * v).sqrt()
    inside = (radius - far + 0.5).clamp(0, 1)
    return torch.lerp(torch.as_tensor(ground)[:, None, None], torch.as_tensor(colour)[:, None, None], inside)


def halves(upper, lower):
    """A picture whose upper and lower half have these colours."""
    picture = torch.as_tensor(upper)[:, None, None].repeat(1, 64, 64)
    picture[:, 32:] = torch.as_tensor(lower)[:, None, None]
    return picture


def named(draw, bases=3):
    """The name of a factor whose value t from -1 to 1 draws draw(t, base)."""
    films = torch.stack([torch.stack([draw(t, b) for t in STEPS.tolist()]) for b in range(bases)])
    return naming.name(changes.measure(films))


# --- What pictures show: one effect, by its name and no other
ONE = {
    "moves the object right": lambda t, b: sprite(x=32 + 14 * t, y=22 + 4 * b),
    "moves the object left": lambda t, b: sprite(x=32 - 14 * t, radius=6 + b),
    "moves the object down": lambda t, b: sprite(x=22 + 4 * b, y=32 + 14 * t),
    "moves the object up": lambda t, b: sprite(x=22 + 4 * b, y=32 - 14 * t, colour=RED, ground=(0.2, 0.5, 0.4)),
    "makes the object larger": lambda t, b: sprite(radius=11 + 5 * t, x=24 + 3 * b),
    "makes the object smaller": lambda t, b: sprite(radius=11 - 5 * t, square=True, ground=(0.8, 0.8, 0.2)),
    "makes the object taller": lambda t, b: sprite(radius=9 * math.exp(t / 4), long=math.exp(-t / 4), x=24 + 3 * b),
    "turns the object clockwise": lambda t, b: sprite(radius=10, long=1.5, angle=10 * b + 60 * t),
    "turns the object anticlockwise": lambda t, b: sprite(radius=10, square=True, angle=5 * b - 40 * t),
    "hue of the object": lambda t, b: sprite(x=24 + 3 * b, radius=12, colour=rainbow(0.4 * t), ground=(0.5, 0.5, 0.5)),
    "brightness of the object": lambda t, b: sprite(x=24 + 3 * b, radius=12, colour=[0.65 + 0.3 * t] * 3),
    "hue of the upper half": lambda t, b: halves(rainbow(0.4 * t), rainbow(b / 6)),
    "brightness of the lower half": lambda t, b: halves(rainbow(b / 6), [0.5 + 0.4 * t] * 3),
    "hue of the background": lambda t, b: sprite(x=24 + 3 * b, ground=rainbow(0.4 * t)),
    "moves the object right and down": lambda t, b: sprite(x=32 + 10 * t, y=32 + 10 * t, radius=6 + b),
}


@pytest.mark.parametrize("said", ONE)
def test_one_effect_is_named_for_what_it_is(said):
    name = named(ONE[said])
    assert (name.name, name.source) == (said, "pictures")
    assert len(said.split(" and ")) == len(name.pictures) == len({e.what for e in name.pictures})
    assert sum(e.share for e in name.pictures) > 0.85 and all(abs(e.value) > 0.9 for e in name.pictures)


def test_amounts_are_those_drawn():
    (right,) = named(ONE["moves the object right"]).pictures
    assert (right.amount, right.measured) == ("28 px", "r 1.00")
    (larger,) = named(ONE["makes the object larger"]).pictures
    assert 2.4 <= float(larger.amount[1:]) <= 2.8  # radii from 6 to 16
    (turn,) = named(ONE["turns the object clockwise"]).pictures
    assert turn.amount in ("119°", "120°")
    (hue,) = named(ONE["hue of the upper half"]).pictures
    assert hue.measure == "R²" and abs(float(hue.amount.rstrip("°")) - 288) <= 5
    (bright,) = named(ONE["brightness of the lower half"]).pictures
    assert bright.amount == "80%"


def test_two_effects_are_both_named():
    both = named(lambda t, b: sprite(x=32 + 6 * t, radius=8 + 5 * t, y=26 + 2 * b))
    assert both.name in ("size and place (mixed)", "place and size (mixed)")
    hue = named(lambda t, b: sprite(x=32 + 8 * t, y=22 + 4 * b, colour=rainbow(0.4 * t), ground=(0.5,) * 3, radius=12))
    assert "place" in hue.name and "hue" in hue.name and hue.name.endswith("(mixed)")
    assert not any("larger" in e.what or "turns" in e.what for e in (*both.pictures[2:], *hue.pictures))


def test_nothing_is_said_of_what_does_nothing():
    still = named(lambda t, b: sprite(x=24 + 3 * b))
    assert (still.name, still.source, still.pictures, still.strongest) == ("nothing visible", "nothing", (), "")


def test_what_goes_another_way_in_every_picture_is_not_given_a_way():
    name = named(lambda t, b: sprite(x=32 + (-1) ** b * 14 * t))
    assert not any(way in name.name for way in ("right", "left", "up", "down"))
    noise = torch.rand(3, 9, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert naming.name(changes.measure(noise)).name == "changes the object"  # all of it differs from the edges


def test_a_grey_film_is_measured_like_one_in_colour():
    assert named(lambda t, b: ONE["moves the object right"](t, b)[:1]).name == "moves the object right"


# --- What labels say: perfect, useless, mixed
HUE = KnownFactor("wall hue", tuple(k / 10 for k in range(10)), circular=True)
SIZE = KnownFactor("scale", low=2.0, high=6.0)
SHAPE = KnownFactor("shape", (0.0, 1.0, 2.0, 3.0), categorical=True)
KNOWN = (HUE, SIZE, SHAPE, KnownFactor("color", (1.0,)))
MOVED = changes.measure(torch.stack([torch.stack([ONE["moves the object right"](t, b) for t in STEPS.tolist()])
                                     for b in range(3)]))


@pytest.fixture(scope="module")
def labels():
    draw = np.random.default_rng(0)
    columns = (draw.integers(0, 10, 1000), draw.uniform(2, 6, 1000), draw.integers(0, 4, 1000), np.zeros(1000))
    return np.stack(columns, 1)


def test_a_reading_that_is_a_label_is_called_by_it(labels):
    for column, reading in enumerate((np.cos(2 * np.pi * labels[:, 0] / 10), labels[:, 1]**3, labels[:, 2] == 2)):
        best, *others = fits(reading.astype(float), labels, KNOWN)
        assert best.what == KNOWN[column].name and best.value > 0.99 and all(e.value < 0.02 for e in others)
        assert best.amount == ("0.8 bits of 2.0" if KNOWN[column].categorical else "")
        name = naming.name(MOVED, (best, *others))
        assert (name.name, name.source, name.seen) == (best.what, "labels", "moves the object right")
        assert name.strongest in ("R² 1.00", "R² .99")


def test_a_reading_that_no_label_explains_is_called_by_what_is_seen(labels):
    noise = np.random.default_rng(1).normal(size=1000)
    found = fits(noise, labels, KNOWN)
    assert len(found) == 3 and all(0 <= e.value < 0.02 for e in found)
    name = naming.name(MOVED, found)
    assert (name.name, name.source, name.labels) == ("moves the object right", "pictures", found)


def test_a_reading_of_two_labels_is_called_by_both(labels):
    reading = labels[:, 1] / labels[:, 1].std() + 0.8 * np.sin(labels[:, 0])
    assert naming.name(MOVED, fits(reading, labels, KNOWN)).name == "scale and wall hue (mixed)"


def test_too_few_pictures_for_the_classes_of_a_label_say_nothing(labels):
    assert [e.what for e in fits(labels[:100, 2], labels[:100], KNOWN)] == ["shape"]


def test_a_share_is_corrected_for_the_number_of_classes():
    draw = np.random.default_rng(0)
    shares = [between(draw.normal(size=200), draw.integers(0, 50, 200)) for _ in range(200)]
    assert abs(np.mean(shares)) < 0.02
    assert between(np.ones(9), np.arange(9) % 3) == 0
    assert abs(bits(np.arange(400.0), np.arange(400) // 100) - 2) < 1e-9


def test_no_label_is_spoken_of_where_nothing_is_visible(labels):
    still = changes.measure(torch.zeros(2, 9, 3, 64, 64))
    assert naming.name(still, fits(labels[:, 1], labels, KNOWN)).name == "nothing visible"


def test_names_are_short():
    assert fitting("a" * 41, "b" * 40) == "b" * 40 and fitting("a" * 41, "b" * 50) == "b" * 39 + "…"


# --- Files
class Painter:
    """Draws a disc from a code (B, 2): where it is, and nothing."""

    def decode(self, code):
        return torch.stack([sprite(x=32 + 12 * row[0].item()) for row in code])


def test_every_factor_of_a_table_gets_its_name():
    table = [Factor(f"z{j}", (j, j + 1), "factor", (1.0,), -1.0, 1.0, j, {}, (-1.0, 1.0)) for j in range(2)]
    found = naming.measure(Painter(), table, torch.zeros(2, 2))
    assert {name: found[name].name for name in found} == {"z0": "moves the object right", "z1": "nothing visible"}


@pytest.fixture
def few(monkeypatch):
    """Fewer pictures than are measured in earnest."""
    monkeypatch.setattr(naming, "BASES", 2)
    monkeypatch.setattr(naming, "LABELLED", 300)
    naming._sample.cache_clear()
    yield
    naming._sample.cache_clear()


def test_where_too_few_pictures_are_held_out_training_pictures_follow_them(few):
    dataset, images, number = naming._sample("manifold-blob")
    trained, held_out = split(len(dataset))
    assert len(held_out) < len(number) == len(images) == 300
    assert torch.equal(number, torch.cat([held_out, trained[:300 - len(held_out)]]))


def test_a_model_folder_gets_its_names_and_its_manifest_with_them(tmp_path, capsys, few):
    folder = save_tiny(tmp_path / "model", data="shapes3d")
    naming.main([str(folder)])
    found = naming.names.load(folder)
    table = json.loads((folder / "factors.json").read_text())
    assert list(found) == [f["name"] for f in sorted(table, key=lambda f: f["rank"]) if f["rank"] >= 0]
    assert all(len(name.labels) == 3 for name in found.values())
    assert "names.json" in json.loads((folder / MANIFEST).read_text()) and "model" in capsys.readouterr().out


def test_a_model_of_data_that_is_not_there_is_named_by_pictures(tmp_path, few):
    found = naming.write(save_tiny(tmp_path / "model", data="gone/away"))
    assert found and all(name.labels == () and name.source != "labels" for name in found.values())
