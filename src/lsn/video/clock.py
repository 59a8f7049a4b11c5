"""A steady rate out of frames with timestamps: at each tick, the frame that is on screen.

A source of 60 frames a second, one of 12.5 and one that drops frames mean the same to a model that is given frames this
way. No frame is seen before its time; the frame at a tick is known when the next one comes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from lsn.errors import ConfigError

F = TypeVar("F")

SAME_TIME_SECONDS = 1e-6
"""Two decoders may give the time of a frame with other last digits."""


@dataclass(frozen=True)
class Tick(Generic[F]):
    """What is on screen at one moment."""

    seconds: float
    """The moment, on the clock of the source."""
    frame: F
    """What was given to the clock as a frame."""
    pts_seconds: float
    """When this frame came on screen, at most `seconds`."""
    starts_anew: bool
    """Whether this is the first tick, or the first one after a silence or a jump of the timestamps."""


class FrameClock(Generic[F]):
    """Ticks at `fps`, from the first frame on.

    A frame that is no later than the one before it is left out and counted. After a silence of more than
    `longest_hold_seconds`, or when time jumps back by more than that, the ticks start anew from the frame that comes.

    Args:
        fps: ticks a second.
        longest_hold_seconds: how long a frame may stay on screen.

    Raises:
        ConfigError: a number is not finite and above 0.
    """

    def __init__(self, fps: float, *, longest_hold_seconds: float = 1.0) -> None:
        for name, value in (("fps", fps), ("longest_hold_seconds", longest_hold_seconds)):
            if not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value}; it must be a finite number above 0")
        self.fps = fps
        self.longest_hold_seconds = max(longest_hold_seconds, 2 / fps)
        self.num_late = 0
        """Frames that were left out because their timestamps did not go on."""
        self._start_seconds = 0.0
        self._next = 0  # number of the next tick since the start
        self._shown: tuple[float, F] | None = None  # the frame on screen

    def push(self, pts_seconds: float, frame: F) -> Iterator[Tick[F]]:
        """Gives the clock the next frame; yields the ticks up to its time."""
        if self._shown is None:
            yield from self._start(pts_seconds, frame)
            return
        passed_seconds = pts_seconds - self._shown[0]
        if abs(passed_seconds) > self.longest_hold_seconds:
            yield from self._start(pts_seconds, frame)
        elif passed_seconds <= 0:
            self.num_late += 1
        else:
            yield from self._ticks_before(pts_seconds - SAME_TIME_SECONDS)
            self._shown = pts_seconds, frame
            yield from self._ticks_before(pts_seconds + SAME_TIME_SECONDS)

    def finish(self, end_seconds: float) -> Iterator[Tick[F]]:
        """Yields the ticks that are left when the last frame goes off screen at `end_seconds`."""
        if self._shown is not None:
            end_seconds = min(end_seconds, self._shown[0] + self.longest_hold_seconds)
            yield from self._ticks_before(end_seconds - SAME_TIME_SECONDS)

    def position(self) -> tuple[list[float], F | None]:
        """Where the clock stands, in numbers, and the frame on screen; for `resume`."""
        pts_seconds, frame = self._shown or (math.nan, None)
        return [self._start_seconds, self._next, pts_seconds, self.num_late], frame

    def resume(self, numbers: Sequence[float], frame: F | None) -> None:
        """Goes on from the `position` of another clock of the same rate."""
        self._start_seconds, next_tick, pts_seconds, num_late = numbers
        self._next, self.num_late = int(next_tick), int(num_late)
        self._shown = None if frame is None else (pts_seconds, frame)

    def _start(self, pts_seconds: float, frame: F) -> Iterator[Tick[F]]:
        self._start_seconds, self._next, self._shown = pts_seconds, 0, (pts_seconds, frame)
        yield from self._ticks_before(pts_seconds + SAME_TIME_SECONDS)

    def _ticks_before(self, end_seconds: float) -> Iterator[Tick[F]]:
        while self._shown is not None and (seconds := self._start_seconds + self._next / self.fps) < end_seconds:
            pts_seconds, frame = self._shown
            yield Tick(seconds, frame, pts_seconds, starts_anew=self._next == 0)
            self._next += 1


def on_screen(pts_seconds: Sequence[float], moments: Sequence[float]) -> list[int]:
    """Which frame is on screen at each moment: the last one whose time has come, at the earliest the first.

    Args:
        pts_seconds: when each frame comes on screen, in order.
        moments: on the same clock, in any order.
    """
    return [max(0, bisect_right(pts_seconds, moment + SAME_TIME_SECONDS) - 1) for moment in moments]
