"""The only reader and writer of model folders.

A model folder holds model.safetensors, config.json, factors.json, card.md and MANIFEST.json, the
sha256 of the other four. Nothing is unpickled.
"""

import json
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import safetensors.torch
import torch

from engine import eight_bits, factors
from engine.factors import Factor
from engine.files import MANIFEST, Damaged, read_verified, write_atomically, write_manifest
from engine.method import Method, method

FILES = ("model.safetensors", "config.json", "factors.json", "card.md")
METRICS = "metrics.json"    # beside them once `engine.evaluate` has scored the model


def save(
    folder: Path,
    model: Method,
    table: tuple[Factor, ...],
    mean: torch.Tensor,
    data: str,
    card: str,
    figures: dict[str, float],
) -> None:
    """Write a model folder, without the parts of the model that only training needs.

    mean: (D,) mean code of the data, the point random images start from. data: what `load` calls
    the training set. figures: measured numbers that the page shows with the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: t.cpu().contiguous() for name, t in _stored(model).items()}
    config = {
        "method": model.name,
        "data": data,
        "channels": model.channels,
        "config": asdict(model.config),
        "mean": mean.tolist(),
        "figures": figures,
    }
    path, content = folder / "model.safetensors", safetensors.torch.save(weights)
    if not path.exists() or path.read_bytes() != content:
        (folder / METRICS).unlink(missing_ok=True)  # scores of other weights
    write_atomically(path, content)
    write_atomically(folder / "config.json", json.dumps(config, indent=1).encode() + b"\n")
    write_atomically(folder / "factors.json", factors.dumps(table).encode() + b"\n")
    write_atomically(folder / "card.md", card.encode())
    write_manifest(folder)


def settle(model: Method) -> None:
    """Give `model` the weights that its folder will hold, rounded as they are stored: what is measured of it then is
    true of the folder. Parts that only training needs stay as they are."""
    model.load_state_dict(eight_bits.unpack(_stored(model)), strict=False)


def save_factors(folder: Path, table: tuple[Factor, ...]) -> None:
    """Write another table of factors into a model folder."""
    write_atomically(folder / "factors.json", factors.dumps(table).encode() + b"\n")
    write_manifest(folder)


def load(folder: Path) -> tuple[Method, tuple[Factor, ...], dict]:
    """Read a model folder: the model on the CPU in eval mode, its factors, its config.json.

    The model encodes and decodes; it lacks the parts that only training needs, also where an older
    folder holds them.
    Raises Damaged, naming the file and the reason, if anything does not match.
    """
    data = {name: read_verified(folder, name) for name in FILES}
    # The manifest tells what was damaged since; what follows, what never was a model of this house.
    path = folder / "config.json"
    try:
        config = json.loads(data["config.json"])
        cls = method(config["method"])
        _check(config, get_type_hints(cls.Config))
        options = {k: tuple(v) if isinstance(v, list) else v for k, v in config["config"].items()}
        model = cls(cls.Config(**options), config["channels"])
        if len(config["mean"]) != model.code_size:
            raise ValueError(f"the mean code has {len(config['mean'])} numbers, not {model.code_size}")
        path = folder / "factors.json"
        table = factors.loads(data["factors.json"].decode(), model.code_size)
        path = folder / "model.safetensors"
        weights = eight_bits.unpack(safetensors.torch.load(data["model.safetensors"]))
        for part in cls.training_only:
            delattr(model, part)
            weights = {name: t for name, t in weights.items() if not name.startswith(f"{part}.")}
        model.load_state_dict(weights)
        broken = [name for name, t in model.state_dict().items() if not t.isfinite().all()]
        if broken:
            raise ValueError(f"tensor '{broken[0]}' is not finite")
    except KeyError as error:
        raise Damaged(f"{path} does not describe a usable model: {error} is missing.") from None
    except Exception as error:  # constructors raise whatever an odd option trips
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise Damaged(f"{path} does not describe a usable model: {reason}.") from error
    return model.eval().requires_grad_(False), table, config


def scores(folder: Path) -> dict[str, float]:
    """What `engine.evaluate` measured of the model in `folder`, by name; empty if it never did. Raises Damaged."""
    if not (folder / METRICS).exists():
        return {}
    data = read_verified(folder, METRICS)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(_number(value, below=inf) for value in found.values()):
        raise Damaged(f"{folder / METRICS} is not a list of scores.")
    return found


def weights(folder: Path) -> tuple[str, int]:
    """The sha256 of the weights of a model folder, as its manifest has it, and the bytes of their file."""
    return json.loads((folder / MANIFEST).read_bytes())[FILES[0]], (folder / FILES[0]).stat().st_size


def take_over(models: list[Method], folder: Path, parts: tuple[str, ...] = ()) -> None:
    """Give models of one kind the weights of a model folder, or those of some of its parts, by the names that its
    method gives them. Parts that only training needs stay as they are, since no folder has them. Raises ValueError if
    the folder's method or nets are others or it has no such part, Damaged if it is none."""
    known = load(folder)[0]
    given = known.state_dict()
    has = {name.split(".")[0] for name in given}
    if unknown := set(parts) - has:
        raise ValueError(f"{folder} has no part called {sorted(unknown)[0]}, but {', '.join(sorted(has))}.")
    for model in models:
        own = {name: tensor for name, tensor in model.state_dict().items()
               if (name.split(".")[0] in parts if parts else name.split(".")[0] not in known.training_only)}
        if type(known) is not type(model) or any(
            name not in given or tensor.shape != given[name].shape for name, tensor in own.items()
        ):
            raise ValueError(f"{folder} holds other nets than are to begin with its weights.")
        model.load_state_dict({name: given[name] for name in own}, strict=False)


