import torch

from benchmarks.prototypes import accuracies, blur


class Bands:
    """Three latents, each of which brightens a band of the picture: one of its own, or all the same one."""

    channels = 1

    def __init__(self, bands):
        self.masks = torch.zeros(3, 1, 64, 64)
        for mask, band in zip(self.masks, bands, strict=True):
            mask[:, 20 * band:20 * band + 20] = 1

    def posterior(self, x):
        code = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(len(x)))
        return code, torch.full((len(x), 3), -4.0)

    def decode(self, code):
        return (0.5 + 0.15 * torch.einsum("bd,dchw->bchw", code, self.masks)).clamp(0, 1)


def test_bands_of_their_own_are_told_apart_also_when_blurred_or_noisy_and_one_shared_band_is_not():
    images = torch.zeros(64, 1, 64, 64, dtype=torch.uint8)
    own = accuracies(Bands((0, 1, 2)), images, steps=40, episodes=10)
    shared = accuracies(Bands((1, 1, 1)), images, steps=40, episodes=10)
    assert own.keys() == shared.keys() == {"clean", "blurred", "noisy"}
    for view in own:
        assert own[view].min() > 0.9
        assert abs(shared[view].mean() - 1 / 3) < 0.2


def test_a_collapsed_dimension_is_not_asked_about():
    model = Bands((0, 1, 2))
    prior = torch.tensor([-4.0, 0.0, -4.0])
    model.posterior = lambda x: (torch.randn(len(x), 3, generator=torch.Generator().manual_seed(0)) * (prior < 0),
                                 prior.expand(len(x), 3))
    found = accuracies(model, torch.zeros(64, 1, 64, 64, dtype=torch.uint8), steps=1, episodes=1)
    assert len(found["clean"]) == 2


def test_blurring_keeps_means_and_drops_what_is_finer_than_four_pixels():
    pattern = torch.zeros(1, 1, 64, 64)
    pattern[..., ::2] = 1
    assert torch.equal(blur(pattern), torch.full_like(pattern, 0.5))
