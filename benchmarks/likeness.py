"""How close the renderers come to official images, which are not part of this repository.

    python -m benchmarks.likeness --shapes3d IMAGES.npy LABELS.npy --dsprites IMAGES.npy

shapes3d takes (N, 64, 64, 3) uint8 images and their (N, 6) class numbers. dsprites takes (N, 64, 64)
images without labels: each is compared with the nearest of all 737,280 (a minute on a CPU). Prints the
figures quoted in the data sets' `origin` and saves contact sheets in assets/likeness: official images
(DeepMind, Apache-2.0) above, ours below.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.data.dsprites import DSprites
from engine.data.shapes3d import Shapes3D
from engine.files import write_manifest

SHEETS = Path(__file__).parents[1] / "assets" / "likeness"
COLUMNS = 10
QUALITY = 90     # of WebP, which takes a quarter of the room of a PNG where there is shading


def report(name: str, official: Tensor, ours: Tensor) -> None:
    """Print the distance between two stacks of (N, C, 64, 64) uint8 images."""
    error = official.float() - ours.float()
    absolute = error.abs().mean((1, 2, 3))
    psnr = 20 * torch.log10(255 / error.square().mean((1, 2, 3)).sqrt())
    differing = (error != 0).any(1).sum((1, 2))
    exact = differing == 0
    print(f"{name}: {exact.sum()} of {len(official)} images match exactly; pixels that differ in an image: "
          f"mean {differing.float().mean():.1f}, most {differing.max()} of 4096")
    print(f"  mean absolute error {absolute.mean():.2f} of 255 (median {absolute.median():.2f}, "
          f"worst {absolute.max():.2f}); PSNR of the others {psnr[~exact].mean():.1f} dB")


def nearest(data: DSprites, official: Tensor) -> Tensor:
    """The numbers (N,) of the images of `data` that share most pixels with official (N, 1, 64, 64)."""
    wanted = official.flatten(1).float() / 255
    best = torch.full((len(official),), torch.inf, device=official.device)
    number = torch.zeros(len(official), dtype=torch.int64, device=official.device)
    for candidates in torch.arange(len(data), device=official.device).split(4096):
        drawn = data.images(candidates).flatten(1).float() / 255
        white = wanted.sum(1)[:, None] + drawn.sum(1)
        distance, at = (white - 2 * wanted @ drawn.T).min(1)  # for zeros and ones, the pixels that differ
        number = torch.where(distance < best, candidates[at], number)
        best = torch.minimum(distance, best)
    return number


def sheet(official: Tensor, ours: Tensor, path: Path) -> None:
    """Rows of `COLUMNS` pairs, each pair one image of (N, C, 64, 64) `official` above its twin."""
    pairs = torch.cat([official, ours], dim=2).cpu()                 # (N, C, 128, 64)
    rows = [torch.cat(list(row), dim=2) for row in pairs.split(COLUMNS) if len(row) == COLUMNS]
    picture = torch.cat(rows, dim=1).movedim(0, -1)
    Image.fromarray(picture.squeeze(-1).numpy()).save(path, quality=QUALITY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes3d", nargs=2, type=Path, metavar=("IMAGES", "LABELS"))
    parser.add_argument("--dsprites", type=Path, metavar="IMAGES")
    parser.add_argument("--out", type=Path, default=SHEETS, help="folder for the contact sheets")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    if options.shapes3d:
        images, labels = (torch.from_numpy(np.load(path)).to(options.device) for path in options.shapes3d)
        official = images.movedim(-1, 1)
        data = Shapes3D()
        ours = data.images(data.index(labels))
        report("shapes3d", official, ours)
        sheet(official, ours, options.out / "shapes3d.webp")

    if options.dsprites:
        images = torch.from_numpy(np.load(options.dsprites)).to(options.device)
        official = (images > 0)[:, None].byte() * 255
        data = DSprites()
        ours = data.images(nearest(data, official))
        report("dsprites", official, ours)
        sheet(official, ours, options.out / "dsprites.png")
    write_manifest(options.out)


if __name__ == "__main__":
    main()
