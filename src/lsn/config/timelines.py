"""What a training on timelines makes of long videos and their events."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from lsn.config.checks import require

Format = Literal[
    "csv", "jsonl", "activitynet", "label-studio", "elan", "via", "webvtt", "frame-labels", "thumos", "e2e-spot"
]
"""Formats that timelines are written in; those that are read are recognised by their content."""


@dataclass(frozen=True)
class TimelineConfig:
    """Long videos and their events, where data.kind is timelines."""

    background: str = "background"
    """Name of the class that stands for nothing."""
    unlabelled: Literal["background", "unknown"] = "background"
    """Time without an event: background, or unknown, which is not learned from."""
    annotation_fps: float | None = None
    """Rate that frame numbers in annotations count at; null is what their file says."""
    stretch_frames: int = 128
    """Frames of the part of a video that a stream walks through, in chunks of `tbptt_frames`."""
    background_share: float = 0.3
    """Share of the stretches from anywhere; the others show an event, each label as often."""
    hard_background: float = 1.0
    """Background of videos with a high loss is drawn more often, by this power of it; 0 is off."""
    splice_prob: float = 0.0
    """Share of the stretches with a part of another video cut into them, with its event or none."""
    foreground_weight: float = 1.0
    """Weight of frames of events in the loss, beside that of background."""
    boundary_seconds: float = 0.0
    """Frames this near to the start or end of an event have the weight `boundary_weight`."""
    boundary_weight: float = 0.0
    """Weight of the frames near a boundary; 0 does not learn from them."""
    point_seconds: float = 0.5
    """Events without a duration are the right answer for so long."""
    max_false_per_hour: float | None = None
    """Fit events for at most so many false alarms; null fits them for the best F1."""

    def __post_init__(self) -> None:
        fps = self.annotation_fps
        require(fps is None or 0 < fps < math.inf, "timelines.annotation_fps", fps, "above 0")
        require(self.stretch_frames >= 1, "timelines.stretch_frames", self.stretch_frames, "at least 1")
        for name in ("background_share", "splice_prob", "boundary_weight"):
            require(0 <= getattr(self, name) <= 1, f"timelines.{name}", getattr(self, name), "in [0, 1]")
        for name in ("hard_background", "boundary_seconds"):
            require(0 <= getattr(self, name) < math.inf, f"timelines.{name}", getattr(self, name), "0 or more")
        for name in ("foreground_weight", "point_seconds"):
            require(0 < getattr(self, name) < math.inf, f"timelines.{name}", getattr(self, name), "above 0")
        wanted = self.max_false_per_hour
        require(wanted is None or 0 <= wanted < math.inf, "timelines.max_false_per_hour", wanted, "0 or more")
        require(bool(self.background.strip()), "timelines.background", self.background, "a name")
