"""python -m engine.evaluate [--sampled] [FOLDER ...]: score model folders against the true factors of their data.

Without a folder, all shipped models. Writes metrics.json into each and prints a table. Labels are
used to score only. 10,000 training and 5,000 test samples are drawn with a fixed seed from
the whole data set, as in disentanglement_lib; a continuous factor is cut into ten equal classes. The
scores that hold one factor fixed need every combination of the factors and are left out where these
are continuous, and with --sampled, for a model that reads pictures slowly. Minutes on a CPU; most of the
time goes into encoding the whole grid and into DCI, which takes as many threads as torch does
(OMP_NUM_THREADS). A model of content and style has scores of its own:
`engine.evaluate_swaps`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from engine import checkpoint, evaluate_swaps, factors, metrics, swaps
from engine.checkpoint import METRICS
from engine.data import Dataset, Grid, load, split
from engine.files import write_atomically, write_manifest
from engine.method import Method
from engine.serve import MODELS

TRAIN, TEST = 10_000, 5_000
CLASSES = 10        # of a continuous factor


def evaluate(folder: Path, device: torch.device | str = "cpu", grid: bool = True) -> dict[str, float]:
    """Score the model in `folder`, write its metrics.json and return the scores by name.

    grid: also by the scores that need every combination of the factors, where there are such.

    Raises files.Damaged for a folder that is no model, ValueError for data without known factors.
    """
    model, _, config = checkpoint.load(folder)
    data = load(config["data"])
    if not data.factors:
        raise ValueError(f"The factors of '{config['data']}' are not known: there is nothing to score against.")
    model, device = model.to(device), torch.device(device)
    swapped = any(swaps.sides(model.layout()))
    scores = evaluate_swaps.score(model, data, device) if swapped else score(model, data, device, grid)
    write_atomically(folder / METRICS, json.dumps(scores, indent=1).encode() + b"\n")
    write_manifest(folder)
    return scores


def score(model: Method, data: Dataset, device: torch.device, grid: bool = True) -> dict[str, float]:
    """Every score of `model` on `data`, rounded to four places; `grid` as in `evaluate`."""
    held_out = split(len(data))[1][:2000].to(device)
    fidelity = {"psnr held out": round(metrics.reconstruction(model, data.images(held_out)), 4)}
    return fidelity | score_codes(lambda index: encode(model, data, index, device), data, grid, model.discrete)


def score_codes(
    codes_of: Callable[[Tensor], np.ndarray], data: Dataset, grid: bool = True, discrete: bool = False
) -> dict[str, float]:
    """The scores that depend on codes alone, rounded to four places.

    codes_of: the codes (N, D) of the images of `data` numbered (N,). grid: as in `evaluate`. discrete: each
    number of a code takes a few values only.
    """
    scores = {}
    index = torch.randint(len(data), (TRAIN + TEST,), generator=torch.Generator().manual_seed(0))
    if grid and isinstance(data, Grid):
        whole = codes_of(torch.arange(len(data)))
        codes = whole[index.numpy()]
        sizes = [factor.size for factor in data.factors]

        def represent(classes: np.ndarray) -> np.ndarray:
            return whole[data.index(torch.from_numpy(classes)).numpy()]

        scores["FactorVAE"] = metrics.factor_vae(represent, sizes)
        scores["beta-VAE"] = metrics.beta_vae(represent, sizes)
    else:
        codes = codes_of(index)

    labels = data.labels(index)
    classes = in_classes(data, labels)
    varied = np.ptp(classes, axis=0) > 0
    labels, classes = labels.numpy()[:, varied], classes[:, varied]
    seen, unseen = slice(TRAIN), slice(TRAIN, None)
    scores["MIG"] = metrics.mig(codes[seen], classes[seen])
    halves = codes[seen], classes[seen], codes[unseen], classes[unseen]
    scores |= {f"DCI {name}": value for name, value in metrics.dci(*halves, workers=torch.get_num_threads()).items()}
    scores["SAP"] = metrics.sap(*halves)
    scores["modularity"] = metrics.modularity(codes[seen], classes[seen])
    scores["IRS"] = metrics.irs(codes[seen], classes[seen])
    scores["MCC"] = metrics.mcc(codes[seen], labels[seen])
    scores |= {f"Info {name}": value for name, value in metrics.infomec(codes[seen], classes[seen], discrete).items()}
    return {name: round(float(value), 4) for name, value in scores.items()}


@torch.inference_mode()
def encode(model: Method, data: Dataset, index: Tensor, device: torch.device) -> np.ndarray:
    """What scores look at (N, M) of the images numbered `index` (N,)."""
    batch = 2048 if device.type == "cuda" else 128  # whose activations stay in a CPU's cache
    codes = [
        model.represent(data.images(part.to(device)).float() / 255).cpu()
        for part in tqdm(index.split(batch), desc=f"encoding {data.name}", disable=len(index) <= 20_000)
    ]
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the minutes that follow are the CPU's: others may want the memory
    return factors.readings(model.layout(), torch.cat(codes)).numpy()


def in_classes(data: Dataset, labels: Tensor) -> np.ndarray:
    """Labels (N, K) as integer classes; continuous factors are cut into `CLASSES` equal parts."""
    columns = []
    for factor, column in zip(data.factors, labels.unbind(1), strict=True):
        if not factor.values:
            share = (column - factor.low) / (factor.high - factor.low)
            column = (share * CLASSES).clamp(0, CLASSES - 1)
        columns.append(column)
    return torch.stack(columns, 1).long().numpy()


def main() -> None:
    """Entry point of `python -m engine.evaluate`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="all shipped models if none")
    parser.add_argument("--sampled", action="store_true", help="leave out the scores that need the whole grid")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for folder in options.folders or sorted(p for p in MODELS.iterdir() if p.is_dir()):
        try:
            scores = evaluate(folder, device, grid=not options.sampled)
        except ValueError as error:
            raise SystemExit(str(error)) from None
        width = max(map(len, scores))
        print(f"\n{folder.name}\n" + "\n".join(f"  {name:<{width}}  {value:.4f}" for name, value in scores.items()))


if __name__ == "__main__":
    main()
