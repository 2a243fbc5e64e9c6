"""Users' pictures that a model does not know well: a code that fits them more closely, and an honest note.

The encoder reads a picture at once. With "Fit more closely" its code is sought by descent, a second or two of
small steps between which the engine answers everybody else. The base "closer:<sha256>" is the same picture with the
code that was found; it is kept as the codes of all bases are.
"""

from collections.abc import Callable, Iterable
from typing import Any

from app.session import CLOSER, UPLOAD, Sessions, parse
from engine import Refusal

FAR = 1.0           # strangeness that is a reason to warn


def fitter(sessions: Sessions) -> Callable[[Any], dict]:
    """The function by which a page asks for a closer fit."""

    def closer(request: Any) -> dict:
        """A user's picture, {model, base}, as the {base} that has its closer code; or {error: sentence}."""
        try:
            ask = parse({"edits": {}} | request if isinstance(request, dict) else request)
            if sessions.original(ask.base) is None:
                raise Refusal("Only a picture of your own can be fitted more closely.")
            base = ask.base.replace(UPLOAD, CLOSER, 1)
            sessions.code(ask.model, base)
            return {"base": base}
        except Refusal as refusal:
            return {"error": str(refusal)}

    return closer


def far(sessions: Sessions, model: str, bases: Iterable[str]) -> dict[str, float]:
    """The strangeness of those users' pictures among `bases` that are too far from what the model has seen."""
    told = {base: sessions.strangeness(model, base) for base in bases}
    return {base: x for base, x in told.items() if x is not None and x > FAR}


def warning(sessions: Sessions, model: str, name: str, strangeness: float) -> str:
    """A sentence that says so of the picture called `name`."""
    usual = ("the error that one training picture in a hundred exceeds" if sessions.engine.model(model).judges
             else "the largest error on its sample pictures")
    return f"{name} is far from all that this model has seen ({strangeness:.1f} times {usual})."
