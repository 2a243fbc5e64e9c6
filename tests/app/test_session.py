"""Pages as plain data: what is parsed, remembered, carried over and refused."""

import hashlib
import math
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

from app import session
from app.pictures import png
from app.session import Sessions, dial, parse, position, round_step, sliders, whole_seed
from app.uploads import Refused
from engine import Factor, Refusal
from tests.engine.test_names import NAME
from tests.engine.test_paths import CIRCLE
from tests.serving import chequers

NAN, INF = float("nan"), float("inf")


def ask(**changes) -> dict:
    return {"model": "first", "base": "seed:1", "edits": {}, **changes}


def sentence(work, *arguments) -> str:
    """The refusal of a call, which must read like one sentence for a person."""
    with pytest.raises(Refusal) as caught:
        work(*arguments)
    text = str(caught.value)
    assert text[0].isupper() | text.startswith("'") and text.endswith(".") and "\n" not in text and len(text) < 250
    assert not any(leak in text for leak in ("Traceback", "Error(", "object at 0x", "site-packages"))
    return text


def test_a_file_is_framed_as_the_models_own_pictures(sessions, monkeypatch):
    pixels = np.full((120, 160, 3), 255, np.uint8)
    pixels[10:50, 10:30] = 0
    known = sessions.engine.model("first")
    data = png(pixels)
    plain = sessions.original(sessions.open("first", data))
    assert plain[:, :, 0].min() < 40 and (plain < 128).mean() < 0.06  # where it is, cut to the centre square
    monkeypatch.setitem(sessions.engine.models, "first", replace(known, data="glyphs"))
    letter = sessions.original(sessions.open("first", data))
    assert (letter < 128).mean() == pytest.approx(54 * 27 / 64**2, abs=0.02)
    with pytest.raises(Refused):
        sessions.open("first", b"Dear reader")
    with pytest.raises(Refusal, match="no model"):
        sessions.open("none", data)


# --- Requests
def test_request_is_taken_as_it_is():
    asked = parse(ask(edits={"z0": 1.5}, factor="z1", page="p", stamp=7))
    assert (asked.model, asked.base, asked.edits) == ("first", "seed:1", {"z0": 1.5})
    assert (asked.factor, asked.page, asked.stamp) == ("z1", "p", 7)


@pytest.mark.parametrize("request_", [None, [], "text", 3, NAN, ()])
def test_request_that_is_no_object_is_refused(request_):
    assert "A request is an object" in sentence(parse, request_)


@pytest.mark.parametrize("field", ["model", "base", "factor", "page"])
@pytest.mark.parametrize("value", [None, 3, NAN, [], {}, True, "x" * 1030])
def test_names_must_be_short_texts(field, value):
    assert f"'{field}'" in sentence(parse, ask(**{field: value}))


@pytest.mark.parametrize("edits", [None, 3, "z0", [["z0", 1]], {1: 2.0}])
def test_edits_must_be_an_object_of_names(edits):
    assert "Edits must be an object" in sentence(parse, ask(edits=edits))


@pytest.mark.parametrize("stamp", [None, 1.5, "1", True, NAN, []])
def test_stamp_must_be_a_whole_number(stamp):
    assert "'stamp'" in sentence(parse, ask(stamp=stamp))


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e308, 10**400, "1", "NaN", None, [1.0], {}, True])
def test_value_of_an_edit_must_be_usable(sessions, value):
    assert "'z0' is not a usable number" in sentence(sessions.draw, parse(ask(edits={"z0": value})))


def test_unknown_model_factor_and_base_are_refused(sessions):
    assert "no model called 'none'" in sentence(sessions.draw, parse(ask(model="none")))
    assert "'z99' is no factor" in sentence(sessions.draw, parse(ask(edits={"z99": 0.0})))
    for base in ("", "seed:", "seed:-1", "seed:1.5", "seed:1\n", "gallery:x", "../../etc/passwd", "upload:" + "G" * 64):
        assert "A picture is named" in sentence(sessions.draw, parse(ask(base=base)))
    assert "A seed is a whole number" in sentence(sessions.draw, parse(ask(base="seed:9999999999")))
    assert "there is no number 999" in sentence(sessions.draw, parse(ask(base="gallery:999")))
    for name in (None, 3, [], {}):
        assert "by their names" in sentence(sessions.code, name, "seed:1")
        assert "by their names" in sentence(sessions.code, "first", name)


