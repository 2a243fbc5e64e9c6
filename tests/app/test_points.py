"""The payload of a cloud of points, read back as the page reads it."""

import json
from base64 import b64decode

import numpy as np
import pytest

from app.points import CLASSES, Colour, PointCloud, cloud, from_unit, unit


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(b64decode(text), kind)


def some(n: int = 5, dims: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, dims)) * [3, 1, 2][:dims]


@pytest.mark.parametrize("dims", [2, 3])
def test_places_keep_their_shape_within_16_bits(dims):
    places = some(50, dims)
    made = cloud("key", "title", places, [Colour("x", places[:, 0])])
    got = decoded(made["position"], "<u2").reshape(-1, dims) / 65535
    assert made["count"] == 50 and made["dims"] == dims and got.min() == 0 and got.max() == 1
    width = np.ptp(places, axis=0).max()
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    assert np.linalg.norm(got[:, None] - got, axis=-1) * width == pytest.approx(apart, abs=1e-3)
    assert (got.max(0) + got.min(0)) / 2 == pytest.approx(0.5, abs=1e-4)  # in the middle


def test_a_place_is_drawn_where_its_point_would_be_and_found_again():
    places = some(50)
    got = decoded(cloud("key", "title", places, [Colour("x", places[:, 0])])["position"], "<u2").reshape(-1, 2) / 65535
    assert unit(places[:7], places) == pytest.approx(got[:7], abs=1e-4)
    assert from_unit(unit(places[0] + 9, places), places) == pytest.approx(places[0] + 9)


def test_points_keep_their_numbers_and_a_summary_ends_in_the_keys():
    colour = [Colour("x", np.ones(5))]
    made = cloud("key", "title", some(), colour, about="Two groups.", numbers=np.array([4, 70_000, 0, 9, 2]))
    assert list(decoded(made["numbers"], "<i4")) == [4, 70_000, 0, 9, 2]
    assert made["about"].startswith("Two groups. Arrow keys")
    assert cloud("key", "title", some(), colour)["numbers"] is None


def test_places_that_are_all_the_same_do_no_harm():
    made = cloud("key", "title", np.ones((3, 2)), [Colour("x", np.ones(3), 1, 1)])
    assert set(decoded(made["position"], "<u2")) == {32768}


def test_a_range_is_coloured_from_its_low_to_its_high_end():
    made = cloud("key", "title", some(), [Colour("x", np.array([-9.0, -1, 0, 1, 9]), -1, 1)])
    column = made["colours"][0]
    assert list(decoded(column["values"], "u1")) == [0, 0, 128, 255, 255]
    assert (column["name"], column["low"], column["high"], column["palette"]) == ("x", "-1", "1", "range")
    assert len(decoded(made["palettes"]["range"], "u1")) == 256 * 3


def test_a_hue_ends_where_it_begins_and_a_range_does_not():
    palettes = cloud("key", "title", some(), [Colour("x", np.ones(5), circular=True)])["palettes"]
    ends = {name: decoded(text, "u1").reshape(-1, 3)[[0, -1]].astype(int) for name, text in palettes.items()}
    assert np.abs(np.diff(ends["hue"], axis=0)).max() < 8 < np.abs(np.diff(ends["range"], axis=0)).max()


def test_classes_have_colours_and_names_of_their_own():
    labels = tuple("abcdefgh")
    made = cloud("key", "title", some(8), [Colour("kind", np.arange(8), labels=labels)])
    column, palette = made["colours"][0], decoded(made["palettes"]["class"], "u1").reshape(-1, 3)
    assert column["labels"] == list(labels) and list(decoded(column["values"], "u1")) == list(range(8))
    assert len(np.unique(palette, axis=0)) == len(palette) <= CLASSES


@pytest.mark.parametrize("colours", [[], [Colour("x", np.ones(4))]])
def test_a_cloud_without_a_colour_for_every_point_is_refused(colours):
    with pytest.raises(ValueError, match="at least one colour"):
        cloud("key", "title", some(), colours)


def test_the_component_sends_json_and_starts_empty():
    made = cloud("key", "title", some(), [Colour("x", np.ones(5))])
    component = PointCloud(render=False)
    assert json.loads(component.postprocess(made)) == made and component.postprocess(None) is None
    assert json.loads(component.postprocess({"count": 0})) == {"count": 0}


def test_fifty_thousand_points_fit_into_a_megabyte():
    n = 50_000
    colours = [Colour(f"factor {k}", np.zeros(n)) for k in range(8)]
    assert len(json.dumps(cloud("key", "title", np.random.default_rng(0).random((n, 2)), colours))) < 1_000_000
