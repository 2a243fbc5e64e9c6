import numpy as np
import torch

from engine.data.dataset import Grid, KnownFactor, split


class Small(Grid):
    factors = (
        KnownFactor("a", (0.0, 0.5, 1.0)),
        KnownFactor("b", (7.0,)),
        KnownFactor("c", (1.0, 2.0, 3.0, 4.0)),
    )

    def images(self, index):
        raise NotImplementedError


def test_grid_is_row_major_with_the_last_factor_fastest():
    data = Small()
    assert len(data) == 12
    expected = np.stack(np.unravel_index(np.arange(12), (3, 1, 4)), axis=1)
    assert torch.equal(data.classes(torch.arange(12)), torch.from_numpy(expected))


def test_index_inverts_classes():
    numbers = torch.arange(12)
    assert torch.equal(Small().index(Small().classes(numbers)), numbers)


def test_labels_of_a_ladder_are_class_numbers():
    labels = Small().labels(torch.tensor([11]))
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[2, 0, 3]]


def test_factor_size():
    assert [factor.size for factor in Small.factors] == [3, 1, 4]
    assert KnownFactor("continuous", low=-1.0).size == 0


def test_split_covers_every_number_once():
    train, held_out = split(1000, held_out=0.1)
    assert len(held_out) == 100
    assert torch.equal(torch.cat([train, held_out]).sort().values, torch.arange(1000))


def test_split_is_fixed_and_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    first = split(500)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    second = split(500)
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


def test_split_is_not_an_end_of_the_list():
    _, held_out = split(10_000)
    assert held_out.min() < 500 and held_out.max() > 9500


def test_split_of_a_tiny_set_holds_out_one():
    train, held_out = split(3)
    assert len(train) == 2 and len(held_out) == 1
