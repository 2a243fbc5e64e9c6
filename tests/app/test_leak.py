"""What the canvas is told about leaks."""

import numpy as np
import pytest

from app.leak import meter
from engine import leak
from tests.app.test_live import WRONG, ask


def test_meter_tells_what_was_asked_and_how_both_pictures_are_read(sessions):
    low, high = ((f.low, f.high) for f in sessions.engine.model("first").factors if f.name == "z1").__next__()
    own = sessions.values("first", "seed:1")["z1"]
    answer = meter(sessions)(ask(edits={"z1": own + (high - low) / 4}))
    assert set(answer) == {"stamp", "asked", "read"} and answer["stamp"] == 3
    assert set(answer["asked"]) == set(answer["read"]) == set(sessions.values("first", "seed:1"))
    assert answer["asked"]["z1"] == pytest.approx(0.25, abs=1e-5)
    assert all(share == 0 for name, share in answer["asked"].items() if name != "z1")
    code = sessions.code("first", "seed:1")
    edited = sessions.engine.edit("first", code, {"z1": own + (high - low) / 4})
    read = [sessions.engine.encode("first", sessions.engine.refine("first", c[None]).get()).get()[0]
            for c in (code, edited)]
    expected = leak.shifts(sessions.engine.model("first").sliders, *read)
    assert answer["read"] == pytest.approx(expected, abs=1e-3)


def test_nothing_edited_leaks_nothing(sessions):
    answer = meter(sessions)(ask(edits={}))
    assert not np.any(list(answer["asked"].values())) and not np.any(list(answer["read"].values()))


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_gets_one_sentence(sessions, name):
    answer = meter(sessions)(WRONG[name])
    assert set(answer) == {"stamp", "error"} and answer["error"].endswith(".")


def test_newer_request_takes_the_place_of_one_that_waits(sessions, monkeypatch):
    real = leak.reading(sessions.engine, "first", sessions.code("first", "seed:1"))
    monkeypatch.setattr(leak, "reading", lambda *_: type(real)(stamp=1, stale=True))
    assert meter(sessions)(ask()) == {"stamp": 3, "stale": True}
