"""Charts are well-formed SVG: axes at round numbers, gaps where a value is missing, names escaped."""

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kobert_tf2 import charts


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<div>{svg}</div>")


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.lists(st.tuples(NUMBERS, NUMBERS))))
def test_any_numbers_and_names_make_a_chart_within_its_frame(series):
    for path in parsed(charts.line_chart(series, label="<&>")).iter("path"):
        for point in path.get("d")[1:].split("L"):
            x, y = map(float, point.split(","))
            assert 0 <= x <= charts.WIDTH
            assert 0 <= y <= charts.HEIGHT


def test_a_missing_value_is_a_gap():
    points = [(1, 1.0), (2, 2.0), (3, math.nan), (4, 1.0), (5, 3.0)]
    assert len(list(parsed(charts.line_chart({"a": points}, label="x")).iter("path"))) == 2


def test_one_point_is_seen_and_nothing_is_no_chart():
    assert list(parsed(charts.line_chart({"a": [(1, 1.0)]}, label="x")).iter("circle"))
    assert charts.line_chart({"a": []}, label="x") == ""
    assert charts.line_chart({"a": [(1, math.nan)]}, label="x") == ""
    assert charts.bar_chart({}, label="x") == ""
    assert charts.histogram({"1": 0}, label="x") == ""


def test_a_long_run_is_thinned():
    drawn = charts.line_chart({"a": [(step, float(step)) for step in range(100_000)]}, label="x")
    assert len(drawn) < 20_000


def test_bars_are_as_long_as_their_values():
    svg = parsed(charts.bar_chart({"a": 1.0, "b": 0.5, "<c>": 0.0}, label="x", highest=1.0))
    widths = [float(rect.get("width")) for rect in svg.iter("rect")]
    assert widths[1] == pytest.approx(widths[0] / 2)
    assert widths[2] == 0
    assert any(text.text == "<c>" for text in svg.iter("text"))


def test_a_histogram_counts_over_its_bins():
    svg = parsed(charts.histogram({"1": 2, "2": 4}, label="x"))
    heights = [float(rect.get("height")) for rect in svg.iter("rect")]
    assert heights[1] == pytest.approx(2 * heights[0])


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (0.5, "0.5"), (40_000, "40,000"), (3_000_000, "3M"), (5e-5, "5e-05")]
)
def test_ticks_are_short(value, shown):
    assert charts.tick(value) == shown
