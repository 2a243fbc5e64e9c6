"""python -m benchmarks.training: steps per second of the 64-pixel VAE, captured against eager.

Both are measured in one run on the same images, best of three rounds each, for one seed and for
several seeds in one graph. Needs a GPU.
"""

import argparse
import time
from pathlib import Path

import torch

from engine.data import Dataset
from engine.method import method
from engine.train import Plan, Trainer


class Noise(Dataset):
    """Random bytes: the speed of a step does not depend on what the images show."""

    name, channels, origin = "noise", 3, "Random bytes."

    def __init__(self, count: int = 20_000):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def images(self, index: torch.Tensor) -> torch.Tensor:
        return torch.randint(0, 256, (len(index), 3, 64, 64), dtype=torch.uint8, device=index.device)

    def labels(self, index: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(index), 0, device=index.device)


def steps_per_second(name: str, plan: Plan, seconds: float) -> float:
    """Best of three rounds of about `seconds`, warm."""
    cls = method(name)
    trainer = Trainer(cls, cls.Config(), plan, Noise(), torch.device("cuda"))
    for number in range(10):
        trainer.advance(number)
    torch.cuda.synchronize()
    rounds, number = [], 10
    for _ in range(3):
        begun, first = time.perf_counter(), number
        while time.perf_counter() - begun < seconds:
            for _ in range(50):
                trainer.advance(number)
                number += 1
            torch.cuda.synchronize()
        rounds.append((number - first) / (time.perf_counter() - begun))
    return max(rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--method", default="vae")
    parser.add_argument("--seconds", type=float, default=2.0, help="per round")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--precisions", nargs="+", default=["bf16", "fp32"])
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.method}")
    print("| precision | batch | seeds | captured, steps/s | eager, steps/s | ratio | captured, images/s |")
    print("|---|---|---|---|---|---|---|")
    for precision in arguments.precisions:
        for batch in arguments.batches:
            for seeds in arguments.seeds:
                fast, slow = (
                    steps_per_second(arguments.method, Plan(
                        data="noise", out=Path("unused"), seeds=tuple(range(seeds)), steps=1_000_000,
                        batch=batch, precision=precision, capture=capture,
                    ), arguments.seconds)
                    for capture in (True, False)
                )
                print(f"| {precision} | {batch} | {seeds} | {fast:,.0f} | {slow:,.0f} | {fast / slow:.1f} | "
                      f"{fast * batch * seeds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
