"""The figures of a report on long videos: how many events are found, how surely, and how soon."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lsn.evaluation.timelines.event_metrics import count_events, false_per_hour, matches
from lsn.evaluation.timelines.latency import Reported, reported_events
from lsn.evaluation.timelines.metrics import COUNTED_OVERLAP
from lsn.report.charts import Point, Series, line_chart
from lsn.report.html import Markup, count, figure, join, note, percent, table, tag, whole_percent
from lsn.streaming.found_events import known_events
from lsn.streaming.timeline_evaluation import TimelineEvaluation

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""From which on something is an event, for the curve of false alarms."""


def event_summary(model_name: str, evaluation: TimelineEvaluation) -> Markup:
    """The line that stays in sight."""
    metrics = evaluation.metrics
    figures = [
        tag("span", "F1@25 ", tag("b", percent(metrics.f1["25"]))),
        tag("span", "found ", tag("b", f"{metrics.found} of {metrics.num_events}"), class_="minor"),
        tag("span", "videos ", tag("b", f"{metrics.num_videos:,}")),
    ]
    return join([tag("h1", model_name), tag("div", figures, class_="figures")])


def event_tiles(evaluation: TimelineEvaluation) -> list[tuple[str, str, str]]:
    """Name, value and remark of each figure that counts."""
    metrics, latency = evaluation.metrics, evaluation.metrics.latency
    f1 = metrics.f1
    soon = "–" if latency.reported_median is None else f"{latency.reported_median:.2f} s"
    right = "" if latency.right_median is None else f"; with the right label {latency.right_median:.2f} s"
    return [
        ("F1 at 25% overlap", percent(f1["25"]), f"{percent(f1['10'])} at 10%, {percent(f1['50'])} at 50%"),
        ("Events found", f"{metrics.found} of {metrics.num_events}", f"{metrics.missed} missed"),
        ("False alarms", f"{_number(metrics.false_per_hour)} an hour", f"{metrics.false} in {_length(metrics.hours)}"),
        ("Reported after", soon, f"median from the start of an event{right}"),
        (
            "Mean average precision",
            percent(metrics.detection_map["mean"]),
            f"of events, overlap 30 to 70%; {percent(metrics.calibrated_frame_map)} of frames, calibrated",
        ),
    ]


def event_charts(evaluation: TimelineEvaluation) -> Markup:
    """Precision over recall, events found over false alarms, and how soon events are reported."""
    charts = [_precision_chart(evaluation), _false_alarm_chart(evaluation), _latency_chart(evaluation)]
    rules = evaluation.rules
    lead = (
        f"Events start at a probability of {rules.on_threshold:.2f}, end at {rules.off_threshold:.2f} after "
        f"{rules.merge_seconds:g} s below, and last {rules.min_seconds:g} s or more. A found event counts from an "
        f"overlap of {whole_percent(COUNTED_OVERLAP)} with a true one of its label."
    )
    return join([tag("p", lead, class_="lead"), tag("div", charts, class_="charts")])


def precision_points(evaluation: TimelineEvaluation) -> list[Point]:
    """Recall and precision of the surest found events, for each number of them."""
    ranked: list[tuple[float, bool]] = []
    for answers in evaluation.answers:
        right = matches(answers.events, tiou=COUNTED_OVERLAP)
        ranked += [(event.confidence or 0.0, place in right) for place, event in enumerate(answers.events.found)]
    ranked.sort(key=lambda pair: -pair[0])
    num_true, num_right, points = evaluation.metrics.num_events, 0, []
    for number, (_, is_right) in enumerate(ranked, start=1):
        num_right += is_right
        points.append((num_right / max(1, num_true), num_right / number))
    return points


def false_alarm_points(evaluation: TimelineEvaluation) -> list[Point]:
    """False alarms an hour and the share of events that are found, by the threshold from which on events start."""
    rules, truth, points = evaluation.rules, evaluation.truth, []
    for threshold in THRESHOLDS:
        low = threshold * rules.off_threshold / rules.on_threshold
        changed = replace(rules, on_threshold=threshold, off_threshold=low)
        videos = [
            known_events(video, timeline.with_rules(changed), truth, background=evaluation.background)[0]
            for video, timeline in zip(truth.videos, evaluation.timelines, strict=True)
        ]
        found = count_events(videos, tiou=COUNTED_OVERLAP).recall
        points.append((false_per_hour(videos, tiou=COUNTED_OVERLAP), found))
    return sorted(points)


