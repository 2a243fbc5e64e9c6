"""What content and style turned out to mean, from measurement, and how well swaps keep them.

The scores that `engine.evaluate` has for models whose code is content and style. Labels are used to
score only. Two pictures are drawn at random, one gives its content and the other its style, and a net that
was trained on real pictures (`engine.readers`) reads the factors of what comes out:

swap F content, swap F style    correlation of what is read of factor F with the one and the other giver's;
                                1 and 0 where F is content, 0 and 1 where it is style
read F                          the same reader on real, unseen pictures, to compare with
probe F content, probe F style  R2 of a net that reads F from the one half of the code, on unseen pictures;
                                tells what is there, not whether the decoder uses it
leak F                          the smaller of the two
near F content, near F style    correlation of F with the mean over an image's ten nearest in that half, which
                                are never the image itself: where nothing is in common it can be negative
content kept, style kept        R2 of what the encoder reads from swapped pictures, as against the givers' codes
psnr training, psnr held out    of reconstructions, in dB; `psnr embeddings` those by embeddings, where a model
                                had them, `psnr embedded` by encoders, on the same pictures, and `psnr closer` by
                                codes that were found for held-out pictures, as embeddings were for others
unseen pairs ...                where every combination of factors is a picture: held-out pictures made from
                                two that were trained on, few ones several times from others. PSNR against the
                                real one, correlation of factors read from it, share of classes read rightly,
                                and among the ten likeliest
one-sided, mostly one-sided     factors with a correlation of .9 with one side and of .1 at most with the other,
                                and of .8 and .25

Scores for single numbers of the code, as MIG or DCI, mean nothing here.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine import inversion, metrics, readers, swaps
from engine.data import Dataset, Grid, KnownFactor, materialise, split
from engine.method import Method, Slot

TRAIN, UNSEEN, PAIRS = 20_000, 2_000, 4_000   # pictures to train readers on and to test them, swaps of either kind
CLOSER = 200                                  # held-out pictures that codes are sought for
NEAR = 10                                     # neighbours, and classes that count as retrieved
CLEAR, MOSTLY = (0.9, 0.1), (0.8, 0.25)       # correlations that make a factor one-sided
SIDES = ("content", "style")

Read = Callable[[Tensor], list[Tensor]]       # images (B, C, 64, 64) in [0, 1] -> factors as in readers.target


class Judge:
    """A model, its data and a reader of pictures, with what all scores need.

    parts: the slots of content and of style. reader: trained on real pictures if None.
    Raises ValueError for a model that does not tell content from style, or data without known factors.
    """

    def __init__(self, model: Method, data: Dataset, device: torch.device, reader: Read | None = None,
                 parts: tuple[Sequence[Slot], Sequence[Slot]] | None = None):
        self.model, self.data, self.device = model.eval().to(device), data, device
        self.parts = dict(zip(SIDES, parts or swaps.sides(model.layout()), strict=True))
        if not all(self.parts.values()):
            raise ValueError(f"The code of {model.name} is not made of content and style.")
        train, unseen = split(len(data))
        generator = torch.Generator().manual_seed(0)
        self.train = train[torch.randperm(len(train), generator=generator)[:TRAIN]].to(device)
        self.unseen = unseen[:UNSEEN].to(device)
        self.held_out = torch.zeros(len(data), dtype=torch.bool, device=device)
        self.held_out[unseen.to(device)] = True
        self.chosen = [k for k, f in enumerate(data.factors) if f.size != 1]
        if not self.chosen:
            raise ValueError(f"The factors of '{data.name}' are not known: there is nothing to score against.")
        self.factors: list[KnownFactor] = [data.factors[k] for k in self.chosen]
        self.images = materialise(data, self.train, device)
        if reader is None:
            reader = readers.of_pictures(self.images, self.labels(self.train), self.factors)
        self.reader = reader

    def labels(self, index: Tensor) -> Tensor:
        """Labels (N, K) of the varied factors of the images numbered `index` (N,)."""
        return self.data.labels(index)[:, self.chosen]

    def targets(self, index: Tensor) -> list[Tensor]:
        """What a perfect reader would say of the images numbered `index`, factor by factor."""
        labels = self.labels(index).unbind(1)
        return [readers.target(factor, label) for factor, label in zip(self.factors, labels, strict=True)]

    @torch.no_grad()
    def encode(self, index: Tensor) -> Tensor:
        """Codes (N, D) of the images numbered `index` (N,)."""
        parts = (self.data.images(part).float() / 255 for part in index.split(500))
        return torch.cat([self.model.encode(x) for x in parts])

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Images (N, C, 64, 64) in [0, 1] of codes (N, D)."""
        return torch.cat([self.model.decode(part) for part in codes.split(500)])

    @torch.no_grad()
    def read(self, images: Tensor) -> list[Tensor]:
        """What the reader says of images (N, C, 64, 64) in [0, 1], factor by factor."""
        told = [self.reader(part) for part in images.split(500)]
        return [torch.cat(column) for column in zip(*told, strict=True)]

    def half(self, codes: Tensor, side: str) -> Tensor:
        """The numbers of codes (N, D) that are content or style."""
        return torch.cat([codes[:, part.start:part.stop] for part in self.parts[side]], 1)


