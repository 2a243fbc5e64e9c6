"""Sample images shipped with the app: a row of held-out images for each data set.

assets/gallery/NAME.png is 24 images of 64x64 side by side, written by `engine.make_gallery`. Held
out means that no shipped model was trained on them.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from engine.files import Damaged, read_verified

GALLERY = Path(__file__).parents[1] / "assets" / "gallery"


def gallery(data: str) -> np.ndarray:
    """The sample images of data set `data`: (24, 64, 64, 3) uint8, or (0, 64, 64, 3) if none are
    shipped. Raises files.Damaged if the file is not what its manifest says."""
    name = f"{data}.png"
    if Path(data).name != data or not (GALLERY / name).exists():
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
