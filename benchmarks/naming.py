"""Are the names right? Names of sliders against the labels of pictures that the namer did not see.

    python -m benchmarks.naming [FOLDER ...]

Of every slider of the models of 3D Shapes and dSprites that is about one true factor, its row of DCI being above
0.7, the name is held against that factor. The page's name is right if it is the factor's; the target is 90 %. It comes
from labels of held-out pictures, these are others. The name by pictures alone (`seen` in names.json) is counted
beside: right is what MEANS lists, anything else is not, a vague name included. Minutes on two cores.
"""

import argparse
import re
from pathlib import Path

import numpy as np
import torch

from engine import checkpoint, factors, metrics, names
from engine.data import load, split
from engine.evaluate import in_classes
from engine.serve import MODELS

ROW = 0.7        # of a slider's importances: how far they are about one factor
MEANS = {        # what is to be seen when a true factor changes
    "floor hue": r"hue of the lower half",
    "wall hue": r"hue of the (middle band|upper half|background)",
    "object hue": r"hue of the object",
    "scale": r"makes the object (larger|smaller)",
    "shape": r"makes the object (wider|narrower|taller|shorter)",
    "orientation": r"turns the object (anti)?clockwise",
    "position x": r"moves the object (left|right)",
    "position y": r"moves the object (up|down)",
}


def about(importance: np.ndarray, labels: list[str]) -> list[str | None]:
    """Importances (D, K) of D sliders for K true factors -> the one that each is about, or None."""
    clear = metrics.concentrations(importance) > ROW
    return [labels[row.argmax()] if sure and row.sum() > 0 else None
            for row, sure in zip(importance, clear, strict=True)]


def right(seen: str, truth: str) -> bool:
    """Whether a name by pictures says what a true factor changes; a name of two things does not."""
    return re.fullmatch(MEANS[truth], seen) is not None


def judged(folder: Path, samples: int) -> list[tuple[str, str, str, str]]:
    """The sliders of a model that are about one factor: name, that factor, what is seen, what the page says."""
    model, table, config = checkpoint.load(folder)
    data, shown, called = load(config["data"]), factors.visible(table), names.load(folder)
    others = split(len(data))[0]  # names are made with the rest
    index = others[torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[:samples]]
    with torch.inference_mode():
        codes = torch.cat([model.encode(data.images(part).float() / 255) for part in index.split(128)])
    rows = [f for f in table if f.role != "residual"]
    readings = torch.stack([f.read(codes) for f in rows], 1).numpy()
    forests = metrics.boosted(readings, in_classes(data, data.labels(index)))
    importance = np.stack([forest.feature_importances_ for forest in forests.values()], 1)
    of = dict(zip((f.name for f in rows), about(importance, [data.factors[k].name for k in forests]), strict=True))
    return [(f.name, of[f.name], called[f.name].seen, called[f.name].name) for f in shown if of[f.name]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--samples", type=int, default=3000, help="pictures that DCI's forests are grown on")
    options = parser.parse_args()
    shipped = [MODELS / f"{method}-{data}" for data in ("shapes3d", "dsprites")
               for method in ("protovae", "vae", "dotvae")]
    found = []
    for folder in options.folders or shipped:
        for slider, truth, seen, name in judged(folder, options.samples):
            found.append((name == truth, right(seen, truth)))
            verdict = ["right" if good else "wrong" for good in found[-1]]
            print(f"{folder.name:20} {slider:4} {truth:12} called: {name} ({verdict[0]}); seen: {seen} ({verdict[1]})",
                  flush=True)
    if found:
        called, seen = np.mean(found, 0)
        print(f"{len(found)} sliders: called rightly {called:.0%}, by pictures alone {seen:.0%}")


if __name__ == "__main__":
    main()