def score(model: Method, data: Dataset, device: torch.device, reader: Read | None = None,
          parts: tuple[Sequence[Slot], Sequence[Slot]] | None = None) -> dict[str, float]:
    """Every score of this file by name, rounded to four places; arguments as of `Judge`."""
    judge = Judge(model, data, device, reader, parts)
    real = judge.read(data.images(judge.unseen).float() / 255)
    scores = named(judge, "read", real, judge.targets(judge.unseen))
    scores |= swapped(judge) | probes(judge) | neighbours(judge) | fidelity(judge)
    if isinstance(data, Grid) and len(judge.factors) > 1:
        scores |= unseen_pairs(judge, allotted({f.name: [scores[f"swap {f.name} {side}"] for side in SIDES]
                                                for f in judge.factors}))
    for name, (own, other) in {"one-sided": CLEAR, "mostly one-sided": MOSTLY}.items():
        both = [sorted(scores[f"swap {f.name} {side}"] for side in SIDES) for f in judge.factors]
        scores[name] = sum(high >= own and abs(low) <= other for low, high in both)
    return {name: round(float(value), 4) for name, value in scores.items()}


def named(judge: Judge, label: str, told: list[Tensor], true: list[Tensor], end: str = "") -> dict[str, float]:
    """Correlation of what was told of each factor with the truth, and of classes also the share of right ones and
    of those among the ten likeliest."""
    scores = {}
    for factor, a, b in zip(judge.factors, told, true, strict=True):
        scores[f"{label} {factor.name}{end}"] = readers.correlation(a, b)
        if factor.categorical:
            wanted = b.argmax(1, keepdim=True)
            order = a.topk(min(NEAR, factor.size), 1).indices
            scores[f"{label} {factor.name}{end} right"] = (order[:, :1] == wanted).double().mean().item()
            if factor.size > NEAR:
                scores[f"{label} {factor.name}{end} in {NEAR}"] = (order == wanted).any(1).double().mean().item()
    return scores


def swapped(judge: Judge) -> dict[str, float]:
    """The correlations of swapped pictures with their givers, and what is read from them again."""
    generator = torch.Generator().manual_seed(1)
    givers = torch.randint(len(judge.data), (2, PAIRS), generator=generator).to(judge.device)
    content, style = (judge.encode(index) for index in givers)
    codes = swaps.blend(content, style, judge.parts["style"])
    images = judge.decode(codes)
    told, scores = judge.read(images), {}
    for side, index in zip(SIDES, givers, strict=True):
        for factor, a, b in zip(judge.factors, told, judge.targets(index), strict=True):
            scores[f"swap {factor.name} {side}"] = readers.correlation(a, b)
    with torch.no_grad():
        again = torch.cat([judge.model.encode(part) for part in images.split(500)])
    for side in SIDES:
        scores[f"{side} kept"] = readers.explained(judge.half(again, side), judge.half(codes, side))
    return scores


