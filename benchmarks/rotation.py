"""Can ProtoVAE's prototypes find axes, or do they only keep those that are there?

    python -m benchmarks.rotation

Takes a trained model whose latents hold floor hue and wall hue each alone, turns these two latents
inside its weights, so that it reconstructs as before but no axis is a hue any more, and trains it on:
with its base objective alone, and with ProtoVAE's prototypes besides, whose embedder sees whole pairs
or only how much each pixel changed. In the first third of the steps only the embedder learns from the
prototypes, then the decoder, too. Two controls: pulling the two latents to what they held before, which
is supervision, shows whether weights can turn back in so few steps at all; and a model that was not
turned, whether prototypes keep axes.

Prints a table and writes nothing. 1,500 held-out images, 500 of them for the PSNR. Eleven minutes on two
cores that are otherwise idle.
"""

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
import tyro
from torch import Generator, Tensor
from torch.nn import functional as F

from engine import checkpoint, metrics
from engine.data import load, split
from engine.gaussian import GaussianVAE
from engine.methods.protovae import Config, ProtoVAE
from engine.serve import MODELS
from engine.train import batches

FACTORS = ("floor hue", "wall hue")
BATCH = 64               # images a step
EMBEDDER_LR = 1e-3       # the embedder's, as in a training from scratch
FOLLOWING = 0.01         # share of the newest episode in ProtoVAE's running accuracy
EPISODES = 20            # for the accuracy that is reported
VIEWS = "pair", "change"  # what the embedder may see
TEACHERS = {             # what a model is trained on with, besides the base objective
    "": "base alone",
    "codes": "codes before the rotation (control)",
    "pair": "prototypes of whole pairs",
    "change": "prototypes of amounts of change",
}


@dataclass(frozen=True)
class Run:
    """One model trained on."""

    start: Literal["turned", "as it was"]
    teacher: str = ""                      # of TEACHERS
    weight: float = 0.0                    # of its term in the loss

    @property
    def asks(self) -> bool:
        """Whether it has prototypes."""
        return self.teacher in VIEWS


RUNS = (
    Run("turned"),
    Run("turned", "codes", 1000),
    *(Run("turned", view, weight) for view in VIEWS for weight in (3, 100)),
    *(Run("as it was", view, 100) for view in VIEWS),
)


@dataclass(frozen=True)
class Options:
    """What is turned, how far, and how long it is trained on."""

    model: Path = MODELS / "vae-shapes3d"  # folder of a VAE or ProtoVAE of shapes3d
    steps: int = 300                       # optimiser steps after the rotation
    lr: float = 3e-4                       # of encoder and decoder
    seed: int = 0                          # of the embedder's first weights and of everything drawn
    degrees: float = 45.0                  # how far the two latents are turned


@dataclass(frozen=True)
class Scene:
    """The data: a function that draws training images, and held-out images with their two hues."""

    draw: Callable[[Generator], Tensor]    # (BATCH, C, 64, 64) in [0, 1]
    images: Tensor                         # (N, C, 64, 64) uint8
    classes: Tensor                        # (N, 2)


# Share of each latent's variance between the classes of each factor: eta squared.
def shares(codes: Tensor, classes: Tensor) -> Tensor:
    """Codes (N, D) and classes (N, K) -> (K, D)."""
    between = []
    for column in classes.unbind(1):
        member = F.one_hot(column).to(codes.dtype)                                   # (N, classes)
        means = member.T @ codes / member.sum(0).clamp(min=1)[:, None]               # (classes, D)
        between.append((member @ means).var(0, correction=0))
    return torch.stack(between) / codes.var(0, correction=0)


def alignment(held: Tensor) -> float:
    """Shares (K, D) -> 1 if each latent holds one factor alone, 0 if each holds all alike."""
    return (held.amax(0) - held.amin(0)).mean().item()


@torch.no_grad()
def rotate(model: GaussianVAE, pair: list[int], degrees: float) -> None:
    """Turn two latents inside the weights: code z becomes R z, and the decoder undoes it.

    Variances have no direction: each log variance becomes the mean of the two, weighted by the
    squares of R; at 45 degrees both become their average.
    """
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first = model.decoder.hidden[0].weight
    turn = first.new_tensor([[c, -s], [s, c]])
    spread = [model.code_size + latent for latent in pair]
    for layer in (model.encoder.head.weight, model.encoder.head.bias):
        layer[pair] = turn @ layer[pair]
        layer[spread] = turn**2 @ layer[spread]
    first[:, pair] = first[:, pair] @ turn.T


def continued(base: GaussianVAE, run: Run, options: Options) -> ProtoVAE:
    """A ProtoVAE with the encoder and decoder of `base`, its regulariser as at the end of the training,
    and a new embedder."""
    third = options.steps // 3
    schedule = {"embedder_from": 0, "prototypes_from": third, "prototypes_full": third}
    prototypes = {"view": run.teacher, "prototype_weight": run.weight} if run.asks else {}
    config = asdict(base.config) | {"relax_during": (-1, 0)} | schedule | prototypes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model = ProtoVAE(Config(**config), base.channels)
    model.encoder.load_state_dict(base.encoder.state_dict())
    model.decoder.load_state_dict(base.decoder.state_dict())
    return model.to(next(base.parameters()).device, memory_format=torch.channels_last)  # a tenth faster


