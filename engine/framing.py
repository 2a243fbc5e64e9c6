"""How users' pictures are framed as a data set frames its own: a model knows its pictures in no other frame."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from PIL import Image

from engine.data import kind


@lru_cache
def frame_of(data: str) -> Callable[[Image.Image], Image.Image] | None:
    """What cuts a picture for models of the data set `data`, RGB or grey of any size: of letters
    `engine.data.glyphs.framed`, of all others nothing does."""
    if data == "glyphs" or kind(Path(data)) == "fonts":
        from engine.data.glyphs import framed  # on demand, as data sets are
        return framed
    return None
