"""Make a map of somebody's own pictures, in a process that `engine.map_job` starts and stops.

    python -m engine.make_own_map MODEL_FOLDER PICTURES OUT [--part code]

reads a folder or a zip of pictures, encodes them with a model, arranges them (engine.latent_map) and writes two files
into the folder OUT. `map.parquet` has one row for a picture: x, y and x3, y3, z3 on the two maps, its code, its group,
where it stands along every factor, its file's name and itself as a PNG: Embedding Atlas and Spotlight open it.
`map.npz` holds the same as arrays, and what else `map_job.opened` needs. While it works it prints one JSON object a
line.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
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
from engine.map_job import FIELDS, FILES, PICTURES
from engine.serve import Refusal


def work(model: Path, pictures: Path, out: Path, part: str, say: Callable[..., None]) -> None:
    """Make the map and write it. `say` takes what there is to know: share, what, read.

    Raises Refusal, DataError or Damaged, each a sentence."""
    out.mkdir(parents=True, exist_ok=True)
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
               f.positions(codes) for f in visible(table)}
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
