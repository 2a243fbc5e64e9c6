"""The nets of content and style: what style does to content, and what a style that knows of no place can tell."""

import torch

from engine.fusion import Affine, Encoders, Layer, Patches, standardised
from tests.tiny import noise, seeded


def test_style_transforms_a_vector_as_in_the_figure():
    affine, h, style = Affine(2, 3), torch.randn(4, 3), torch.randn(4, 2)
    with torch.no_grad():
        affine.map.weight.copy_(torch.tensor([[1.0, 0], [0, 2], [0, 0], [0, 0], [3, 0], [0, 1]]))
        affine.map.bias.copy_(torch.tensor([0.0, 0, 0.5, 1, 0, 0]))
    a, b = style.T
    sigma = torch.stack([1 + a, 1 + 2 * b, 1.5 * torch.ones(4)], 1)
    mu = torch.stack([torch.ones(4), 3 * a, b], 1)
    torch.testing.assert_close(affine(h, style), sigma * h + mu)


def test_style_transforms_every_place_of_a_map_alike():
    affine, h, style = Affine(5, 3), torch.randn(4, 3, 6, 7), torch.randn(4, 5)
    whole = affine(h, style)
    for y, x in ((0, 0), (5, 6), (2, 3)):
        torch.testing.assert_close(whole[:, :, y, x], affine(h[:, :, y, x], style))


def test_standardised_has_mean_zero_and_variance_one():
    for shape, dims in (((4, 3, 6, 7), (2, 3)), ((4, 50), (1,))):
        h = 5 + 3 * torch.randn(shape, generator=seeded())
        flat = standardised(h, dims)
        assert flat.mean(dims).abs().max() < 1e-5
        torch.testing.assert_close(flat.var(dims, correction=0), torch.ones_like(flat.mean(dims)), atol=1e-4, rtol=0)


def test_after_a_layer_maps_have_the_statistics_that_style_says():
    layer = Layer(16, 16, 5, affine=True)
    h, style = torch.randn(4, 16, 4, 4, generator=seeded()), torch.randn(4, 5, generator=seeded(1))
    out = layer(h, style)
    scale, shift = layer.affine.map(style).chunk(2, 1)
    assert out.shape == (4, 16, 8, 8)
    torch.testing.assert_close(out.mean((2, 3)), shift, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(out.var((2, 3), correction=0).sqrt(), (1 + scale).abs(), atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(layer(3 * h, style).mean((2, 3)), shift, atol=1e-4, rtol=1e-4)


# --- a style that is blind to place

def patches(seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Patches(1, 5, 8, **options)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            parameter.mul_(3 if name.endswith("weight") else 1)  # torch's default lets the signal fade
    return net


def test_it_is_the_same_wherever_things_are():
    net, x = patches(), torch.zeros(2, 1, 64, 64)
    x[0, :, 16:24, 16:24] = 1
    x[1, :, 40:48, 32:40] = 1  # moved by whole steps of the map of features, away from the border
    styles = net(x)
    torch.testing.assert_close(styles[0], styles[1], atol=1e-4, rtol=1e-4)
    x[1, :, 40:44, 32:40] = 0
    assert (net(x)[1] - styles[0]).abs().max() > 1e-2


def test_in_training_it_sees_a_quarter_in_any_position():
    net, x = patches(), torch.zeros(400, 1, 64, 64)
    x[:, :, :12, :12] = 1  # a corner, in which 9 of 25 quarters have a part
    blank = torch.zeros(400, 1, 64, 64)
    told = (net(x, seeded()) - net(blank, seeded())).abs().amax(1) > 1e-3
    assert 0.25 < told.float().mean() < 0.47
    assert (net(x[:1]) - net(blank[:1])).abs().max() > 1e-3  # afterwards it sees everything


def test_a_picture_and_its_mirror_image_are_all_that_it_sees_where_asked_to():
    net, x = patches(window=8, turns=False), noise(1, 1).float() / 255
    told = net(x.expand(60, -1, -1, -1), seeded())
    wanted = net(torch.cat([x, x.flip(3)]))
    apart = (told[:, None] - wanted).norm(dim=2)  # cdist's products of matrices would lose the small ones
    assert apart.min(1).values.max() < 1e-4 and len(apart.argmin(1).unique()) == 2


def test_encoders_read_style_by_patches_where_asked_to():
    x = noise(4, 1).float() / 255
    plain, blind = (Encoders(1, 6, 5, 4, net) for net in (None, patches()))
    assert [part.shape for part in blind(x)] == [part.shape for part in plain(x)] == [(4, 6), (4, 5)]
    assert torch.equal(plain(x, seeded())[1], plain(x)[1]) and not torch.equal(blind(x, seeded())[1], blind(x)[1])
    assert torch.equal(blind(x)[1], blind.style(x)) and torch.equal(blind(x, seeded())[0], blind(x)[0])
