"""The tab "Map" without a browser: what its events answer, and what it says when there is no map."""

import asyncio
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from app import maps, own_maps
from app.atlas import ALONE, Atlas, thumbs
from app.explore import Explore
from app.maps import Finder, found_colours
from app.own_maps import GONE, News
from engine import LatentMap, Name, OwnMap, Refusal, pictures_of
from engine.latent_place import OWN
from engine.make_own_map import png
from tests.serving import in_loop

COUNT = 200


@pytest.fixture
def made(sessions) -> LatentMap:
    """A map of model 'first' that nobody arranged: two heaps."""
    random = np.random.default_rng(0)
    heap = np.arange(COUNT) % 2
    size = sessions.engine.model("first").code_size
    codes = random.normal(size=(COUNT, size)).astype(np.float32)
    codes[:, 0] = 3 * (2 * heap - 1)
    flat = (random.normal(size=(COUNT, 2)) + 20 * heap[:, None]).astype(np.float32)
    figures = {f"{what} {space}": 0.5 for what in ("kept", "trustworthiness") for space in ("2-D", "3-D")}
    return LatentMap("first", "shapes3d", "code", np.arange(COUNT) * 1000, codes, np.zeros(size), np.ones(size),
                     np.arange(size), np.eye(size), flat, np.concatenate([flat, flat[:, :1]], 1), heap, figures)


def shipped(monkeypatch, **known: LatentMap) -> None:
    """Let these be the maps that there are, by their names."""
    def map_of(name: str) -> LatentMap:
        if name not in known:
            raise Refusal(f"There is no map of '{name}' here.")
        return known[name]

    monkeypatch.setattr(maps, "map_of", map_of)
    monkeypatch.setattr(maps, "maps_of", lambda model: [made for made in known.values() if made.model == model])


@pytest.fixture
def tab(sessions, made, monkeypatch, tmp_path) -> Atlas:
    shipped(monkeypatch, first=made)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))

    def build() -> Atlas:
        with gr.Blocks():
            picker = gr.Dropdown(["first", "second"], value="first")
            with gr.Tabs() as tabs:
                with gr.Tab("Explore", id="explore"):
                    explore = Explore(sessions, picker, "first")
                with gr.Tab("Map") as opened:
                    return Atlas(sessions, picker, opened, explore, tabs, "explore")

    return in_loop(build)


@pytest.fixture
def two(tab, made, monkeypatch) -> tuple[Atlas, LatentMap]:
    """The tab with a map of 'second', too: of most of the same pictures, in another order."""
    other = replace(made, model="second", index=made.index[::-1] + 1000)
    shipped(monkeypatch, first=made, second=other)
    return tab, other


def with_own(tab: Atlas, made: LatentMap, room: Path) -> str:
    """The name of a map of somebody's own pictures that the tab has, with the places of another."""
    for kind in ("npz", "parquet"):
        (room / f"map.{kind}").write_text(kind)
    images = pictures_of("shapes3d", range(COUNT))
    own = OwnMap(replace(made, data=OWN, index=np.arange(COUNT)), tuple(f"{i}.png" for i in range(COUNT)),
                 tuple(png(torch.from_numpy(image).permute(2, 0, 1)) for image in images), f"{COUNT} pictures.")
    return f"own:{tab.own._keep(own, room)}"


def event(**data) -> SimpleNamespace:
    return SimpleNamespace(**data)


@pytest.mark.parametrize(("choice", "dims"), [("flat", 2), ("in space", 3)])
def test_a_map_is_shown_with_true_and_found_colours_and_its_trust(tab, sessions, choice, dims):
    shown, other, figures, side, parts, rivals, line = tab.show("first", choice)
    assert shown["count"] == COUNT and shown["dims"] == dims and side == ""
    assert other == {"count": 0} and not rivals.visible and not parts.visible and shown["numbers"] is None
    assert line["keys"] == [shown["key"]] and line["dims"] == dims
    names = [c["name"] for c in shown["colours"]]
    assert names[:2] == ["floor hue", "wall hue"] and "groups" in names and "Factor 1" in " ".join(names)
    assert len(names) == 6 + len(sessions.engine.model("first").sliders) + 1
    assert "50 %" in figures and "200 pictures" in figures