def probes(judge: Judge) -> dict[str, float]:
    """R2 of factors read from each half of the code alone, on unseen pictures."""
    scores = {}
    for side in SIDES:
        probe = readers.of_codes(judge.half(judge.encode(judge.train), side), judge.labels(judge.train), judge.factors)
        told = probe(judge.half(judge.encode(judge.unseen), side))
        for factor, a, b in zip(judge.factors, told, judge.targets(judge.unseen), strict=True):
            scores[f"probe {factor.name} {side}"] = readers.explained(a, b)
    leaks = {f"leak {f.name}": min(scores[f"probe {f.name} {side}"] for side in SIDES) for f in judge.factors}
    return scores | leaks


def neighbours(judge: Judge) -> dict[str, float]:
    """How much an image has in common with its nearest in either half of the code."""
    codes, scores, true = judge.encode(judge.train[:UNSEEN]), {}, judge.targets(judge.train[:UNSEEN])
    for side in SIDES:
        near = swaps.nearest(codes, codes, judge.parts[side], min(NEAR + 1, len(codes)))
        itself = near == torch.arange(len(codes), device=near.device)[:, None]
        # Equal codes may come before an image's own one; then the last of the list goes instead.
        itself[:, -1] |= ~itself.any(1)
        others = near[~itself].view(len(codes), -1)
        for factor, b in zip(judge.factors, true, strict=True):
            scores[f"near {factor.name} {side}"] = readers.correlation(b[others].mean(1), b)
    return scores


@torch.no_grad()
def fidelity(judge: Judge) -> dict[str, float]:
    """PSNR of reconstructions, on training and on unseen pictures."""
    seen = metrics.reconstruction(judge.model, judge.images[:UNSEEN])
    unseen = metrics.reconstruction(judge.model, judge.data.images(judge.unseen))
    scores = {"psnr training": seen, "psnr held out": unseen}
    known = getattr(judge.model, "fidelity", None)  # measured at the end of training, when there were embeddings
    if known is not None and known.any():
        scores |= dict(zip(("psnr embeddings", "psnr embedded"), known.tolist(), strict=True))
        x = judge.data.images(judge.unseen[:CLOSER]).float() / 255
        found = [inversion.approach(judge.model, part) for part in x.split(50)]
        scores["psnr closer"] = metrics.psnr(judge.decode(torch.cat(found)), x).mean().item()
    return scores


def allotted(correlations: dict[str, Sequence[float]]) -> dict[str, str]:
    """The side of each of two or more factors, from their correlations with both: the one that it follows more, but
    for the least decided of them where all follow the same, so that each side has a factor."""
    lean = {name: content - style for name, (content, style) in correlations.items()}
    order = sorted(lean, key=lean.__getitem__, reverse=True)
    content = {order[0]} | {name for name in order[:-1] if lean[name] > 0}
    return {name: SIDES[0] if name in content else SIDES[1] for name in order}


def unseen_pairs(judge: Judge, follows: dict[str, str]) -> dict[str, float]:
    """Held-out pictures made from two training pictures each, one of which has their content factors and the
    other their style factors, `follows` saying which is which; each as often, from others, as makes about PAIRS."""
    unseen = judge.unseen.repeat(max(PAIRS // len(judge.unseen), 1))
    wanted = judge.data.classes(unseen)
    generator = torch.Generator().manual_seed(2)
    givers = {}
    for side in SIDES:
        fixed = [k for k, f in zip(judge.chosen, judge.factors, strict=True) if follows[f.name] == side]
        classes = wanted.clone()
        for _ in range(20):  # until nearly all givers were trained on: one in fifty is not
            drawn = torch.stack([torch.randint(f.size, (len(wanted),), generator=generator).to(judge.device)
                                 for f in judge.data.factors], 1)
            drawn[:, fixed] = wanted[:, fixed]
            again = judge.held_out[judge.data.index(classes)]
            classes = torch.where(again[:, None], drawn, classes)
        givers[side] = judge.data.index(classes)
    usable = ~judge.held_out[torch.stack(list(givers.values()))].any(0)
    if not usable.any():
        return {}  # all factors are on one side
    content, style = (judge.encode(givers[side][usable]) for side in SIDES)
    images = judge.decode(swaps.blend(content, style, judge.parts["style"]))
    real = judge.data.images(unseen[usable]).float() / 255
    scores = named(judge, "unseen pairs", judge.read(images), judge.targets(unseen[usable]))
    return scores | {"unseen pairs psnr": metrics.psnr(images, real).mean().item(), "unseen pairs": usable.sum().item()}
