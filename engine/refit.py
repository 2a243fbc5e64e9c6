"""python -m engine.refit FOLDER ...: the table of factors of an exported model, measured again; its weights stay.

For a folder that was written before the table knew paths and stops, or after how they are found has changed. The
factors are measured on the same training images as at export, then named again.
"""

import argparse
from pathlib import Path

import torch

from engine import checkpoint, export, factors, naming
from engine.data import load


def refit(folder: Path) -> tuple[factors.Factor, ...]:
    """Write and return the table of a model folder. Raises files.Damaged, data.DataError, or ValueError if another
    number of factors is visible now: then the folder's card would be wrong, too."""
    model, old, config = checkpoint.load(folder)
    dataset = load(config["data"])
    with torch.inference_mode():
        table = factors.fit(model, dataset.images(export.measured(dataset)))
    before, now = len(factors.visible(old)), len(factors.visible(table))
    if before != now:
        raise ValueError(f"{now} factors of {folder.name} are visible, not {before}; export the run again.")
    checkpoint.save_factors(folder, table)
    naming.write(folder)
    return table


def main(argv: list[str] | None = None) -> None:
    """Measure the factors of models again."""
    parser = argparse.ArgumentParser(description="Measure the factors of exported models again, and name them.")
    parser.add_argument("folders", nargs="+", type=Path, help="model folders")
    for folder in parser.parse_args(argv).folders:
        print(folder.name)
        try:
            table = refit(folder)
        except ValueError as error:
            raise SystemExit(str(error)) from None
        for factor in factors.visible(table):
            kind = "circle" if factor.closed else "path" if factor.path else "line"
            told = "  ".join(f"{name} {value:.3f}" for name, value in factor.evidence.items())
            print(f"  {factor.name:6} {kind:7} {told}  stops {factor.stops}", flush=True)


if __name__ == "__main__":
    main()
