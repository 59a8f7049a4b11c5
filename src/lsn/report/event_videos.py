"""Long videos of a report: truth and findings over time, and the events that were missed or made up."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsn.data.timelines.table import TimelineEvent
from lsn.errors import VideoError
from lsn.evaluation.timelines.event_metrics import matches
from lsn.evaluation.timelines.matching import POINT_TOLERANCE_SECONDS
from lsn.evaluation.timelines.metrics import COUNTED_OVERLAP
from lsn.report.cases import MAX_THUMBNAILS, thumbnails
from lsn.report.html import Content, Markup, join, note, tag, whole_percent
from lsn.streaming.timeline_evaluation import TimelineEvaluation
from lsn.video import open_video
from lsn.video.frame_sampler import on_screen

MAX_VIDEOS = 12
MAX_CASES = 6
FRAMES_PER_VIDEO = 48
MARGIN_SECONDS = 1.0
"""Shown of a video before and after a missed or false event."""
TRUE_TOP, FOUND_TOP, BAR = 6, 30, 20
"""Rows of a drawing, in pixels."""
MAX_TICKS = 20
_TICK_SECONDS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


@dataclass(frozen=True)
class Case:
    """A true event that was missed, or a found one that is none."""

    video: int
    event: TimelineEvent
    confidence: float
    """How sure the model was of its label, at most."""


def video_sections(evaluation: TimelineEvaluation) -> Markup:
    """Every video over time, those with most misses and false alarms first."""
    counts = [_wrong(evaluation, number) for number in range(len(evaluation.timelines))]
    order = sorted(range(len(counts)), key=lambda number: -sum(counts[number]))
    lead = (
        "Above the probability that something goes on, below it the true events and the found ones, in the colour of "
        "their label: point at them for names and times. The slider zooms, as do Ctrl and the wheel."
    )
    more = len(order) - MAX_VIDEOS
    keys = [
        tag("span", tag("i", class_="key", style=f"background:{_color(hue)};height:10px"), label)
        for label, hue in _hues(evaluation).items()
    ]
    return join(
        [
            tag("p", lead, class_="lead"),
            tag("p", keys, class_="legend"),
            [_video_card(evaluation, number, counts[number]) for number in order[:MAX_VIDEOS]],
            tag("p", f"{more} more videos, with fewer mistakes, are in events.csv.", class_="aside")
            if more > 0
            else None,
        ]
    )


def case_sections(evaluation: TimelineEvaluation) -> Markup:
    """The misses that the model had least of an idea of, and the false alarms that it was surest of."""
    missed, false = misses(evaluation), false_alarms(evaluation)
    return join(
        [
            tag("h3", "Missed, the least likely first" if missed else "No event was missed"),
            [_case_card(evaluation, case, "missed") for case in missed[:MAX_CASES]],
            tag("h3", "False alarms, the surest first" if false else "There was no false alarm"),
            [_case_card(evaluation, case, "false") for case in false[:MAX_CASES]],
        ]
    )


def misses(evaluation: TimelineEvaluation) -> list[Case]:
    """All true events that were not found, the least likely first."""
    cases = []
    for number, answers in enumerate(evaluation.answers):
        found = set(matches(answers.events, tiou=COUNTED_OVERLAP).values())
        for place, event in enumerate(answers.events.true):
            if place not in found:
                cases.append(Case(number, event, _peak(evaluation, number, event)))
    return sorted(cases, key=lambda case: case.confidence)


def false_alarms(evaluation: TimelineEvaluation) -> list[Case]:
    """All found events that match no true one, the surest first."""
    cases = []
    for number, answers in enumerate(evaluation.answers):
        right = matches(answers.events, tiou=COUNTED_OVERLAP)
        for place, event in enumerate(answers.events.found):
            if place not in right:
                cases.append(Case(number, event, event.confidence or 0.0))
    return sorted(cases, key=lambda case: -case.confidence)


def _peak(evaluation: TimelineEvaluation, number: int, event: TimelineEvent) -> float:
    """The largest probability of its label while an event goes on."""
    timeline = evaluation.timelines[number]
    seconds_T = timeline.track.seconds_T - timeline.start_seconds
    around = POINT_TOLERANCE_SECONDS if event.is_point else 1 / FRAMES_PER_VIDEO
    inside_T = (seconds_T >= event.start_seconds - around) & (seconds_T <= event.end_seconds + around)
    label = timeline.track.labels.index(event.label)
    return float(timeline.track.probabilities_TK[inside_T, label].max(initial=0.0))


def _wrong(evaluation: TimelineEvaluation, number: int) -> tuple[int, int]:
    """Missed and false events of a video."""
    events = evaluation.answers[number].events
    num_right = len(matches(events, tiou=COUNTED_OVERLAP))
    return len(events.true) - num_right, len(events.found) - num_right


def _video_card(evaluation: TimelineEvaluation, number: int, wrong: tuple[int, int]) -> Markup:
    video, timeline = evaluation.truth.videos[number], evaluation.timelines[number]
    duration = timeline.duration_seconds
    moments = [duration * (n + 0.5) / FRAMES_PER_VIDEO for n in range(FRAMES_PER_VIDEO)]
    unread: Content = None
    frames: list[tuple[float, str]] = []
    try:
        frames = [(round(s, 3), _base64(jpeg)) for s, jpeg in _frames(video.path, moments)]
    except VideoError as error:
        unread = note(f"No frames are shown, because the video cannot be read: {error}")
    frame = tag("img", alt="", src=f"data:image/jpeg;base64,{frames[0][1]}") if frames else None
    num_events = len(evaluation.answers[number].events.true)
    missed, false = wrong
    return tag(
        "article",
        tag(
            "header",
            tag("h3", Path(video.path).name),
            tag("small", f"{num_events - missed} of {num_events} events found, {false} false, {duration:.0f} s"),
            tag("input", type="range", min=1, max=20, step=0.1, value=1, aria_label="zoom"),
            tag("span", video.path, class_="path", title=video.path),
        ),
        unread,
        tag("div", _drawing(evaluation, number), class_="scroll"),
        tag("div", frame, tag("span"), class_="hover", hidden=True),
        class_="card case timeline",
        data_frames=json.dumps(frames),
        data_duration=duration,
    )


def _drawing(evaluation: TimelineEvaluation, number: int) -> Markup:
    """Truth and findings over time; horizontal places are shares of the width, so that it can be stretched."""
    timeline, events = evaluation.timelines[number], evaluation.answers[number].events
    duration, track = timeline.duration_seconds, timeline.track
    background = [label == evaluation.rules.background for label in track.labels]
    probabilities_TK = np.where(background, 0.0, track.probabilities_TK)
    going_on_T = probabilities_TK.sum(axis=1) if any(background) else probabilities_TK.max(axis=1)
    seconds_T = (track.seconds_T - timeline.start_seconds) / duration
    points = " ".join(f"{1000 * x:.1f},{1 - y:.3f}" for x, y in zip(seconds_T, going_on_T, strict=True))
    curve = tag(
        "svg",
        tag("polygon", points=f"0,1 {points} 1000,1", class_="plain", fill_opacity=0.2),
        tag("polyline", points=points, class_="line plain", vector_effect="non-scaling-stroke"),
        viewBox="0 0 1000 1", preserveAspectRatio="none", role="img", class_="curve",
        aria_label="probability that something goes on",
    )  # fmt: skip
    right = matches(events, tiou=COUNTED_OVERLAP)
    hues = _hues(evaluation)
    bars = [
        _bar(event, duration, TRUE_TOP, hues, "" if place in right.values() else "missed")
        for place, event in enumerate(events.true)
    ] + [
        _bar(event, duration, FOUND_TOP, hues, "" if place in right else "false")
        for place, event in enumerate(events.found)
    ]
    scale = [
        tag("text", f"{second:g} s", x=_share(second, duration), y=FOUND_TOP + BAR + 16, class_="tick middle")
        for second in _round_seconds(duration)
    ]
    names = [
        tag("text", name, x=2, y=top + 14, class_="tick") for name, top in (("true", TRUE_TOP), ("found", FOUND_TOP))
    ]
    rows = tag(
        "svg", bars, names, scale, role="img", class_="bars-over-time",
        aria_label=f"{len(events.true)} true and {len(events.found)} found events over {duration:.0f} seconds",
    )  # fmt: skip
    return tag("div", curve, rows, class_="stretch")


def _round_seconds(duration: float) -> list[float]:
    """At most so many moments of a video that its drawing has room for their times."""
    step = next((step for step in _TICK_SECONDS if duration / step < MAX_TICKS), duration)
    return [step * number for number in range(1, math.ceil(duration / step))]


def _hues(evaluation: TimelineEvaluation) -> dict[str, int]:
    """A colour for each label, in degrees."""
    labels = evaluation.truth.labels
    return {label: round(360 * place / len(labels)) for place, label in enumerate(labels)}


def _color(hue: int) -> str:
    return f"hsl({hue} 55% 55%)"


def _bar(event: TimelineEvent, duration: float, top: int, hues: dict[str, int], mistake: str) -> Markup:
    """An event: a bar, or a thin one for a point."""
    sure = "" if event.confidence is None else f", {whole_percent(event.confidence)} sure"
    span = (
        f"{event.start_seconds:.2f} s" if event.is_point else f"{event.start_seconds:.2f} to {event.end_seconds:.2f} s"
    )
    kind = mistake or ("true" if top == TRUE_TOP else "found")
    width = max(100 * (event.end_seconds - event.start_seconds) / duration, 0.15)
    return tag(
        "rect",
        tag("title", f"{kind}: {event.label}, {span}{sure}"),
        x=_share(event.start_seconds, duration), y=top, width=f"{width:.3f}%", height=BAR, rx=2,
        fill=_color(hues[event.label]), class_=mistake or None,
    )  # fmt: skip


def _case_card(evaluation: TimelineEvaluation, case: Case, kind: str) -> Markup:
    """A missed or false event: what was said, and its frames."""
    path, event = evaluation.truth.videos[case.video].path, case.event
    start, end = event.start_seconds - MARGIN_SECONDS, event.end_seconds + MARGIN_SECONDS
    start, end = max(0.0, start), min(evaluation.timelines[case.video].duration_seconds, end)
    moments = [start + (end - start) * (n + 0.5) / MAX_THUMBNAILS for n in range(MAX_THUMBNAILS)]
    try:
        images: Content = tag(
            "div",
            [
                tag("img", src=f"data:image/jpeg;base64,{_base64(jpeg)}", alt=f"frame at {s:.2f} s", title=f"{s:.2f} s")
                for s, jpeg in _frames(path, moments)
            ],
            class_="strip",
        )
    except VideoError as error:
        images = note(f"Not shown, because the video cannot be read: {error}")
    sure = f"its probability came to {whole_percent(case.confidence)}" if kind == "missed" else (
        f"{whole_percent(case.confidence)} sure{_meant(evaluation, case)}"
    )  # fmt: skip
    return tag(
        "article",
        tag(
            "header",
            tag("h3", tag("span", event.label, class_="good" if kind == "missed" else "bad")),
            tag("small", f"{event.start_seconds:.2f} to {event.end_seconds:.2f} s; {sure}"),
            tag("span", "/".join(Path(path).parts[-2:]), class_="path", title=path),
        ),
        tag("div", tag("div", images, class_="film"), class_="scroll"),
        class_="card case bad",
    )


def _meant(evaluation: TimelineEvaluation, case: Case) -> str:
    """What really happened at the time of a false alarm."""
    events = evaluation.answers[case.video].events.true
    others = [
        e for e in events if e.start_seconds < case.event.end_seconds and e.end_seconds > case.event.start_seconds
    ]
    return f"; what happened was {' and '.join(e.label for e in others)}" if others else "; nothing happened"


def _frames(path: str, moments: Sequence[float]) -> Iterator[tuple[float, bytes]]:
    """Small JPEG files of what is on screen at some moments, counted from the first frame."""
    with open_video(path) as video:
        start = float(video.pts_seconds[0])
        indices = on_screen(video.pts_seconds.tolist(), [start + moment for moment in moments])
        for first in range(0, len(indices), MAX_THUMBNAILS):
            part = indices[first : first + MAX_THUMBNAILS]
            shown, files = thumbnails(video, part)
            yield from zip((moments[first + place] for place in shown), files, strict=True)


def _base64(jpeg: bytes) -> str:
    return base64.b64encode(jpeg).decode("ascii")


def _share(seconds: float, duration: float) -> str:
    return f"{100 * seconds / duration:.3f}%"
