"""From frame numbers to seconds and back, by the timestamps of the file or at a rate."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from lsn.errors import DataError
from lsn.video import open_video

RATE_TOLERANCE = 5e-4
"""Rates that differ by less than this share are the same: 29.97 and 30000/1001, but not 24 and 23.976."""
_TIME_TOLERANCE_SECONDS = 0.002  # containers round times to milliseconds
_EVEN = 0.1  # share of the longest interval by which those of an even rate may differ


class FrameTimes:
    """When each frame of a video is on screen, in seconds from the first.

    Args:
        starts: when each frame comes on screen, ascending, the first at 0.
        end_seconds: when the last one goes.
    """

    def __init__(self, starts: Sequence[float], end_seconds: float) -> None:
        self.starts, self.end_seconds = list(starts), end_seconds

    @property
    def num_frames(self) -> int:
        """Frames of the video."""
        return len(self.starts)

    @property
    def fps(self) -> float:
        """Frames per second, on average."""
        return (self.num_frames - 1) / self.starts[-1] if self.num_frames > 1 else 1 / self.end_seconds

    @property
    def is_even(self) -> bool:
        """Whether all frames are on screen for as long."""
        gaps = [later - earlier for earlier, later in pairwise(self.starts)]
        return not gaps or max(gaps) - min(gaps) <= max(_EVEN * max(gaps), _TIME_TOLERANCE_SECONDS)

    def has_rate(self, fps: float) -> bool:
        """Whether frames counted at a rate are those of the video."""
        return abs(fps / self.fps - 1) <= max(RATE_TOLERANCE, _TIME_TOLERANCE_SECONDS / self.end_seconds)

    def start_of(self, frame: int) -> float:
        """When a frame comes on screen; the one behind the last, when that goes.

        Raises:
            ValueError: the video ends before.
        """
        if frame > self.num_frames:
            raise ValueError(f"frame {frame} of a video that has {self.num_frames}")
        return self.starts[frame] if frame < self.num_frames else self.end_seconds

    def frame_at(self, seconds: float) -> int:
        """The frame that is on screen at a time."""
        return max(0, bisect_right(self.starts, seconds + 1e-6) - 1)

    def first_from(self, seconds: float) -> int:
        """The first frame that comes on screen at a time or later; one behind the last if none does."""
        return bisect_left(self.starts, seconds - 1e-6)


class RateTimes:
    """The same for frames that are counted at an even rate, whatever frames the file has."""

    def __init__(self, fps: float) -> None:
        self.fps = fps

    def start_of(self, frame: int) -> float:
        """When a frame comes on screen."""
        return frame / self.fps


def read_frame_times(path: str) -> FrameTimes:
    """The times of a file's frames, by its own timestamps.

    Raises:
        VideoError: the file cannot be opened.
    """
    with open_video(path) as video:
        first = float(video.pts_seconds[0])
        return FrameTimes([float(seconds) - first for seconds in video.pts_seconds], video.end_seconds - first)


def check_rate(fps: float, times: FrameTimes, where: str, path: str) -> None:
    """Makes sure that a file that lists frame numbers counts the frames of the video.

    Raises:
        DataError: it counts at another rate.
    """
    if not times.has_rate(fps):
        raise DataError(
            f"{where}: frames are counted at {fps:g} per second, but {path} has {times.fps:.4g}; correct the rate in "
            f"the file, or give the one that its frames were counted at (--fps {fps:g} if that is right)"
        )
