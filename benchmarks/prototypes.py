"""python -m benchmarks.prototypes [FOLDER ...]: can the dimensions of a model be told apart by what they change?

A fresh embedder is trained on the episodes of a frozen model, as ProtoVAE's own is, and then asked on
episodes it has not seen: clean, blurred (means of 4x4 pixels) and under noise (standard deviation 0.1).
A dimension that prints a faint pattern to be known by is lost in the last two. Any model with a Gaussian
posterior can be asked, so that ProtoVAE stands beside its baseline. Labels are not used.
"""

import argparse
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, interpolate

from engine import checkpoint, gaussian
from engine.data import load, split
from engine.method import Method
from engine.methods.protovae import PairEmbedder, interventions, prototype_loss
from engine.serve import MODELS

SHOTS, QUERIES = 5, 5
GAP = 0.5             # smallest intervention
ACTIVE = 0.1          # KL in nats above which a dimension is asked about
TRAINING_NOISE = 0.05
VIEWS = {
    "clean": lambda x, generator: x,
    "blurred": lambda x, generator: blur(x),
    "noisy": lambda x, generator: noisy(x, 0.1, generator),
}


def blur(images: Tensor) -> Tensor:
    """Images (N, C, 64, 64) as means of 4x4 pixels, in their old size."""
    return interpolate(avg_pool2d(images, 4), scale_factor=4)


def noisy(images: Tensor, deviation: float, generator: Generator) -> Tensor:
    return images + deviation * torch.randn(images.shape, generator=generator)


@torch.no_grad()
def codes(model: Method, images: Tensor) -> tuple[Tensor, Tensor]:
    """Posterior means (N, D) of images (N, C, 64, 64) uint8, and the numbers of the active dimensions (A,)."""
    both = [model.posterior(part.float() / 255) for part in images.split(128)]
    mean, log_variance = (torch.cat(parts) for parts in zip(*both, strict=True))
    return mean, (gaussian.kl_to_prior(mean, log_variance) > ACTIVE).nonzero().squeeze(1)


def accuracies(model: Method, images: Tensor, steps: int, episodes: int, seed: int = 0) -> dict[str, Tensor]:
    """Query accuracy of each active dimension (A,) by view. images: (N, C, 64, 64) uint8, N in the thousands."""
    generator = Generator().manual_seed(seed)
    mean, active = codes(model, images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embedder = PairEmbedder(model.channels, 64, "change")
    optimizer = torch.optim.Adam(embedder.parameters(), lr=1e-3, betas=(0.5, 0.9))
    everyone = torch.ones(len(active))

    def episode() -> tuple[Tensor, Tensor]:
        """Pairs of pictures (A * (shots + queries), C, 64, 64), before and after."""
        pairs = SHOTS + QUERIES
        before, after = interventions(mean, mean, pairs, GAP, generator)
        rows = (active[:, None] * pairs + torch.arange(pairs)).flatten()  # the inactive ones are not asked about
        with torch.no_grad():
            return model.decode(before[rows]), model.decode(after[rows])

    def ask(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return prototype_loss(embedder(*pair).unflatten(0, (len(active), -1)), SHOTS, everyone)

    for _ in range(steps):
        loss, _ = ask(tuple(noisy(x, TRAINING_NOISE, generator) for x in episode()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = {name: torch.zeros(len(active)) for name in VIEWS}
    with torch.no_grad():
        for _ in range(episodes):
            pair = episode()
            for name, view in VIEWS.items():
                found[name] += ask(tuple(view(x, generator) for x in pair))[1] / episodes
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="model folders; shipped VAEs if none is given")
    parser.add_argument("--steps", type=int, default=300, help="training steps of the embedder")
    parser.add_argument("--episodes", type=int, default=40, help="episodes asked")
    options = parser.parse_args()
    shipped = sorted(p for p in MODELS.iterdir() if p.name.endswith(("vae-shapes3d", "vae-dsprites")))
    print(f"accuracy of each active dimension; chance is 1 / their number\n{'model':<20} view     mean  worst  each")
    for folder in options.folders or shipped:
        model, _, config = checkpoint.load(folder)
        data = load(config["data"])
        held_out = data.images(split(len(data))[1][:2000])
        for name, right in accuracies(model, held_out, options.steps, options.episodes).items():
            each = " ".join(f"{value:.2f}" for value in right.tolist())
            print(f"{folder.name:<20} {name:<8} {right.mean():.2f}  {right.min():.2f}   {each}", flush=True)


if __name__ == "__main__":
    main()
