"""The whole page, and how it is served.

`python app.py` serves it on this machine only. `--host` or GRADIO_SERVER_NAME opens it to others,
`--auth` then asks for a name and a password.
"""

import argparse
import os
import threading
from contextlib import closing
from pathlib import Path

import gradio as gr

from app.api import Api
from app.atlas import Atlas
from app.compare import Compare
from app.explore import Explore
from app.isometry import Isometry
from app.rebuild import Rebuild
from app.session import OPENING, Sessions, data_title
from app.swap import Swap
from app.theme import CSS, ICON, theme
from engine import MODELS, Engine, Refusal

HEADER = f"""
<h1>{ICON.read_text(encoding="utf-8")}Unravel</h1>
<p>What did the model discover by itself?</p>
"""


def launch_settings() -> dict:
    """How the page is served whoever starts it: closed unless opened, and everything from here."""
    return {
        "share": False,
        "strict_cors": True,
        "allowed_paths": [],
        "max_file_size": "10mb",
        "enable_monitoring": False,
        "run_history": False,
        "show_error": False,  # sentences meant for users are gr.Error and shown all the same
        "ssr_mode": False,
        "footer_links": ["api"],
        "favicon_path": ICON,
        "theme": theme(),
        "css_paths": CSS,
        "quiet": True,
    }


def build(engine: Engine) -> gr.Blocks:
    """The page for all models of an engine; raises Refusal if there is none."""
    if not engine.models:
        reasons = " ".join(engine.refused.values())
        raise Refusal(f"There is no model to show in {engine.folder}. {reasons}".strip())
    sessions = Sessions(engine)
    first = OPENING if OPENING in engine.models else next(iter(engine.models))
    with gr.Blocks(title="Unravel", analytics_enabled=False, delete_cache=(3600, 3600), fill_width=True) as page:
        with gr.Row(elem_id="header"):
            gr.HTML(HEADER, apply_default_css=False)
            choices = [(f"{model.title} · {data_title(model)}", name) for name, model in engine.models.items()]
            picker = gr.Dropdown(choices, value=first, label="Model", filterable=False, elem_id="model", scale=0)
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab("Explore", id="explore"):
                explore = Explore(sessions, picker, first)
            with gr.Tab("Swap", id="swap"):
                Swap(sessions, picker, first)
            with gr.Tab("Map", id="map") as atlas:
                Atlas(sessions, picker, atlas, explore, tabs, "explore")
            with gr.Tab("Rebuild", id="rebuild"):
                Rebuild(sessions, picker, first)
            with gr.Tab("Compare", id="compare"):
                Compare(sessions, elem_id="compare")
            with gr.Tab("When is it possible?", id="isometry") as proof:
                Isometry(proof)
        Api(sessions)
    return page.queue(max_size=64)


def logins(entries: list[str]) -> list[tuple[str, str]] | None:
    """user:password entries, or @file with one a line, as pairs; None without entries. ValueError if one is neither,
    or if a file holds none: then nobody is meant to come in, not everybody."""
    lines = []
    for entry in entries:
        if not entry.startswith("@"):
            lines.append(entry)
            continue
        try:
            text = Path(entry[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            raise ValueError(f"The file of logins, {entry[1:]}, cannot be read.") from None
        found = [line.strip() for line in text.splitlines() if line.strip()]
        if not found:
            raise ValueError(f"The file of logins, {entry[1:]}, holds none.")
        lines += found
    pairs = [tuple(line.split(":", 1)) for line in lines]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError("A login is written user:password.")
    return pairs or None


def port(text: str) -> int:
    """A port from the command line; ValueError for what is none."""
    number = int(text)
    if not 1 <= number <= 65_535:
        raise ValueError
    return number


def main(argv: list[str] | None = None) -> None:
    """Serve the page until interrupted."""
    parser = argparse.ArgumentParser(description="See what generative models discovered, one slider per factor.")
    parser.add_argument("--host", default=os.getenv("GRADIO_SERVER_NAME", "127.0.0.1"), help="address to serve on")
    parser.add_argument("--port", default=os.getenv("GRADIO_SERVER_PORT", "7860"), type=port)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--models", default=MODELS, type=Path, help="folder of model folders")
    parser.add_argument("--auth", default=[], action="append", metavar="USER:PASSWORD",
                        help="ask for a login; may be repeated; @FILE reads one a line")
    options = parser.parse_args(argv)
    try:
        auth = logins(options.auth)
        engine = Engine(options.models, options.device)
        page = build(engine)
    except (ValueError, OSError, RuntimeError) as error:  # torch's word on a device is a RuntimeError
        parser.error(str(error))
    with closing(engine):  # whatever happens: a process that ends while torch is at work is aborted
        try:
            _, url, _ = page.launch(
                server_name=options.host, server_port=options.port, auth=auth, prevent_thread_lock=True,
                **launch_settings(),
            )
        except OSError:
            parser.error(f"{options.host}:{options.port} cannot be served on: the port is taken or may not be used, or "
                         "the address is none of this machine's. --host and --port choose another.")
        try:
            print(f"Unravel is at {url}", flush=True)
            threading.Thread(target=engine.warm_up, name="warm-up", daemon=True).start()
            page.block_thread()
        finally:
            page.close(verbose=False)  # Gradio deletes what was uploaded