def commands(folder: Path) -> list[str]:
    """The commands that made the model in `folder`, one after the other, as its card has them."""
    lines = read_verified(folder, "card.md").decode().splitlines()
    return [line.strip() for line in lines if line.startswith("    python -m engine.train ")]


def _needed(model: Method) -> dict[str, torch.Tensor]:
    """The model's tensors, without those of its parts that only training needs."""
    return {name: t for name, t in model.state_dict().items() if name.split(".")[0] not in model.training_only}


def _stored(model: Method) -> dict[str, torch.Tensor]:
    """The tensors of a model's folder, on the model's device."""
    needed = {name: t.detach() for name, t in _needed(model).items()}
    if model.stored == torch.int8:
        return eight_bits.pack(needed)
    # Counts stay as they are: half precision ends at 65,504.
    return {name: t.to(model.stored) if t.is_floating_point() else t for name, t in needed.items()}


def _check(config: dict, kinds: dict[str, type]) -> None:
    """Raise ValueError unless every entry of config.json is of the kind that `save` writes.

    kinds: the types of the method's options.
    """
    if not isinstance(config["data"], str) or not _is(config["channels"], Literal[1, 3]):
        raise ValueError("it names no data set, or images of neither 1 nor 3 channels")
    options, figures = config["config"], config["figures"]
    if not isinstance(options, dict) or not isinstance(figures, dict):
        raise ValueError("its options or figures have no names")
    odd = [name for name, value in options.items() if name in kinds and not _is(value, kinds[name])]
    if odd:
        raise ValueError(f"option '{odd[0]}' is of the wrong kind")
    if not isinstance(config["mean"], list) or not all(map(_number, config["mean"])):
        raise ValueError("the mean code is not a list of usable numbers")
    if not all(_number(value, below=inf) for value in figures.values()):
        raise ValueError("a figure is not a number")


def _is(value: object, kind: type) -> bool:
    """Whether a value read from JSON is what an option annotated with `kind` may hold."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            return False
        parts = parts[:1] * len(value) if parts[-1] is ... else parts
        return len(value) == len(parts) and all(map(_is, value, parts))
    if parts:
        return any(_is(value, part) for part in parts)
    return _number(value, below=inf) if kind is float else type(value) is kind


def _number(value: object, below: float = 1e6) -> bool:
    """Whether a value read from JSON is a finite number, of a size the engine takes in codes.

    A comparison decides, since it is false for NaN and exact for integers of any size.
    """
    return type(value) in (int, float) and abs(value) < below
