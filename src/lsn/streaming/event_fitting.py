"""Which rules find events best, tried on what a model has said of videos whose events are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from lsn.config import EventRules
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.evaluation.timelines.event_metrics import count_events, false_per_hour
from lsn.evaluation.timelines.matching import VideoEvents
from lsn.evaluation.timelines.metrics import COUNTED_OVERLAP
from lsn.streaming.found_events import known_events
from lsn.streaming.timeline import Timeline

F1_OVERLAP = 0.25
"""Overlap of the F1 that is made best."""
_ON = (0.2, 0.4, 0.6, 0.75, 0.9, 0.95)
_OFF_OVER_ON = (0.25, 0.5, 0.8)
_MIN_SECONDS = (0.0, 0.25, 0.5, 1.0, 2.0)
_SECONDS = {"merge_seconds": (0.0, 0.25, 0.5, 1.0), "split_seconds": (0.5, 1.0, 2.0, 4.0, 1000.0)}


def fit_event_rules(
    timelines: Sequence[Timeline],
    manifest: TimelineManifest,
    start: EventRules,
    *,
    background: str = "background",
    max_false_per_hour: float | None = None,
) -> EventRules:
    """The rules that find the events of some videos best: with the highest F1 at an overlap of 25%.

    Thresholds and the shortest event are tried in all combinations, then how long events merge and split, with the best
    of these. Rules are kept unless others are better, so the result is the same each time.

    Args:
        timelines: what a model has said of each video of the manifest.
        manifest: the videos and their events.
        start: rules to begin from; their background stays.
        background: its name in the manifest.
        max_false_per_hour: find as many events as possible with at most so many false ones an hour, instead.
    """

    def found(timeline: Timeline, video: TimelineVideo, rules: EventRules) -> VideoEvents:
        return known_events(video, timeline.with_rules(rules), manifest, background=background)[0]

    def score(rules: EventRules) -> tuple[float, float]:
        videos = [found(t, video, rules) for t, video in zip(timelines, manifest.videos, strict=True)]
        if max_false_per_hour is None:
            return (count_events(videos, tiou=F1_OVERLAP).f1, 0.0)
        too_many = max(0.0, false_per_hour(videos, tiou=COUNTED_OVERLAP) - max_false_per_hour)
        return (-too_many, count_events(videos, tiou=COUNTED_OVERLAP).recall)

    best, best_score = start, score(start)
    for options in (_combinations, *map(_seconds, _SECONDS)):
        for rules in options(best):
            if (new := score(rules)) > best_score:
                best, best_score = rules, new
    return best


def _combinations(rules: EventRules) -> list[EventRules]:
    return [
        replace(rules, on_threshold=on, off_threshold=on * share, min_seconds=seconds)
        for on, share, seconds in product(_ON, _OFF_OVER_ON, _MIN_SECONDS)
    ]


def _seconds(name: str) -> Callable[[EventRules], list[EventRules]]:
    def options(rules: EventRules) -> list[EventRules]:
        changes: list[dict[str, Any]] = [{name: value} for value in _SECONDS[name]]
        return [replace(rules, **change) for change in changes]

    return options
