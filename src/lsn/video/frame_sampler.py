"""A steady rate out of frames with timestamps: at each tick, the frame that is on screen.

A source of 60 frames per second, one of 12.5 and one that drops frames mean the same to a model that is given frames
this way. No frame is seen before its time; the frame at a tick is known when the next one comes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from lsn.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

F = TypeVar("F")
G = TypeVar("G")

MAX_FPS = 1000.0
"""Ticks a second; at more, even a short video would take hours."""
SAME_TIME_SECONDS = 1e-6
"""Two decoders may give the time of a frame with other last digits."""


@dataclass(frozen=True)
class SamplerPosition(Generic[F]):
    """Where a sampler stands: all that another one of the same rate needs to continue with the same ticks."""

    start_seconds: float
    """Time of tick 0."""
    next_number: int
    """Number of the next tick."""
    frame: F
    """The frame on screen."""
    pts_seconds: float
    """When it came on screen."""
    end_seconds: float | None = None
    """When its source ended; None if the source goes on, or was left before its end."""

    def map(self, convert: Callable[[F], G]) -> SamplerPosition[G]:
        """The same position with the frame in another form."""
        return SamplerPosition(
            self.start_seconds, self.next_number, convert(self.frame), self.pts_seconds, self.end_seconds
        )


@dataclass(frozen=True)
class Tick(Generic[F]):
    """What is on screen at one moment."""

    seconds: float
    """The moment: `start_seconds` and `number` ticks."""
    frame: F
    """What was given to the sampler as a frame."""
    pts_seconds: float
    """When this frame came on screen, at most `seconds`."""
    is_discontinuity: bool
    """Whether this is the first tick, or the first one after a gap or a jump of the timestamps."""
    start_seconds: float
    """Time of tick 0."""
    number: int
    """Ticks since then."""
    view: np.ndarray | None = None
    """What a model sees of the frame, if that is computed ahead of its step."""

    def with_frame(self, frame: G) -> Tick[G]:
        """The same tick with the frame in another form."""
        return Tick(self.seconds, frame, self.pts_seconds, self.is_discontinuity, self.start_seconds, self.number)

    @property
    def position(self) -> SamplerPosition[F]:
        """Where the sampler stands right after this tick."""
        return SamplerPosition(self.start_seconds, self.number + 1, self.frame, self.pts_seconds)


class FrameSampler(Generic[F]):
    """Ticks at `fps`, from the first frame on.

    A frame that is no later than the one before it is left out and counted. After a gap of more than
    `longest_hold_seconds`, or when time jumps back by more than that, the ticks restart from the frame that comes.

    One source may follow another (after `finish`, `resume` or `next_source`). The times of its frames are taken as they
    are if the first one is later than the last frame seen. Otherwise, and if its clock has nothing to do with that of
    the source before, all its times are shifted so that its first frame comes where that source ended: at its end, or
    at the next tick if it was left before its end.

    Args:
        fps: ticks a second.
        longest_hold_seconds: how long a frame may stay on screen.

    Raises:
        ConfigError: a number is not finite and above 0, or there are too many ticks a second.
    """

    def __init__(self, fps: float, *, longest_hold_seconds: float = 1.0) -> None:
        check_above_zero(fps=fps, longest_hold_seconds=longest_hold_seconds)
        if fps > MAX_FPS:
            raise ConfigError(f"fps is {fps}; it must be at most {MAX_FPS:g}")
        self.fps = fps
        self.longest_hold_seconds = max(longest_hold_seconds, 2 / fps)
        self.num_late = 0
        """Frames that were left out because their timestamps did not go on."""
        self._position: SamplerPosition[F] | None = None
        self._shift_seconds: float | None = None  # from the source's times to those of the ticks; None before a source
        self._is_foreign = False  # whether the next source's times have nothing to do with those before
        self._resumes_at: float | None = None  # when the next source's first frame comes, if that is known

    @property
    def position(self) -> SamplerPosition[F] | None:
        """Where the sampler stands; None before the first frame."""
        return self._position

    def push(self, pts_seconds: float, frame: F) -> Iterator[Tick[F]]:
        """Takes the next frame; yields the ticks up to its time."""
        is_discontinuity = self._shift_seconds is None and self._resumes_at is not None
        if self._shift_seconds is None:
            self._shift_seconds = self._joining_shift(pts_seconds)
        pts_seconds += self._shift_seconds
        at = self._position
        if at is None or is_discontinuity or abs(pts_seconds - at.pts_seconds) > self.longest_hold_seconds:
            self._position = SamplerPosition(pts_seconds, 0, frame, pts_seconds)
        elif pts_seconds <= at.pts_seconds:
            self.num_late += 1
            return
        else:
            yield from self._ticks_before(pts_seconds - SAME_TIME_SECONDS)
            at = self._position or at  # moved by the ticks
            self._position = SamplerPosition(at.start_seconds, at.next_number, frame, pts_seconds)
        yield from self._ticks_before(pts_seconds + SAME_TIME_SECONDS)

    def finish(self, end_seconds: float) -> Iterator[Tick[F]]:
        """Yields the ticks that are left when the source ends: its last frame goes off screen at `end_seconds`."""
        if self._position is None:
            return
        end_seconds += self._shift_seconds or 0.0
        last_seconds = min(end_seconds, self._position.pts_seconds + self.longest_hold_seconds)
        yield from self._ticks_before(last_seconds - SAME_TIME_SECONDS)
        self._position = replace(self._position, end_seconds=end_seconds)
        self.next_source()

    def next_source(self, *, is_foreign: bool = False, resumes_at: float | None = None) -> None:
        """The next frame is the first one of another source.

        Args:
            is_foreign: whether the source's times have nothing to do with those before, as after a restart of a camera.
            resumes_at: when its first frame comes, if that is known; ticks then restart with it.
        """
        self._shift_seconds, self._is_foreign, self._resumes_at = None, is_foreign, resumes_at

    def resume(self, position: SamplerPosition[F] | None) -> None:
        """Continues from the position of another sampler of the same rate, with another source."""
        self._position = position
        self.next_source()

    def _joining_shift(self, pts_seconds: float) -> float:
        """How far the times of a source are shifted whose first frame has this time."""
        if self._resumes_at is not None:
            return self._resumes_at - pts_seconds
        at = self._position
        if at is None or (pts_seconds > at.pts_seconds and not self._is_foreign):
            return 0.0
        if at.end_seconds is not None and at.end_seconds > at.pts_seconds + SAME_TIME_SECONDS:
            return at.end_seconds - pts_seconds
        return at.start_seconds + at.next_number / self.fps - pts_seconds

    def _ticks_before(self, end_seconds: float) -> Iterator[Tick[F]]:
        while (at := self._position) is not None:
            seconds = at.start_seconds + at.next_number / self.fps
            if seconds >= end_seconds:
                return
            # Moved before the tick is given away, so that whoever takes it sees where the clock then stands.
            self._position = replace(at, next_number=at.next_number + 1)
            is_first = at.next_number == 0
            yield Tick(seconds, at.frame, at.pts_seconds, is_first, at.start_seconds, at.next_number)


def check_above_zero(**values: float | None) -> None:
    """Refuses numbers that are not finite and above 0; None is passed over.

    Raises:
        ConfigError: names the value by its keyword.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}; it must be a finite number above 0")


def on_screen(pts_seconds: Sequence[float], moments: Sequence[float]) -> list[int]:
    """Which frame is on screen at each moment: the last one whose time has come, at the earliest the first.

    Args:
        pts_seconds: when each frame comes on screen, in order.
        moments: on the same clock, in any order.
    """
    return [max(0, bisect_right(pts_seconds, moment + SAME_TIME_SECONDS) - 1) for moment in moments]
