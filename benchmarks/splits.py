"""python -m benchmarks.splits: what content takes and what style takes, by the options of C-S DisMo.

Trains the first stage alone (embeddings and generator, `engine/methods/csdismo.py`) for a few thousand steps with
each of several options, exchanges the embeddings of pictures and asks a reader that was trained on real pictures.
The encoders of the second stage learn what the embeddings tell, so this is where the split is decided, in a tenth of
a training's time. Written to splits.json and splits.md beside this file; with --sheets also pictures of the swaps.

Stop it at any moment; the same command goes on. Labels are used to score, and by the options that say so. On a GPU,
about a minute for each option; `--features vgg` wants the weights that `engine.make_vgg` makes.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from PIL import Image
from torch import Tensor

from engine import metrics, readers
from engine.data import Dataset, KnownFactor, load, materialise, sample_numbers, split
from engine.device import chosen_device
from engine.evaluate_swaps import MOSTLY
from engine.files import locked, write_atomically
from engine.methods.csdismo import Config, CSDisMo
from engine.readers import Reader
from engine.train import Plan, Trainer

RESULTS = Path(__file__).with_suffix(".json")
PAIRS, PART = 3_000, 500    # swaps that are read, and how many at a time
UNSEEN = 2_000              # real pictures that tell how well the reader reads
NEAR = 10                   # classes that count as retrieved
REAL = "real pictures"      # name of a row
SHEET = 8                   # pictures of either kind on a sheet

SMALL = {"encoder_width": 24, "decoder_width": 24}
SHAPES = SMALL | {"content": 16, "style": 8, "content_noise": 0.5, "style_noise": 0.2, "style_decay": 1e-2,
                  "alone": "style"}
FACES = SHAPES | {"content": 64, "content_noise": 0.2, "features": "vgg"}
GLYPHS = SMALL | {"features": "vgg", "groups": "typeface", "content": 32, "style": 128, "content_noise": 0.6}

# By data set and name: options that differ from the method's own. The first of each is what the others change.
VARIANTS: dict[str, dict[str, dict]] = {
    "shapes3d": {
        "style alone first": SHAPES,
        "together from the start": SHAPES | {"alone": "neither"},
        "content alone first": SHAPES | {"alone": "content"},
        "no noise on contents": SHAPES | {"content_noise": 0.0},
        "contents not normalised": SHAPES | {"shared": "none"},
        "affine map of the vector alone": SHAPES | {"fusion": "vector"},
        "features of VGG-16": SHAPES | {"features": "vgg"},
        "a style of 32 numbers": SHAPES | {"style": 32},
    },
    "faces": {
        "style alone first": FACES,
        "together from the start": FACES | {"alone": "neither"},
        "pyramid": FACES | {"features": "pyramid"},
        "a style of 16 numbers": FACES | {"style": 16},
        "less noise on contents": FACES | {"content_noise": 0.05},
        "contents apart from styles": FACES | {"apart": 1.0},
        "less noise, apart": FACES | {"content_noise": 0.05, "apart": 1.0},
        "less noise, further apart": FACES | {"content_noise": 0.05, "apart": 4.0},
        "swaps teach all": FACES | {"swaps_teach": "all"},
        "less noise, apart, wider": FACES | {"content_noise": 0.05, "apart": 1.0, "encoder_width": 32,
                                             "decoder_width": 40},
    },
    "glyphs": {
        "typefaces share a style": GLYPHS,
        "less noise on contents": GLYPHS | {"content_noise": 0.4},
        "more noise on contents": GLYPHS | {"content_noise": 1.0},
        "a style of 32 numbers": GLYPHS | {"style": 32},
        "a style of 32 numbers, noisier": GLYPHS | {"style": 32, "style_noise": 0.3},
        "style alone first": GLYPHS | {"alone": "style"},
        "a content of 12 numbers": GLYPHS | {"content": 12},
        "swaps teach the generator": GLYPHS | {"swaps_teach": "generator"},
        "swaps teach all": GLYPHS | {"swaps_teach": "all"},
        "letters matched": GLYPHS | {"matched": 0.3},
        "letters matched, a third as much": GLYPHS | {"matched": 0.1},
        "letters matched, three times as much": GLYPHS | {"matched": 1.0},
        "letters matched, noisier": GLYPHS | {"matched": 0.3, "content_noise": 1.0},
        "no labels": GLYPHS | {"groups": ""},
        "no labels, style alone first": GLYPHS | {"groups": "", "style": 16, "style_noise": 0.2, "style_decay": 1e-2,
                                                 "alone": "style"},
    },
}


@dataclass(frozen=True)
class Options:
    """Train first stages, read their swaps, write the table."""

    data: tuple[str, ...] = tuple(VARIANTS)  # data sets
    only: tuple[str, ...] = ()               # options by name; all if none is given
    steps: int = 2_400                       # optimiser steps; a third of them for what learns alone
    images: int = 20_000                     # most pictures, which all get embeddings but those held out
    batch: int = 256                         # pictures a step
    device: str = "auto"                     # 'auto', 'cpu', 'cuda' ...
    results: Path = RESULTS                  # the stored numbers; the table is written beside them
    sheets: Path | None = None               # folder of the pictures; none are kept if it is not given
    report: bool = False                     # only write the table again


class Part(Dataset):
    """Some pictures of a data set, held as bytes on a device."""

    def __init__(self, whole: Dataset, count: int, device: torch.device):
        self.name, self.channels, self.factors, self.origin = whole.name, whole.channels, whole.factors, whole.origin
        index = sample_numbers(whole, count).to(device)
        self._images, self._labels = materialise(whole, index, device), whole.labels(index)

    def __len__(self) -> int:
        return len(self._images)

    def images(self, index: Tensor) -> Tensor:
        return self._images[index.to(self._images.device)].to(index.device)

    def labels(self, index: Tensor) -> Tensor:
        return self._labels[index.to(self._labels.device)].to(index.device)


@torch.no_grad()
def told(reader: Reader, images: Tensor) -> list[Tensor]:
    """What a reader says of images (N, C, 64, 64) in [0, 1], factor by factor."""
    return [torch.cat(column) for column in zip(*(reader(part) for part in images.split(PART)), strict=True)]


def compared(said: list[Tensor], labels: Tensor, factors: tuple[KnownFactor, ...]) -> dict[str, dict[str, float]]:
    """By factor: correlation of what was said with labels (N, K), and of classes the shares of right ones and of
    those among the ten likeliest."""
    found = {}
    for factor, a, label in zip(factors, said, labels.unbind(1), strict=True):
        b = readers.target(factor, label)
        found[factor.name] = {"correlation": readers.correlation(a, b)}
        if factor.categorical:
            order = a.topk(min(NEAR, factor.size), 1).indices == b.argmax(1, keepdim=True)
            found[factor.name] |= {"right": order[:, 0].double().mean().item(),
                                   f"in {NEAR}": order.any(1).double().mean().item()}
    return found


@torch.no_grad()
def swapped(model: CSDisMo, reader: Reader, labels: Tensor, factors: tuple[KnownFactor, ...]) -> dict[str, dict]:
    """What is read of pictures that were made of two pictures' embeddings: compared with the giver of 'content', with
    that of 'style', and, where both come from one picture, with that one ('own').

    labels (M, K): of the pictures that have embeddings. 'psnr': of the pictures themselves, in dB.
    """
    device = labels.device
    pick = torch.randint(len(labels), (2, PAIRS), generator=torch.Generator().manual_seed(0)).to(device)
    (content, own), (_, style) = (model.embedded(index) for index in pick)

    def drawn(style: Tensor) -> Tensor:
        return torch.cat([model.draw(*both) for both in zip(content.split(PART), style.split(PART), strict=True)])

    said, same = told(reader, drawn(style)), drawn(own)
    psnr = metrics.psnr(same, model.images[pick[0]].float() / 255).mean().item()
    return {"content": compared(said, labels[pick[0]], factors), "style": compared(said, labels[pick[1]], factors),
            "own": compared(told(reader, same), labels[pick[0]], factors), "psnr": psnr}


@torch.no_grad()
def sheet(model: CSDisMo) -> Image.Image:
    """Swaps as a picture: contents down the left side, styles along the top."""
    rows, columns = torch.arange(2 * SHEET, device=model.images.device).split(SHEET)
    contents, styles = model.embedded(rows)[0], model.embedded(columns)[1]
    left, top = (model.images[index].float() / 255 for index in (rows, columns))
    lines = [torch.cat([torch.ones_like(top[0]), *top], 2)]
    lines += [torch.cat([given, *model.draw(content.expand(SHEET, -1), styles)], 2)
              for given, content in zip(left, contents, strict=True)]
    pixels = (255 * torch.cat(lines, 1)).round().byte().expand(3, -1, -1)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def flags(options: dict) -> str:
    """Options as they are written on the command line of engine.train."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items() if value != "")


