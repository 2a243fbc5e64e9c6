"""Maps of users' own pictures: from uploaded files to a result that the page shows and offers for download.

A map is made by a process of its own (engine.MapJob), one at a time, so that nobody's sliders wait for it. It reads
links of its own to the uploaded files, which go as soon as they are read. The files themselves stay in Gradio's cache
until its `delete_cache` removes them: there equal files of several users share one path, so that nobody can tell
whether another still needs it. A result is kept for an hour under a token that cannot be guessed.
"""

import asyncio
import os
import secrets
import shutil
import tempfile
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from app.uploads import MAX_BYTES
from engine import Engine, MapJob, OwnMap, Refusal

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
LEAST = 60               # pictures
MAX_TOTAL = 1_000_000_000  # bytes of all files together
JOBS = 1                 # at a time, in the whole server
WAITING = 8              # pages that may wait for their turn
KEPT = 8                 # results, some 25 MB each
LIFE = 3600              # seconds that a result is kept
LOOK = 0.25              # seconds between two looks at a job

NOTHING = "Choose pictures, a folder of them, or a zip."
GONE = "That map is no longer on the server; please make it again."
BUSY = "Many maps are being made at the moment; please try again in some minutes."
STOPPED = "Cancelled."


@dataclass(frozen=True)
class News:
    """How far a map is: the share done, what is being done, and in the end its token, or "" if there is none."""

    share: float
    words: str
    token: str = ""
    ended: bool = False


class OwnMaps:
    """The jobs of all pages and what came of them. downloads: a folder that Gradio may serve."""

    def __init__(self, engine: Engine, downloads: Path):
        self.engine, self.downloads = engine, downloads
        self._made: OrderedDict[str, OwnMap] = OrderedDict()
        self._jobs: dict[str, MapJob | None] = {}  # by page; None while it waits for its turn
        self._cancelled: set[str] = set()
        weakref.finalize(self, removed, downloads, self._made)  # results go with the server
        cleared(downloads)
        after(LIFE, cleared, downloads)  # what was too young yet

    def get(self, token: str) -> OwnMap:
        """What was made under a token; raises Refusal if it is not there any more."""
        made = self._made.get(token)
        if made is None:
            raise Refusal(GONE)
        return made

    def files(self, token: str) -> list[str]:
        """The two files of a result, for download: npz and parquet."""
        return sorted(map(str, (self.downloads / token).glob("map-*")))

    def place(self, token: str = "") -> Path:
        """A new folder for a download, that cannot be guessed: of the map under a token, which it goes with, or of any
        other. It lasts as long as a result."""
        folder = self.downloads / token / secrets.token_hex(16)
        folder.mkdir(parents=True)
        after(LIFE, discard, folder)
        return folder

    def cancel(self, page: str) -> None:
        """Stop the job of a page, or its waiting."""
        self._cancelled.add(page)
        if job := self._jobs.get(page):
            job.cancel(STOPPED)

    async def make(self, files: list[str] | None, model: str, part: str, page: str) -> AsyncIterator[News]:
        """Read files, make the map by `part` of a model's code, tell how far it is, and keep the result. Whatever goes
        wrong ends as a sentence. If nobody listens any more, the job ends."""
        held = tempfile.TemporaryDirectory(prefix="unravel-map-", ignore_cleanup_errors=True)  # goes with the server
        room = Path(held.name)
        entered = False  # a call that was refused has no job: the one of its page is another's
        try:
            pictures = collected(files or [], room)
            if page in self._jobs or len(self._jobs) >= JOBS + WAITING:
                raise Refusal(BUSY)
            self._cancelled.discard(page)
            self._jobs[page], entered = None, True
            while sum(job is not None for job in self._jobs.values()) >= JOBS and page not in self._cancelled:
                yield News(0.0, "waiting: another map is being made")
                await asyncio.sleep(LOOK)
            if page in self._cancelled:
                raise Refusal(STOPPED)
            job = self._jobs[page] = MapJob(self.engine.folder / self.engine.model(model).name, pictures, room, part)
            while not job.done:
                if job.read and pictures.exists():
                    discard(pictures)
                yield News(job.share, job.what)
                await asyncio.sleep(LOOK)
            token = self._keep(job.result(), room)
            yield News(1.0, "The map is made.", token, True)
        except Refusal as refusal:
            yield News(0.0, str(refusal), "", True)
        finally:
            if entered and (job := self._jobs.pop(page)):
                job.cancel(STOPPED)
            held.cleanup()

    def _keep(self, made: OwnMap, room: Path) -> str:
        token = secrets.token_hex(16)
        self._made[token] = made
        folder = self.downloads / token
        folder.mkdir(parents=True)
        for path in room.glob("map.*"):
            shutil.move(path, folder / f"map-{made.made.model}{path.suffix}")
        for old in list(self._made)[:-KEPT]:
            self._forget(old)
        after(LIFE, self._forget, token)
        return token

    def _forget(self, token: str) -> None:
        self._made.pop(token, None)
        removed(self.downloads, [token])


def after(seconds: float, act: Callable[..., None], *given: object) -> None:
    """Do something later, if the server still runs then."""
    timer = threading.Timer(seconds, act, given)
    timer.daemon = True
    timer.start()


def removed(downloads: Path, tokens: Iterable[str]) -> None:
    """Delete the downloads of maps."""
    for token in tokens:
        shutil.rmtree(downloads / token, ignore_errors=True)


def cleared(downloads: Path) -> None:
    """Delete what a server that did not end well has left in its downloads: whatever is older than a result becomes,
    as other servers that run now may use the same folder."""
    for path in downloads.glob("*"):
        with suppress(FileNotFoundError):  # another was quicker
            if path.stat().st_mtime < time.time() - LIFE:
                discard(path)


def collected(paths: list[str], room: Path) -> Path:
    """Links to uploaded files in a folder of their own inside `room`, or to the one zip that they are. A path given
    twice is one file: equal files of one name share it. Raises Refusal."""
    files = [path for path in map(Path, dict.fromkeys(paths)) if path.is_file()]
    zips = [path for path in files if path.suffix.lower() == ".zip"]
    shown = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not files:
        raise Refusal(NOTHING)
    if len(zips) > 1 or (zips and shown):
        raise Refusal("Choose one zip, or pictures; several zips, or both, are too much at a time.")
    if any(path.stat().st_size > MAX_BYTES for path in (*zips, *shown)):
        raise Refusal("One of the files is larger than 10 MB; choose the pictures of a large zip as a folder.")
    if sum(path.stat().st_size for path in files) > MAX_TOTAL:
        raise Refusal("The files are more than 1 GB; choose fewer or smaller ones.")
    if zips:
        return linked(zips[0], room / zips[0].name)
    if len(shown) < LEAST:
        raise Refusal(f"A map needs at least {LEAST} PNG, JPEG, WEBP or BMP pictures; these are {len(shown)}.")
    folder = room / "your files"
    folder.mkdir()
    for number, path in enumerate(shown):
        name = path.name
        while (folder / name).exists():
            name = f"{number}-{name}"
        linked(path, folder / name)
    return folder


def linked(path: Path, place: Path) -> Path:
    """A file at another place, too: a link, or a copy where none can be made."""
    try:
        os.link(path, place)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, place)
    return place


def discard(path: Path) -> None:
    """Delete a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
