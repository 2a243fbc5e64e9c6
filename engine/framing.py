"""Users' pictures, framed as a data set frames its own: a model knows its pictures in no other frame."""

from functools import lru_cache
from pathlib import Path

from PIL import Image

from engine.data import kind


def framed(data: str, picture: Image.Image) -> Image.Image:
    """A picture, RGB or grey of any size, for models of the data set `data`: for letters the one on it, cut out and
    made to fill the picture (`engine.data.glyphs.framed`), for all others as it is."""
    if _of_letters(data):
        from engine.data.glyphs import framed as letter  # on demand, as data sets are
        return letter(picture)
    return picture


@lru_cache
def _of_letters(data: str) -> bool:
    return data == "glyphs" or kind(Path(data)) == "fonts"
