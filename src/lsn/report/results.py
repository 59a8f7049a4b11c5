"""The sections of a report that come from numbers alone: curves, confusion, classes, calibration, cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeGuard

from lsn.evaluation.metrics import NUM_BINS
from lsn.evaluation.result import EvaluationResult, PredictionRow
from lsn.models.cost import ModelCost
from lsn.report.charts import (
    Bin,
    Point,
    Series,
    cell_strength,
    confidence_chart,
    heatmap,
    line_chart,
    reliability_chart,
)
from lsn.report.html import Content, Markup, figure, note, percent, table, tag, whole_percent
from lsn.report.run import Run

LARGEST_TABLE = 40
"""Classes up to which the confusion matrix is a table with names; beyond it is a drawing."""
LARGEST_WITH_COUNTS = 25
"""Classes up to which its cells show their counts."""
LARGEST_CLASS_LIST = 40
"""Classes up to which all are listed at once; beyond, the best ones are folded."""
POINTS_A_CURVE = 60
CONFUSED_PAIRS = 8


def learning_curves(run: Run) -> Markup:
    """Loss, accuracy and learning rate over the epochs."""
    if not run.train and not run.val:
        return note("No step of training is on record (metrics.jsonl), so there are no curves to draw.")
    charts = [
        _curves(run, "Loss", "loss", "Falls on both; a gap that widens while validation rises is overfitting."),
        _curves(run, "Top-1 accuracy", "top1", "Validation is the number that counts.", fractions=True),
        _curves(run, "F1 of events", "f1.25", "At an overlap of 25%, with the rules that fit best.", fractions=True),
        _curves(run, "Learning rate", "learning_rate", "As the schedule set it, step by step."),
    ]
    missing = None if run.val else note("No validation is on record yet; only training is drawn.")
    warnings = [note(f"Epoch {epoch:.3g}: {text}.") for epoch, text in run.warnings]
    steps = f"Training points are means over neighbouring steps, at most {POINTS_A_CURVE} points a curve."
    return tag("div", missing, warnings, tag("div", charts, class_="charts"), tag("p", steps, class_="aside"))


def _curves(run: Run, title: str, key: str, caption: str, *, fractions: bool = False) -> Markup | None:
    candidates = [
        Series("training", _means(_points(run.train, key)), "plain"),
        Series("validation", _points(run.val, key), "good", markers=len(run.val) <= 30),
    ]
    series = [line for line in candidates if line.points]
    if not series:
        return None
    chart = line_chart(
        series,
        x_label="epoch",
        y_range=(0.0, 1.0) if fractions else None,
        y_text=whole_percent if fractions else "{:g}".format,
        description=f"{title} over the epochs",
    )
    return figure(chart, title=title, caption=caption, legend=[(line.color, line.name) for line in series])


def _points(records: Sequence[dict[str, Any]], key: str) -> list[Point]:
    """(epoch, value) of the records that have both as finite numbers; a loss may have become NaN."""
    name, _, part = key.partition(".")
    values = [record.get(name) for record in records]
    if part:
        values = [value.get(part) if isinstance(value, dict) else None for value in values]
    points = [(record.get("epoch"), value) for record, value in zip(records, values, strict=True)]
    return [(float(x), float(y)) for x, y in points if _is_finite(x) and _is_finite(y)]


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _means(points: list[Point]) -> list[Point]:
    """At most POINTS_A_CURVE points, each the mean of as many neighbours."""
    size = -(-len(points) // POINTS_A_CURVE) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def confusion_figures(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Markup:
    """The matrix (a table with names, or a drawing for many classes) and the pairs confused most often."""
    if len(labels) <= LARGEST_TABLE:
        matrix: Content = _matrix_table(confusion, labels)
        where = "Columns carry the numbers of the rows."
    else:
        matrix = heatmap(confusion, labels, description="Confusion matrix: true class by predicted class")
        where = "Classes are numbered in label order; point at a cell for its names."
    caption = (
        "Rows are the true classes, columns the predicted ones; the darker a cell, the larger its share of the row. "
        f"All is right when only the diagonal is coloured. {where}"
    )
    pairs = confused_pairs(confusion, labels)
    if not pairs:
        return tag("div", figure(matrix, caption=caption), note("Not one video was confused with another class."))
    rows = [(true, predicted, f"{number} of {total}") for number, total, true, predicted in pairs]
    confused = figure(
        table(("True class", "Taken for", "Videos"), rows, numeric=[2]),
        title="Confused most often",
        caption="Read: so many of the videos of the true class were given the other name.",
    )
    return tag("div", figure(matrix, caption=caption), confused, class_="matrix-and-pairs")


def confused_pairs(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> list[tuple[int, int, str, str]]:
    """The classes that are confused most often: how many videos, of how many, the true class and the predicted one."""
    pairs = (
        (number, sum(confusion[row]), labels[row], labels[column])
        for row in range(len(labels))
        for column, number in enumerate(confusion[row])
        if number and row != column
    )
    return sorted(pairs, reverse=True)[:CONFUSED_PAIRS]


def _matrix_table(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Markup:
    with_counts = len(labels) <= LARGEST_WITH_COUNTS
    head = tag(
        "tr",
        tag("th", "true ↓  predicted →"),
        (tag("th", column + 1, title=name) for column, name in enumerate(labels)),
    )
    lines = []
    for row, counts in enumerate(confusion):
        total = sum(counts)
        cells: list[Content] = [tag("th", tag("b", row + 1), " ", labels[row], title=labels[row])]
        for column, number in enumerate(counts):
            strength = cell_strength(number / total) if number else 0.0
            kind = "good" if row == column else "bad"
            cells.append(
                tag(
                    "td",
                    number if with_counts and number else None,
                    title=f"{labels[row]} → {labels[column]}: {number} of {total}",
                    class_=f"{kind} deep" if strength > 0.55 else kind,
                    style=f"--strength:{100 * strength:.0f}%",
                )
            )
        lines.append(tag("tr", cells))
    size = "" if with_counts else " small"
    return tag("div", tag("table", tag("thead", head), tag("tbody", lines), class_=f"confusion{size}"), class_="scroll")


def class_accuracy(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Markup:
    """A bar per class, the weakest first."""
    totals = [sum(row) for row in confusion]
    classes = weakest_first(confusion, labels)
    bars = [bar_row(name, accuracy, f"{right}/{total}") for accuracy, name, right, total in classes]
    shown, folded = (bars, []) if len(bars) <= LARGEST_CLASS_LIST else (bars[:20], bars[20:])
    name_width = f"--name: {max(map(len, labels)) + 1}ch"
    rest = tag(
        "details",
        tag("summary", f"The other {len(folded)} classes"),
        tag("div", folded, class_="bars", style=name_width),
    )
    empty = [name for name, total in zip(labels, totals, strict=True) if not total]
    without = note(f"Without a video, so without a bar: {', '.join(empty)}.") if empty else None
    caption = "Share of each class's videos that were recognised, with counts; the weakest classes come first."
    return tag(
        "div",
        figure(tag("div", shown, class_="bars", style=name_width), rest if folded else None, caption=caption),
        without,
    )


def weakest_first(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> list[tuple[float, str, int, int]]:
    """Accuracy, name, right videos and all videos of each class that has any."""
    totals = [sum(row) for row in confusion]
    return sorted(
        (confusion[i][i] / totals[i], labels[i], confusion[i][i], totals[i]) for i in range(len(labels)) if totals[i]
    )


def bar_row(name: str, share: float, remark: str) -> Markup:
    """A name, a bar for its share, and the figure with a remark."""
    return tag(
        "div",
        tag("span", name, title=name, class_="name"),
        tag("span", tag("i", style=f"width:{100 * share:.1f}%"), class_="track"),
        tag("span", whole_percent(share), tag("small", f" {remark}"), class_="value"),
        class_="bar-row",
    )


def calibration(evaluation: EvaluationResult) -> Markup:
    """How far the model's confidence can be trusted, in three drawings."""
    rows = evaluation.rows
    if not rows:
        return note("Not one video was evaluated, so there is no confidence to draw.")
    bins = [_bin(rows, number) for number in range(NUM_BINS)]
    error = f"Expected calibration error {percent(evaluation.metrics.calibration_error)}."
    mean = sum(row.confidence for row in rows) / len(rows)
    right = sum(row.correct for row in rows) / len(rows)
    return tag(
        "div",
        figure(
            reliability_chart(bins),
            title="Is it as right as it is sure?",
            legend=[("good", "accuracy"), ("ideal", "ideal")],
            caption=f"{error} Bars under the dashed line are overconfident. Pale bars hold few videos.",
        ),
        figure(
            confidence_chart(bins),
            title="How sure is it?",
            legend=[("good", "right"), ("bad", "wrong")],
            caption=f"On average {whole_percent(mean)} sure and {whole_percent(right)} right.",
        ),
        figure(
            line_chart(
                [Series("accuracy", _accuracy_of_surest(rows), "good")],
                x_label="share of the videos answered, surest first",
                y_range=(0.0, 1.0),
                x_text=whole_percent,
                y_text=whole_percent,
                description="Accuracy over the share of videos answered",
            ),
            title="What if it may pass?",
            legend=[("good", "accuracy")],
            caption="Accuracy if only the surest videos are answered; falls if confidence means something. "
            f"Area under the risk-coverage curve {evaluation.risk_coverage_area:.4f}; smaller is better.",
        ),
        class_="charts",
    )


