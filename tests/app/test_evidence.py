"""The table that says why a factor is called what it is called."""

from dataclasses import replace
from html.parser import HTMLParser

from app.evidence import HEAD, evidence
from app.session import sliders
from tests.engine.test_names import NAME


class Text(HTMLParser):
    """Collects tags and text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def named(engine, **changes):
    known = engine.model("first")
    first = sliders(known)[0].name
    return replace(known, names={first: replace(NAME, **changes)}), first


def test_a_model_without_names_has_nothing_to_explain(engine):
    assert evidence(engine.model("first")) == ""


def test_every_measurement_stands_in_the_table(engine):
    model, first = named(engine)
    page = Text(evidence(model))
    text = " ".join(page.text)
    for said in (first, "wall hue", "moves the object right, by 28 px (r .97)", "91%", "wall hue (R² .93)"):
        assert said in text
    assert page.tags.count("tr") == 2 and page.tags.count("th") == len(HEAD) + 1 and page.tags.count("rect") == 4
    assert "50% of it in the upper half, 75% in the left half" in text


def test_what_a_model_was_told_of_labels_is_said(engine):
    model = named(engine)[0]
    assert "labels were never trained on" in evidence(model)
    told = evidence(replace(model, told="type<b>face"))
    assert "never trained on" not in told and "of one type&lt;b&gt;face" in told


def test_it_opens_by_keyboard_and_scrolls_by_keyboard(engine):
    page = evidence(named(engine)[0])
    assert page.startswith("<details><summary>") and 'tabindex="0"' in page and 'scope="row"' in page


def test_a_name_is_text_and_no_markup(engine):
    page = evidence(named(engine, name="<img src=x>", seen="<b>")[0])
    assert "<img" not in page and "&lt;img src=x&gt;" in page


def test_what_is_not_known_is_a_dash(engine):
    text = " ".join(Text(evidence(named(engine, pictures=(), labels=(), seen="changes the centre")[0])).text)
    assert "changes the centre" in text and text.count("–") == 2
