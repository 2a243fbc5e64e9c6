"""The figures of models: every score that is written has its words, and the table holds what was measured."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from app.scores import BEGINNINGS, COLUMNS, EXPLAINED, explain, facts, figure, parameters, size, table
from engine import MODELS


class Cells(HTMLParser):
    """Collects the values by which a table is sorted, row by row."""

    def __init__(self, page: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "tr":
            self.rows.append([])
        values = dict(attrs)
        if "data-value" in values:
            self.rows[-1].append(values["data-value"])


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/metrics.json")), ids=lambda path: path.parent.name)
def test_every_shipped_score_is_explained(path):
    for name in json.loads(path.read_text(encoding="utf-8")):
        title, _, words = explain(name)
        assert title and words != "See engine.evaluate." and words.endswith("."), name


def test_what_is_said_of_a_score_is_a_sentence_of_its_own():
    words = [text for *_, text in EXPLAINED.values()] + list(BEGINNINGS.values())
    assert len(set(words)) == len(words) and set(COLUMNS) <= set(EXPLAINED)
    assert figure("psnr held out", 29.8378) == "29.8 dB" and figure("MIG", 0.6316) == "0.63"
    assert figure("unseen pairs psnr", 26.3771) == "26.4 dB" and figure("unseen pairs shape", 0.9808) == "0.98"
    assert figure("unseen pairs", 2000.0) == "2000 pictures" and figure("one-sided", 6.0) == "6 factors"


def test_the_figures_of_a_model_open_to_their_words(engine):
    scores = {"SAP": 0.1, "MIG": 0.5, "psnr held out": 30.0, "DCI disentanglement": 0.7, "FactorVAE": 0.8,
              "read <x>": 1}
    shown = facts(replace(engine.model("first"), scores=scores))
    assert shown.index("PSNR") < shown.index("MIG") < shown.index("FactorVAE") < shown.index("SAP")
    assert "&lt;x&gt;" in shown and "2 more" in shown and shown.count("<details") == 7
    assert "engine.evaluate" in facts(replace(engine.model("first"), scores={}))


def test_the_table_has_all_models_and_leaves_out_what_was_not_measured(engine):
    known = replace(engine.model("first"), scores={"MIG": 0.5}, title="<b>")
    page = table([known, engine.model("second")])
    first, second = Cells(page).rows[1:]
    assert first[2 + COLUMNS.index("MIG")] == "0.5" and first[2 + COLUMNS.index("FactorVAE")] == ""
    assert second[-2:] == [str(engine.model("second").parameters), str(engine.model("second").size)]
    assert "&lt;b&gt;" in page and "<b>" not in page
    assert page.count('scope="col"') == len(first)


def test_sizes_in_words(engine):
    known = replace(engine.model("first"), size=3_125_130, parameters=1_301_463)
    assert (size(known), parameters(known)) == ("3.1 MB", "1.3 M")
    assert parameters(replace(known, parameters=698_217)) == "698 k"
    path = engine.folder / "first" / "model.safetensors"
    assert engine.model("first").size == path.stat().st_size