def made_with(data: str, name: str, options: Options) -> dict:
    """All that decides the numbers of an entry."""
    return {"options": flags(VARIANTS[data][name])} | {k: asdict(options)[k] for k in ("steps", "images", "batch")}


def measure(part: Part, reader: Reader, name: str, options: Options, device: torch.device) -> dict:
    """Train one first stage and read its swaps."""
    begun = time.perf_counter()
    config = Config(**VARIANTS[part.name][name], embeddings_until=options.steps, alone_until=options.steps // 3,
                    images=options.images)
    # One step more is planned than made: a run of one stage alone has no end of that stage.
    plan = Plan(part.name, steps=options.steps + 1, batch=options.batch, compile=False, device=str(device))
    trainer = Trainer(CSDisMo, config, plan, part, device)
    for number in range(options.steps):
        trainer.advance(number)
    model = trainer.runs[0].model.eval()
    labels = part.labels(sample_numbers(part, config.images).to(device))
    found = swapped(model, reader, labels, part.factors)
    if options.sheets is not None:
        options.sheets.mkdir(parents=True, exist_ok=True)
        sheet(model).save(options.sheets / f"{part.name} {name}.png")
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return made_with(part.name, name, options) | {"machine": machine, "seconds": time.perf_counter() - begun} | found


