import pytest
import torch

from engine.device import chosen_device


@pytest.mark.parametrize("device", ["cuda:99", "warp", ""])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(device):
    with pytest.raises(ValueError, match=f"no usable device '{device}'"):
        chosen_device(device)


def test_a_device_that_is_there_is_taken():
    assert chosen_device("cpu") == torch.device("cpu")
    assert chosen_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
