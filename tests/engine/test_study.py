"""The study of a manifold: that the theory holds where its conditions do, and fails where they do not."""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.serve import Refusal
from engine.study import aligned, mosaic, nets, studies, study_of


@pytest.fixture(scope="module")
def blob():
    return study_of("blob", 500)


def test_an_isometry_is_unmixed_and_a_mixture_is_not(blob):
    principal, flat, unmixed = blob.steps
    assert unmixed.mcc > 0.99 > 0.95 > flat.mcc
    assert blob.isometric > 0.95 and blob.dimension == 2 == len(blob.factors) and blob.gap > 20
    assert len(blob.spectrum) > 3 and (np.diff(blob.spectrum) >= 0).all()
    for plane in (*blob.steps, *blob.rivals):
        assert plane.codes.shape == blob.values.shape and 0 <= plane.mcc <= 1
    assert blob.pictures.shape == (len(blob.values), 64, 64, 3) and blob.pictures.dtype == np.uint8


def test_coordinates_stand_in_the_order_and_with_the_signs_of_the_factors(blob):
    correlation = np.corrcoef(blob.steps[2].codes.T, blob.values.T)[:2, 2:]
    assert (np.diag(correlation) > 0.99).all() and abs(correlation - np.diag(np.diag(correlation))).max() < 0.1


def test_each_switch_takes_away_what_the_proof_needs(blob):
    gaussian, warped = study_of("blob", 500, "gaussian"), study_of("blob", 500, "uniform", True)
    assert warped.isometric < blob.isometric - 0.05
    kurtosis = [((v - v.mean()) ** 4).mean() / v.var() ** 2 for v in (blob.values[:, 0], gaussian.values[:, 0])]
    assert kurtosis[0] < 2.2 < 2.5 < kurtosis[1]
    assert gaussian.steps[2].mcc < blob.steps[2].mcc and warped.steps[2].mcc < blob.steps[2].mcc


def test_nets_stand_beside_what_they_were_trained_on_and_beside_nothing_else(blob):
    assert [plane.title for plane in blob.rivals] == ["PCA + ICA", "AE + ICA", "LI-AE + ICA"]
    stored = json.loads((Path(__file__).parents[2] / "benchmarks" / "isometry.json").read_text(encoding="utf-8"))
    for plane, net in zip(blob.rivals[1:], ("AE", "LI-AE"), strict=True):
        assert plane.mcc == pytest.approx(stored[f"blob/{net}"]["seeds"][0]["MCC"], abs=0.03)  # of 3,000 pictures
    for other in (study_of("blob", 500, "gaussian"), study_of("blob", 500, "uniform", True), study_of("blob", 1200)):
        assert [plane.title for plane in other.rivals] == ["PCA + ICA"]
    assert all(set(nets(name)) == {"AE", "LI-AE"} for name in studies())


def test_a_study_is_computed_once(blob):
    assert study_of("blob", 500) is blob


@pytest.mark.parametrize("arguments", [("no such", 500), ("blob", 10), ("blob", 10**6), ("blob", 500, "cauchy")])
def test_what_cannot_be_studied_is_one_sentence(arguments):
    with pytest.raises(Refusal) as refused:
        study_of(*arguments)
    assert str(refused.value).endswith(".") and "\n" not in str(refused.value)


def test_there_are_ten_manifolds_some_of_faces():
    assert len(studies()) >= 10 and sum("faces" in name for name in studies()) >= 3


def test_alignment_undoes_order_and_sign_and_nothing_else():
    values = np.random.default_rng(0).normal(size=(200, 3))
    shuffled = np.stack([-values[:, 2], 3 * values[:, 0], -values[:, 1]], 1)
    assert aligned(shuffled, values) == pytest.approx(values * [3, 1, 1])
    constant = np.concatenate([shuffled[:, :2], np.zeros((200, 1))], 1)
    assert np.isfinite(aligned(constant, values)).all()


def test_a_mosaic_hangs_the_nearest_picture_and_leaves_gaps():
    x, y = np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))
    codes = np.stack([x.ravel(), y.ravel()], 1)
    assert np.array_equal(mosaic(codes, 5), np.arange(25).reshape(5, 5)[::-1])  # top row first
    hollow = codes[np.abs(codes).max(1) > 0.6]
    places = mosaic(hollow, 5, reach=0.6)
    assert places[2, 2] == -1 and (places[0] >= 0).all()
