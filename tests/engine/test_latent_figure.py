"""A map as a plotly figure: the points where they are, coloured by what is asked for, and where it all comes from."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import LatentMap, Refusal, figure_of, truth_of

COUNT = 40


@pytest.fixture(scope="module")
def made() -> LatentMap:
    """A map of forty pictures that nobody arranged."""
    random = np.random.default_rng(0)
    figures = {f"{what} {space}": 0.5 for what in ("kept", "trustworthiness") for space in ("2-D", "3-D")}
    return LatentMap("a<b", "shapes3d", "code", np.arange(COUNT) * 11_777, random.normal(size=(COUNT, 4)), np.zeros(4),
                     np.ones(4), np.arange(4), np.eye(4), random.normal(size=(COUNT, 2)),
                     random.normal(size=(COUNT, 3)), np.arange(COUNT) % 2, figures, 7, "python -m something")


@pytest.mark.parametrize("dims", [2, 3])
def test_points_lie_where_the_map_has_them_and_name_their_picture(made, dims):
    points = figure_of(made, dims=dims).data[0]
    places = np.stack([points[axis] for axis in "xyz"[:dims]], 1)
    assert np.array_equal(places, made.places(dims)) and list(points.customdata[:, 0]) == list(made.index)


def test_colours_are_true_factors_groups_or_given(made):
    known, values = truth_of("shapes3d", made.index)
    names = [f.name for f in known]
    hue, shape = (figure_of(made, by).data[0].marker for by in ("wall hue", "shape"))
    assert np.array_equal(hue.color, values[:, names.index("wall hue")])
    assert hue.colorscale != shape.colorscale and (hue.cmin, hue.cmax) == (0, 10)  # a hue begins again after ten
    assert np.array_equal(figure_of(made, "groups").data[0].marker.color, made.cluster)
    own = figure_of(made, "Factor 1", values=made.codes[:, 0]).data[0].marker
    assert np.array_equal(own.color, made.codes[:, 0]) and own.colorbar.title.text == "Factor 1"


def test_it_says_where_it_comes_from_and_stays_whole_in_a_file(made, tmp_path):
    figure = figure_of(made)
    meta = figure.layout.meta
    assert (meta["model"], meta["data"], meta["pictures"], meta["command"]) == \
        ("a<b", "shapes3d", COUNT, "python -m something")
    assert meta["settings"]["random_state"] == 7 and meta["figures"] == made.figures
    title = figure.layout.title.text
    assert "40 pictures of shapes3d" in title and "a&lt;b" in title and "50 % of neighbours kept" in title
    figure.write_html(tmp_path / "map.html", include_plotlyjs=True)
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "<script src" not in text and "python -m something" in text
    assert json.loads(figure.to_json())["layout"]["meta"]["model"] == "a<b"


def test_what_is_not_there_is_refused(made):
    with pytest.raises(Refusal, match="no colour 'mood'; there are floor hue"):
        figure_of(made, "mood")
    with pytest.raises(Refusal, match="2 or 3"):
        figure_of(made, dims=4)


def test_plotly_is_not_imported_before_a_figure_is_made():
    program = "import sys, engine; print([m for m in sys.modules if m.startswith('plotly')])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
