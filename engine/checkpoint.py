"""The only reader and writer of model folders.

A model folder holds model.safetensors, config.json, factors.json, card.md and MANIFEST.json, the
sha256 of the other four. Nothing is unpickled, and a byte that is not what the manifest says
is refused before it is used: safetensors itself loads a flipped bit without complaint.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from engine import factors
from engine.factors import Factor
from engine.method import Method, method

MANIFEST = "MANIFEST.json"
FILES = ("model.safetensors", "config.json", "factors.json", "card.md")


class Damaged(ValueError):
    """A file that is missing or is not what its manifest says; the message names it and why."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, then rename it over."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def write_manifest(folder: Path) -> None:
    """Record the sha256 of every other file of `folder`."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != MANIFEST)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    write_atomically(folder / MANIFEST, json.dumps(digests, indent=1).encode() + b"\n")


def read_verified(folder: Path, name: str) -> bytes:
    """The bytes of `folder`/`name`, after checking them against the manifest.

    Raises Damaged if the file or its entry is missing or the digest differs.
    """
    path = folder / name
    try:
        expected = json.loads((folder / MANIFEST).read_bytes())[name]
    except FileNotFoundError:
        raise Damaged(f"{folder / MANIFEST} is missing.") from None
    except KeyError:
        raise Damaged(f"{path} is not listed in its {MANIFEST}.") from None
    except (ValueError, TypeError):
        raise Damaged(f"{folder / MANIFEST} is not a readable list of checksums.") from None
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise Damaged(f"{path} is missing.") from None
    if hashlib.sha256(data).hexdigest() != expected:
        raise Damaged(f"{path} is damaged: its sha256 differs from {MANIFEST}.")
    return data


def save(
    folder: Path,
    model: Method,
    table: tuple[Factor, ...],
    mean: torch.Tensor,
    data: str,
    card: str,
    figures: dict[str, float],
) -> None:
    """Write a model folder.

    mean: (D,) mean code of the data, the point random images start from. data: what `load` calls
    the training set. figures: measured numbers that the page shows with the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: t.detach().float().cpu().contiguous() for name, t in model.state_dict().items()}
    config = {
        "method": model.name,
        "data": data,
        "channels": model.channels,
        "config": asdict(model.config),
        "mean": mean.tolist(),
        "figures": figures,
    }
    write_atomically(folder / "model.safetensors", safetensors.torch.save(weights))
    write_atomically(folder / "config.json", json.dumps(config, indent=1).encode() + b"\n")
    write_atomically(folder / "factors.json", factors.dumps(table).encode() + b"\n")
    write_atomically(folder / "card.md", card.encode())
    write_manifest(folder)


def load(folder: Path) -> tuple[Method, tuple[Factor, ...], dict]:
    """Read a model folder: the model on the CPU in eval mode, its factors, its config.json.

    Raises Damaged, naming the file and the reason, if anything does not match.
    """
    data = {name: read_verified(folder, name) for name in FILES}
    path = folder / "config.json"
    try:
        config = json.loads(data["config.json"])
        cls = method(config["method"])
        model = cls(cls.Config(**config["config"]), config["channels"])
        if len(config["mean"]) != model.code_size:
            raise ValueError(f"the mean code has {len(config['mean'])} numbers, not {model.code_size}")
        path = folder / "factors.json"
        table = factors.loads(data["factors.json"].decode(), model.code_size)
        path = folder / "model.safetensors"
        weights = safetensors.torch.load(data["model.safetensors"])
        broken = [name for name, t in weights.items() if not t.isfinite().all()]
        if broken:
            raise ValueError(f"tensor '{broken[0]}' is not finite")
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Damaged(f"{path} does not describe a usable model: {reason}.") from None
    return model.eval().requires_grad_(False), table, config
