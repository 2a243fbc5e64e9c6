"""python -m engine.make_gallery NAME ...: write the sample images that ship with the app."""

import argparse
import io
from pathlib import Path

from PIL import Image

from engine.data import DataError, load, split
from engine.files import write_atomically, write_manifest
from engine.gallery import GALLERY

COUNT = 24


def build(data: str, folder: Path = GALLERY) -> Path:
    """Write the first held-out images of data set `data` into `folder`; returns the file."""
    dataset = load(data)
    _, held_out = split(len(dataset))
    images = dataset.images(held_out[:COUNT]).expand(-1, 3, -1, -1)
    row = images.permute(2, 0, 3, 1).reshape(images.shape[2], -1, 3).numpy()
    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, "PNG", optimize=True)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.name}.png"
    write_atomically(path, buffer.getvalue())
    write_manifest(folder)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="data sets, as engine.data.load knows them")
    try:
        for name in parser.parse_args().data:
            print(build(name))
    except DataError as error:
        raise SystemExit(str(error)) from None
