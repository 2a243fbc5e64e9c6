"""A map of somebody's own pictures, made in a process of its own.

    python -m engine.map_job MODEL_FOLDER PICTURES OUT [--part code]

reads a folder or a zip of pictures, encodes them with a model, arranges them (engine.latent_map) and writes two files
into the folder OUT. `map.parquet` has one row for a picture: x, y and x3, y3, z3 on the two maps, its code, its group,
where it stands along every factor, its file's name and itself as a PNG: Embedding Atlas and Spotlight open it.
`map.npz` holds the same as arrays, and what else `opened` needs. While it works it prints one JSON object a line.

`MapJob` is that process as others hold it: it can be asked how far it is, and stopped at any moment. A process, since
arranging takes a core for minutes and cannot be interrupted otherwise; it gives way to whoever else wants the core.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from engine import checkpoint, names
from engine.data.arrays import DataError
from engine.data.folder import ImageFolder
from engine.factors import visible
from engine.files import Damaged
from engine.latent_figure import provenance
from engine.latent_map import encoded, make
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
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engine.map_job", *map(os.path.abspath, (model, pictures, out)), "--part", part],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ | single,
        )
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
        for line in self._process.stdout:
            news = json.loads(line)
            self.share, self.what = news.get("share", self.share), news.get("what", self.what)
            self.read |= news.get("read", False)
            self.refusal = self.refusal or news.get("refusal", "")
            ended |= news.get("ended", False)
        self._process.stdout.close()
        self._process.wait()
        self._timer.cancel()
        if not ended and not self.refusal:  # killed, by the system for want of memory as a rule
            self.refusal = "The map could not be made: its process ended early."
        self.read = self.done = True


def work(model: Path, pictures: Path, out: Path, part: str, say: Callable[..., None]) -> None:
    """Make the map and write it. `say` takes what there is to know: share, what, read.

    Raises Refusal, DataError or Damaged, each a sentence."""
    net, table, _ = checkpoint.load(model)
    say(share=0.02, what="opening the pictures")
    data = ImageFolder(pictures, limit=PICTURES, progress=lambda share: say(share=0.02 + 0.18 * share))
    say(share=0.2, what="reading their codes", read=True)
    made = make(net, model.name, data, part, len(data),
                progress=lambda share, what: say(share=0.2 + 0.75 * share, what=what))
    say(share=0.97, what="writing the files")
    codes = np.concatenate([encoded(net, data, i) for i in torch.from_numpy(made.index).split(256)])
    files = [data.files[i] for i in made.index]
    images = [png(data.images(torch.tensor([i]))[0]) for i in made.index]
    made = replace(made, data=OWN, index=np.arange(len(files)))
    called = names.load(model)
    sliders = {f"{called[f.name].name} ({f.name})" if f.name in called else f.name:
               codes[:, slice(*f.where)] @ np.asarray(f.axis, np.float32) for f in visible(table)}
    about = json.dumps({"part": made.part, "model": made.model, "figures": made.figures, "seed": made.seed,
                        "report": data.report, "provenance": provenance(made)})
    np.savez_compressed(
        out / FILES[0], x=made.flat[:, 0], y=made.flat[:, 1], code=codes, file_name=np.array(files),
        image=np.array(images), about=np.array(about), **{name: getattr(made, name) for name in FIELDS})
    write_table(out / FILES[1], made, codes, files, images, sliders, about)


def write_table(
    path: Path, made: LatentMap, codes: np.ndarray, files: list[str], images: list[bytes],
    sliders: dict[str, np.ndarray], about: str,
) -> None:
    """The map as a table of one row for each picture."""
    import pyarrow as pa
    from pyarrow import parquet

    places = dict(zip(("x", "y", "x3", "y3", "z3"), (*made.flat.T, *made.solid.T), strict=True))
    columns = {**places, "group": made.cluster, **sliders, "code": pa.array(list(codes), pa.list_(pa.float32())),
               "file_name": files, "image": pa.array(images, pa.binary())}
    parquet.write_table(pa.table(columns).replace_schema_metadata({"unravel": about}), path)


def opened(path: Path) -> OwnMap:
    """What `work` wrote. Raises files.Damaged if it is no such file."""
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


def png(image: torch.Tensor) -> bytes:
    """A picture (3, 64, 64) uint8 as a PNG file."""
    buffer = BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(description="Make a map of a folder or zip of pictures.")
    parser.add_argument("model", type=Path, metavar="MODEL_FOLDER")
    parser.add_argument("pictures", type=Path, metavar="PICTURES")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--part", default="code", help="of the code: code, content, style, ...")
    options = parser.parse_args()
    os.nice(10)
    torch.set_num_threads(1)

    def say(**news: object) -> None:
        print(json.dumps(news), flush=True)

    try:
        work(options.model, options.pictures, options.out, options.part, say)
        say(ended=True)
    except (Refusal, DataError, Damaged) as error:
        say(refusal=str(error))
    except Exception as error:  # whatever went wrong, whoever waits is told
        say(refusal=f"The map could not be made ({type(error).__name__}).")


if __name__ == "__main__":
    main()
