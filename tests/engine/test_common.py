import pytest
import torch
from scipy.optimize import linear_sum_assignment

from engine.common import in_common, matched, transport
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


def everyone(sets):
    return torch.ones(sets.shape[:2], dtype=torch.bool)


def test_a_plan_gives_every_member_its_share_and_costs_little_more_than_the_best_assignment():
    cost = torch.rand(3, 8, 8, generator=seeded())
    plan = transport(cost, *[everyone(cost)] * 2)
    for shares in (plan.sum(1), plan.sum(2)):
        torch.testing.assert_close(shares, torch.full((3, 8), 1 / 8), atol=1e-2, rtol=0)
    for one, shares in zip(cost, plan, strict=True):
        best = one[linear_sum_assignment(one.numpy())].mean().item()
        assert best - 0.01 < (one * shares).sum().item() < best + 0.05


def test_who_is_no_member_of_a_set_gets_nothing_and_sets_may_differ_in_size():
    cost = torch.rand(1, 4, 6, generator=seeded())
    here, there = torch.tensor([[True, True, True, False]]), torch.tensor([[True, False, True, True, True, True]])
    plan = transport(cost, here, there)
    assert not plan[0, 3].any() and not plan[0, :, 1].any() and plan.isfinite().all()
    torch.testing.assert_close(plan[0, :3].sum(1), torch.full((3,), 1 / 3), atol=1e-2, rtol=0)
    torch.testing.assert_close(plan[0].sum(0)[there[0]], torch.full((5,), 1 / 5), atol=1e-2, rtol=0)
    assert transport(cost, here, ~everyone(cost.mT)).isfinite().all()  # nobody is there


def test_sets_of_the_same_contents_match_in_any_order_and_partners_are_drawn_together():
    one = torch.randn(2, 6, 16, generator=seeded())
    order = torch.randperm(6, generator=seeded(1))
    assert matched(one, 3 * one[:, order], everyone(one), everyone(one)).item() < 0.01
    assert matched(one, -one, everyone(one), everyone(one)).item() > 0.4
    moved = (one[:, order] + 0.4 * torch.randn(2, 6, 16, generator=seeded(2))).requires_grad_()
    before = matched(one, moved, everyone(one), everyone(one))
    before.backward()
    after = (moved - 5 * moved.grad).detach()
    cosine = torch.nn.functional.cosine_similarity
    assert (cosine(after, one[:, order], 2) > cosine(moved, one[:, order], 2)).all()
    assert matched(one, after, everyone(one), everyone(one)) < before


def test_what_is_no_member_is_not_matched():
    one, other = torch.randn(2, 1, 5, 8, generator=seeded())
    here, there = torch.tensor([[True, True, True, False, False]]), everyone(other)
    other.requires_grad_()
    found = matched(one, other, here, there)
    elsewhere = torch.where(here[..., None], one, 100.0)
    torch.testing.assert_close(matched(elsewhere, other, here, there), found)
    torch.testing.assert_close(matched(one[:, :3], other, here[:, :3], there), found)
