"""Which windows of a file share pictures with those of another split, in nearly linear time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate

from lsn.data.clips.table import Clip

_Interval = tuple[float, float]


class Windows:
    """The windows of one file in one split.

    Two windows share pictures if they overlap in seconds or in frames. If one is in frames and the other in seconds,
    they are taken to. A whole file is both: all of its seconds and all of its frames.

    Args:
        clips: all of the same file.
    """

    def __init__(self, clips: Iterable[Clip]) -> None:
        seconds: list[_Interval] = []
        frames: list[_Interval] = []
        self._has_seconds = self._has_frames = self._has_both = False
        for clip in clips:
            in_seconds, in_frames = _units(clip)
            self._has_seconds |= in_seconds
            self._has_frames |= in_frames
            self._has_both |= in_seconds and in_frames
            if not in_frames:
                seconds.append(_seconds(clip))
            if not in_seconds:
                frames.append(_frames(clip))
        self._seconds, self._frames = _Intervals(seconds), _Intervals(frames)

    def overlap(self, clip: Clip) -> bool:
        """Whether one of the windows shares pictures with a clip of the same file."""
        in_seconds, in_frames = _units(clip)
        is_in_both = in_seconds and in_frames
        if is_in_both or self._has_both or (in_seconds and self._has_frames) or (in_frames and self._has_seconds):
            return True
        return (not in_frames and self._seconds.overlap(_seconds(clip))) or (
            not in_seconds and self._frames.overlap(_frames(clip))
        )


class _Intervals:
    """Half-open intervals, by their starts."""

    def __init__(self, intervals: list[_Interval]) -> None:
        intervals.sort()
        self._starts = [start for start, _ in intervals]
        self._latest_ends = list(accumulate((end for _, end in intervals), max))
        """Of each interval and those that start before it."""

    def overlap(self, interval: _Interval) -> bool:
        start, end = interval
        num_before_end = bisect_left(self._starts, end)
        return num_before_end > 0 and self._latest_ends[num_before_end - 1] > start


def _units(clip: Clip) -> tuple[bool, bool]:
    """Whether a window is given in seconds, and in frames."""
    in_seconds = clip.start_seconds is not None or clip.end_seconds is not None
    return in_seconds, clip.first_frame is not None or clip.last_frame is not None


def _seconds(clip: Clip) -> _Interval:
    return clip.start_seconds or 0, math.inf if clip.end_seconds is None else clip.end_seconds


def _frames(clip: Clip) -> _Interval:
    return clip.first_frame or 0, math.inf if clip.last_frame is None else clip.last_frame
