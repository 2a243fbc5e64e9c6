"""The named endpoints, called by gradio_client and by bare requests, against a served page."""

import json
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from app import session, uploads
from app.session import Sessions, parse
from tests.serving import chequers, hostile_files


@pytest.fixture(scope="module")
def client(address, tmp_path_factory):
    client = Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
    yield client
    client.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return hostile_files(tmp_path_factory.mktemp("hostile"))


def saved(folder: Path, seed: int = 0) -> Path:
    path = folder / f"picture {seed}.png"
    Image.fromarray(chequers(seed)).save(path)
    return path


def pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def refusal(client: Client, name: str, *arguments) -> str:
    with pytest.raises(AppError) as caught:
        client.predict(*arguments, api_name=name)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and "Traceback" not in text and len(text) < 250
    return text


def raw(address: str, name: str, data: str) -> str:
    """What the server says to a body that no client would send; the last event as text."""
    headers = {"content-type": "application/json"}
    begun = httpx.post(f"{address}gradio_api/call/{name}", content=f'{{"data": {data}}}', headers=headers)
    assert begun.status_code == 200
    return httpx.get(f"{address}gradio_api/call/{name}/{begun.json()['event_id']}", timeout=60).text


def test_exactly_the_named_endpoints_are_public(client):
    described = client.view_api(return_format="dict", print_info=False)
    assert set(described["named_endpoints"]) == {"/models", "/encode", "/edit", "/random"}
    assert not described["unnamed_endpoints"]


def test_models_tell_their_factors_and_figures(client, engine):
    models = {model["name"]: model for model in client.predict(api_name="/models")}
    assert list(models) == list(engine.models)
    assert models["first"]["figures"] == {"psnr_held_out_db": 12.3, "mig": 0.4}
    assert [f["rank"] for f in models["first"]["factors"]] == list(range(len(models["first"]["factors"])))
    assert all(f["low"] < f["high"] for f in models["first"]["factors"])


def test_encoded_file_can_be_edited_exactly(client, engine, tmp_path):
    stand = client.predict("first", handle_file(saved(tmp_path)), api_name="/encode")
    sessions = Sessions(engine)
    assert stand["base"] == sessions.keep(chequers())
    assert stand["values"] == pytest.approx(sessions.values("first", stand["base"]))
    for edits in ({}, {"z0": 0.5, "z2": -1}):
        expected = sessions.draw(parse({"model": "first", "base": stand["base"], "edits": edits}))
        assert np.array_equal(pixels(client.predict("first", stand["base"], edits, api_name="/edit")), expected)


def test_uploaded_file_is_gone_from_the_server_when_it_has_been_read(client, address, tmp_path):
    for path in (saved(tmp_path, 77), hostile_files(tmp_path)["text.png"]):
        sent = httpx.post(f"{address}gradio_api/upload", files={"files": path.read_bytes()}).json()[0]
        assert httpx.get(f"{address}gradio_api/file={sent}").status_code == 200
        raw(address, "encode", json.dumps(["first", {"path": sent, "meta": {"_type": "gradio.FileData"}}]))
        assert not Path(sent).exists() and httpx.get(f"{address}gradio_api/file={sent}").status_code in (403, 404)


def test_same_seed_is_the_same_picture(client):
    one, again, other = (client.predict("first", seed, api_name="/random") for seed in (7, 7, 8))
    assert one == again != other and one["base"] == "seed:7"
    pictures = [pixels(client.predict("first", stand["base"], {}, api_name="/edit")) for stand in (one, again, other)]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("seed", [-1, 0.5, 2**32, None, "1", [1], {}])
def test_wrong_seed_gets_a_sentence(client, seed):
    assert refusal(client, "/random", "first", seed) == "A seed is a whole number from 0 to 4294967295."


@pytest.mark.parametrize("model", ["none", "../first", 3, ["first"]])
def test_unknown_model_gets_a_sentence(client, model, tmp_path):
    assert "There is no model called" in refusal(client, "/random", model, 1)
    assert "There is no model called" in refusal(client, "/edit", model, "seed:1", {})
    assert "There is no model called" in refusal(client, "/encode", model, handle_file(saved(tmp_path)))


def test_wrong_edits_and_bases_get_a_sentence(client):
    for value in ("1", None, [1], {}, True, 1e300):
        assert "not a usable number" in refusal(client, "/edit", "first", "seed:1", {"z0": value})
    for edits in (None, 3, "z0", [1]):
        assert "Edits must be an object" in refusal(client, "/edit", "first", "seed:1", edits)
    assert "'z99' is no factor" in refusal(client, "/edit", "first", "seed:1", {"z99": 0})
    assert refusal(client, "/edit", "first", "upload:" + "0" * 64, {}) == session.LOST
    assert "A picture is named" in refusal(client, "/edit", "first", "/etc/passwd", {})


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_get_a_sentence(address, value):
    assert "not a usable number" in raw(address, "edit", f'["first", "seed:1", {{"z0": {value}}}]')
    assert "A seed is a whole number" in raw(address, "random", f'["first", {value}]')


SAID = {"text.png": uploads.UNKNOWN, "cut.jpg": uploads.ENDS_EARLY, "huge.png": uploads.TOO_LARGE}


@pytest.mark.parametrize("name", SAID)
def test_file_that_is_no_usable_picture_gets_a_sentence_and_the_server_lives_on(client, hostile, name, tmp_path):
    assert hostile[name].stat().st_size < 100_000
    assert refusal(client, "/encode", "first", handle_file(hostile[name])) == SAID[name]
    assert client.predict("first", handle_file(saved(tmp_path)), api_name="/encode")["base"].startswith("upload:")


def test_missing_file_gets_a_sentence(client, address):
    assert refusal(client, "/encode", "first", None) == uploads.UNREADABLE
    assert uploads.UNREADABLE in raw(address, "encode", '["first", null]')


@pytest.mark.parametrize(
    "path", ["/etc/passwd", __file__, "../../etc/passwd", "http://127.0.0.1:1/", "file:///etc/passwd"]
)
def test_paths_of_the_server_cannot_be_encoded_nor_deleted(address, path):
    answer = raw(address, "encode", json.dumps(["first", {"path": path, "meta": {"_type": "gradio.FileData"}}]))
    assert "event: error" in answer and "root:" not in answer and Path(__file__).exists()


def test_heavy_upload_is_refused_at_the_door(address):
    assert httpx.post(f"{address}gradio_api/upload", files={"files": bytes(10_500_000)}).status_code == 413


def test_two_clients_with_different_pictures_do_not_touch_each_other(client, address, engine, tmp_path):
    other = Client(address, verbose=False, download_files=tmp_path)
    clients = (client, other)
    bases = [
        who.predict("first", handle_file(saved(tmp_path, seed)), api_name="/encode")["base"]
        for who, seed in zip(clients, (1, 2), strict=True)
    ]
    sessions = Sessions(engine)
    assert bases == [sessions.keep(chequers(1)), sessions.keep(chequers(2))]
    for step in range(6):
        edits = [{"z0": step / 5}, {"z0": -step / 5, "z1": 0.3}]
        jobs = [w.submit("first", b, e, api_name="/edit") for w, b, e in zip(clients, bases, edits, strict=True)]
        for job, base, edit in zip(jobs, bases, edits, strict=True):
            expected = sessions.draw(parse({"model": "first", "base": base, "edits": edit}))
            assert np.abs(pixels(job.result()).astype(int) - expected).max() <= 1
    other.close()