def _bin(rows: Sequence[PredictionRow], number: int) -> Bin:
    """The videos of one of NUM_BINS equal parts of 0..1, closed on the left; the last one holds 1 too."""
    members = [row for row in rows if min(int(row.confidence * NUM_BINS), NUM_BINS - 1) == number]
    return Bin(number / NUM_BINS, (number + 1) / NUM_BINS, len(members), sum(row.correct for row in members))


def _accuracy_of_surest(rows: Sequence[PredictionRow]) -> list[Point]:
    """(share answered, accuracy) with the surest videos answered first; from a twentieth on, which is less jumpy."""
    ordered = sorted(rows, key=lambda row: -row.confidence)
    points, right = [], 0
    for number, row in enumerate(ordered, start=1):
        right += row.correct
        if number >= len(rows) / 20:
            points.append((number / len(rows), right / number))
    return _means(points)


def cost_table(cost: ModelCost, *, size: int, num_frames: int) -> Markup:
    """Parameters, multiply-adds, activations and state of every stage, and their sums."""
    total = cost.macs or 1
    rows: list[list[Content]] = [
        [
            stage.name,
            " × ".join(map(str, stage.output_shape)),
            f"{stage.parameters:,}",
            f"{stage.macs / 1e9:,.3f}",
            tag("span", tag("i", style=f"width:{100 * stage.macs / total:.1f}%"), class_="track"),
            _bytes(stage.activation_bytes),
            _bytes(stage.state_bytes) if stage.state_bytes else "–",
        ]
        for stage in cost.stages
    ]
    sums = [
        "",
        f"{cost.parameters:,}",
        f"{cost.macs / 1e9:,.3f}",
        "",
        _bytes(cost.activation_bytes),
        _bytes(cost.state_bytes),
    ]
    rows.append([tag("b", cell) for cell in ["total", *sums]])
    header = ("Stage", "Output a frame", "Parameters", "GMACs", "Share", "Activations", "State")
    caption = (
        f"One clip of {num_frames} frames at {size} × {size}; GMACs are 10⁹ multiply-adds; activations and state in "
        "float32. The state is all that a stream carries from one frame to the next."
    )
    return figure(table(header, rows, numeric=[2, 3, 5, 6], class_="cost"), caption=caption)


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.2f} GiB"
