"""Faces: the hash, the factors and what each does to the picture."""

import pytest
import torch

from engine.data.faces import FACTORS, Faces, _coefficients, _head, uniforms

FACES = Faces()
COLUMN = {factor.name: k for k, factor in enumerate(FACTORS)}
PLAIN = {"gender": 0.3, "African features": 0.2, "Asian features": 0.3, "jaw open": 0.1, "eyelids": -0.2,
         "skin tone": 0.3, "hair colour": 0.3, "hair length": 0.4, "lamp": 20.0, "background hue": 0.6}


def values(**changes: float) -> torch.Tensor:
    """Factor values (1, K) of a plain face with some changed; underscores stand for spaces."""
    row = torch.tensor([[(factor.low + factor.high) / 2 for factor in FACTORS]])
    for name, value in (PLAIN | {k.replace("_", " "): v for k, v in changes.items()}).items():
        row[0, COLUMN[name]] = value
    return row


def changed(**changes: float) -> torch.Tensor:
    """Largest change over channels (64, 64) from the plain face."""
    pictures = FACES.render(torch.cat([values(), values(**changes)])).int()
    return (pictures[0] - pictures[1]).abs().amax(0)


def splitmix(n: int) -> int:
    """splitmix64's finaliser in plain unsigned arithmetic."""
    mask = 2 ** 64 - 1
    z = n * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    return z ^ z >> 31


def test_noise_is_splitmix64():
    index = torch.tensor([0, 1, 77, 199_999])
    expected = [[((splitmix(i * 5 + k + 1) >> 40) + 0.5) / 2 ** 24 for k in range(5)]
                for i in index.tolist()]
    assert uniforms(index, 5).tolist() == expected


def test_labels_are_uniform_independent_and_in_range():
    labels = FACES.labels(torch.arange(20_000))
    low, high = torch.tensor([f.low for f in FACTORS]), torch.tensor([f.high for f in FACTORS])
    assert labels.shape == (20_000, len(FACTORS)) and labels.dtype == torch.float32
    assert (labels >= low).all() and (labels <= high).all()
    unit = (labels - low) / (high - low)
    counts = torch.stack([torch.histc(column, 10, 0, 1) for column in unit.T])
    assert ((counts - 2000).abs() < 200).all()              # 4.7 standard deviations of a bin
    correlation = torch.corrcoef(unit.T) - torch.eye(len(FACTORS))
    assert correlation.abs().max() < 0.035                  # 5 standard deviations


def test_image_numbers_keep_their_meaning():
    """Stored numbers: whoever changes the hash or the look must mean to."""
    index = torch.tensor([0, 123_456])
    assert torch.allclose(FACES.labels(index)[:, :3], torch.tensor(
        [[0.883311, 0.431528, 0.026434], [0.911887, 0.890382, 0.790637]]), atol=1e-5)
    assert torch.allclose(FACES.images(index).float().mean((2, 3)), torch.tensor(
        [[171.48, 112.89, 136.58], [153.90, 153.52, 160.08]]), atol=0.5)


def test_a_picture_does_not_depend_on_its_batch():
    index = torch.arange(40, 47)
    together = FACES.images(index)
    assert together.shape == (7, 3, 64, 64) and together.dtype == torch.uint8
    assert torch.equal(together, FACES.images(index))
    alone = torch.cat([FACES.images(i[None]) for i in index])
    assert (together.int() - alone.int()).abs().float().mean() < 0.02     # rounding on silhouettes only


def test_render_takes_one_value_per_factor():
    assert FACES.render(torch.empty(0, len(FACTORS))).shape == (0, 3, 64, 64)
    with pytest.raises(ValueError, match="22 factor values"):
        FACES.render(torch.zeros(1, 5))


@pytest.mark.parametrize("factor", FACTORS, ids=lambda f: f.name)
def test_every_factor_shows(factor):
    name = factor.name.replace(" ", "_")
    walk = [values(**{name: v}) for v in (factor.low, (factor.low + factor.high) / 2, factor.high)]
    low, middle, high = FACES.render(torch.cat(walk)).int()
    if factor.circular:
        assert torch.equal(low, high)
    difference = (low - (middle if factor.circular else high)).abs().amax(0)
    assert (difference > 12).sum() >= 12                    # pixels of 4096