def train(model: ProtoVAE, base: GaussianVAE, pair: list[int], run: Run, scene: Scene, options: Options
          ) -> list[Tensor]:
    """Make all steps. Returns, if there are prototypes, the query accuracy (D,) when they begin to teach
    the decoder, and at the end. base: the model before the rotation."""
    device = scene.images.device
    generator = Generator(device).manual_seed(options.seed)
    vae, embedder = model.groups()
    optimizer = torch.optim.Adam([vae, embedder | {"lr": EMBEDDER_LR}], lr=options.lr)
    accuracies = []
    for step in range(options.steps):
        if run.asks and step == model.config.prototypes_from:
            accuracies.append(query_accuracy(model, scene, options.seed))
        x = scene.draw(generator)
        loss = model.loss(x, torch.tensor(step, device=device), generator, stage=int(run.asks))["loss"]
        if run.teacher == "codes":
            off = (model.encode(x) - base.encode(x))[:, pair]
            loss = loss + run.weight * (off**2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if run.asks:
        accuracies.append(query_accuracy(model, scene, options.seed))
    return accuracies


@torch.no_grad()
def query_accuracy(model: ProtoVAE, scene: Scene, seed: int) -> Tensor:
    """Share of each latent's queries that find its prototype, in fresh episodes on held-out images: (D,)."""
    generator = Generator(scene.images.device).manual_seed(seed + 1)
    codes, nothing = encode(model, scene.images), torch.zeros((), device=scene.images.device)
    model.accuracy.zero_()
    for _ in range(EPISODES):
        model.episode(codes, nothing, generator)
    return model.accuracy / (1 - (1 - FOLLOWING) ** EPISODES)


@torch.no_grad()
def encode(model: GaussianVAE, images: Tensor) -> Tensor:
    """Images (N, C, 64, 64) uint8 -> codes (N, D)."""
    return torch.cat([model.encode(part.float() / 255) for part in images.split(250)])


def row(names: tuple[str, str, str], model: ProtoVAE, pair: list[int], scene: Scene, accuracies: list[Tensor]) -> str:
    """One line of the table."""
    held = shares(encode(model, scene.images)[:, pair], scene.classes)               # (factor, latent)
    each = ", ".join(f"{floor:.2f} and {wall:.2f}" for floor, wall in held.T.tolist())
    right = [f"{a[pair].mean():.2f}, {a.sum() / model.active.sum():.2f}" for a in accuracies] or ["", ""]
    fidelity = metrics.reconstruction(model, scene.images[:500])
    return "| " + " | ".join((*names, each, f"{alignment(held):.2f}", f"{fidelity:.1f}", *right)) + " |"


def main(options: Options) -> None:
    """Print the table. Raises ValueError, in one sentence, for a model that this cannot be asked of."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base, _, about = checkpoint.load(options.model)
    if about["method"] not in ("vae", "protovae") or about["data"] != "shapes3d":
        raise ValueError(f"{options.model} is not a VAE or ProtoVAE of shapes3d.")
    data = load("shapes3d")
    held_out = split(len(data))[1][:1500].to(device)
    columns = [[factor.name for factor in data.factors].index(name) for name in FACTORS]
    scene = Scene(batches(data, BATCH, device), data.images(held_out), data.classes(held_out)[:, columns])

    base.to(device)
    floor, wall = pair = shares(encode(base, scene.images), scene.classes).argmax(1).tolist()
    if floor == wall:
        raise ValueError(f"{options.model} holds both hues in one latent: there is no pair to turn.")
    starts = {start: continued(base, Run(start), options) for start in ("as it was", "turned")}
    rotate(starts["turned"], pair, options.degrees)

    workers = 1 if device.type == "cuda" else os.cpu_count() or 1
    machine = torch.cuda.get_device_name() if device.type == "cuda" else f"{workers} CPU cores"
    print(f"{machine}, torch {torch.__version__}, {options.model.name}: latents {floor} (floor hue) and {wall} "
          f"(wall hue) turned by {options.degrees:g} degrees, then {options.steps} steps at {options.lr:g}\n")
    print("| start | trained on with | weight | shares of floor and wall hue, in each of the two latents | alignment "
          "| PSNR, dB | queries right, of the two and of all latents, when the decoder begins to be taught "
          "| at the end |")
    print("|---|---|---|---|---|---|---|---|")
    for start, model in starts.items():
        print(row((start, "", ""), model, pair, scene, []), flush=True)

    models = [continued(starts[run.start], run, options) for run in RUNS]

    def line(run: Run, model: ProtoVAE) -> str:
        accuracies = train(model, base, pair, run, scene, options)
        weight = f"{run.weight:g}" if run.teacher else ""
        return row((run.start, TEACHERS[run.teacher], weight), model, pair, scene, accuracies)

    # Side by side with one thread each: small nets use two cores better so than one after the other.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for text in pool.map(line, RUNS, models):
            print(text, flush=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, prog="python -m benchmarks.rotation", description=__doc__))
    except ValueError as error:
        raise SystemExit(str(error)) from None