def test_without_a_map_the_command_that_makes_one_is_told(tab):
    shown, _, sentence, *_, line = tab.show("second", "flat")
    assert shown == {"count": 0} and line == {"maps": []}
    assert "python -m engine.latent_map assets/models/second" in sentence
    assert "<script" not in tab.show("<script>", "flat")[2]


def test_a_click_takes_the_picture_of_the_point_to_the_sliders(tab, sessions):
    tabs, view, *rest, model = tab.open("first", "first", event(index=7))
    assert model == "first" and rest[:3] == [gr.skip()] * 3  # what is said of the model is said already
    assert tabs.selected == "explore" and view["base"] == "picture:7000" and view["factors"]
    code = sessions.engine.encode("first", pictures_of("shapes3d", [7000])).get()[0]
    assert np.array_equal(sessions.code("first", "picture:7000"), code)


def test_a_click_on_a_map_of_another_model_takes_the_page_to_that_model(tab, sessions, made, tmp_path):
    own = with_own(tab, made, tmp_path)
    answer = tab.open(own, "second", event(index=7))
    _, view, samples, caption, evidence, *_, model = answer
    assert len(answer) == len(tab.explore.outputs) + 2 and model == view["model"] == "first"
    assert view["base"] == sessions.keep(pictures_of("shapes3d", [7])[0])
    assert gr.skip() not in (samples, caption, evidence) and sessions.engine.model("first").title in caption


def test_two_maps_of_one_data_set_share_the_pointer_by_picture_number(two, made):
    tab, other = two
    mine, theirs, figures, _, _, choice, line = tab.show("first", "flat", "first", "second")
    assert line["maps"] == ["first", "second"] and line["keys"] == [mine["key"], theirs["key"]]
    assert mine["group"] == theirs["group"] != "" and mine["key"] != theirs["key"]
    numbers = [np.frombuffer(b64decode(c["numbers"]), "<i4") for c in (mine, theirs)]
    assert np.array_equal(numbers[0], made.index) and np.array_equal(numbers[1], other.index)
    assert choice.value == "second" and [value for _, value in choice.choices] == [ALONE, "second"]
    assert "(first)" in figures and "(second)" in figures and "(second)" in theirs["name"]


def test_alone_or_compared_with_what_has_no_map_there_is_one_cloud(two):
    tab, _ = two
    for rival in (ALONE, "third-grey", None):
        mine, theirs, *_, choice, _ = tab.show("first", "flat", "first", rival)
        assert mine["count"] and not mine["group"] and theirs == {"count": 0} and choice.value == ALONE


def test_rivals_are_maps_of_the_same_pictures_of_other_models_and_other_parts(sessions, made, monkeypatch):
    style, grey = replace(made, part="style"), replace(made, model="third-grey", data="dsprites")
    shipped(monkeypatch, first=made, second=replace(made, model="second"), **{"first-style": style, "third-grey": grey})
    find = Finder(sessions, lambda token: None)
    assert [name for _, name in find.rivals(find("first"))] == ["first-style", "second"]
    assert [name for _, name in find.rivals(find("first-style"))] == ["first", "second"]
    assert find.parts("first", "") == [("the whole code", "first"), ("style", "first-style")]
    assert find.rivals(find("third-grey")) == [] and find.parts("nobody", "") == []


def test_a_map_of_a_part_is_coloured_by_the_factors_of_that_part_only(sessions, made, monkeypatch):
    column = np.array([sessions.engine.model("first").sliders[1].where[0]])
    part = replace(made, part="style", columns=column, codes=made.codes[:, column], axes=np.eye(1), centre=np.zeros(1),
                   scale=np.ones(1))
    shipped(monkeypatch, first=part)
    names, values = Finder(sessions, lambda token: None)("first").table
    assert len(names) == 1 and values[:, 0] == pytest.approx(part.codes[:, 0], abs=1e-5)


