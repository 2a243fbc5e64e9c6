"""A picture as a few lines of Python that draw it again through the public engine."""

import re
from base64 import b64encode
from textwrap import wrap

import numpy as np

from engine.provenance import Origin
from engine.serve import MODELS, Engine

WIDTH = 96      # characters of a line of a code
STARTS = {      # how the code that is edited comes about, by the kind of a base
    "gallery": "engine.encode({model!r}, gallery(engine.model({model!r}).data)[{number}:{number} + 1]).get()[0]",
    "picture": "engine.encode({model!r}, pictures_of(engine.model({model!r}).data, [{number}])).get()[0]",
    "seed": "engine.draw({model!r}, {number})",
}
IMPORTS = {"gallery": ", gallery", "picture": ", pictures_of"}


def as_python(engine: Engine, own: Origin, start: np.ndarray) -> str:
    """A program that draws the picture of `own` and saves it as picture.png, to be run where Unravel is.

    start: the code (D,) of its base, without edits; the program holds it where the base is no picture that anybody
    else could have. On the same CPU, and with the same weights, it draws the same picture bit for bit.
    """
    kind, _, number = own.base.partition(":")
    known = re.fullmatch(r"\d{1,10}", number) and kind in STARTS
    if known:
        lines = [f"code = {STARTS[kind].format(model=own.model, number=int(number))}"]
    else:
        text = b64encode(np.asarray(start, "<f4").tobytes()).decode()
        lines = ["# The code of the picture that was encoded: float32, in base64.", "code = np.frombuffer(b64decode(",
                 *(f'    "{part}"' for part in wrap(text, WIDTH)), '), "<f4")']
    edits = "".join(f"    {name!r}: {value!r},{_called(own, name)}\n" for name, value in own.edits.items())
    shipped = engine.folder.resolve() == MODELS.resolve()
    imports = [*([] if known else ["from base64 import b64decode"]), *([] if shipped else ["from pathlib import Path"])]
    return "\n".join([
        f"# A picture by {own.model}, whose weights have the sha256",
        f"# {own.weights}.",
        *imports, *([""] if imports else []),
        *([] if known else ["import numpy as np"]), "from PIL import Image", "",
        f"from engine import Engine{IMPORTS.get(kind, '') if known else ''}", "",
        "engine = Engine()" if shipped else 'engine = Engine(Path("models"))  # the folder given as --models',
        *lines,
        *([f"code = engine.edit({own.model!r}, code, {{\n{edits}}})"] if edits else []),
        f"picture = engine.refine({own.model!r}, code[None]).get()[0]  # (64, 64, 3) uint8",
        'Image.fromarray(picture).save("picture.png")',
        "engine.close()", "",
    ])


def _called(own: Origin, name: str) -> str:
    """What the user calls a factor, as a comment."""
    return f"  # {' '.join(own.names[name].split())}" if own.names.get(name) else ""
