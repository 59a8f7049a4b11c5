"""Timelines in numbers, for `lsn data show`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lsn.data.clips.describe import Spread, spread
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.errors import VideoError
from lsn.hardware import usable_cores
from lsn.video import open_video


@dataclass(frozen=True)
class LabelDescription:
    """The events of one label."""

    num_events: int
    num_points: int
    """Those among them that have no duration."""
    duration_seconds: Spread | None
    """Of the others; None if there are none."""


@dataclass(frozen=True)
class TimelinesDescription:
    """Timelines in numbers."""

    of_label: dict[str, LabelDescription]
    """In label order."""
    num_videos: int
    num_empty: int
    """Videos without an event."""
    duration_seconds: dict[str, float]
    """Of the videos that could be opened, by path."""
    share_without_events: float
    """Of the time of these videos; points take none."""
    unreadable: tuple[tuple[str, str], ...]
    """Where the others are listed, and why they cannot be opened."""


def describe_timelines(
    manifest: TimelineManifest, *, progress: Callable[[int, int], None] | None = None
) -> TimelinesDescription:
    """Counts the events of each label and opens every video for its duration.

    Args:
        manifest: the timelines.
        progress: called with the videos opened and their number.
    """
    durations: dict[str, float] = {}
    unreadable = []
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # decoders release the interpreter's lock
        for number, (video, found) in enumerate(
            zip(manifest.videos, pool.map(_duration, manifest.videos), strict=True), start=1
        ):
            if isinstance(found, float):
                durations[video.path] = found
            else:
                unreadable.append((video.where, found))
            if progress is not None:
                progress(number, len(manifest))
    opened = [video for video in manifest.videos if video.path in durations]
    total = sum(durations.values())
    covered = sum(_covered_seconds(video, durations[video.path]) for video in opened)
    return TimelinesDescription(
        of_label={label: _of_label(manifest, label) for label in manifest.labels},
        num_videos=len(manifest),
        num_empty=sum(not video.events for video in manifest.videos),
        duration_seconds=durations,
        share_without_events=1 - covered / total if total else 0.0,
        unreadable=tuple(unreadable),
    )


def _duration(video: TimelineVideo) -> float | str:
    """Seconds of a video, or why it cannot be opened."""
    try:
        with open_video(video.path) as reader:
            return reader.info.duration_seconds
    except VideoError as error:
        return str(error)


def _covered_seconds(video: TimelineVideo, duration_seconds: float) -> float:
    """Seconds with an event, or several."""
    covered = end = 0.0
    for event in video.events:
        until = min(event.end_seconds, duration_seconds)
        covered += max(0.0, until - max(end, event.start_seconds))
        end = max(end, until)
    return covered


def _of_label(manifest: TimelineManifest, label: str) -> LabelDescription:
    events = [event for video in manifest.videos for event in video.events if event.label == label]
    durations = [event.end_seconds - event.start_seconds for event in events if not event.is_point]
    return LabelDescription(len(events), len(events) - len(durations), spread(durations) if durations else None)
