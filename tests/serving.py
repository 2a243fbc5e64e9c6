"""A served page, waiting, and pictures good and bad: what tests of the app share."""

import asyncio
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine import files

ROOT = Path(__file__).parents[1]
HUGE = (20_000, 10_000)  # pixels of the bomb


class Served:
    """`python app.py` as a process of its own, as a user starts it, on a free port of this machine."""

    def __init__(
        self, *options: str | Path, log: Path, port_option: bool = True, **environment: str
    ):
        """`log` is the file that takes what it prints; without `port_option` the environment names the port."""
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.log = log
        self._command = [sys.executable, ROOT / "app.py", *options]
        if port_option:
            self._command += ["--port", str(self.port)]
        self._environment = {"GRADIO_SERVER_PORT": str(self.port), **environment}
        self._process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )
        until(self._answers, "An answer of the server")

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End the process as a service manager does; returns its exit status."""
        self._process.terminate()
        return self._process.wait(60)

    def _answers(self) -> bool:
        assert self._process.poll() is None, f"the server ended: {self.log.read_text()}"
        try:
            with urllib.request.urlopen(self.url, timeout=5) as page:
                return page.status == 200
        except OSError:
            return False


def in_loop(make: Callable[[], Any]) -> Any:
    """What `make` makes, made while an event loop runs: without one Gradio opens loops for every
    page and never closes them. The loop has a thread of its own, since Playwright's may run in ours."""
    async def inside() -> Any:
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(inside())).result()


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for a condition of another process; AssertionError if it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.05)


def chequers(seed: int = 0) -> np.ndarray:
    """A picture (64, 64, 3) uint8 of coloured squares, another for every seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return colours.repeat(16, 0).repeat(16, 1)


def hostile_files(folder: Path) -> dict[str, Path]:
    """Files that are no usable picture, by what is wrong with them; all are named .png or .jpg."""
    folder.mkdir(exist_ok=True)
    found = {name: folder / name for name in ("text.png", "cut.jpg", "huge.png")}
    found["text.png"].write_text("Dear reader, this is not a picture.\n")
    Image.fromarray(chequers().repeat(4, 0)).save(found["cut.jpg"], "JPEG")
    whole = found["cut.jpg"].read_bytes()
    found["cut.jpg"].write_bytes(whole[: len(whole) // 2])
    found["huge.png"].write_bytes(_bomb())
    return found


def save_gallery(assets: Path, data: str, count: int = 8) -> None:
    """Sample images of a data set, as the app would find them in `assets`."""
    folder = assets / "gallery"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.hstack([chequers(seed) for seed in range(count)])).save(folder / f"{data}.png")
    files.write_manifest(folder)


def _bomb() -> bytes:
    """A sound PNG of 200 megapixels in a few kilobytes, deflated row by row."""
    width, height = HUGE
    deflate, rows = zlib.compressobj(9), []
    for _ in range(height):
        rows.append(deflate.compress(bytes(width // 8 + 1)))
    body = b"".join(rows) + deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part)) for kind, part in chunks
    )
