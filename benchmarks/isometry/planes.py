"""The codes of nets that the page shows beside the coordinates it computes itself."""

from pathlib import Path

import numpy as np
import safetensors.numpy

from benchmarks.isometry.store import Store
from engine.files import write_atomically, write_manifest
from engine.study import NETS

SHOWN = "AE", "LI-AE"


def write(folder: Path, store: Store, names: list[str]) -> None:
    """Write the stored codes of the manifolds called `names` and the manifest of the folder; nothing if none is
    stored."""
    codes = {f"{name}/{net}": np.ascontiguousarray(found, np.float16)
             for name in names for net in SHOWN if (found := store.codes(f"{name}/{net}").get(net)) is not None}
    if codes:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / NETS, safetensors.numpy.save(codes))
        write_manifest(folder)