def test_a_factor_that_has_a_name_is_called_by_it(sessions, made, monkeypatch):
    factor = sessions.engine.model("first").sliders[0]
    name = Name("wall hue", "nothing", "", (), (), ())
    known = replace(sessions.engine.model("first"), names={factor.name: name})
    found = maps.Found("first", known, made)
    assert found.table[0][0] == f"wall hue ({factor.name})"
    assert found.table[0][1].startswith("Factor 2")


def test_a_click_on_the_other_map_shows_what_both_models_make_of_the_picture(two, sessions):
    tab, other = two
    said = tab.redraw("first", "second", event(index=3))
    sheet = np.asarray(Image.open(BytesIO(b64decode(said.split("base64,")[1].split("'")[0]))))
    assert sheet.shape == (64, 3 * 64, 3)
    image = pictures_of("shapes3d", other.index[[3]])
    for part, model in ((1, "first"), (2, "second")):
        again = sessions.engine.decode(model, sessions.engine.encode(model, image).get()).get()[0]
        assert np.abs(sheet[:, 64 * part:64 * (part + 1)].astype(int) - again).mean() < 6
    with pytest.raises(gr.Error, match="no point"):
        tab.redraw("first", "second", event(index=COUNT))


def test_a_group_is_told_by_the_factor_that_differs(made, sessions):
    found = maps.Found("first", sessions.engine.model("first"), made)
    said = found.groups
    assert len(said) == 2 and all("50 % of the pictures" in s and "(z0)" in s for s in said)
    assert tell(said[0]) != tell(said[1])
    mixed = replace(found, made=replace(made, cluster=np.arange(COUNT) // 100))
    assert all("no factor sets it apart" in sentence for sentence in mixed.groups)


def tell(sentence: str) -> str:
    """Whether a group lies higher or lower."""
    return next(word for word in ("more", "less") if word in sentence)


@pytest.mark.parametrize("colour", ["wall hue", "groups", "Factor 1", None])
def test_the_map_is_saved_as_a_figure_that_needs_nothing_else(tab, sessions, colour):
    if colour == "Factor 1":
        colour = found_colours(tab.find("first"))[0].name
    path = Path(tab.save("first", "flat", colour))
    text = path.read_text(encoding="utf-8")
    assert path.name == "map-first-2d.html" and "<script src" not in text and "200 pictures of shapes3d" in text
    assert colour is None or colour in text
    with pytest.raises(gr.Error, match="no map"):
        tab.save("second", "flat", "groups")


def test_figures_lie_where_nobody_can_guess_and_go_with_an_own_map(tab, made, tmp_path):
    own = with_own(tab, made, tmp_path)
    shipped, again, mine = (Path(tab.save(name, "flat", None)) for name in ("first", "first", own))
    assert shipped.parent != again.parent and all(len(path.parent.name) == 32 for path in (shipped, again, mine))
    assert mine.name == "map-first-own-2d.html"
    token = own.removeprefix("own:")
    assert [Path(path).name for path in tab.own.files(token)] == ["map-first.npz", "map-first.parquet"]
    tab.own._forget(token)
    assert not mine.exists() and shipped.exists()


def test_a_saved_figure_does_not_lie_on_the_server_for_ever(tab, monkeypatch):
    later = []
    monkeypatch.setattr(own_maps, "after", lambda seconds, act, *given: later.append((seconds, act, given)))
    path = Path(tab.save("first", "flat", None))
    [(seconds, act, given)] = later
    assert path.exists() and seconds == own_maps.LIFE
    act(*given)
    assert not path.parent.exists()


def test_an_own_map_is_not_lost_until_the_next_one_is_made(tab, made, tmp_path, monkeypatch):
    token = with_own(tab, made, tmp_path).removeprefix("own:")

    async def make(*asked):
        yield News(0.5, "working")
        yield News(0.0, "Cancelled.", "", True)
        yield News(1.0, "The map is made.", token, True)

    async def told():
        return [answer async for answer in tab.make([], "first", "first", SimpleNamespace(session_hash="page"))]

    monkeypatch.setattr(tab.own, "make", make)
    with ThreadPoolExecutor(1) as pool:  # a thread of its own: Playwright's loop may run in ours
        working, cancelled, done = pool.submit(asyncio.run, told()).result()
    assert working[3:] == cancelled[3:] == [gr.skip()] * 3 and working[2].visible and not cancelled[2].visible
    assert [Path(button.value["path"]).suffix for button in done[3:5]] == [".npz", ".parquet"] and done[5] == token
    shown, *_, parts, _, _ = tab.show_own("second", "flat", "second", ALONE, token)
    assert shown["count"] == COUNT and parts.value == f"own:{token}"
    tab.own._forget(token)
    assert tab.show_own("second", "flat", "second", ALONE, token) == [gr.skip()] * 7


def test_every_event_says_in_a_sentence_that_an_own_map_is_gone(tab):
    point, heap = event(index=0, x=0.5, y=0.5), event(indices=[0], total=1)
    for ask in (lambda name: tab.open(name, "first", point), lambda name: tab.draw(name, point),
                lambda name: tab.redraw(name, "first", point), lambda name: tab.redraw("first", name, point),
                lambda name: tab.describe(name, heap), lambda name: tab.save(name, "flat", None)):
        with pytest.raises(gr.Error) as error:
            ask("own:" + "0" * 32)
        assert error.value.message == GONE and not error.value.print_exception


@pytest.mark.parametrize("index", [-1, COUNT, 1.5, True, "1", None])
def test_a_point_that_is_none_is_refused(tab, index):
    with pytest.raises(gr.Error, match="no point of this map"):
        tab.open("first", "first", event(index=index))
    assert "no point" in thumbs(tab.find)({"key": "first/2", "index": index})["error"]


def test_a_picture_beyond_the_data_is_refused(sessions):
    with pytest.raises(Refusal, match="numbered from 0 to 479,999"):
        sessions.code("first", "picture:480000")


def test_the_pointer_gets_the_picture_of_its_point(tab):
    thumb = thumbs(tab.find)
    image = np.asarray(Image.open(BytesIO(b64decode(thumb({"key": "first/2", "index": 3})["image"]))))
    assert np.abs(image.astype(int) - pictures_of("shapes3d", [3000])[0]).mean() < 6
    for wrong in ({}, None, {"key": "second/2", "index": 0}, {"key": "first/2"}):
        assert set(thumb(wrong)) == {"error"}


def test_the_lasso_tells_what_sets_the_points_apart(tab, made):
    chosen = np.flatnonzero(made.cluster == 1).tolist()
    said = tab.describe("first", event(indices=chosen, total=len(chosen)))
    assert "100 pictures chosen" in said and "<img" in said
    assert said.index("(z0)") < said.index("</tr>")  # the factor that differs comes first
    assert tab.describe("first", event(indices=[], total=0)) == ""


def test_an_empty_place_is_drawn_with_a_warning_and_a_full_one_without(tab, made):
    low, high = made.flat.min(0), made.flat.max(0)
    inside = (made.flat[0] - (low + high) / 2) / (high - low).max() + 0.5
    assert "Between the points" in tab.draw("first", event(x=inside[0], y=inside[1]))
    assert "The map is empty here" in tab.draw("first", event(x=0.05, y=0.95))


def test_circular_factors_get_a_hue_and_few_values_get_names(made, sessions):
    found = maps.Found("first", sessions.engine.model("first"), made)
    by_name = {c.name: c for c in maps.true_colours(found)}
    assert by_name["wall hue"].circular and by_name["shape"].labels and not by_name["orientation"].labels
    assert [c.name for c in found_colours(found)][-1] == "groups"