def run(options: Options) -> None:
    """Measure what is not stored yet."""
    device = chosen_device(options.device)
    for data in options.data:
        names = [n for n in VARIANTS[data] if not options.only or n in options.only]
        missing = [n for n in names if not stored(options.results, data, n, made_with(data, n, options))]
        if not missing:
            continue
        part = Part(load(data), options.images, device)
        train, unseen = (index.to(device) for index in split(len(part)))
        reader = readers.of_pictures(part.images(train), part.labels(train), part.factors)
        real = compared(told(reader, part.images(unseen[:UNSEEN]).float() / 255), part.labels(unseen[:UNSEEN]),
                        part.factors)
        for name in missing:
            entry = measure(part, reader, name, options, device) | {"real": real}
            add(options.results, data, name, entry)
            print(f"{data}, {name}: {clear(entry)} factors mostly one-sided, {entry['psnr']:.1f} dB, "
                  f"{entry['seconds']:.0f} s", flush=True)


def stored(path: Path, data: str, name: str, made: dict) -> bool:
    """Whether an entry made so is there."""
    entry = read(path).get(data, {}).get(name, {})
    return all(entry.get(k) == v for k, v in made.items())


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def add(path: Path, data: str, name: str, entry: dict) -> None:
    """Keep an entry, figures rounded to four places, whoever else is writing to the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent, wait=True):
        entries = read(path)
        entries.setdefault(data, {})[name] = json.loads(json.dumps(entry), parse_float=lambda v: round(float(v), 4))
        write_atomically(path, (json.dumps(entries, indent=1, ensure_ascii=False) + "\n").encode())


def clear(entry: dict) -> int:
    """Number of factors that follow one side and not the other, as `engine.evaluate_swaps` has it."""
    own, other = MOSTLY
    both = [sorted(entry[side][factor]["correlation"] for side in ("content", "style")) for factor in entry["content"]]
    return sum(high >= own and abs(low) <= other for low, high in both)


HEAD = """# What content takes, what style takes

