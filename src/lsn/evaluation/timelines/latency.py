"""How soon an event is reported, and reported right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lsn.evaluation.timelines.event_metrics import matches
from lsn.evaluation.timelines.matching import VideoEvents


@dataclass(frozen=True)
class Latency:
    """Seconds from the start of found events; None if none was found."""

    reported_median: float | None
    """Until the event was first reported, under whatever label."""
    reported_p90: float | None
    """The same, 90th percentile."""
    right_median: float | None
    """Until it was reported with the right label, which it kept."""
    right_p90: float | None
    """The same, 90th percentile."""


@dataclass(frozen=True)
class Reported:
    """When a found event was reported."""

    number: int
    """Of the true event in its video."""
    place: int
    """Of the found event in its video."""
    seconds: float
    """When it was first reported, under whatever label."""
    right_seconds: float | None
    """When it was reported with the right label, which it kept; None if it never was."""


def reported_events(
    events: VideoEvents, reports: Sequence[tuple[float, str, int]], *, tiou: float
) -> Iterator[Reported]:
    """When each found event of a video was reported, on the clock of the events.

    Args:
        events: of the video.
        reports: seconds, label, and the place of the event among those found.
        tiou: overlap from which on a found event is a true one, if it has its label in the end.
    """
    for place, number in matches(events, tiou=tiou).items():
        said = [(seconds, label) for seconds, label, of in reports if of == place]
        if said:
            label = events.true[number].label
            after_wrong = 1 + max((n for n, (_, name) in enumerate(said) if name != label), default=-1)
            right = said[after_wrong][0] if after_wrong < len(said) else None
            yield Reported(number, place, said[0][0], right)


def measure_latency(videos: Sequence[tuple[VideoEvents, Sequence[tuple[float, str, int]]]], *, tiou: float) -> Latency:
    """How long after their start events were reported.

    Args:
        videos: events and reports, as of `reported_events`.
        tiou: likewise.
    """
    reported, right = [], []
    for events, reports in videos:
        for each in reported_events(events, reports, tiou=tiou):
            start = events.true[each.number].start_seconds
            reported.append(each.seconds - start)
            if each.right_seconds is not None:
                right.append(each.right_seconds - start)
    return Latency(*_of(reported), *_of(right))


def _of(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Median and 90th percentile."""
    return (float(np.median(seconds)), float(np.percentile(seconds, 90))) if seconds else (None, None)