def latencies(evaluation: TimelineEvaluation) -> Iterator[tuple[int, Reported]]:
    """Number of the video and times of each found event."""
    for number, answers in enumerate(evaluation.answers):
        for reported in reported_events(answers.events, answers.reports, tiou=COUNTED_OVERLAP):
            yield number, reported


def latency_table(evaluation: TimelineEvaluation) -> Markup:
    """When each found event was reported."""
    rows = []
    for number, reported in latencies(evaluation):
        event = evaluation.answers[number].events.true[reported.number]
        right = "–" if reported.right_seconds is None else f"{reported.right_seconds - event.start_seconds:.2f}"
        span = f"{event.start_seconds:.2f} to {event.end_seconds:.2f}"
        name = Path(evaluation.truth.videos[number].path).name
        rows.append((name, event.label, span, f"{reported.seconds - event.start_seconds:.2f}", right))
    if not rows:
        return note("No event was found, so none was reported.")
    header = ("Video", "Event", "From when to when, s", "Reported after, s", "With the right label after, s")
    summary = tag("summary", f"When each of {count(len(rows), 'found event')} was reported")
    return tag("details", summary, table(header, rows, numeric=(3, 4), class_="wide"), class_="card")


def _precision_chart(evaluation: TimelineEvaluation) -> Markup | None:
    points = precision_points(evaluation)
    if not points:
        return None
    chart = line_chart(
        [Series("found events", points, "good")],
        x_label="recall",
        x_text=whole_percent,
        y_range=(0.0, 1.0),
        y_text=whole_percent,
        description="Precision over recall of found events",
    )
    return figure(chart, title="Precision and recall", caption="Of the found events, the surest first.")


def _false_alarm_chart(evaluation: TimelineEvaluation) -> Markup:
    metrics = evaluation.metrics
    here = [(metrics.false_per_hour, metrics.found / max(1, metrics.num_events))]
    chart = line_chart(
        [
            Series("any threshold", false_alarm_points(evaluation), "plain"),
            Series("as it is", here, "good", markers=True),
        ],
        x_label="false alarms an hour",
        y_range=(0.0, 1.0),
        y_text=whole_percent,
        description="Share of events found over false alarms an hour",
    )
    legend = [("plain", "any threshold"), ("good", "as it is")]
    caption = "How many events are found at how many false alarms, as the threshold from which events start is moved."
    return figure(chart, title="Found against false alarms", caption=caption, legend=legend)


def _latency_chart(evaluation: TimelineEvaluation) -> Markup | None:
    first, right = [], []
    for number, reported in latencies(evaluation):
        start = evaluation.answers[number].events.true[reported.number].start_seconds
        first.append(reported.seconds - start)
        if reported.right_seconds is not None:
            right.append(reported.right_seconds - start)
    if not first:
        return None
    chart = line_chart(
        [Series("reported", _shares(first, len(first)), "plain"), Series("right", _shares(right, len(first)), "good")]
        if right
        else [Series("reported", _shares(first, len(first)), "plain")],
        x_label="seconds from the start of the event",
        y_range=(0.0, 1.0),
        y_text=whole_percent,
        description="Share of found events that are reported over time",
    )
    legend = [("plain", "reported, under whatever label"), ("good", "with the label that it kept")]
    return figure(
        chart, title="How soon", caption="Share of the found events that are reported by then.", legend=legend
    )


def _shares(seconds: Sequence[float], total: int) -> list[Point]:
    """Seconds, and the share of all that have come by then; before the start counts as at it."""
    return [(max(0.0, value), (number + 1) / total) for number, value in enumerate(sorted(seconds))]


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def _length(hours: float) -> str:
    return f"{60 * hours:.1f} minutes" if hours < 2 else f"{hours:.1f} hours"