Written by `python -m benchmarks.splits`. Two pictures' embeddings after a short first stage are exchanged, and a
reader that was trained on real pictures tells the factors of what comes out. Each cell: correlation with the giver of
content / with the giver of style, and in brackets, where both embeddings come from one picture, with that one. Rows
of real pictures are what the reader of the rows below them says of those. `one-sided` counts factors with .8 or more
with one side and .25 or less with the other. One seed each."""


def with_readers(found: dict[str, dict]) -> Iterator[tuple[str, dict]]:
    """Names and entries, before each of them what its reader said of real pictures if that differs from the last."""
    real = None
    for name, entry in found.items():
        if entry["real"] != real:
            real = entry["real"]
            yield REAL, real
        yield name, entry


def report(entries: dict) -> str:
    """The stored numbers as a page of Markdown."""
    parts = [HEAD]
    for data in (d for d in VARIANTS if d in entries):
        found = {name: entries[data][name] for name in VARIANTS[data] if name in entries[data]}
        first = next(iter(found.values()))
        names = list(first["real"])
        classes = [n for n in names if f"in {NEAR}" in first["real"][n]]
        lines = [f"| options | {' | '.join(names)} | one-sided | dB |", "|" + " --- |" * (len(names) + 3)]
        for name, entry in with_readers(found):
            if name == REAL:
                lines.append(f"| {name} | " + " | ".join(f"({entry[n]['correlation']:.2f})" for n in names) + " | | |")
                continue
            cells = [f"{entry['content'][n]['correlation']:.2f} / {entry['style'][n]['correlation']:.2f} "
                     f"({entry['own'][n]['correlation']:.2f})" for n in names]
            lines.append(f"| {name} | {' | '.join(cells)} | {clear(entry)} | {entry['psnr']:.1f} |")
        parts.append(f"## {data}\n\n" + "\n".join(lines))
        if classes:
            lines = ["| options | " + " | ".join(f"{n}, right / in ten" for n in classes) + " |",
                     "|" + " --- |" * (len(classes) + 1)]
            for name, entry in with_readers(found):
                told = {"real": entry} if name == REAL else {side: entry[side] for side in ("content", "style")}
                cells = [", ".join(f"{side} {told[side][n]['right']:.2f} / {told[side][n][f'in {NEAR}']:.2f}"
                                   for side in told) for n in classes]
                lines.append(f"| {name} | {' | '.join(cells)} |")
            parts.append("\n".join(lines))
        parts.append("\n".join(f"- {name}: {entry['steps']:,} steps of {entry['batch']}, {entry['machine']}, "
                               f"`{entry['options']}`" for name, entry in found.items()))
    return "\n\n".join(parts) + "\n"


def main(options: Options) -> None:
    """Do what the options say."""
    for data in options.data:
        if data not in VARIANTS:
            raise SystemExit(f"There is nothing to try on {data}; choose among {', '.join(VARIANTS)}.")
    if not options.report:
        run(options)
    page = options.results.with_suffix(".md")
    write_atomically(page, report(read(options.results)).encode())
    print(f"{page} is written.")


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, prog="python -m benchmarks.splits", description=__doc__))
    except ValueError as error:
        sys.exit(str(error))
