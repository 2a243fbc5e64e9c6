import pytest
import torch
from torch import nn
from torch.nn import functional as F

from engine.nets import Decoder, Encoder, scale_gradient


def weights(net):
    """(weight, bias) of the layers in the order of the published table."""
    tensors = list(net.state_dict().values())
    return list(zip(tensors[::2], tensors[1::2], strict=True))


def loud(net):
    """The net with a signal that does not fade, so that every layer shows in the output."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("weight"):
                parameter.mul_(3)
    return net


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_the_encoder_is_the_published_one():
    net = loud(Encoder(channels=3, outputs=20))
    *convolutions, hidden, head = weights(net)
    assert [tuple(w.shape) for w, _ in convolutions] == [
        (32, 3, 4, 4), (32, 32, 4, 4), (64, 32, 2, 2), (64, 64, 2, 2),
    ]
    assert hidden[0].shape == (256, 1024) and head[0].shape == (20, 256)

    x = torch.rand(5, 3, 64, 64)
    h = x
    for (weight, bias), padding in zip(convolutions, (1, 1, 0, 0), strict=True):
        h = F.conv2d(h, weight, bias, stride=2, padding=padding).relu()
    expected = F.linear(F.linear(h.flatten(1), *hidden).relu(), *head)
    torch.testing.assert_close(net(x), expected)


def test_the_decoder_is_the_published_one():
    net = loud(Decoder(inputs=10, channels=3))
    *hidden, last = weights(net)
    linear, convolutions = hidden[:2], [*hidden[2:], last]
    assert [tuple(w.shape) for w, _ in linear] == [(256, 10), (1024, 256)]
    assert [tuple(w.shape) for w, _ in convolutions] == [
        (64, 64, 4, 4), (64, 32, 4, 4), (32, 32, 4, 4), (32, 3, 4, 4),
    ]

    code = torch.randn(5, 10)
    h = code
    for weight, bias in linear:
        h = F.linear(h, weight, bias).relu()
    h = h.reshape(5, 64, 4, 4)
    for number, (weight, bias) in enumerate(convolutions):
        h = F.conv_transpose2d(h if number == 0 else h.relu(), weight, bias, stride=2, padding=1)
    assert h.shape == (5, 3, 64, 64)
    assert h.min() < 0 < h.max()  # logits, not yet pixels
    torch.testing.assert_close(net(code), h)


@pytest.mark.parametrize("channels", [1, 3])
def test_width_multiplies_every_channel_count(channels):
    for width in (8, 16):
        encoder, decoder = Encoder(channels, 6, width), Decoder(3, channels, width)
        outputs = [m.out_channels for m in encoder.modules() if isinstance(m, nn.Conv2d)]
        assert outputs == [width, width, 2 * width, 2 * width]
        outputs = [m.out_channels for m in decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
        assert outputs == [2 * width, width, width, channels]
        features = encoder(torch.rand(2, channels, 64, 64))
        assert features.shape == (2, 6)
        assert decoder(features[:, :3]).shape == (2, channels, 64, 64)


@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_scale_gradient_changes_the_gradient_and_not_the_value(weight):
    x = torch.randn(7).requires_grad_()
    scaled = scale_gradient(x, torch.tensor(weight))
    assert torch.equal(scaled, x)
    slopes = torch.arange(7.0)
    (scaled * slopes).sum().backward()
    torch.testing.assert_close(x.grad, weight * slopes)
