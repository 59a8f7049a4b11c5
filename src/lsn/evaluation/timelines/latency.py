"""How soon an event is reported, and reported right."""

from __future__ import annotations

from collections.abc import Sequence
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


def measure_latency(videos: Sequence[tuple[VideoEvents, Sequence[tuple[float, str, int]]]], *, tiou: float) -> Latency:
    """How long after their start events were reported.

    Args:
        videos: events, and what was reported when: seconds, label, and the place of the event among those found.
        tiou: overlap from which on a found event is a true one, if it has its label in the end.
    """
    reported, right = [], []
    for events, reports in videos:
        for place, number in matches(events, tiou=tiou).items():
            true = events.true[number]
            said = [(seconds, label) for seconds, label, of in reports if of == place]
            if not said:
                continue
            last_wrong = max((n for n, (_, label) in enumerate(said) if label != true.label), default=-1)
            reported.append(said[0][0] - true.start_seconds)
            if last_wrong + 1 < len(said):
                right.append(said[last_wrong + 1][0] - true.start_seconds)
    return Latency(*_of(reported), *_of(right))


def _of(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Median and 90th percentile."""
    return (float(np.median(seconds)), float(np.percentile(seconds, 90))) if seconds else (None, None)