@pytest.mark.parametrize("seed", [NAN, INF, -INF, -1, 0.5, 2**32, 10**400, "1", None, [1], True])
def test_wrong_seed_is_refused(seed):
    assert whole_seed(2**32 - 1) == 2**32 - 1 and whole_seed(3.0) == 3
    assert "A seed is a whole number from 0 to 4294967295." == sentence(whole_seed, seed)


# --- Pictures
def test_upload_is_named_by_its_pixels_and_kept(sessions):
    base = sessions.keep(chequers())
    assert base == "upload:" + hashlib.sha256(chequers().tobytes()).hexdigest() == sessions.keep(chequers())
    assert np.array_equal(sessions.code("first", base), sessions.engine.encode("first", chequers()[None]).get()[0])


def test_upload_that_the_server_never_had_is_lost(sessions):
    assert sentence(sessions.draw, parse(ask(base="upload:" + "0" * 64))) == session.LOST


def test_oldest_uploads_are_forgotten_and_a_renewed_one_is_not(sessions, monkeypatch):
    monkeypatch.setattr(session, "UPLOADS", 2)
    first, second = sessions.keep(chequers(1)), sessions.keep(chequers(2))
    sessions.keep(chequers(1))
    sessions.keep(chequers(3))
    sessions.code("first", first)
    assert sentence(sessions.code, "first", second) == session.LOST


def test_an_upload_in_use_is_not_the_one_that_is_forgotten(sessions, monkeypatch):
    monkeypatch.setattr(session, "UPLOADS", 2)
    first, second = sessions.keep(chequers(1)), sessions.keep(chequers(2))
    sessions.strangeness("first", first)
    sessions.keep(chequers(3))
    assert sessions.original(second) is None and np.array_equal(sessions.original(first), chequers(1))


def test_unedited_picture_is_that_of_the_code_and_edits_never_change_the_base(sessions):
    base = sessions.keep(chequers())
    code = sessions.code("first", base).copy()
    plain = sessions.draw(parse(ask(base=base)))
    assert np.array_equal(plain, sessions.engine.decode("first", code[None]).get()[0])
    assert not np.array_equal(plain, sessions.draw(parse(ask(base=base, edits={"z0": 1.0, "z1": -1.0}))))
    assert np.array_equal(code, sessions.code("first", base))
    assert np.array_equal(plain, sessions.draw(parse(ask(base=base))))


def test_same_seed_is_the_same_picture_and_another_seed_another(sessions, engine):
    picture = sessions.draw(parse(ask(base="seed:5")))
    assert np.array_equal(picture, Sessions(engine).draw(parse(ask(base="seed:5"))))
    assert not np.array_equal(picture, sessions.draw(parse(ask(base="seed:6"))))


def test_base_is_carried_to_a_model_that_can_show_it(sessions):
    base = sessions.keep(chequers())
    assert sessions.carry(base, "second") == base
    assert sessions.carry("seed:9", "third-grey") == "seed:9"
    assert sessions.carry("upload:" + "0" * 64, "second") == sessions.start("second")
    assert "no model called" in sentence(sessions.carry, base, "none")


