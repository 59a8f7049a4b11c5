"""The table of long videos and their events that everything reads from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Unlabelled = Literal["background", "unknown"]
"""What time without an event is: nothing happens (the video is annotated throughout), or nobody has looked."""


@dataclass(frozen=True, slots=True)
class TimelineEvent:
    """Something that happens in a video; its times count from the first frame."""

    label: str
    start_seconds: float
    end_seconds: float
    """The same as the start for a point, such as a hit or a splash."""
    confidence: float | None = None
    """0..1, of an event that a model has found; None of one that a person has listed."""
    line: int = 0
    """Line of the file that lists it, counted from 1; 0 if its format has no lines."""

    @property
    def is_point(self) -> bool:
        """Whether it has a time, but no duration."""
        return self.start_seconds == self.end_seconds

    def __str__(self) -> str:
        span = "" if self.is_point else f" to {self.end_seconds:.6g}"
        return f"{self.label!r} at {self.start_seconds:.6g}{span} s"


@dataclass(frozen=True, slots=True)
class TimelineVideo:
    """A video and its events."""

    path: str
    """Usable as it is: absolute, or relative to the working directory."""
    events: tuple[TimelineEvent, ...]
    """By their starts; may be empty."""
    group: str = ""
    """Source of the video, such as a place or a person; empty if unknown."""
    subset: str = ""
    """Name of the split that the file puts it in; empty if it has none."""
    where: str = ""
    """Where it is listed, for messages: `train.csv line 3`."""

    @property
    def file(self) -> str:
        """The path as absolute, however it is written; links are not followed."""
        return os.path.abspath(self.path)  # noqa: PTH100 - as for clips


@dataclass(frozen=True)
class TimelineManifest:
    """Long videos, and the order of the labels of their events."""

    source: str
    """File or folder that lists them."""
    labels: tuple[str, ...]
    """Of events; the background is none of them."""
    videos: tuple[TimelineVideo, ...]
    unlabelled: Unlabelled = "background"

    def __len__(self) -> int:
        return len(self.videos)

    def num_events(self) -> Counter[str]:
        """Events of each label."""
        return Counter(event.label for video in self.videos for event in video.events)


def in_order(events: Iterable[TimelineEvent]) -> tuple[TimelineEvent, ...]:
    """The events by their starts, ends and labels."""
    return tuple(sorted(events, key=lambda event: (event.start_seconds, event.end_seconds, event.label)))
