"""What was measured: numbers in one JSON file, codes in one safetensors file for each cell."""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from engine.files import locked, write_atomically

KEPT = 1000     # pictures whose codes are kept, enough for a scatter


class Store:
    """Cells by key, such as 'blob/spectral'; each entry says what it was made with.

    results: the JSON file, to which several runs may add. folder: of the codes.
    """

    def __init__(self, results: Path, folder: Path):
        self.results, self.folder = results, folder / "codes"
        self.entries = self._stored()

    def has(self, key: str, made_with: dict) -> bool:
        """Whether a cell was measured with these settings."""
        return self.entries.get(key, {}).get("made with") == made_with

    def add(self, key: str, made_with: dict, figures: dict, codes: dict[str, np.ndarray]) -> None:
        """Keep a cell's figures, rounded, and the codes (N, D) of its first pictures by name."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if codes:
            short = {name: np.ascontiguousarray(code[:KEPT], np.float32) for name, code in codes.items()}
            write_atomically(self._path(key), safetensors.numpy.save(short))
        self.results.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.results.parent, wait=True):  # others may be adding other cells
            self.entries = self._stored() | {key: {"made with": made_with} | _rounded(figures)}
            text = json.dumps(self.entries, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
            write_atomically(self.results, text.encode())

    def _stored(self) -> dict[str, dict]:
        return json.loads(self.results.read_text(encoding="utf-8")) if self.results.exists() else {}

    def codes(self, key: str) -> dict[str, np.ndarray]:
        """The codes kept of a cell; none if they are not there."""
        path = self._path(key)
        return safetensors.numpy.load(path.read_bytes()) if path.exists() else {}

    def _path(self, key: str) -> Path:
        return self.folder / (key.replace("/", "_") + ".safetensors")


def _rounded(value: object) -> object:
    """Floats to four digits, in nested dicts and lists too."""
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value
