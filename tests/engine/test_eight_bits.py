"""Weights in eight bits: what comes back is within half a step, and what does not fit together is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.eight_bits import BLOCK, LARGEST, LEAST, STEPS, pack, unpack


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def steps_of(tensor: torch.Tensor) -> torch.Tensor:
    """The step of each number, by hand: the 127th part of the largest in its block of 32."""
    flat = tensor.flatten().tolist()
    blocks = [flat[k:k + 32] for k in range(0, len(flat), 32)]
    return torch.tensor([max(map(abs, b)) / 127 for b in blocks for _ in b]).view(tensor.shape)


@given(st.integers(0, 31), st.floats(-4, 3), st.integers(0, 100))
def test_numbers_come_back_within_half_a_step(more, decade, seed):
    weights = noise(1, LEAST + more, seed=seed) * 10**decade
    weights[0, :40] = 0
    packed = pack({"w": weights})
    again = unpack(packed)["w"]
    # Steps themselves are rounded, by 1/512 at most.
    assert ((again - weights).abs() <= steps_of(weights) * 0.5 * (1 + 2**-8)).all()
    assert not again[0, :32].any() and again.shape == weights.shape and again.dtype == torch.float32
    size = sum(t.numel() * t.element_size() for t in packed.values())
    assert size == weights.numel() + 2 * -(-weights.numel() // BLOCK)  # 8.5 bits a number


def test_what_was_packed_once_stays_as_it_is():
    once = unpack(pack({"w": noise(3, 64, 64)}))
    twice = pack(once)
    assert torch.equal(unpack(twice)["w"], once["w"]) and twice["w"].abs().amax() == LARGEST


def test_small_tensors_vectors_and_counts_are_not_packed():
    weights = {"vector": noise(2 * LEAST), "small": noise(8, 8), "count": torch.tensor([2**40]), "few": torch.ones(())}
    packed = pack(weights)
    assert packed.keys() == weights.keys()
    assert [t.dtype for t in packed.values()] == [torch.half, torch.half, torch.int64, torch.half]
    assert all(torch.equal(packed[name], t.to(packed[name].dtype)) for name, t in unpack(packed).items())


def test_a_tensor_of_small_integers_that_has_no_steps_is_one():
    counts = torch.arange(-4, 4, dtype=torch.int8)
    assert torch.equal(unpack({"counts": counts})["counts"], counts)


def test_steps_for_other_blocks_are_refused():
    packed = pack({"w": noise(128, 128)})
    with pytest.raises(ValueError, match="tensor 'w'"):
        unpack(packed | {"w" + STEPS: packed["w" + STEPS][1:]})
