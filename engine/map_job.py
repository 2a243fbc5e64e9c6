"""A map of somebody's own pictures, made in a process of its own.

`MapJob` is that process as others hold it: it can be asked how far it is, and stopped at any moment. A process, since
arranging takes a core for minutes and cannot be interrupted otherwise; it gives way to whoever else wants the core.
What it does stands in `engine.make_own_map`.
"""

import json
import os
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from engine.files import Damaged
from engine.latent_place import OWN, LatentMap
from engine.serve import Refusal

PICTURES = 3000        # that are read; of more, as many at even distances
LONGEST = 900.0        # seconds that a job may take
ROOT = Path(__file__).parents[1]
FILES = ("map.npz", "map.parquet")
FIELDS = ("codes", "centre", "scale", "columns", "axes", "flat", "solid", "cluster")  # of a map that are arrays


@dataclass(frozen=True)
class OwnMap:
    """A map of somebody's own pictures, and the pictures: `made.index` counts rows of them."""

    made: LatentMap
    files: tuple[str, ...]      # names of the pictures
    images: tuple[bytes, ...]   # PNG files of 64x64
    report: str                 # what was read and what was not, in a sentence

    def pictures(self, numbers: np.ndarray) -> np.ndarray:
        """The pictures numbered (B,): (B, 64, 64, 3) uint8."""
        return np.stack([np.asarray(Image.open(BytesIO(self.images[i])).convert("RGB")) for i in numbers])


class MapJob:
    """The process that makes a map; it begins at once. model: its folder. pictures: a folder or a zip. out: a folder
    for the result. `share` and `what` say how far it is, `read` that the pictures are not needed any more, `done` that
    it has ended: well, or with a `refusal`, a sentence. Of more pictures than `most` it takes that many."""

    most = PICTURES

    def __init__(self, model: Path, pictures: Path, out: Path, part: str = "code", longest: float = LONGEST):
        self.share, self.what, self.read, self.done, self.refusal = 0.0, "starting", False, False, ""
        self._out = out
        single = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}
        paths = map(os.path.abspath, (model, pictures, out))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine.make_own_map", *paths, "--part", part], cwd=ROOT,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace", env=os.environ | single,
        )
        weakref.finalize(self, killed, self._process)  # if the server ends before it
        self._timer = threading.Timer(longest, self.cancel, ["It took too long and was stopped; try fewer pictures."])
        self._timer.daemon = True
        self._timer.start()
        threading.Thread(target=self._listen, daemon=True).start()

    def cancel(self, why: str = "Cancelled.") -> None:
        """End the process at once; what it has left of a result is not to be used."""
        if not self.done and not self.refusal:
            self.refusal = why
            self._process.kill()

    def result(self) -> OwnMap:
        """What was made. Raises Refusal if it has not ended well."""
        if not self.done or self.refusal:
            raise Refusal(self.refusal or "The map is not ready yet.")
        return opened(self._out / FILES[0])

    def _listen(self) -> None:
        ended = False
        try:
            for line in self._process.stdout:
                news = told(line)
                self.share, self.what = news.get("share", self.share), news.get("what", self.what)
                self.read |= news.get("read", False)
                self.refusal = self.refusal or news.get("refusal", "")
                ended |= news.get("ended", False)
        finally:  # whatever was said: a job that never ends would hold up all others
            self._process.stdout.close()
            self._process.wait()
            self._timer.cancel()
            if not ended and not self.refusal:  # killed, by the system for want of memory as a rule
                self.refusal = "The map could not be made: its process ended early."
            self.read = self.done = True


def killed(process: subprocess.Popen) -> None:
    """End a process now, and be sure that it writes no more."""
    process.kill()
    process.wait()


def told(line: str) -> dict:
    """What a line of the process says; nothing if it is no JSON object: libraries print there what they like."""
    try:
        news = json.loads(line)
    except ValueError:
        return {}
    return news if isinstance(news, dict) else {}


def opened(path: Path) -> OwnMap:
    """What `make_own_map.work` wrote. Raises files.Damaged if it is no such file."""
    try:
        with np.load(path, allow_pickle=False) as held:
            about = json.loads(str(held["about"]))
            arrays = {name: held[name] for name in FIELDS}
            images, files = tuple(held["image"].tolist()), tuple(held["file_name"].tolist())
        made = LatentMap(about["model"], OWN, about["part"], np.arange(len(files)), figures=about["figures"],
                         seed=about["seed"], **arrays)
        return OwnMap(made, files, images, about["report"])
    except (OSError, ValueError, KeyError) as error:
        raise Damaged(f"{path.name} is no map of pictures ({error}).") from None
