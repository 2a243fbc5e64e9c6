"""People: who stays the same in which pictures, and that they are strangers to the faces."""

import pytest
import torch

from engine.data import load, sample_classes
from engine.data.faces import FACTORS, Faces
from engine.data.kept import Kept
from engine.data.people import OF_THE_SITTING, PERSONS, SITTINGS, People

PEOPLE = People()
PER_PERSON = [k for k, factor in enumerate(FACTORS) if factor.name not in OF_THE_SITTING]
PER_SITTING = [k for k, factor in enumerate(FACTORS) if factor.name in OF_THE_SITTING]


def test_a_person_keeps_all_but_what_a_sitting_changes():
    labels = PEOPLE.labels(torch.arange(len(PEOPLE)))
    assert labels.shape == (PERSONS * SITTINGS, len(FACTORS) + 1) and len(PER_SITTING) == len(OF_THE_SITTING)
    assert torch.equal(labels[:, -1], torch.arange(PERSONS).repeat_interleave(SITTINGS).float())
    sittings = labels.view(PERSONS, SITTINGS, -1)
    assert (sittings[:, :, PER_PERSON] == sittings[:, :1, PER_PERSON]).all()
    assert len(sittings[:, 0, PER_PERSON].unique(dim=0)) == PERSONS
    assert (sittings[:, :, PER_SITTING].std(1) > 0).all()


def test_what_is_drawn_is_uniform_and_independent_within_both_kinds_and_between_them():
    first = PEOPLE.labels(torch.arange(0, len(PEOPLE), SITTINGS))[:, :-1]  # one picture of each
    low, high = torch.tensor([f.low for f in FACTORS]), torch.tensor([f.high for f in FACTORS])
    unit = (first - low) / (high - low)
    assert (unit > 0).all() and (unit < 1).all()
    counts = torch.stack([torch.histc(column, 10, 0, 1) for column in unit.T])
    assert ((counts - PERSONS / 10).abs() < 95).all()                   # 5 standard deviations of a bin
    correlation = torch.corrcoef(unit.T) - torch.eye(len(FACTORS))
    assert correlation.abs().max() < 0.08                               # 5 standard deviations


def test_pictures_show_the_labels():
    index = torch.tensor([17, 31_999])
    assert torch.equal(PEOPLE.images(index), Faces().render(PEOPLE.labels(index)[:, :-1]))


def test_nobody_of_them_is_among_the_faces():
    faces, people = Faces().labels(torch.arange(200_000)), PEOPLE.labels(torch.arange(len(PEOPLE)))
    for column in (0, 17):                                              # one of either kind
        shared = torch.isin(people[:, column], faces[:, column]).float().mean().item()
        by_chance = 200_000 / 2**24                                     # of as many values of the noise
        assert shared == pytest.approx(by_chance, abs=0.01)
    rows = {tuple(row) for row in faces[:, PER_PERSON].tolist()}
    assert not rows & {tuple(row) for row in people[:, PER_PERSON].tolist()}


@pytest.mark.parametrize("faces", [Faces(), Kept(Faces(), torch.empty(0))], ids=["drawn", "kept"])
def test_faces_send_who_asks_for_persons_to_them(faces):
    told = faces.alike("person")
    assert isinstance(told, People)
    assert faces.alike("") is faces and faces.alike("gender") is faces
    persons = sample_classes(told, "person", 500, "cpu")
    assert len(persons.unique()) > 400 and persons.max() < PERSONS


def test_other_sets_answer_for_themselves():
    glyphs = load("glyphs")
    assert glyphs.alike("typeface") is glyphs
