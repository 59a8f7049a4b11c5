"""Which found event is which true one: overlaps, matches one to one, and the precision of ranked events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lsn.data.timelines.table import TimelineEvent

POINT_TOLERANCE_SECONDS = 1.0
"""Within which two points are taken for the same."""


@dataclass(frozen=True)
class VideoEvents:
    """The events of one video: what happens in it, and what a model has found."""

    true: tuple[TimelineEvent, ...]
    found: tuple[TimelineEvent, ...]
    seconds: float
    """Duration of what is annotated of the video."""


def overlap(one: TimelineEvent, other: TimelineEvent) -> float:
    """Temporal intersection over union of two events, 0..1; of points, 1 within `POINT_TOLERANCE_SECONDS`, else 0."""
    if one.is_point and other.is_point:
        return float(abs(one.start_seconds - other.start_seconds) <= POINT_TOLERANCE_SECONDS)
    intersection = min(one.end_seconds, other.end_seconds) - max(one.start_seconds, other.start_seconds)
    union = max(one.end_seconds, other.end_seconds) - min(one.start_seconds, other.start_seconds)
    return max(0.0, intersection) / union


def average_precision_of_events(
    videos: Sequence[VideoEvents],
    label: str,
    nearness: Callable[[TimelineEvent, TimelineEvent], float],
    *,
    least: float,
) -> float:
    """Area under the interpolated precision-recall curve of one label, 0..1.

    The found events of all videos are taken by their confidence. Each is right if a true event of its video is near
    enough that no surer one has taken; of several it takes the nearest. The precision at a recall is the highest at
    that recall or a higher one.

    Args:
        videos: the events.
        label: which of them.
        nearness: how near a found event is to a true one; higher is nearer.
        least: nearness that is near enough.

    Returns:
        The average precision; NaN without a true event of the label.
    """
    true = {index: [event for event in video.true if event.label == label] for index, video in enumerate(videos)}
    num_true = sum(map(len, true.values()))
    if not num_true:
        return float("nan")
    ranked = sorted(
        ((index, event) for index, video in enumerate(videos) for event in video.found if event.label == label),
        key=lambda each: -(each[1].confidence or 0.0),
    )
    is_right = _right(ranked, true, nearness, least)
    hits = np.cumsum(is_right)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[is_right].sum() / num_true)


def _right(
    ranked: Sequence[tuple[int, TimelineEvent]],
    true: Mapping[int, Sequence[TimelineEvent]],
    nearness: Callable[[TimelineEvent, TimelineEvent], float],
    least: float,
) -> np.ndarray:
    """Whether each found event, the surest first, gets a true event of its own."""
    taken: set[tuple[int, int]] = set()
    is_right = np.zeros(len(ranked), dtype=bool)
    for place, (index, event) in enumerate(ranked):
        near = [
            (nearness(event, other), number) for number, other in enumerate(true[index]) if (index, number) not in taken
        ]
        best = max(near, default=(-np.inf, 0), key=lambda pair: pair[0])
        if best[0] >= least:
            taken.add((index, best[1]))
            is_right[place] = True
    return is_right


def mean_over_labels(videos: Sequence[VideoEvents], measure: Callable[[str], float]) -> float:
    """The mean of a measure over the labels that occur; NaN if none does."""
    labels = sorted({event.label for video in videos for event in video.true})
    return float(np.mean([measure(label) for label in labels])) if labels else float("nan")
