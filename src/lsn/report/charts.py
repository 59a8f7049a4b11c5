"""The drawings of the report as inline SVG: text stays text, colours come from the style sheet.

All charts share one frame: light horizontal grid, labels outside, no box. A viewBox of the size at which a
chart is shown on a small screen keeps its text readable there; on a wide screen charts stand side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lsn.report.html import Content, Markup, tag, whole_percent

WIDTH, HEIGHT = 360, 210
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 34
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a chart; `color` is a class of the style sheet."""

    name: str
    points: Sequence[Point]
    color: str
    markers: bool = False


@dataclass(frozen=True)
class Bin:
    """Videos whose confidence lies from `low` to `high`."""

    low: float
    high: float
    number: int
    right: int

    @property
    def accuracy(self) -> float:
        """Share of the videos that are right; 0 without videos."""
        return self.right / max(1, self.number)


@dataclass(frozen=True)
class Axes:
    """Maps data to the drawing area of a chart."""

    x_range: Point
    y_range: Point
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    bottom: float = BOTTOM

    def x(self, value: float) -> float:
        """Horizontal place of a value."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """Vertical place of a value."""
        low, high = self.y_range
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - TOP - self.bottom)

    def draw(
        self,
        *content: Content,
        x_ticks: Sequence[tuple[float, str]],
        y_ticks: Sequence[tuple[float, str]],
        x_label: str,
        description: str,
    ) -> Markup:
        """The chart: grid and labels with the content on top."""
        grid = [
            (
                tag(
                    "line", x1=self.left, x2=self.width - self.right, y1=self.y(value), y2=self.y(value), class_="grid"
                ),
                tag("text", text, x=self.left - 6, y=self.y(value) + 3.5, class_="tick end"),
            )
            for value, text in y_ticks
        ]
        below = [
            tag("text", text, x=self.x(value), y=self.height - self.bottom + 15, class_="tick middle")
            for value, text in x_ticks
        ]
        middle = (self.left + self.width - self.right) / 2
        label = tag("text", x_label, x=middle, y=self.height - 4.0, class_="label middle") if x_label else None
        return svg(grid, below, label, content, width=self.width, height=self.height, description=description)


def svg(*content: Content, width: float, height: float, description: str) -> Markup:
    """A drawing that scales with its column and is described to those who do not see it."""
    return tag("svg", content, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=description)


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    description: str,
    y_range: Point | None = None,
    x_text: Callable[[float], str] = "{:g}".format,
    y_text: Callable[[float], str] = "{:g}".format,
) -> Markup:
    """Lines over a common horizontal axis. At least one series must have a point.

    Args:
        series: the lines; later ones lie on top.
        x_label: name of the horizontal axis.
        description: for those who do not see the chart.
        y_range: of the vertical axis; by default from zero to a little over the largest value.
        x_text: writes the numbers of the horizontal axis.
        y_text: writes the numbers of the vertical axis.
    """
    points = [point for line in series for point in line.points]
    x_values = [x for x, _ in points]
    x_range = (min(0.0, *x_values), max(x_values)) if max(x_values) > 0 else (0.0, 1.0)
    y_ticks = ticks(*(y_range or (min(0.0, *(y for _, y in points)), max(y for _, y in points))))
    axes = Axes(x_range, y_range or (y_ticks[0], y_ticks[-1]))
    return axes.draw(
        [polyline(axes, line) for line in series],
        x_ticks=[(value, x_text(value)) for value in ticks(*x_range, inside=True)],
        y_ticks=[(value, y_text(value)) for value in y_ticks],
        x_label=x_label,
        description=description,
    )


def polyline(axes: Axes, series: Series) -> Markup:
    """The line of a series; a single point, or markers if asked for, as dots that show their value."""
    points = [(axes.x(x), axes.y(y)) for x, y in series.points]
    dots = [
        tag("circle", tag("title", f"{series.name}: {value:.4g} at {at:.4g}"), cx=x, cy=y, r=2.6, class_=series.color)
        for (x, y), (at, value) in zip(points, series.points, strict=True)
        if series.markers or len(points) == 1
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return tag("g", tag("polyline", points=path, class_=f"line {series.color}"), dots)


def reliability_chart(bins: Sequence[Bin]) -> Markup:
    """Accuracy over confidence: a bar a bin, paler the fewer videos it holds, and the diagonal."""
    axes = Axes((0.0, 1.0), (0.0, 1.0))
    largest = max(each.number for each in bins)
    bars = [
        _bar(axes, each, 0.0, each.accuracy, "good", opacity=0.25 + 0.75 * math.sqrt(each.number / largest))
        for each in bins
        if each.number
    ]
    diagonal = tag("line", x1=axes.x(0), y1=axes.y(0), x2=axes.x(1), y2=axes.y(1), class_="ideal")
    return axes.draw(
        bars,
        diagonal,
        x_ticks=_FIFTHS,
        y_ticks=_FIFTHS,
        x_label="confidence",
        description="Accuracy over confidence",
    )


def confidence_chart(bins: Sequence[Bin]) -> Markup:
    """Number of videos over confidence, the right ones below the wrong ones."""
    y_ticks = ticks(0, max(each.number for each in bins))
    axes = Axes((0.0, 1.0), (0.0, y_ticks[-1]))
    bars = [
        (_bar(axes, each, 0.0, each.right, "good"), _bar(axes, each, each.right, each.number, "bad"))
        for each in bins
        if each.number
    ]
    return axes.draw(
        bars,
        x_ticks=_FIFTHS,
        y_ticks=[(value, f"{value:g}") for value in y_ticks],
        x_label="confidence",
        description="Number of videos over confidence",
    )


_FIFTHS = [(value / 5, whole_percent(value / 5)) for value in range(6)]


def _bar(axes: Axes, each: Bin, low: float, high: float, color: str, *, opacity: float = 1.0) -> Markup | None:
    """A bar of a bin from one value to another; one of no height is drawn as a thin line if it stands on the axis."""
    if high == low and low > 0:
        return None
    text = f"confidence {whole_percent(each.low)} to {whole_percent(each.high)}: {each.right} of {each.number} right"
    return tag(
        "rect",
        tag("title", text),
        x=axes.x(each.low) + 1,
        y=min(axes.y(high), axes.y(low) - 1),
        width=axes.x(each.high) - axes.x(each.low) - 2,
        height=max(axes.y(low) - axes.y(high), 1.0),
        class_=color,
        fill_opacity=opacity,
    )


def heatmap(confusion: Sequence[Sequence[int]], labels: Sequence[str], *, description: str) -> Markup:
    """A confusion matrix of many classes: only the cells that are not empty, numbered along the sides."""
    num_classes, side, margin = len(confusion), 640, 30
    cell = (side - margin) / num_classes
    cells = []
    for row, counts in enumerate(confusion):
        total = sum(counts)
        for column, number in enumerate(counts):
            if number:
                text = f"{labels[row]} → {labels[column]}: {number} of {total}"
                cells.append(
                    tag(
                        "rect",
                        tag("title", text),
                        x=margin + column * cell,
                        y=margin + row * cell,
                        width=cell + 0.4,
                        height=cell + 0.4,
                        class_="good" if row == column else "bad",
                        fill_opacity=cell_strength(number / total),
                    )
                )
    numbers = []
    for index in range(0, num_classes, 10):
        place = margin + (index + 0.5) * cell
        numbers.append(tag("text", index, x=place, y=margin - 8, class_="tick middle"))
        numbers.append(tag("text", index, x=margin - 6, y=place + 3.5, class_="tick end"))
    frame = tag("rect", x=margin, y=margin, width=side - margin, height=side - margin, class_="frame")
    return svg(frame, cells, numbers, width=side, height=side, description=description)


def cell_strength(share: float) -> float:
    """Opacity of a cell of the confusion matrix: small shares stay visible."""
    return 0.2 + 0.8 * math.sqrt(share)


def ticks(low: float, high: float, *, inside: bool = False) -> list[float]:
    """Three to six round values over a range, the last at or beyond its end (or all `inside` it)."""
    largest = max(abs(low), abs(high))
    span = high - low if high - low > 1e-9 * largest else largest or 1.0  # nearer ones differ by rounding alone
    power = 10 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if span / (m * power) <= 5)
    last = math.floor(high / step + 1e-9) if inside else math.ceil(high / step - 1e-9)
    first = math.floor(low / step + 1e-9)
    return [round(index * step, 12) for index in range(first, max(last, first + 1) + 1)]
