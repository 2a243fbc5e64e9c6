"""Sample images shipped with the app: a row of held-out images for each data set.

Made by `python -m engine.gallery NAME ...`, which writes assets/gallery/NAME.png: 24 images of
64x64 side by side. Held out means that no shipped model was trained on them.
"""

import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from engine.files import Damaged, read_verified, write_atomically, write_manifest

GALLERY = Path(__file__).parents[1] / "assets" / "gallery"
COUNT = 24


def gallery(data: str) -> np.ndarray:
    """The sample images of data set `data`: (24, 64, 64, 3) uint8, or (0, 64, 64, 3) if none are
    shipped. Raises files.Damaged if the file is not what its manifest says."""
    name = f"{Path(data).name}.png"
    if not (GALLERY / name).exists():
        return np.zeros((0, 64, 64, 3), np.uint8)
    content = read_verified(GALLERY, name)
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        raise Damaged(f"{GALLERY / name} is not a readable PNG.") from None
    if pixels.shape[0] != 64 or pixels.shape[1] % 64:
        raise Damaged(f"{GALLERY / name} is not a row of 64x64 images.")
    return pixels.reshape(64, -1, 64, 3).swapaxes(0, 1).copy()


def build(data: str) -> Path:
    """Write the sample images of data set `data`; returns the file."""
    from engine.data import load, split  # a build-time need: the app never renders data sets

    dataset = load(data)
    _, held_out = split(len(dataset))
    images = dataset.images(held_out[:COUNT]).expand(-1, 3, -1, -1)
    row = images.permute(2, 0, 3, 1).reshape(64, -1, 3).numpy()
    buffer = io.BytesIO()
    Image.fromarray(row).save(buffer, "PNG", optimize=True)
    GALLERY.mkdir(parents=True, exist_ok=True)
    path = GALLERY / f"{dataset.name}.png"
    write_atomically(path, buffer.getvalue())
    write_manifest(GALLERY)
    return path


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(build(argument))
