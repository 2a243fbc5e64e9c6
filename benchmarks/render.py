"""How fast a data set is drawn or read.

    python -m benchmarks.render --data shapes3d --count 20000 --device cpu

Numbers are spread evenly over the set, so a part of it costs what the whole would. Expected for all of
shapes3d or dsprites: seconds on an H100, about a minute on two laptop cores.
"""

import argparse
from time import perf_counter

import torch

from engine.data import load
from engine.data.dataset import Dataset


def seconds(data: Dataset, count: int, device: str, batch: int) -> float:
    """Wall-clock time to draw `count` images on `device` and drop them, first-use preparation included."""
    numbers = torch.arange(count, device=device) * len(data) // count
    _wait(device)
    start = perf_counter()
    for part in numbers.split(batch):
        data.images(part)
    _wait(device)
    return perf_counter() - start


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="shapes3d", help="name of the data set")
    parser.add_argument("--count", type=int, help="images to draw; default: all of them")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=16384, help="images held at once")
    options = parser.parse_args()

    data = load(options.data)
    count = options.count or len(data)
    took = seconds(data, count, options.device, options.batch)
    print(f"{options.data} on {options.device}: {count:,} in {took:.2f} s, {count / took:,.0f} images/s, "
          f"whole set of {len(data):,} in {took * len(data) / count:.1f} s")


if __name__ == "__main__":
    main()
