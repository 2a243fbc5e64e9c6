"""Which factors of several models are taken for the same: by label, by readings, by pictures, in this order."""

import pytest

from engine import Engine, Name, Refusal, alignment, names
from engine.alignment import align
from engine.names import Evidence
from tests.serving import chequers
from tests.tiny import save_tiny

CELLS = ((0.5, 0.5), (0.0, 0.0))


def called(label: str = "", seen: str = "changes the picture", value: float = 0.9) -> Name:
    """A name given by a label, or by what is seen."""
    if label:
        return Name(label, "labels", seen, (), (Evidence(label, "", "R²", value, value),), CELLS)
    return Name(seen, "pictures", seen, (), (), CELLS)


@pytest.fixture
def served(tmp_path):
    """Starts an engine on tiny models: {name: (seed, data, names)}."""
    started = []

    def serve(**models: tuple) -> Engine:
        for name, (seed, data, given) in models.items():
            save_tiny(tmp_path / name, seed, data=data)
            if given:
                names.save(tmp_path / name, given, 10, 4)
        started.append(Engine(tmp_path))
        return started[-1]

    yield serve
    for engine in started:
        engine.close()


def test_twins_are_matched_by_their_readings(served):
    engine = served(a=(0, "shapes3d", {}), b=(0, "shapes3d", {}))
    rows = align(engine, ["a", "b"])
    assert [row.factors for row in rows] == [(f.name, f.name) for f in engine.model("a").sliders]
    assert all(row.reason == "readings" and row.strength == pytest.approx(1) for row in rows)


def test_a_label_goes_before_readings(served):
    engine = served(a=(0, "shapes3d", {"z0": called("hue", value=0.8)}), b=(0, "shapes3d", {"z1": called("hue")}))
    row = next(row for row in align(engine, ["a", "b"]) if row.factors[0] == "z0")
    assert (row.factors, row.reason, row.strength) == (("z0", "z1"), "label", 0.8)


def test_labels_hold_across_data_sets_and_pictures_do_not(served):
    given = {"z0": called("hue"), "z1": called(seen="moves the object up")}
    engine = served(a=(0, "shapes3d", given), b=(0, "dsprites", given))
    assert [(row.factors, row.reason) for row in align(engine, ["a", "b"])] == [(("z0", "z0"), "label")]


def test_what_is_seen_counts_where_nothing_else_does(served):
    up = {"z2": called(seen="moves the object up")}
    engine = served(a=(0, "unknown", up), b=(1, "unknown", {"z3": up["z2"]}), c=(2, "unknown", {}))
    assert [(row.factors, row.reason) for row in align(engine, ["a", "b", "c"])] == [(("z2", "z3", None), "pictures")]


def test_what_is_seen_does_not_overrule_a_label_that_the_other_model_has_elsewhere(served):
    engine = served(
        a=(0, "unknown", {"z0": called("hue"), "z1": called(seen="changes the middle")}),
        b=(1, "unknown", {"z0": called("hue", value=0.7), "z1": called("hue", seen="changes the middle")}),
    )
    assert [row.factors for row in align(engine, ["a", "b"])] == [("z0", "z1")]  # the better of the two, and no more


def test_nothing_visible_is_no_common_ground(served):
    nothing = Name("nothing visible", "nothing", "nothing visible", (), (), CELLS)
    engine = served(a=(0, "unknown", {"z0": nothing}), b=(1, "unknown", {"z0": nothing}))
    assert align(engine, ["a", "b"]) == []


def test_no_model_has_two_factors_in_a_row(served):
    many = {f"z{k}": called("hue") for k in range(4)}
    engine = served(a=(0, "shapes3d", many), b=(1, "shapes3d", many), c=(2, "shapes3d", {"z0": called("hue")}))
    rows = align(engine, ["a", "b", "c"])
    for i in range(3):
        found = [row.factors[i] for row in rows if row.factors[i]]
        assert len(found) == len(set(found))
    assert sum(all(row.factors) for row in rows) == 1 and align(engine, ["a"]) == []


@pytest.mark.parametrize("wrong", [[], ["first", "first"], ["first"] * 5, "first", None, ["none"]])
def test_wrong_models_are_refused(engine, wrong):
    with pytest.raises(Refusal):
        align(engine, wrong)


def test_speed_is_measured_and_its_device_is_said(engine):
    speed = alignment.speed(engine, "first", chequers())
    assert min(speed.encode, speed.decode, speed.refine, speed.film) > 0 and speed.device.startswith("CPU")
    with pytest.raises(Refusal):
        alignment.speed(engine, "none", chequers())
