"""The critic of swapped pictures: what it learns, what it teaches, and what it can tell apart."""

import pytest
import torch

from engine.critic import Critic, frozen
from tests.tiny import gradients, noise, seeded


def critic(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Critic(1, 8, **options)


def test_hinges_are_those_of_its_logits():
    net, x = critic(), noise(6, 1).float() / 255
    swapped, known, giver = x[:2], x[2:4], x[4:]
    generator = seeded()
    real, fake = net(known, known, generator), net(swapped, giver, generator)
    wanted = (1 - real).clamp(min=0).mean() + (1 + fake).clamp(min=0).mean()
    torch.testing.assert_close(net.lesson(swapped, known, giver, seeded()), wanted)
    torch.testing.assert_close(net.verdict(swapped, giver, seeded()), -net(swapped, giver, seeded()).mean())
    assert real.shape == (2, 2)


def test_its_lesson_moves_it_alone_and_its_verdict_the_picture_alone():
    net, x = critic(), (noise(4, 1).float() / 255).requires_grad_()
    lesson = net.lesson(x[:2], x[2:].detach(), x[2:].detach(), seeded())
    assert torch.autograd.grad(lesson, x, allow_unused=True)[0] is None
    assert all(g is not None for g in gradients(net.lesson(x[:2], x[2:], x[2:], seeded()), net).values())
    verdict = net.verdict(x[:2], x[2:], seeded())
    assert all(g is None for g in gradients(verdict, net).values())
    assert torch.autograd.grad(verdict, x)[0][:2].abs().sum() > 0


def test_frozen_answers_the_same():
    net, x = critic(), noise(2, 1).float() / 255
    torch.testing.assert_close(frozen(net, x, x, seeded()), net(x, x, seeded()))


@pytest.mark.parametrize("turns", [True, False])
def test_it_comes_to_tell_pieces_of_one_texture_from_those_of_two(turns):
    def textures(count, generator):
        """Pictures of noise, each with a brightness of its own."""
        grey = torch.rand(count, 1, 1, 1, generator=generator)
        return grey + 0.1 * torch.randn(count, 1, 64, 64, generator=generator)

    net, generator = critic(window=4, turns=turns), seeded(1)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(60):
        known = textures(32, generator)
        optimizer.zero_grad()
        lesson = net.lesson(known.roll(7, 0), known, known.roll(3, 0), generator)
        lesson.backward()
        optimizer.step()
    known = textures(200, generator)
    same, other = net(known, known, generator)[:, 1], net(known, known.roll(1, 0), generator)[:, 1]
    assert (same[:, None] > other).float().mean() > 0.97
    assert 1 < lesson < 1.5  # of 2 at first: that all are real pictures, it cannot see
