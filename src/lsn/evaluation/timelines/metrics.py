"""All metrics of a model on long videos, as one record.

Shapes: T frames, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lsn.evaluation.timelines.event_metrics import (
    count_events,
    detection_map,
    edit_score,
    false_per_hour,
    spotting_map,
)
from lsn.evaluation.timelines.frame_metrics import mean_average_precision
from lsn.evaluation.timelines.latency import Latency, measure_latency
from lsn.evaluation.timelines.matching import VideoEvents

F1_OVERLAPS = (0.1, 0.25, 0.5)
DETECTION_OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
SPOTTING_TOLERANCES_SECONDS = (0.25, 0.5, 1.0, 2.0)
COUNTED_OVERLAP = 0.1
"""Overlap with a true event from which on a found one counts as found."""


@dataclass(frozen=True, eq=False)
class VideoAnswers:
    """What a model has said of a video, and what is true."""

    events: VideoEvents
    """Events, true and found."""
    reports: tuple[tuple[float, str, int], ...]
    """What was reported when: seconds, label, and the place of the event among those found; in the order of time."""
    is_true_TK: np.ndarray
    """bool: the labels of each frame that counts."""
    scores_TK: np.ndarray
    """How sure the model is of each label."""


@dataclass(frozen=True)
class TimelineMetrics:
    """What one evaluation on long videos measured; shares lie in 0..1 and are NaN where nothing can be measured."""

    num_videos: int
    hours: float
    num_events: int
    frame_map: float
    """Mean average precision over frames, of online action detection."""
    calibrated_frame_map: float
    """The same, as if half of the frames were of each label."""
    f1: dict[str, float]
    """F1 of segments by their overlap in percent: `10`, `25`, `50`."""
    edit: float
    """How alike the orders of the labels are."""
    detection_map: dict[str, float]
    """Mean average precision of events by their overlap in percent, and the mean of these as `mean`."""
    spotting_map: dict[str, float]
    """Mean average precision of the starts of events by their tolerance in seconds."""
    found: int
    """True events that are found with their label."""
    missed: int
    false: int
    """Found events that match none."""
    false_per_hour: float
    latency: Latency
    """How long after their start found events were reported."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON; what is not a number is None."""
        return _plain(asdict(self))


def measure_timelines(videos: Sequence[VideoAnswers]) -> TimelineMetrics:
    """All metrics of at least one video; `TimelineMetrics` says what each is."""
    events = [video.events for video in videos]
    is_true_TK = np.concatenate([video.is_true_TK for video in videos])
    scores_TK = np.concatenate([video.scores_TK for video in videos])
    detection = {f"{100 * tiou:.0f}": detection_map(events, tiou=tiou) for tiou in DETECTION_OVERLAPS}
    counts = count_events(events, tiou=COUNTED_OVERLAP)
    return TimelineMetrics(
        num_videos=len(videos),
        hours=sum(video.seconds for video in events) / 3600,
        num_events=sum(len(video.true) for video in events),
        frame_map=mean_average_precision(is_true_TK, scores_TK),
        calibrated_frame_map=mean_average_precision(is_true_TK, scores_TK, calibrated=True),
        f1={f"{100 * tiou:.0f}": count_events(events, tiou=tiou).f1 for tiou in F1_OVERLAPS},
        edit=edit_score(events),
        detection_map=detection | {"mean": float(np.mean(list(detection.values())))},
        spotting_map={
            f"{seconds:g}": spotting_map(events, tolerance_seconds=seconds) for seconds in SPOTTING_TOLERANCES_SECONDS
        },
        found=counts.found,
        missed=counts.missed,
        false=counts.false,
        false_per_hour=false_per_hour(events, tiou=COUNTED_OVERLAP),
        latency=measure_latency([(video.events, video.reports) for video in videos], tiou=COUNTED_OVERLAP),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
