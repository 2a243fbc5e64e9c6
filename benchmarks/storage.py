"""What weights in eight bits cost of a model's pictures: python -m benchmarks.storage [--count 400]

Every shipped model encodes held-out pictures and draws them again, once with its weights as they are and once with
them as `engine.eight_bits` stores them: PSNR of either, how close pictures of the same codes stay to each other, and
the bytes of both. A model that is stored so already changes no more.
"""

import argparse
from pathlib import Path

import safetensors.torch
import torch

from engine import MODELS, checkpoint, eight_bits, metrics
from engine.data import load, split
from engine.method import Method


@torch.inference_mode()
def measure(model: Method, images: torch.Tensor) -> dict[str, float]:
    """PSNR in dB of images (N, C, 64, 64) uint8 before and after, of the pictures of their codes to each other, and
    MB in half precision and in eight bits. The model's weights are then those after."""
    x = images.float() / 255
    codes = model.encode(x)
    before = model.decode(codes)
    weights = model.state_dict()
    packed = eight_bits.pack(weights)
    model.load_state_dict(eight_bits.unpack(packed))
    halves = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    return {
        "before": metrics.psnr(before, x).mean().item(),
        "after": metrics.psnr(model.decode(model.encode(x)), x).mean().item(),
        "same": metrics.psnr(model.decode(codes), before).mean().item(),
        "MB": len(safetensors.torch.save(halves)) / 1e6,
        "MB after": len(safetensors.torch.save(packed)) / 1e6,
    }


def main() -> None:
    """Entry point of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400, help="held-out pictures")
    parser.add_argument("--models", type=Path, default=MODELS)
    options = parser.parse_args()
    print("| model | PSNR, dB | in eight bits | pictures of the same codes | MB | in eight bits |")
    print("|---|---|---|---|---|---|")
    for folder in sorted(path for path in options.models.iterdir() if path.is_dir()):
        model, _, config = checkpoint.load(folder)
        data = load(config["data"])
        found = measure(model, data.images(split(len(data))[1][:options.count]))
        print(f"| `{folder.name}` | {found['before']:.2f} | {found['after']:.2f} | {found['same']:.1f} | "
              f"{found['MB']:.1f} | {found['MB after']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
