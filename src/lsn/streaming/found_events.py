"""Events that a model has found, as events of a timeline: on the clock of the video, and where it is annotated."""

from __future__ import annotations

from collections.abc import Sequence

from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.streaming.events import Event

Spans = Sequence[tuple[float, float]]
"""Starts and ends in seconds, which do not overlap, in the order of time."""


def found_event(event: Event, start_seconds: float, *, as_point: bool = False) -> TimelineEvent:
    """An event, or the point of its peak, with times that count from the first frame, shown at `start_seconds`."""
    times = (event.peak_seconds, event.peak_seconds) if as_point else (event.start_seconds, event.end_seconds)
    start, end = (max(0.0, seconds - start_seconds) for seconds in times)
    return TimelineEvent(event.label, start, end, min(1.0, event.confidence))


def point_labels(manifest: TimelineManifest) -> frozenset[str]:
    """Labels all of whose events are points."""
    spans = {event.label for video in manifest.videos for event in video.events if not event.is_point}
    return frozenset(event.label for video in manifest.videos for event in video.events) - spans


def known_spans(video: TimelineVideo, manifest: TimelineManifest, duration_seconds: float) -> Spans:
    """What is annotated of a video: all of it, or, where other time is unknown, the listed spans."""
    if manifest.unlabelled == "background":
        return [(0.0, duration_seconds)]
    spans: list[tuple[float, float]] = []
    for event in video.events:
        if spans and event.start_seconds <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], event.end_seconds))
        else:
            spans.append((event.start_seconds, event.end_seconds))
    return spans


def is_known(event: TimelineEvent, spans: Spans) -> bool:
    """Whether at least half of an event lies in what is annotated."""
    inside = sum(max(0.0, min(event.end_seconds, end) - max(event.start_seconds, start)) for start, end in spans)
    if event.is_point:
        return any(start <= event.start_seconds <= end for start, end in spans)
    return inside >= 0.5 * (event.end_seconds - event.start_seconds)
