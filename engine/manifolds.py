"""Every manifold by name: the rendered ones, and those whose generator is a shipped model.

As in Horan, Richardson, Weiss, "When Is Unsupervised Disentanglement Possible?" (NeurIPS 2021), factors
are uniform along a few directions of a generator's latent space, the other directions rest at their mean,
and pictures are what the generator makes of them. Theirs is StyleGAN2 and principal components of its W;
ours are the decoders of the models in assets/models, along the directions of their sliders, which are the
axes of the latent space or, where several make one factor, their principal direction.
"""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from engine import checkpoint
from engine import names as names_of
from engine.data import DataError
from engine.data.manifolds import COUNT, PREFIX, RENDERED, Law, Manifold, Render, rendered
from engine.factors import Factor, visible
from engine.method import Method
from engine.serve import MODELS


class Drawn(NamedTuple):
    """A manifold whose generator is a trained model."""

    model: str                  # folder in assets/models
    ranks: tuple[int, ...]      # of the sliders that move, 0 being the one that changes pictures most


DRAWN = {
    "drawn-faces-0-1": Drawn("vae-faces", (0, 1)),
    "drawn-faces-2-3": Drawn("vae-faces", (2, 3)),
    "drawn-faces-4-5": Drawn("vae-faces", (4, 5)),
    "drawn-faces-6-7": Drawn("vae-faces", (6, 7)),
    "drawn-shapes3d-2-5": Drawn("vae-shapes3d", (2, 5)),
    "drawn-dsprites-0-1": Drawn("vae-dsprites", (0, 1)),
    "drawn-faces-4d": Drawn("vae-faces", (0, 1, 2, 3)),
    "drawn-faces-8d": Drawn("vae-faces", tuple(range(8))),
}


def names() -> tuple[str, ...]:
    """The names of all manifolds, without variants."""
    return *RENDERED, *DRAWN


def manifold(name: str, count: int = COUNT, seed: int = 0, law: Law = "uniform", warped: bool = False) -> Manifold:
    """The manifold called `name`, `count` pictures of it drawn by `seed`; see `engine.data.manifolds`.

    Raises DataError, listing the known ones, for any other name, and files.Damaged for a model that is not
    what its manifest says.
    """
    plain = name.removeprefix(PREFIX)
    if plain in RENDERED:
        return rendered(plain, count, seed, law, warped)
    if plain not in DRAWN:
        raise DataError(f"There is no manifold called {plain!r}; known are {', '.join(names())}.")
    drawn = DRAWN[plain]
    model, table, _ = _generator(drawn.model)
    called = names_of.load(MODELS / drawn.model)
    factors = tuple(f"{called[f.name].name} ({f.name})" if f.name in called else f.name
                    for f in _sliders(table, drawn.ranks))
    return Manifold(plain, factors, decoded(drawn), f"Drawn by our model {drawn.model}.",
                    model.channels, count, seed, law, warped)


def decoded(drawn: Drawn) -> Render:
    """A renderer that decodes the mean code of a model with the chosen sliders from their low to their high
    ends, each uniform between the 1 % and 99 % quantiles of the model's data."""
    model, table, mean = _generator(drawn.model)
    factors = _sliders(table, drawn.ranks)

    def render(values: Tensor) -> Tensor:
        code = mean.to(values.device).repeat(len(values), 1)
        for factor, value in zip(factors, values.unbind(1), strict=True):
            code = factor.write(code, factor.low + (factor.high - factor.low) * (value + 1) / 2)
        net = model.to(values.device)
        pictures = torch.cat([net.decode(part) for part in code.split(128)])
        return (255 * pictures).round().to(torch.uint8)

    return render


def _sliders(table: tuple[Factor, ...], ranks: tuple[int, ...]) -> list[Factor]:
    shown = visible(table)
    return [shown[rank] for rank in ranks]


@cache
def _generator(name: str) -> tuple[Method, tuple[Factor, ...], Tensor]:
    """The shipped model called `name`, its factors and its mean code (D,)."""
    model, table, config = checkpoint.load(MODELS / name)
    return model, table, torch.tensor(config["mean"])
