"""What a model is to answer at each frame of a video, and how much the answer counts.

Shapes: T frames, K classes: the background and the labels of the events, or the labels alone if they may overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.video.frame_sampler import SAME_TIME_SECONDS

BACKGROUND = 0
"""Number of the background among the classes."""


@dataclass(frozen=True, eq=False)
class FrameTargets:
    """The right answers for some frames."""

    classes_T: np.ndarray
    """int64: the class, 0 for the background; without meaning where `classes_TK` is there."""
    weights_T: np.ndarray
    """float32: how much the frame counts; 0 is not at all."""
    classes_TK: np.ndarray | None = None
    """float32, of events that may overlap: 1 for each class that goes on."""


@dataclass(frozen=True)
class TargetRules:
    """How events become answers for frames."""

    multi_label: bool = False
    """Events may overlap: a yes or no for each label, and no class for the background."""
    foreground_weight: float = 1.0
    """How much a frame of an event counts, beside one of the background."""
    boundary_seconds: float = 0.0
    """Around the start and the end of an event, where people do not agree on the frame."""
    boundary_weight: float = 0.0
    """How much a frame counts so near to a boundary, beside others."""
    point_seconds: float = 0.5
    """For so long after a point it is the answer; a model that sees the past alone cannot know it before."""


def frame_targets(
    video: TimelineVideo, seconds_T: np.ndarray, manifest: TimelineManifest, rules: TargetRules, *, background: str
) -> FrameTargets:
    """The answers at some moments of a video.

    Args:
        video: of the manifest; where its events overlap and may not, the last one counts, so check it before.
        seconds_T: moments, counted from the first frame.
        manifest: gives the labels, and what time without an event is.
        rules: how events become answers.
        background: name of the background; listed spans of it are background where other time is unknown.
    """
    labels = [label for label in manifest.labels if label != background]
    number_of = {label: number for number, label in enumerate(labels)}
    classes_T = np.full(len(seconds_T), BACKGROUND, dtype=np.int64)
    classes_TK = np.zeros((len(seconds_T), len(labels)), dtype=np.float32)
    is_known_T = np.full(len(seconds_T), manifest.unlabelled == "background")
    is_event_T = np.zeros(len(seconds_T), dtype=bool)
    is_near_boundary_T = np.zeros(len(seconds_T), dtype=bool)
    around = rules.boundary_seconds + SAME_TIME_SECONDS
    earliest, latest = seconds_T[0] - around, seconds_T[-1] + around
    for event in video.events:
        end_seconds = event.start_seconds + rules.point_seconds if event.is_point else event.end_seconds
        if end_seconds < earliest or event.start_seconds > latest:
            continue
        inside_T = _between(seconds_T, event.start_seconds, end_seconds)
        is_known_T |= inside_T
        if event.label == background:
            continue
        classes_T[inside_T] = 1 + number_of[event.label]
        classes_TK[inside_T, number_of[event.label]] = 1
        is_event_T |= inside_T
        for boundary in () if event.is_point else (event.start_seconds, end_seconds):
            is_near_boundary_T |= np.abs(seconds_T - boundary) < rules.boundary_seconds - SAME_TIME_SECONDS
    weights_T = np.where(is_event_T, rules.foreground_weight, 1.0)
    weights_T[is_near_boundary_T] *= rules.boundary_weight
    weights_T[~is_known_T] = 0.0
    return FrameTargets(classes_T, weights_T.astype(np.float32), classes_TK if rules.multi_label else None)


def _between(seconds_T: np.ndarray, start_seconds: float, end_seconds: float) -> np.ndarray:
    later_T = seconds_T >= start_seconds - SAME_TIME_SECONDS
    return later_T & (seconds_T < end_seconds - SAME_TIME_SECONDS)
