import math

import pytest
import torch
from torch import nn

from engine.unet import TIME, Attention, Block, TimeEmbedding, Tokens, UNet
from tests.tiny import gradients, seeded


def built(kind, *arguments, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(*arguments, **options)


def speaking(net):
    """The net with an output layer that is no longer 0."""
    with torch.no_grad():
        nn.init.normal_(net.out[-1].weight, std=0.3, generator=seeded())
    return net


def random(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


TIMES = torch.tensor([0, 500, 999])


def test_the_embedding_of_time_begins_with_its_waves():
    embedding = built(TimeEmbedding)
    embedding.layers = nn.Identity()
    waves = embedding(torch.tensor([0, 7]))
    assert waves.shape == (2, TIME) and waves[0].tolist() == [1.0] * (TIME // 2) + [0.0] * (TIME // 2)
    for k in (0, 5, 63):
        angle = 7 / 10_000 ** (k / 64)
        assert waves[1, k].item() == pytest.approx(math.cos(angle), abs=1e-5)
        assert waves[1, 64 + k].item() == pytest.approx(math.sin(angle), abs=1e-5)


def test_a_block_is_scaled_and_shifted_by_its_condition():
    block, x, condition = built(Block, 8, 16), random(3, 8, 4, 4), random(3, TIME)
    scale, shift = block.film(nn.functional.silu(condition)).chunk(2, 1)
    h = block.norm(block.first(x))
    h = h * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    expected = block.skip(x) + block.last(nn.functional.silu(h))
    torch.testing.assert_close(block(x, condition), expected)
    assert isinstance(built(Block, 8, 8).skip, nn.Identity)


def test_attention_is_the_softmax_of_products():
    attention, x, tokens = built(Attention, 8, 5), random(2, 8, 3, 3), random(2, 7, 5, seed=1)
    h = attention.norm(x).flatten(2).transpose(1, 2)
    query = attention.query(h)
    key, value = attention.key_value(tokens)[:, :, :8], attention.key_value(tokens)[:, :, 8:]
    parts = []
    for head in range(4):  # of two channels each
        of = slice(2 * head, 2 * head + 2)
        share = (query[:, :, of] @ key[:, :, of].transpose(1, 2) / math.sqrt(2)).softmax(2)
        parts.append(share @ value[:, :, of])
    expected = x + attention.out(torch.cat(parts, 2)).transpose(1, 2).reshape(2, 8, 3, 3)
    torch.testing.assert_close(attention(x, tokens), expected)
    order = torch.randperm(7, generator=seeded())
    torch.testing.assert_close(attention(x, tokens[:, order]), expected)  # tokens are a set


def test_the_net_is_silent_before_training_and_shows_its_features():
    net, x = built(UNet, 4, 8, (1, 2, 3)), random(3, 4, 16, 16)
    answer, features = net(x, TIMES)
    assert answer.shape == x.shape and not answer.any()
    assert [tuple(f.shape) for f in features] == [(3, 8, 16, 16), (3, 16, 8, 8), (3, 24, 4, 4)]
    assert net.widths == [8, 16, 24]


@pytest.mark.parametrize("context", [0, 5])
def test_every_part_of_the_net_is_used(context):
    net, x = speaking(built(UNet, 4, 8, (1, 2, 2), context)), random(3, 4, 16, 16).requires_grad_()
    tokens = random(3, 6, 5, seed=1).requires_grad_() if context else None
    answer, _ = net(x, TIMES, tokens)
    weighted = (answer * random(*answer.shape, seed=2)).sum()
    for name, gradient in gradients(weighted, net).items():
        if name.endswith("key_value.bias"):
            gradient = gradient.chunk(2)[1]  # a common key changes no softmax
        assert gradient is not None and gradient.any(), name
    weighted.backward()
    assert x.grad.any() and (tokens is None or tokens.grad.flatten(2).any(2).all())


def test_the_net_treats_rows_one_by_one_and_time_tells():
    net, x, tokens = speaking(built(UNet, 4, 8, (1, 2, 2), 5)), random(3, 4, 16, 16), random(3, 6, 5, seed=1)
    answer, _ = net(x, TIMES, tokens)
    torch.testing.assert_close(net(x[1:2], TIMES[1:2], tokens[1:2])[0][0], answer[1])
    assert (net(x, TIMES.flip(0), tokens)[0] - answer)[0].abs().max() > 1e-3


def test_the_net_may_be_told_times_between():
    net = speaking(built(UNet, 4, 8))
    between, at = (net(random(1, 4, 16, 16), torch.tensor([t]))[0] for t in (500.5, 500))
    assert 0 < (between - at).abs().max() < 0.1


def test_each_token_comes_from_its_own_factor_by_its_own_net():
    tokens, z = built(Tokens, 4, 3, 6, 5), random(2, 4, 3)
    answer = tokens(z)
    assert answer.shape == (2, 4, 5)
    for n in range(4):
        h = nn.functional.silu(z[:, n] @ tokens.first[n] + tokens.bias[n])
        torch.testing.assert_close(answer[:, n], h @ tokens.last[n] + tokens.name[n])
        other = z.clone()
        other[:, n] += 1
        changed = (tokens(other) != answer).any(2)
        assert changed[:, n].all() and changed.sum() == 2
    assert all(g.flatten(1).any(1).all() for g in gradients((answer * random(2, 4, 5, seed=1)).sum(), tokens).values())
