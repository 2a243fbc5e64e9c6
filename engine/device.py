"""The device that a command is told to use."""

import torch


def chosen_device(name: str) -> torch.device:
    """The device called `name`, 'auto' being a GPU where there is one; ValueError if it is not to be had."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise ValueError(f"There is no usable device '{name}' here; try --device auto.") from None
    return torch.device(name)
