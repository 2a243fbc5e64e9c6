"""How factors are read, as vectors, and what is said of the agreement of two."""

import math

import pytest
import torch

from engine import readers
from engine.data import KnownFactor

SHAPE = KnownFactor("shape", (0.0, 1.0, 2.0), categorical=True)
TURN = KnownFactor("turn", tuple(range(8)), circular=True)
HUE = KnownFactor("hue", circular=True)
SIZE = KnownFactor("size", (0.5, 0.7, 0.9, 1.1, 1.3))
YAW = KnownFactor("yaw", low=-40, high=40)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_each_kind_of_factor_is_a_vector_of_its_own():
    assert readers.target(SHAPE, torch.tensor([2.0, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]
    assert readers.target(SIZE, torch.tensor([0.0, 2, 4])).tolist() == [[-1], [0], [1]]
    assert readers.target(YAW, torch.tensor([-40.0, 10])).tolist() == [[-1], [0.25]]
    for factor, quarter in ((TURN, 2.0), (HUE, 0.25)):
        angle = readers.target(factor, torch.tensor([0.0, quarter]))
        torch.testing.assert_close(angle, torch.tensor([[1.0, 0], [0, 1]]), atol=1e-6, rtol=0)
    assert [readers.width(f) for f in (SHAPE, TURN, HUE, SIZE, YAW)] == [3, 2, 2, 1, 1]


def test_a_correlation_is_pearsons_over_all_columns():
    a, b = random(500, 1), random(500, 1, seed=1)
    assert readers.correlation(a, a + b) == pytest.approx(torch.corrcoef(torch.cat([a, a + b], 1).T)[0, 1].item())
    assert readers.correlation(a, 3 - 2 * a) == pytest.approx(-1)
    whole = random(500, 3)
    assert readers.correlation(whole, 5 * whole + 1) == pytest.approx(1)
    assert abs(readers.correlation(whole, random(500, 3, seed=2))) < 0.1
    assert readers.correlation(whole, torch.ones(500, 3)) == 0


def test_of_classes_it_is_what_guessing_right_is_worth():
    true = torch.arange(3000) % 3
    told = torch.where(torch.rand(3000, generator=torch.Generator().manual_seed(0)) < 0.4,
                       torch.randint(3, (3000,), generator=torch.Generator().manual_seed(1)), true)
    one_hot = [readers.target(SHAPE, labels.float()) for labels in (told, true)]
    assert readers.correlation(*one_hot) == pytest.approx(0.6, abs=0.05)


def test_explained_variance():
    true = random(2000, 2)
    assert readers.explained(true, true) == pytest.approx(1)
    assert readers.explained(true.mean(0).expand_as(true), true) == pytest.approx(0, abs=1e-6)
    assert readers.explained(true + 0.5 * random(2000, 2, seed=1), true) == pytest.approx(0.75, abs=0.03)
    assert readers.explained(-true, true) < -2


def test_the_loss_is_cross_entropy_and_squared_error():
    reader = readers.Reader(torch.nn.Identity(), (SHAPE, SIZE))
    x, labels = torch.tensor([[0.0, 0, 0, 0.5]]), torch.tensor([[1.0, 4]])
    assert reader.loss(x, labels).item() == pytest.approx(math.log(3) + 0.25)
    probabilities, size = reader(x)
    torch.testing.assert_close(probabilities, torch.full((1, 3), 1 / 3))
    assert size.tolist() == [[0.5]]


def test_a_reader_of_codes_finds_what_is_there_and_not_what_is_not():
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.randint(3, (1500,), generator=generator).float(),
                          80 * torch.rand(1500, generator=generator) - 40], 1)
    codes = torch.cat([100 * torch.stack([labels[:, 0] == 1, labels[:, 0] == 2], 1), random(1500, 2)], 1)
    state = torch.get_rng_state()
    reader = readers.of_codes(codes[:1000], labels[:1000], (SHAPE, YAW), steps=150)
    assert torch.equal(torch.get_rng_state(), state)
    told = reader(codes[1000:])
    true = [readers.target(f, column) for f, column in zip((SHAPE, YAW), labels[1000:].unbind(1), strict=True)]
    assert readers.explained(told[0], true[0]) > 0.95
    assert readers.explained(told[1], true[1]) < 0.1
    again = readers.of_codes(codes[:1000], labels[:1000], (SHAPE, YAW), steps=150)
    assert torch.equal(again(codes)[1], reader(codes)[1])


def test_a_reader_of_pictures_learns_to_read(monkeypatch):
    monkeypatch.setattr(readers, "BATCH", 32)
    generator = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.randint(3, (200,), generator=generator).float(),
                          80 * torch.rand(200, generator=generator) - 40], 1)
    images = torch.zeros(200, 1, 64, 64)
    for k in range(3):  # a bar for the class, as bright as it is turned
        rows = slice(20 * k, 20 * k + 20)
        images[labels[:, 0] == k, :, rows] = 0.5 + labels[labels[:, 0] == k, 1].view(-1, 1, 1, 1) / 100
    monkeypatch.setattr(readers, "NARROW", 4)
    reader = readers.of_pictures((255 * images).byte(), labels, (SHAPE, YAW), steps=120)
    told = reader(images)
    assert (told[0].argmax(1) == labels[:, 0]).float().mean() > 0.95
    assert readers.correlation(told[1], readers.target(YAW, labels[:, 1])) > 0.8
    assert not reader.training and not any(p.requires_grad for p in reader.parameters())


@pytest.mark.parametrize("factors, bent", [((SHAPE,), True), ((SHAPE, SHAPE), True), ((SHAPE, YAW), False)])
def test_pictures_are_warped_and_thickened_where_all_factors_are_classes(monkeypatch, factors, bent):
    seen = []
    for name in ("warped", "thickened"):
        change = getattr(readers, name)
        monkeypatch.setattr(readers, name,
                            lambda *given, change=change: (seen.append(change.__name__), change(*given))[1])
    monkeypatch.setattr(readers, "NARROW", 2)
    labels = torch.tensor([[0.0, 1], [2, 0]])[:, :len(factors)]
    images = (255 * torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))).byte()
    readers.of_pictures(images, labels, factors, steps=2)
    assert seen == (2 * ["warped", "thickened"] if bent else [])
