"""Users' pictures that a model does not know well: fitted more closely, once, and an honest word about them."""

import shutil
import threading

import numpy as np
import pytest

from app import closer, session
from app.live import view
from app.session import BUSY, LOST, Sessions
from engine import MODELS, Engine, Refusal, exchange, gallery, inversion
from tests.serving import chequers


@pytest.fixture(scope="module")
def engine(both_kinds):
    return both_kinds


@pytest.fixture
def mine(sessions) -> str:
    return sessions.keep(chequers(1))


def error(engine, model, code) -> float:
    return ((engine.decode(model, code[None]).get()[0] / 255.0 - chequers(1) / 255) ** 2).mean()


@pytest.mark.parametrize("model", ["two-sided", "factors"])
def test_a_picture_is_fitted_more_closely_and_is_still_the_same_picture(sessions, engine, mine, model):
    base = closer.fitter(sessions)({"model": model, "base": mine})["base"]
    assert base == mine.replace("upload", "closer") and closer.fitter(sessions)({"model": model, "base": base}) == {
        "base": base}
    assert np.array_equal(sessions.pixels(model, base), chequers(1))
    assert error(engine, model, sessions.code(model, base)) < error(engine, model, sessions.code(model, mine))
    shown = view(sessions, model, base)
    assert shown["original"] == view(sessions, model, mine)["original"] is not None
    assert shown["image"] != view(sessions, model, mine)["image"] and shown["link"].startswith("code:")


def test_it_is_sought_once_for_each_model(sessions, mine, monkeypatch):
    sought, found = [], inversion.closer
    monkeypatch.setattr(inversion, "closer", lambda engine, model, image: (sought.append(model),
                                                                          found(engine, model, image, 1))[1])
    for model in ("factors", "two-sided", "factors"):
        assert "base" in closer.fitter(sessions)({"model": model, "base": mine})
    assert sought == ["factors", "two-sided"]


def test_another_model_begins_with_what_its_encoder_reads(sessions, mine):
    assert sessions.carry(mine.replace("upload", "closer"), "two-sided") == mine


def test_few_pictures_are_fitted_at_a_time_and_all_else_goes_on(sessions, mine, monkeypatch):
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(engine, model, image):
        begun.release()
        assert go_on.wait(30)
        return engine.model(model).mean

    monkeypatch.setattr(inversion, "closer", slow)
    others = [sessions.keep(chequers(seed)) for seed in range(2, 2 + session.FITS)]
    threads = [threading.Thread(target=closer.fitter(sessions), args=({"model": "factors", "base": base},))
               for base in others]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=30)
    assert closer.fitter(sessions)({"model": "factors", "base": mine}) == {"error": BUSY}
    assert sessions.code("factors", mine).shape == (4,)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert "base" in closer.fitter(sessions)({"model": "factors", "base": mine})


@pytest.mark.parametrize("wrong", [None, [], {}, {"model": "factors", "base": "gallery:1"}, {"model": 3, "base": "x"},
                                   {"model": "factors", "base": "closer:" + "0" * 64}])
def test_what_is_no_picture_of_ones_own_is_refused(sessions, wrong):
    answer = closer.fitter(sessions)(wrong)
    assert set(answer) == {"error"} and answer["error"].endswith(".")


def test_a_forgotten_picture_is_said(sessions):
    with pytest.raises(Refusal, match=LOST[:20]):
        sessions.code("factors", "closer:" + "0" * 64)


# --- far from what the model has seen

def test_a_picture_unlike_all_else_is_said_to_be_so_in_explore(sessions, mine, monkeypatch):
    for model, words in (("two-sided", "one training picture in a hundred"), ("factors", "its sample pictures")):
        monkeypatch.setattr(exchange, "strangeness", lambda engine, model, images: np.full(len(images), 2.44))
        for base in (mine, mine.replace("upload", "closer")):
            said = view(sessions, model, base)["warning"]
            assert said.startswith("Your picture is far from all that this model has seen (2.4 times") and words in said
        assert view(sessions, model, "gallery:1")["warning"] == view(sessions, model, "seed:1")["warning"] == ""
        monkeypatch.setattr(exchange, "strangeness", lambda engine, model, images: np.full(len(images), 0.99))
        assert view(sessions, model, sessions.keep(chequers(2)))["warning"] == ""


def test_a_picture_is_judged_once_by_a_model_however_often_it_is_asked_for(sessions, mine, monkeypatch):
    asked, strangeness = [], exchange.strangeness

    def noted(engine, model, images):
        asked.append(model)
        return strangeness(engine, model, images)

    monkeypatch.setattr(exchange, "strangeness", noted)
    told = [sessions.strangeness("factors", base) for base in (mine, mine.replace("upload", "closer"), mine)]
    assert told[0] == told[1] == told[2] and asked == ["factors"]
    assert sessions.strangeness("two-sided", mine) != told[0] and asked == ["factors", "two-sided"]
    assert sessions.strangeness("factors", "gallery:1") is None and len(asked) == 2


@pytest.mark.parametrize(("name", "data"), [("vae-faces", "faces"), ("csdismo-glyphs", "glyphs")])
def test_shipped_models_know_their_own_and_are_told_apart_from_others(tmp_path, name, data):
    shutil.copytree(MODELS / name, tmp_path / name)
    engine = Engine(tmp_path)
    sessions = Sessions(engine)
    own = [sessions.keep(picture) for picture in gallery(data)[:8]]
    others = [sessions.keep(picture) for picture in (*gallery("shapes3d")[:4], chequers(1), chequers(2))]
    told = closer.far(sessions, name, own + others)
    engine.close()
    assert set(others) == set(told) - set(own) and len(set(own) & set(told)) <= len(own) // 2
