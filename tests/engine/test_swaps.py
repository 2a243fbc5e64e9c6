"""Swaps of codes: what is exchanged, and what is not."""

import pytest
import torch

from engine import swaps
from engine.factors import Factor
from engine.method import Slot

CONTENT, STYLE, REST = Slot(0, 3, "content"), Slot(3, 5, "style"), Slot(5, 7, "residual")
LAYOUT = CONTENT, STYLE, REST
ALONG = Factor("z0.1", (0, 3), "content", (0.6, 0.0, 0.8), -1.0, 1.0, 0)
ACROSS = Factor("z0.2", (0, 3), "content", (0.8, 0.0, -0.6), -1.0, 1.0, 1)
SCALAR = Factor("z1", (3, 4), "factor", (1.0,), -1.0, 1.0, 2)


def codes(count=4, seed=0):
    return torch.randn(count, 7, generator=torch.Generator().manual_seed(seed))


A, B = codes(seed=1), codes(seed=2)


def test_a_swap_of_nothing_is_each_itself_and_of_everything_the_other():
    assert all(map(torch.equal, swaps.swap(A, B, ()), (A, B)))
    assert all(map(torch.equal, swaps.swap(A, B, LAYOUT), (B, A)))


def test_a_swap_of_style_leaves_everything_else():
    a, b = swaps.swap(A, B, [STYLE])
    assert torch.equal(a[:, 3:5], B[:, 3:5]) and torch.equal(b[:, 3:5], A[:, 3:5])
    rest = [0, 1, 2, 5, 6]
    assert torch.equal(a[:, rest], A[:, rest]) and torch.equal(b[:, rest], B[:, rest])
    assert all(map(torch.equal, swaps.swap(a, b, [STYLE]), (A, B)))


@pytest.mark.parametrize("parts", [[ALONG], [ALONG, ACROSS], [SCALAR], [ALONG, STYLE], [SCALAR, CONTENT]])
def test_a_swap_of_factors_moves_their_axes_only(parts):
    a = swaps.blend(A, B, parts)
    moved = a - A
    for factor in (ALONG, ACROSS):
        given = factor in parts or CONTENT in parts
        torch.testing.assert_close(factor.read(a), factor.read(B if given else A))
    if CONTENT not in parts:
        assert torch.equal(moved[:, 1], torch.zeros(4))  # off both axes
    assert torch.equal(moved[:, 5:], torch.zeros(4, 2))


def test_a_factor_within_a_given_slot_has_its_say_after_it():
    for parts in ([CONTENT, ALONG], [ALONG, CONTENT]):
        torch.testing.assert_close(swaps.blend(A, B, parts, 1.0)[:, :3], B[:, :3])


def test_the_given_codes_stay():
    a, b = A.clone(), B.clone()
    swaps.blend(a, b, [ALONG, STYLE], 0.3, 0.7)
    swaps.matrix(a, b, [STYLE])
    assert torch.equal(a, A) and torch.equal(b, B)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0, 1.5])
@pytest.mark.parametrize("rest", [0.0, 0.5, 1.0])
def test_both_sides_are_blended_by_shares_of_their_own(share, rest):
    code = swaps.blend(A, B, [STYLE], share, rest)
    torch.testing.assert_close(code[:, 3:5], A[:, 3:5] + share * (B - A)[:, 3:5])
    for part in (CONTENT, REST):
        inside = slice(part.start, part.stop)
        torch.testing.assert_close(code[:, inside], A[:, inside] + rest * (B - A)[:, inside])


def test_the_ends_of_a_blend_are_the_pictures_themselves():
    assert torch.equal(swaps.blend(A, B, [STYLE], 1, 1), B) and torch.equal(swaps.blend(A, B, [STYLE], 0, 0), A)
    assert torch.equal(swaps.blend(A, B, [STYLE], 0, 1), swaps.swap(A, B, [STYLE])[1])


def test_a_matrix_has_contents_in_rows_and_styles_in_columns():
    table = swaps.matrix(A[:3], B, [STYLE])
    assert table.shape == (3, 4, 7)
    for i in range(3):
        for j in range(4):
            assert torch.equal(table[i, j], swaps.blend(A[i:i + 1], B[j:j + 1], [STYLE])[0])
    own = swaps.matrix(A, A, [STYLE])
    assert torch.equal(own[range(4), range(4)], A)  # the diagonal is the pictures as they are


def test_sides_are_known_where_a_method_tells_them_apart():
    assert swaps.sides(LAYOUT) == ((CONTENT,), (STYLE,))
    assert swaps.sides((Slot(0, 1), Slot(1, 2))) == ((), ())
    assert swaps.sides((CONTENT, REST)) == ((), ())


def test_slots_are_found_in_a_table_once_and_in_order():
    assert swaps.slots((SCALAR, ACROSS, ALONG)) == (CONTENT, Slot(3, 4))


def test_the_nearest_are_sought_in_the_given_part_only():
    known = torch.zeros(3, 7)
    known[:, 0] = torch.tensor([0.0, 1.0, 5.0])    # content
    known[:, 3] = torch.tensor([9.0, 4.0, 0.0])    # style
    assert swaps.nearest(known, known[:1], [CONTENT], 3).tolist() == [[0, 1, 2]]
    assert swaps.nearest(known, torch.zeros(1, 7), [STYLE], 2).tolist() == [[2, 1]]
