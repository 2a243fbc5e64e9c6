"""Rendered manifolds: the law of their factors, their variants and what each factor does."""

import pytest
import torch

from engine.data import DataError, load
from engine.data.faces import FACTORS
from engine.data.manifolds import FACES, RENDERED, blob, coloured_disc, face, rendered, sized_disc, spots, warp

CORNERS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])


def centre(picture):
    """Brightness-weighted mean (x, y) of a picture (64, 64), in pixels from the middle."""
    weight = picture.double() / picture.double().sum()
    place = torch.arange(64).double() - 31.5
    return (weight.sum(0) @ place).item(), (weight.sum(1) @ place).item()


@pytest.mark.parametrize("name", [name for name in RENDERED if not name.startswith("faces")])
def test_a_manifold_is_a_data_set_of_independent_factors(name):
    data = rendered(name, 400)
    images = data.images(torch.arange(5))
    assert images.shape == (5, data.channels, 64, 64) and images.dtype == torch.uint8 and len(data) == 400
    labels = data.labels(torch.arange(400))
    assert labels.shape == (400, len(data.factors)) and labels.abs().max() <= 1
    assert labels.std(0) == pytest.approx(torch.full(labels.shape[1:], 3 ** -0.5).numpy(), abs=0.05)
    off_diagonal = labels.T.corrcoef() - torch.eye(labels.shape[1])
    assert off_diagonal.abs().max() < 0.2
    assert torch.equal(data.images(torch.tensor([3])), images[3:4])
    assert all((f.low, f.high) == (-1, 1) for f in data.factors)


def test_pictures_are_seeded_and_unseen_ones_others():
    one, same, other = rendered("blob", 5), rendered("blob", 5), rendered("blob", 5, seed=1)
    index = torch.arange(5)
    assert torch.equal(one.images(index), same.images(index))
    assert not torch.equal(one.values, other.values)


def test_a_picture_is_drawn_when_first_asked_for_and_never_again():
    drawn = []
    data = rendered("blob", 50)
    data.render = lambda values: (drawn.append(len(values)), blob(values))[1]
    index = torch.tensor([7, 3, 7])
    images = data.images(index)
    assert drawn == [2] and torch.equal(images, blob(data.values[index]))
    assert torch.equal(data.images(torch.tensor([3])), images[1:2]) and drawn == [2]
    assert torch.equal(data.images(torch.arange(50)), blob(data.values)) and drawn == [2, 48]


def test_gaussian_factors_are_gaussian():
    values = rendered("blob", 20_000, law="gaussian").values
    kurtosis = (values**4).mean(0) / (values**2).mean(0) ** 2
    assert kurtosis.tolist() == pytest.approx([3, 3], abs=0.15)
    assert values.std(0).tolist() == pytest.approx([0.4, 0.4], abs=0.01)


def test_a_warp_turns_the_rim_more_than_the_middle():
    values = torch.tensor([[0.5, 0.0, 0.7], [1.0, 0.0, 0.7], [0.0, 0.0, 0.7]])
    turned = warp(values)
    angle = torch.atan2(turned[:2, 1], turned[:2, 0])
    assert angle.tolist() == pytest.approx([1.0, 2.0])
    assert turned[:, :2].norm(dim=1).tolist() == pytest.approx([0.5 / 2**0.5, 1 / 2**0.5, 0])
    assert turned[:, 2].tolist() == pytest.approx([0.7] * 3)
    plain, bent = rendered("blob", 300), rendered("blob", 300, warped=True)
    assert torch.equal(plain.values, bent.values) and torch.equal(bent.moved, warp(plain.values))
    assert bent.moved.abs().max() <= 1
    assert torch.equal(bent.images(torch.arange(3)), blob(warp(plain.values[:3])))


def test_variants_have_names_of_their_own():
    assert rendered("blob", 1, law="gaussian", warped=True).name == "manifold-blob-gaussian-warped"


def test_a_spot_is_where_its_factors_say():
    for values, picture in zip(CORNERS, blob(CORNERS), strict=True):
        assert centre(picture[0]) == pytest.approx((14 * values).tolist(), abs=0.3)


def test_two_spots_move_in_channels_of_their_own():
    values = torch.tensor([[0.5, -0.5, -0.2, 0.8]])
    red, green, blue = spots(values)[0]
    assert centre(red) == pytest.approx((7, -7), abs=0.4) and centre(blue) == pytest.approx((-2.8, 11.2), abs=1)
    assert not green.any()


def test_a_disc_has_its_hue_and_size():
    hues = coloured_disc(torch.tensor([[0.0, -1.0], [0.0, 1.0]]))[:, :, 32, 32].tolist()
    assert hues[0][0] > 250 and hues[0][2] < 5 and hues[1][2] > 250 and hues[1][0] < 5
    small, large = (sized_disc(torch.tensor([[0.0, size]])).float().sum().item() for size in (-1, 1))
    assert large > 3 * small


def test_a_face_moves_what_it_is_told_to():
    render = face({"yaw": (-20, 20), "lamp": (-65, 65)})
    pictures = render(torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0], [0.0, 9.0]])).float()
    left, right = pictures[2, 0, 34, 20:32].mean(), pictures[2, 0, 34, 32:44].mean()
    assert left > right + 10  # the lamp at the left
    assert (pictures[2] - pictures[3].flip(2)).abs().mean() < (pictures[2] - pictures[3]).abs().mean() / 2
    assert (pictures[0] - pictures[1].flip(2)).abs().mean() < (pictures[0] - pictures[1]).abs().mean()
    assert not torch.equal(pictures[3], pictures[4]) and pictures[4].std() > 10  # clamped at 75 degrees


def test_the_ranges_of_faces_lie_within_those_of_the_data_set():
    limits = {f.name: (f.low, f.high) for f in FACTORS}
    for ranges in FACES.values():
        assert all(limits[name][0] <= low < high <= limits[name][1] for name, (low, high) in ranges.items())


def test_they_are_loaded_by_name_and_others_refused():
    assert load("manifold-disc-hue").factors[1].name == "hue"
    with pytest.raises(DataError, match="no manifold called 'torus'; known are blob"):
        load("manifold-torus")
