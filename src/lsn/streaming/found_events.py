"""Events that a model has found, as events of a timeline: on the clock of the video, and where it is annotated."""

from __future__ import annotations

from collections.abc import Sequence

from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo
from lsn.evaluation.timelines.matching import POINT_TOLERANCE_SECONDS, VideoEvents
from lsn.streaming.events import Event
from lsn.streaming.timeline import Timeline

Spans = Sequence[tuple[float, float]]
"""Starts and ends in seconds, which do not overlap, in the order of time."""


def known_events(
    video: TimelineVideo, timeline: Timeline, manifest: TimelineManifest, *, background: str
) -> tuple[VideoEvents, list[Event]]:
    """The true events of a video and those found in what is annotated of it; the latter also as they were found.

    Args:
        video: of the manifest.
        timeline: what a model has said of it.
        manifest: says what unlabelled time is, and which labels are points.
        background: name of the background, which is no event.
    """
    spans, points = known_spans(video, manifest, timeline.duration_seconds), point_labels(manifest)
    pairs = [
        (each, found_event(each, timeline.start_seconds, as_point=each.label in points)) for each in timeline.events
    ]
    known = [(each, event) for each, event in pairs if is_known(event, spans)]
    true = tuple(event for event in video.events if event.label != background)
    seconds = sum(end - begin for begin, end in spans)
    return VideoEvents(true, tuple(event for _, event in known), seconds), [each for each, _ in known]


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
    """What is annotated of a video: all of it, or, where other time is unknown, the listed spans and around points."""
    if manifest.unlabelled == "background":
        return [(0.0, duration_seconds)]
    spans: list[tuple[float, float]] = []
    for event in video.events:
        around = POINT_TOLERANCE_SECONDS if event.is_point else 0.0
        start, end = max(0.0, event.start_seconds - around), min(duration_seconds, event.end_seconds + around)
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def is_known(event: TimelineEvent, spans: Spans) -> bool:
    """Whether at least half of an event lies in what is annotated."""
    inside = sum(max(0.0, min(event.end_seconds, end) - max(event.start_seconds, start)) for start, end in spans)
    if event.is_point:
        return any(start <= event.start_seconds <= end for start, end in spans)
    return inside >= 0.5 * (event.end_seconds - event.start_seconds)
