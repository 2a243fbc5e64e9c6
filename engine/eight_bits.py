"""Weights in eight bits, for model folders that would be large: half the size of half precision.

Blocks of 32 neighbours share a step, the 127th part of their largest, and each is a whole number of steps (as
Q8_0 of GGML is laid out). What that costs of a model's pictures, `python -m benchmarks.storage` measures.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 32
LEAST = 8_192       # numbers in a tensor that is packed; smaller ones, and all vectors, stay in half precision
STEPS = " steps"    # behind the name of the tensor whose steps they are; no parameter's name has a space
LARGEST = 127


def pack(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of floats by name -> int8 of the same shapes with their steps (ceil(n / BLOCK),) in bfloat16, and what
    is too small for that in half precision. Tensors of integers stay as they are."""
    packed = {}
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif tensor.ndim < 2 or tensor.numel() < LEAST:
            packed[name] = tensor.half()
        else:
            flat = tensor.flatten().float()
            blocks = pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
            steps = (blocks.abs().amax(1) / LARGEST).bfloat16()  # off by 1/512 at most: a quarter of a step at 127
            counts = (blocks / torch.where(steps > 0, steps.float(), 1)[:, None]).round()
            packed[name] = counts.clamp(-LARGEST, LARGEST).to(torch.int8).flatten()[:len(flat)].view(tensor.shape)
            packed[name + STEPS] = steps
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that `pack` took, as floats; folders without steps come back as they are. Raises ValueError if
    steps and numbers do not match."""
    weights = {}
    for name, tensor in packed.items():
        if name.endswith(STEPS):
            continue
        steps = packed.get(name + STEPS)
        if steps is not None and tensor.dtype == torch.int8:
            if steps.shape != (-(-tensor.numel() // BLOCK),):
                raise ValueError(f"tensor '{name}' has steps for another number of blocks")
            tensor = (tensor.flatten() * steps.float().repeat_interleave(BLOCK)[:tensor.numel()]).view(tensor.shape)
        weights[name] = tensor
    return weights
