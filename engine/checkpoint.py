"""The only reader and writer of model folders.

A model folder holds model.safetensors, config.json, factors.json, card.md and MANIFEST.json, the
sha256 of the other four. Nothing is unpickled.
"""

import json
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError

from engine import factors
from engine.factors import Factor
from engine.files import Damaged, read_verified, write_atomically, write_manifest
from engine.method import Method, method

FILES = ("model.safetensors", "config.json", "factors.json", "card.md")


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
