"""Content and style exchanged between pictures of a served model: swaps, matrices, new content, and a warning.

A model that tells content from style exchanges these. Any other exchanges the factors that are named, and all
else of its code counts as content. Codes are blended here; a model is run by the engine's worker alone.
"""

from collections.abc import Hashable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from engine import swaps
from engine.gallery import gallery
from engine.method import Method
from engine.serve import MAX_ROWS, Answer, Engine, Refusal, seen

Names = Sequence[str]
_USUAL: WeakKeyDictionary[Engine, dict[str, float]] = WeakKeyDictionary()  # largest errors on samples, by model


def style(engine: Engine, model: str, names: Names = ()) -> tuple[swaps.Part, ...]:
    """The parts of a code of `model` that are style: those the model knows, or else its visible factors called
    `names`. Raises Refusal."""
    known = engine.model(model)
    if known.sides[1]:
        return known.sides[1]
    if not isinstance(names, (list, tuple)):
        raise Refusal("The factors to exchange are given as a list of names.")
    for name in names:
        if engine.factor(model, name).rank < 0:
            raise Refusal(f"Factor '{name}' of {model} changes nothing visible.")
    return tuple(factor for factor in known.sliders if factor.name in names)


def mixed(
    engine: Engine, model: str, a: ArrayLike, b: ArrayLike, names: Names = (), content: float = 0, share: float = 1
) -> np.ndarray:
    """Codes a and b (D,) -> (2, D): a with the `share` of b's style and the share `content` of b's content, and
    the other way round. Shares are from 0 to 1. Raises Refusal."""
    parts = style(engine, model, names)
    for value in (content, share):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise Refusal("A share is a number from 0 to 1.")
    codes = engine.codes(model, [a, b])
    return swaps.blend(codes, codes.flip(0), parts, share, content).numpy()


def matrix(
    engine: Engine, model: str, contents: ArrayLike, styles: ArrayLike, names: Names = (), lane: Hashable = None
) -> Answer:
    """Codes (N, D) and (M, D) -> pictures (N, M, 64, 64, 3) uint8: in row i and column j the content of the i-th
    of `contents` with the style of the j-th of `styles`. N * M is MAX_ROWS at most."""
    try:
        parts = style(engine, model, names)
        rows, columns = engine.codes(model, contents), engine.codes(model, styles)
        if len(rows) * len(columns) > MAX_ROWS:
            raise Refusal(f"A matrix has {MAX_ROWS} pictures at most.")
        codes = swaps.matrix(rows, columns, parts)
    except Refusal as refusal:
        return Answer(0, error=str(refusal))
    answer = engine.perform(model, "decode", codes.flatten(0, 1), lane)
    if answer.value is None:
        return answer
    return Answer(**{**vars(answer), "value": answer.value.reshape(*codes.shape[:2], *answer.value.shape[1:])})


def strangeness(engine: Engine, model: str, images: np.ndarray) -> np.ndarray | None:
    """How far images (B, 64, 64, 3) uint8 are from what the model has seen, (B,): its error on them, as a multiple
    of what one training image in a hundred exceeds or, for a model that does not know that, of its largest error on
    the sample images of its data. None where there are no samples either. Raises Refusal."""
    known, rows = engine.model(model), engine.images(images)
    if known.judges:
        return engine.perform(model, _strange, rows).get()
    samples = gallery(known.data)
    if not len(samples):
        return None
    usual = _USUAL.setdefault(engine, {})
    if model not in usual:
        usual[model] = engine.perform(model, _wrong, engine.images(samples)).get().max()
    return engine.perform(model, _wrong, rows).get() / usual[model]


def nearest(engine: Engine, model: str, code: ArrayLike, codes: ArrayLike, count: int) -> tuple[list[int], list[int]]:
    """Numbers of the `count` of `codes` (N, D) whose content is nearest to that of `code` (D,), the nearest first,
    and of those with the nearest style. Raises Refusal, also for a model that does not tell the two apart."""
    known = engine.model(model)
    if not known.sides[1]:
        raise Refusal(f"{known.title} does not tell content from style.")
    [query], others = engine.codes(model, [code]), engine.codes(model, codes)
    if type(count) is not int or not 1 <= count <= len(others):
        raise Refusal("There are not as many pictures to compare with.")
    content, style = (swaps.nearest(others, query[None], side, count)[0].tolist() for side in known.sides)
    return content, style


def new_contents(engine: Engine, model: str, code: ArrayLike, count: int, seed: int) -> np.ndarray:
    """Codes (count, D) with contents drawn from the distribution that all pictures share and the style of `code`
    (D,); the same for the same seed. Raises Refusal."""
    known = engine.model(model)
    if not known.imagines:
        raise Refusal(f"{known.title} has no distribution of content to draw from.")
    if any(type(number) is not int for number in (count, seed)) or not (1 <= count <= MAX_ROWS and 0 <= seed < 2**62):
        raise Refusal(f"New contents are 1 to {MAX_ROWS}, by a seed of 0 or more.")
    codes = engine.codes(model, [code]).repeat(count, 1)
    drawn = engine.perform(model, _new, torch.arange(seed, seed + count)).get()
    start = 0
    for slot in known.sides[0]:
        size = slot.stop - slot.start
        codes[:, slot.start:slot.stop] = torch.from_numpy(drawn[:, start:start + size])
        start += size
    return codes.numpy()


def _wrong(net: Method, rows: Tensor) -> Tensor:
    """Root mean square error of reconstructions (B,)."""
    x = seen(net, rows)
    return ((net.decode(net.encode(x)) - x) ** 2).mean((1, 2, 3)).sqrt()


def _strange(net: Method, rows: Tensor) -> Tensor:
    return net.strangeness(seen(net, rows))


def _new(net: Method, seeds: Tensor) -> Tensor:
    """A content for each of the seeds (B,), whoever else asks in the same batch."""
    return torch.cat([net.new_contents(1, seed) for seed in seeds.tolist()])
