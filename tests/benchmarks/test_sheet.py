"""The benchmark of sheets measures what it says, on tiny models."""

from benchmarks.sheet import COLUMNS, ROWS, measure


def test_writing_comes_on_top_of_drawing(engine):
    rows, ms = measure(engine, "first", 3)
    assert rows == min(ROWS, len(engine.model("first").sliders)) and COLUMNS == 11
    assert list(ms) == ["drawing", "PNG", "SVG", "CPU"] and 0 < ms["drawing"] < min(ms["PNG"], ms["SVG"])
    assert ms["CPU"] > 0
