"""Metrics of events: detection, spotting, segmentation, and what people count.

Each takes the true and the found events of all videos and is computed in seconds, not in frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from lsn.data.timelines.table import TimelineEvent
from lsn.evaluation.timelines.matching import (
    VideoEvents,
    average_precision_of_events,
    mean_over_labels,
    overlap,
)


def detection_map(videos: Sequence[VideoEvents], *, tiou: float) -> float:
    """Mean average precision of temporal action detection at a temporal intersection over union, 0..1.

    Source:
        Heilbron et al., ActivityNet, CVPR 2015, and its evaluation code.
    """
    measure = partial(average_precision_of_events, videos, nearness=overlap, least=tiou)
    return mean_over_labels(videos, measure)


def spotting_map(videos: Sequence[VideoEvents], *, tolerance_seconds: float) -> float:
    """Mean average precision of action spotting, 0..1: of an event only its start counts.

    Source:
        Hong et al., Spotting temporally precise, fine-grained events in video, ECCV 2022.
    """

    def nearness(found: TimelineEvent, true: TimelineEvent) -> float:
        return -abs(found.start_seconds - true.start_seconds)

    least = -tolerance_seconds - 1e-9  # times are sums of binary fractions
    measure = partial(average_precision_of_events, videos, nearness=nearness, least=least)
    return mean_over_labels(videos, measure)


@dataclass(frozen=True)
class EventCounts:
    """How many events are found."""

    found: int
    """True events that a found event of their label overlaps enough."""
    missed: int
    """The other true events."""
    false: int
    """Found events that match none."""

    @property
    def precision(self) -> float:
        """Share of the found events that are right, 0..1; 0 if there are none."""
        return self.found / (self.found + self.false) if self.found + self.false else 0.0

    @property
    def recall(self) -> float:
        """Share of the true events that are found, 0..1; 0 if there are none."""
        return self.found / (self.found + self.missed) if self.found + self.missed else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0..1."""
        total = 2 * self.found + self.false + self.missed
        return 2 * self.found / total if total else 0.0


def count_events(videos: Sequence[VideoEvents], *, tiou: float) -> EventCounts:
    """Found, missed and false events, as `matches` has them; `f1` is the F1@{100 tiou} of action segmentation.

    Source:
        Lea et al., Temporal convolutional networks for action segmentation and detection, CVPR 2017.
    """
    found = sum(len(matches(video, tiou=tiou)) for video in videos)
    num_true, num_found = sum(len(video.true) for video in videos), sum(len(video.found) for video in videos)
    return EventCounts(found, num_true - found, num_found - found)


def matches(video: VideoEvents, *, tiou: float) -> dict[int, int]:
    """Which found event is which true one, by their places.

    The found events are taken in the order of their starts. Each looks at the true event of its label that it overlaps
    most; it is right if that is enough and the true event is not taken yet.
    """
    matched: dict[int, int] = {}
    for place in sorted(range(len(video.found)), key=lambda place: video.found[place].start_seconds):
        event = video.found[place]
        overlaps = [overlap(event, true) if event.label == true.label else 0.0 for true in video.true]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= tiou and best not in matched.values():
            matched[place] = best
    return matched


def edit_score(videos: Sequence[VideoEvents]) -> float:
    """How alike the orders of the true and the found labels are, 0..1, as the mean over the videos with any event.

    One minus the edit distance of the two sequences over the length of the longer one; NaN without an event.

    Source:
        Lea et al., Segmental spatiotemporal CNNs for fine-grained action segmentation, ECCV 2016.
    """
    scores = []
    for video in videos:
        true, found = ([event.label for event in events] for events in (video.true, video.found))
        if true or found:
            scores.append(1 - _edit_distance(true, found) / max(len(true), len(found)))
    return float(np.mean(scores)) if scores else float("nan")


def false_per_hour(videos: Sequence[VideoEvents], *, tiou: float) -> float:
    """Found events that match no true one, per hour of video."""
    hours = sum(video.seconds for video in videos) / 3600
    return count_events(videos, tiou=tiou).false / hours if hours else float("nan")


def _edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Insertions, deletions and replacements that make one sequence of the other (Levenshtein)."""
    row = np.arange(len(other) + 1)
    for i, label in enumerate(one, start=1):
        before, row = row, np.empty_like(row)
        row[0] = i
        for j, same in enumerate(other, start=1):
            row[j] = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (label != same))
    return int(row[-1])
