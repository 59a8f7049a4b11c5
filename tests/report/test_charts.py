import re
from itertools import pairwise
from xml.dom import minidom

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lsn.report.charts import Axes, Bin, Series, confidence_chart, heatmap, line_chart, reliability_chart, ticks


def elements(markup: str, name: str) -> list[minidom.Element]:
    return list(minidom.parseString(markup).getElementsByTagName(name))


def number(element: minidom.Element, attribute: str) -> float:
    return float(element.getAttribute(attribute))


finite = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6)


@given(finite, finite)
@example(-1e6, -999999.9999999999)
def test_ticks_are_few_even_and_cover_the_range(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    values = ticks(low, high)
    largest = max(abs(low), abs(high))
    span = high - low if high - low > 1e-9 * largest else largest or 1.0
    assert 2 <= len(values) <= 8
    assert values[0] <= low + 1e-6 * span and values[-1] >= high - 1e-6 * span
    gaps = [after - before for before, after in pairwise(values)]
    assert max(gaps) == pytest.approx(min(gaps), rel=1e-6, abs=1e-9)


def test_ticks_are_round() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 12, inside=True) == [0, 2.5, 5, 7.5, 10]
    assert ticks(0, 0)[0] == 0 < ticks(0, 0)[-1]


def test_axes_map_ends_to_ends_with_y_upwards() -> None:
    axes = Axes((0, 10), (0, 1), width=100, height=100, left=20, right=10, bottom=30)
    assert (axes.x(0), axes.x(10)) == (20, 90)
    assert axes.y(0) == 70 and axes.y(1) < axes.y(0)


def test_lines_go_where_the_numbers_say() -> None:
    chart = line_chart([Series("loss", [(0, 4.0), (1, 2.0), (2, 0.0)], "plain")], x_label="epoch", description="d")
    (line,) = elements(chart, "polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.getAttribute("points").split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.11) and y1 - y0 == pytest.approx(y2 - y1, abs=0.11)
    assert x0 < x1 and y0 < y1  # to the right, and down the page as the loss falls


def test_one_point_is_a_dot_that_tells_its_value() -> None:
    chart = line_chart([Series("val", [(1, 0.25)], "good")], x_label="epoch", description="d", y_range=(0, 1))
    (dot,) = elements(chart, "circle")
    assert dot.firstChild.firstChild.data == "val: 0.25 at 1"  # type: ignore[union-attr]


def test_reliability_bars_are_as_high_as_the_accuracy() -> None:
    chart = reliability_chart([Bin(0, 0.5, 4, 1), Bin(0.5, 1.0, 2, 2)])
    low, high = elements(chart, "rect")
    assert number(high, "height") == pytest.approx(4 * number(low, "height"), rel=0.01)
    assert number(low, "fill-opacity") == 1 > number(high, "fill-opacity")
    assert "1 of 4 right" in chart


def test_the_confidence_chart_stacks_wrong_on_right() -> None:
    right, wrong = elements(confidence_chart([Bin(0, 0.5, 0, 0), Bin(0.5, 1.0, 5, 3)]), "rect")
    assert right.getAttribute("class") == "good" and wrong.getAttribute("class") == "bad"
    assert number(right, "y") == pytest.approx(number(wrong, "y") + number(wrong, "height"), abs=0.02)
    assert 2 * number(right, "height") == pytest.approx(3 * number(wrong, "height"), rel=0.01)


def test_a_heatmap_draws_each_filled_cell_once_in_its_place() -> None:
    chart = heatmap([[3, 0, 0], [1, 1, 0], [0, 0, 2]], ["a", "<b>", "c"], description="d")
    cells = [rect for rect in elements(chart, "rect") if rect.getAttribute("class") != "frame"]
    assert [rect.getAttribute("class") for rect in cells] == ["good", "bad", "good", "good"]
    assert re.findall(r"<title>(.*?)</title>", chart)[1] == "&lt;b&gt; → a: 1 of 2"
    assert number(cells[1], "x") == number(cells[0], "x") and number(cells[1], "y") > number(cells[0], "y")
