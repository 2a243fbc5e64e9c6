"""A robot plays "Rebuild this image": how many sliders must be moved until a picture is the target?

    python -m benchmarks.rebuild [MODEL ...] [--deals 20]

It sees what a player sees, the films of all sliders, and moves the one slider to the one place that brings the picture
nearest to the target; then it looks again. This is coordinate descent, one slider at a time. Where every slider does
one thing, it needs one move for each factor that was changed. Two kinds of targets are dealt. "own": some of the
model's own factors were set elsewhere, as on the page. "true": the picture the model draws of another image of its data
set, whose true factors differ in so many places; a model whose sliders are the true factors needs as many moves, one
whose sliders mix them needs more. A deal is lost after LOST moves, or when no slider helps any more.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from engine import Engine, Refusal, pictures_of, rebuild, truth_of
from engine.data import load
from engine.factors import Factor

FRAMES = 21        # places of a slider that are looked at
LOST = 12          # moves after which a deal is lost
DRAWN = 1500       # pictures among which pairs that differ in few factors are looked for


@dataclass(frozen=True)
class Game:
    """What became of one deal."""

    changed: int        # factors that differ between start and target
    moves: int
    share: float        # of the distance between pictures that is gone at the end

    @property
    def won(self) -> bool:
        """Whether the picture is the target, as far as the page asks for."""
        return self.share >= rebuild.WON


def play(engine: Engine, model: str, code: np.ndarray, target: np.ndarray, table: list[Factor], changed: int) -> Game:
    """Coordinate descent from a code (D,) towards a picture `target` (64, 64, 3) uint8."""
    names = [factor.name for factor in table]
    begin = float(rebuild.between_pictures(engine.decode(model, code[None]).get()[0], target))
    now, moves = begin, 0
    while rebuild.removed(now, begin) < rebuild.WON and moves < LOST:
        films = engine.films(model, code, names, FRAMES).get()
        apart = rebuild.between_pictures(films, target)
        best = np.unravel_index(apart.argmin(), apart.shape)
        if apart[best] > now - 0.01 * begin:  # no slider helps
            break
        factor, now, moves = table[best[0]], float(apart[best]), moves + 1
        code = engine.edit(model, code, {factor.name: float(np.linspace(factor.low, factor.high, FRAMES)[best[1]])})
    return Game(changed, moves, rebuild.removed(now, begin))


def own_deals(engine: Engine, model: str, deals: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Codes to start at, pictures to reach and how many factors differ: the model's own factors, as on the page."""
    known = engine.model(model)
    for seed in range(deals):
        code = engine.draw(model, seed)
        count = rebuild.ROUNDS[seed % len(rebuild.ROUNDS)]
        places = {f.name: float(f.positions(code[None])[0]) for f in known.sliders}
        values = rebuild.deal(known.sliders, places, count, seed)
        yield code, engine.decode(model, engine.edit(model, code, values)[None]).get()[0], len(values)


def true_deals(engine: Engine, model: str, deals: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """The same with targets whose true factors differ in so many places; none where those are not ladders."""
    known = engine.model(model)
    factors, _ = truth_of(known.data, np.zeros(1, int))
    if not factors or not all(factor.size for factor in factors):
        return
    for seed in range(deals):
        random = np.random.default_rng(seed)
        pair = differing(known.data, rebuild.ROUNDS[seed % len(rebuild.ROUNDS)], random)
        if pair is None:
            continue
        codes = engine.encode(model, pictures_of(known.data, np.array(pair))).get()
        yield codes[0], engine.decode(model, codes[1:]).get()[0], rebuild.ROUNDS[seed % len(rebuild.ROUNDS)]


def differing(data: str, count: int, random: np.random.Generator) -> tuple[int, int] | None:
    """Two pictures of a data set whose true factors differ in `count` places, each by a third of its values or more;
    None if no such pair is among those looked at."""
    factors, _ = truth_of(data, np.zeros(1, int))
    numbers = random.integers(0, len(load(data)), DRAWN)
    _, values = truth_of(data, numbers)
    for same in random.permutation(list(combinations(range(len(factors)), len(factors) - count))):
        _, group = np.unique(values[:, same], axis=0, return_inverse=True)
        for members in (np.flatnonzero(group.ravel() == g) for g in np.flatnonzero(np.bincount(group.ravel()) > 1)):
            for a, b in combinations(members, 2):
                far = [abs(values[a, k] - values[b, k]) >= factors[k].size / 3
                       for k in range(len(factors)) if k not in same]
                if all(far):
                    return int(numbers[a]), int(numbers[b])
    return None


def scored(engine: Engine, model: str, kind: str, deals: int) -> list[Game]:
    """All games of one kind."""
    table = engine.model(model).sliders
    dealt = {"own": own_deals, "true": true_deals}[kind](engine, model, deals)
    return [play(engine, model, code, target, table, changed) for code, target, changed in dealt]


def line(model: str, kind: str, games: list[Game]) -> str:
    """One row of the table."""
    won = [game for game in games if game.won]
    each = f"{sum(g.moves for g in won) / sum(g.changed for g in won):.2f}" if won else ""
    share = f"{np.mean([game.share for game in games]):.2f}" if games else ""
    return f"| {model} | {kind} | {len(games)} | {100 * len(won) / max(1, len(games)):.0f} % | {each} | {share} |"


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="folders in assets/models; all if none is named")
    parser.add_argument("--deals", type=int, default=20, help="of each kind")
    options = parser.parse_args()
    engine = Engine()
    print("| model | targets | deals | reached | moves for a changed factor | distance gone |")
    print("|---|---|---|---|---|---|")
    for model in options.models or engine.models:
        for kind in ("own", "true"):
            try:
                if games := scored(engine, model, kind, options.deals):
                    print(line(model, kind, games), flush=True)
            except Refusal as refusal:
                parser.error(str(refusal))
    engine.close()


if __name__ == "__main__":
    main()