@pytest.mark.parametrize("changes, rows", [
    ({"smile": 1.0}, (24, 52)), ({"jaw_open": 1.0}, (24, 56)), ({"mouth_width": 1.0}, (24, 52)),
    ({"eye_colour": 1.0}, (20, 34)), ({"eyelids": 1.0}, (18, 36)), ({"brows": 1.0}, (12, 34)),
    ({"shirt_hue": 0.1}, (52, 64)), ({"nose_size": 1.0}, (20, 46)),
])
def test_local_factors_stay_local(changes, rows):
    difference = changed(**changes)
    difference[rows[0]:rows[1]] = 0
    assert difference.max() <= 5       # centring the eyes moves the rest by a hair


def test_background_hue_leaves_the_head_alone():
    difference = changed(background_hue=0.1)
    assert (difference[28:44, 26:38] == 0).all()
    assert (difference[:20, :8] > 20).all() and (difference[:20, -8:] > 20).all()


def test_turning_the_other_way_is_a_mirror():
    one, other = FACES.render(torch.cat([values(yaw=30, lamp=-40), values(yaw=-30, lamp=40)])).float()
    assert (one - other.flip(-1)).abs().mean() < 2
    assert (one - other).abs().mean() > 10


def test_signs_of_the_angles():
    pictures = FACES.render(torch.cat([values(lamp=-70), values(lamp=70)])).float().mean(1)
    left, right = pictures[:, 30:42, 22:30].mean((1, 2)), pictures[:, 30:42, 34:42].mean((1, 2))
    assert left[0] > right[0] + 20 and right[1] > left[1] + 20
    # The red of the mouth moves with the head.
    poses = [values(yaw=-35), values(yaw=35), values(pitch=-14), values(pitch=14)]
    red = FACES.render(torch.cat(poses)).float()
    red = (red[:, 0] - red[:, 1] - 60).clamp(min=0)[:, 30:54]
    column = (red.sum(1) * torch.arange(64)).sum(1) / red.sum((1, 2))
    row = (red.sum(2) * torch.arange(24)).sum(1) / red.sum((1, 2))
    assert column[1] > column[0] + 6 and row[3] > row[2] + 1


def test_hair_grows_and_skin_darkens():
    longer = FACES.render(torch.cat([values(hair_length=h, hair_colour=0, skin_tone=0) for h in (0, 0.5, 1)]))
    dark = (longer.amax(1) < 75).sum((1, 2))
    assert dark[0] + 200 < dark[1] and dark[1] + 100 < dark[2]
    tone = FACES.render(torch.cat([values(skin_tone=t) for t in (0, 0.5, 1)]))[:, :, 34:40, 24:40].float()
    assert (tone.mean((1, 2, 3)).diff() < -30).all()


def test_every_head_is_a_mean_of_the_models_corners():
    head = _head(torch.device("cpu"))
    f = dict(zip(COLUMN, FACES.labels(torch.arange(50)).unbind(1), strict=True))
    weight = _coefficients(head, f)
    corner = torch.tensor([name.split("-")[0] in ("female", "male") for name in head.names])
    origin = torch.tensor([name.endswith(("african", "asian", "caucasian")) for name in head.names])
    assert int(corner.sum()) == 36
    assert torch.allclose(weight[:, origin].sum(1), torch.ones(50), atol=1e-5)
    assert torch.allclose(weight[:, corner & ~origin].sum(1), torch.ones(50), atol=1e-5)
    assert (weight >= 0).all()
    extreme = values(gender=1, age=1, weight=0, African_features=0, Asian_features=1)
    pure = _coefficients(head, dict(zip(COLUMN, extreme.unbind(1), strict=True)))
    assert pure[0, head.names.index("male-old-min")] == 1 and pure[0, head.names.index("male-old-asian")] == 1


def test_eyes_stay_put_whatever_the_head():
    """Shapes are stored so that identity never moves the middle of the eyes."""
    head = _head(torch.device("cpu"))
    eyes = head.triangles[head.part == 1].unique()
    moved = head.shapes.view(len(head.names), -1, 3)[:, eyes].mean(1)
    assert head.rest[eyes].mean(0).abs().max() < 1e-3
    assert moved.abs().max() < 2e-3
