import pytest
import torch

from engine.common import alike, in_common
from tests.tiny import seeded


def test_what_contents_and_styles_have_in_common_is_the_share_that_a_line_explains():
    a, b, c = torch.linalg.qr(torch.randn(400, 3, generator=seeded()))[0].T
    a, b, c = (h - h.mean() for h in (a, b, c))
    assert in_common(torch.stack([a, b], 1), (5 * a + 2)[:, None]).item() == pytest.approx(1, abs=0.02)
    assert in_common(torch.stack([a, b], 1), (a + b)[:, None]).item() == pytest.approx(1, abs=0.03)
    assert in_common(torch.stack([a, b], 1), torch.stack([a, c], 1)).item() == pytest.approx(0.5, abs=0.02)
    assert in_common(b[:, None], torch.stack([a, c], 1)).item() < 0.01
    assert in_common(a[:, None], torch.zeros(400, 1)).item() == 0
    chance = in_common(torch.randn(400, 20, generator=seeded()), torch.randn(400, 8, generator=seeded(1)))
    assert chance.item() == pytest.approx(20 / 400, rel=0.3)


def test_contents_are_alike_by_the_square_of_their_cosine_where_it_is_positive_and_they_count():
    content = torch.tensor([[3.0, 4, 0], [1, 0, 0], [1, 1, 0], [0, 0, 2]], requires_grad=True)
    other = torch.tensor([[6.0, 8, 0], [-1, 0, 0], [1, 0, 0], [5, 0, 0]])
    counted = torch.tensor([True, True, True, True])
    assert alike(content, other, counted).item() == pytest.approx((1 + 0 + 0.5 + 0) / 4)
    counted = torch.tensor([False, True, True, False])
    found = alike(content, other, counted)
    assert found.item() == pytest.approx(0.25)
    found.backward()
    assert (content.grad.abs().sum(1) > 0).tolist() == [False, False, True, False]
    assert content.grad[2, 0] > 0 > content.grad[2, 1]  # away from the other
    assert alike(content, other, ~torch.ones(4).bool()).item() == 0
