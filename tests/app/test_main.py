"""How the page is started and served: closed unless opened, one sentence for a wrong option."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import gradio as gr
import httpx
import pytest

from app import main as start
from app.main import build, launch_settings, logins, main
from app.session import OPENING
from app.theme import CSS, ICON
from engine import MODELS, Engine, Refusal
from engine.make_own_map import png
from tests.serving import ROOT, Served, in_loop
from tests.tiny import noise, save_tiny


@pytest.fixture
def launched(monkeypatch):
    """What Blocks.launch was called with, without launching."""
    calls: list[dict] = []
    monkeypatch.setattr(gr.Blocks, "launch", lambda self, **options: calls.append(options) or (None, "http://x/", None))
    monkeypatch.setattr(gr.Blocks, "block_thread", lambda self: None)
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    yield calls
    for thread in threading.enumerate():
        if thread.name == "warm-up":
            thread.join()


def started(calls: list[dict], *options: str | Path) -> dict:
    in_loop(lambda: main([str(option) for option in options]))
    return calls[-1]


def complaint(capsys, *options: str | Path) -> str:
    """The one line after the usage that a wrong start ends with."""
    with pytest.raises(SystemExit) as ended:
        in_loop(lambda: main([str(option) for option in options]))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said.strip().splitlines()[-1].partition("error: ")[2]


# --- What the page opens with
def opening(folder: Path) -> str:
    engine = Engine(folder)
    try:
        blocks = in_loop(lambda: build(engine)).blocks.values()
        return next(block.value for block in blocks if isinstance(block, gr.Dropdown))
    finally:
        engine.close()


def test_who_waits_in_one_queue_agrees_on_how_many_are_served(engine):
    limits: dict[str, set] = {}
    for event in in_loop(lambda: build(engine)).fns.values():
        limits.setdefault(event.concurrency_id, set()).add(event.concurrency_limit)
    # Gradio takes the lowest of a queue; "default" is one at a time.
    assert all(len(found) == 1 for found in limits.values())
    assert limits["upload"] == {2} and limits["heavy"] == {"default"}


def test_no_rule_of_style_has_a_list_that_gradio_would_make_outweigh_the_rules_after_it():
    for path in CSS:  # it splits :is(a, b) at the comma when it rewrites selectors
        rules = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert not re.findall(r":(?:is|where|not)\([^()]*,", rules), path.name


def test_the_page_opens_with_one_model_if_it_is_there_and_else_with_the_first(tmp_path):
    save_tiny(tmp_path / "another")
    assert opening(tmp_path) == "another"
    save_tiny(tmp_path / OPENING)
    assert opening(tmp_path) == OPENING
    assert (MODELS / OPENING).is_dir()


# --- Options
def test_page_is_closed_by_default(launched, models):
    options = started(launched, "--models", models)
    closed = {
        "server_name": "127.0.0.1", "server_port": 7860, "auth": None, "share": False, "strict_cors": True,
        "allowed_paths": [], "max_file_size": "10mb", "enable_monitoring": False, "run_history": False,
        "show_error": False, "ssr_mode": False,
    }
    assert {name: options[name] for name in closed} == closed


def test_host_and_port_come_from_options_before_the_environment(launched, models, monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "8123")
    options = started(launched, "--models", models)
    assert (options["server_name"], options["server_port"]) == ("0.0.0.0", 8123)
    options = started(launched, "--models", models, "--host", "127.0.0.1", "--port", "8124")
    assert (options["server_name"], options["server_port"]) == ("127.0.0.1", 8124)


def test_logins_are_read_from_options_and_files(launched, models, tmp_path):
    (tmp_path / "logins").write_text("ann:one\nbob:two:three\n")
    options = started(launched, "--models", models, "--auth", "eve:four", "--auth", f"@{tmp_path / 'logins'}")
    assert options["auth"] == [("eve", "four"), ("ann", "one"), ("bob", "two:three")]
    assert logins([]) is None
    (tmp_path / "logins").write_text("\nann:correct horse\n\n")
    assert logins([f"@{tmp_path / 'logins'}"]) == [("ann", "correct horse")]


def test_a_file_without_a_login_lets_nobody_in_instead_of_everybody(tmp_path):
    (tmp_path / "logins").write_text("\n")
    with pytest.raises(ValueError, match="holds none"):
        logins([f"@{tmp_path / 'logins'}"])


@pytest.mark.parametrize("entry", ["ann", "ann:", ":one", ":", ""])
def test_login_must_have_a_name_and_a_password(entry, capsys, models):
    with pytest.raises(ValueError, match="user:password"):
        logins([entry])
    assert complaint(capsys, "--models", models, "--auth", entry) == "A login is written user:password."


def test_wrong_options_end_in_a_sentence(launched, capsys, models, tmp_path, monkeypatch):
    assert "'http'" in complaint(capsys, "--models", models, "--port", "http")
    assert "device" in complaint(capsys, "--models", models, "--device", "abacus")
    assert "70000" in complaint(capsys, "--models", models, "--port", "70000")
    assert f"There is no model to show in {tmp_path / 'none'}." == complaint(capsys, "--models", tmp_path / "none")
    assert "nowhere" in complaint(capsys, "--models", models, "--auth", f"@{tmp_path / 'nowhere'}")
    monkeypatch.setenv("GRADIO_SERVER_PORT", "http")
    assert "'http'" in complaint(capsys, "--models", models)
    assert not launched


def test_port_in_use_ends_in_a_sentence(models, served):
    command = [sys.executable, "app.py", "--models", models, "--port", str(served.port)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert f":{served.port} cannot be served on: the port is taken" in ended.stderr and "--port" in ended.stderr


def test_damaged_models_are_named_when_none_is_left(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    engine = Engine(tmp_path)
    with pytest.raises(Refusal, match=r"There is no model to show in .*\. .*broken"):
        build(engine)
    engine.close()


def test_uploads_leave_the_cache_within_two_hours_as_the_map_says(engine):
    assert sum(in_loop(lambda: build(engine)).delete_cache) <= 7200


def test_everything_served_with_the_page_is_there():
    assert all(path.is_file() for path in [*CSS, ICON]) and launch_settings()["css_paths"] == CSS
    assert start.ICON == ICON


# --- As served
@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../../etc/passwd", "..%2f..%2fetc/passwd", "app.py", "pyproject.toml", ".git/config",
     ROOT / "app.py", ROOT / "app" / "main.py", ROOT / ".git" / "config", "http://127.0.0.1:1/"],
)
def test_files_of_the_server_cannot_be_fetched(address, path):
    answer = httpx.get(f"{address}gradio_api/file={path}")
    assert answer.status_code in (403, 404) and "root:" not in answer.text


def test_model_files_cannot_be_fetched(address, models):
    for path in models.rglob("*.*"):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code == 403


def test_other_sites_cannot_use_the_page(address):
    for origin in ("https://example.com", "null"):
        answer = httpx.get(f"{address}config", headers={"origin": origin})
        assert answer.headers.get("access-control-allow-origin") not in ("*", origin)


def test_page_is_served_without_monitoring_and_analytics(address):
    assert httpx.get(f"{address}config").json()["analytics_enabled"] is False
    assert httpx.get(f"{address}monitoring").status_code in (403, 404)


@pytest.mark.parametrize("said", ["<progress", "The map is made."])
def test_a_server_that_is_stopped_leaves_nothing_of_its_users(models, tmp_path, said):
    system, cache = tmp_path / "system", tmp_path / "cache"
    system.mkdir()
    served = Served("--models", models, log=tmp_path / "log", TMPDIR=str(system), GRADIO_TEMP_DIR=str(cache))
    try:
        with httpx.Client(base_url=served.url, timeout=60) as browser:
            files = [("files", (f"{i}.png", png(noise(1, seed=i)[0]))) for i in range(60)]
            paths = browser.post("/gradio_api/upload", files=files).json()
            pictures = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
            config = browser.get("/config").json()
            button = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "atlas-files")
            event = next(d["id"] for d in config["dependencies"] if [button, "upload"] in d["targets"])
            asked = {"data": [pictures, "first", "first"], "fn_index": event, "session_hash": "page"}
            assert browser.post("/gradio_api/queue/join", json=asked).status_code == 200
            with browser.stream("GET", "/gradio_api/queue/data", params={"session_hash": "page"}) as told:
                assert any(said in line for line in told.iter_lines())
                assert list(system.glob("unravel-map-*")) or list(cache.glob("maps/*/map-first.npz"))
                assert served.stop() == 0
        assert not list(system.iterdir()) and not list(cache.glob("maps/*"))
        assert not any(path.stat().st_size for path in cache.rglob("*") if path.is_file())
        assert "Traceback" not in served.log.read_text()
    finally:
        served.kill()


def test_environment_opens_the_port_and_a_login_closes_every_door(models, tmp_path):
    served = Served(
        "--models", models, "--auth", "ann:secret", log=tmp_path / "log", port_option=False,
        GRADIO_SERVER_NAME="0.0.0.0",
    )
    try:
        lane = {"session_hash": "s", "component_id": 1, "fn_name": "frame", "data": {}}
        with httpx.Client(base_url=served.url) as browser:
            page = browser.get("/")
            assert "data:image/png" not in page.text and '"auth_required":true' in page.text.replace(" ", "")
            assert browser.get("/config").status_code == 401
            assert browser.post("/gradio_api/component_server", json=lane).status_code == 401
            assert browser.post("/gradio_api/call/models", json={"data": []}).status_code == 401
            assert browser.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
            assert browser.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400
            assert browser.get("/config").status_code == 401
            assert browser.post("/login", data={"username": "ann", "password": "secret"}).status_code == 200
            config = browser.get("/config").json()
            lane["component_id"] = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "canvas")
            lane["data"] = {"model": "first", "base": "seed:1", "edits": {}}
            assert "image" in browser.post("/gradio_api/component_server", json=lane).json()
    finally:
        served.kill()