def test_two_sessions_of_edits_do_not_touch_each_other(sessions):
    bases = [sessions.keep(chequers(1)), sessions.keep(chequers(2))]
    steps = [[{"z0": k / 10, "z1": who - k / 20} for k in range(30)] for who in (0, 1)]
    alone = [[sessions.draw(parse(ask(base=b, edits=e))) for e in edits] for b, edits in zip(bases, steps, strict=True)]
    together: list[list[np.ndarray]] = [[], []]

    def play(who: int) -> None:
        for edits in steps[who]:
            together[who].append(sessions.draw(parse(ask(base=bases[who], edits=edits))))

    threads = [Thread(target=play, args=(who,)) for who in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for who in (0, 1):
        difference = np.abs(np.array(together[who], int) - np.array(alone[who], int))
        assert difference.max() <= 1  # a row of a larger batch may round the other way
    assert np.abs(np.array(alone[0], int) - np.array(alone[1], int)).max() > 20


def test_code_of_an_upload_is_the_same_picture_on_a_server_that_never_saw_it(sessions, engine):
    base = sessions.keep(chequers())
    link, other = sessions.portable("first", base), Sessions(engine)
    assert link.startswith("code:") and np.array_equal(other.code("first", link), sessions.code("first", base))
    edits = {"z0": 0.5}
    pictures = [where.draw(parse(ask(base=b, edits=edits))) for where, b in ((other, link), (sessions, base))]
    assert np.array_equal(*pictures)
    assert other.pixels("first", link) is None and other.original(link) is None
    assert sessions.portable("first", "seed:3") == "seed:3" and sessions.portable("first", link) == link


def test_code_that_is_too_long_for_a_link_is_not_put_into_one(sessions, monkeypatch):
    base = sessions.keep(chequers())
    monkeypatch.setattr(session, "BASE_LENGTH", 20)
    assert sessions.portable("first", base) is None


def spelled(value: float) -> str:
    return "code:" + session.urlsafe_b64encode(np.full(4, value, "<f4").tobytes()).decode().rstrip("=")


@pytest.mark.parametrize("text", ["code:", "code:A", "code:AAAA", "code:AAAAAA", "code:AAAA/AAA", "code:" + "A" * 2000,
                                  spelled(NAN), spelled(INF), spelled(1e30)])
def test_damaged_code_is_refused(sessions, text):
    assert any(word in sentence(sessions.code, "first", text) for word in ("code", "picture is named"))


def test_code_is_not_carried_to_a_model_of_another_size(sessions, monkeypatch):
    link = sessions.portable("first", sessions.keep(chequers()))
    monkeypatch.setattr(sessions.engine, "codes", lambda *_: (_ for _ in ()).throw(Refusal("A code is 9 numbers.")))
    assert sessions.carry(link, "second") == sessions.start("second")


# --- Sliders
def test_sliders_are_the_visible_factors_in_order_and_stand_where_the_code_is(sessions):
    code = sessions.code("first", "seed:3")
    factors = sliders(sessions.engine.model("first"))
    assert [f.rank for f in factors] == list(range(len(factors)))
    assert sessions.values("first", "seed:3") == {f.name: position(f, code) for f in factors}
    for shown, factor in zip(sessions.dials("first", "seed:3"), factors, strict=True):
        assert factor.low <= shown.minimum <= shown.neutral <= shown.maximum <= factor.high
        inside = min(max(position(factor, code), shown.minimum), shown.maximum)
        assert abs(shown.neutral - inside) <= shown.step / 2 + 1e-9


def test_stops_are_on_the_steps_of_the_slider_and_a_circle_says_what_it_is():
    factor = Factor("z3", (0, 1), "factor", (1.0,), -2.017, 3.011, 0, {"effect": 12.0}, (), None, (-2.0161, 0.12345))
    shown = dial(factor, 0.0)
    assert shown.stops == [shown.minimum, 0.12] and shown.step == 0.02
    assert dial(replace(factor, stops=()), 0.0).stops == [] and "circle" not in shown.note
    assert dial(CIRCLE, 10.0).note == "hue · circle · effect 10" and dial(CIRCLE, 10.0).stops == [-90, 0, 90]


def test_no_more_sliders_than_the_page_has_room_for(sessions, monkeypatch):
    monkeypatch.setattr(session, "MAX_SLIDERS", 2)
    assert len(sessions.dials("first", "seed:3")) == len(sessions.values("first", "seed:3")) == 2


@pytest.mark.parametrize("width", [1e-4, 0.37, 1, 2, 5.999, 6, 40, 12_345])
def test_steps_are_round_and_give_a_slider_200_to_500_positions(width):
    step = round_step(width)
    assert 200 <= width / step * (1 + 1e-9) and width / step <= 501
    assert round(step / 10.0 ** math.floor(math.log10(step) + 1e-9), 9) in (1, 2, 5)


@pytest.mark.parametrize("value", [-1e5, -2.0, 0.1234, 3.0, 1e5])
def test_dial_is_rounded_and_clipped_into_its_range(value):
    factor = Factor("z0", (0, 1), "factor", (1.0,), -2.003, 3.004, 0, {"effect": 12.4}, (0.0, 1.0))
    shown = dial(factor, value)
    assert (shown.minimum, shown.maximum, shown.step) == (-2.0, 3.0, 0.02)
    assert shown.minimum <= shown.neutral <= shown.maximum
    assert shown.neutral == round(shown.neutral, 2)
    assert (shown.label, shown.note) == ("Factor 1", "z0 · effect 12")


def test_dial_bears_the_name_that_was_found():
    factor = Factor("z3", (0, 1), "factor", (1.0,), -1.0, 1.0, 0, {"effect": 12.4}, (0.0, 1.0))
    shown = dial(factor, 0.0, NAME)
    assert (shown.name, shown.label, shown.note) == ("z3", "wall hue", "z3 · effect 12 · R² .93")
    assert dial(factor, 0.0, replace(NAME, source="nothing")).note == "z3 · effect 12"
