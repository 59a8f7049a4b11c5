"""Frames that a client sends, as a source of a stream.

Shapes: H height, W width, C = 3 channels.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lsn.video.live.source import LiveFrame, LiveSource

MAX_WAITING = 4
"""Frames that wait while the ticks of the stream wait too; of more, the oldest are dropped."""
MAX_SENT_AGAIN = 64
"""Frames that wait at the beginning of a connection whose client sends again, at once, what the one before lost."""
MAX_REMEMBERED = 128
"""Frames whose number and arrival are known when their answer comes."""
MAX_WAITING_BYTES = 64 << 20
"""Of these frames, at most."""
JOIN_SECONDS = 0.1
"""From the last frame of a stream that is resumed to the first one of a client whose clock has started again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame as it came."""

    number: int
    """That the client gave it."""
    pts_seconds: float
    """When it came on screen, on the clock of the stream."""
    came_at: float
    """By this machine's clock (`time.monotonic`)."""


class PushedFrames(LiveSource):
    """Pictures from another thread, in the order in which they come; of those that nobody takes the oldest are dropped.

    Args:
        name: what messages call it.
        after: the last frame before these, of a stream that is resumed.
        sends_again: whether the first ones may be such that were sent before.
    """

    is_live = True
    continues_clock = True

    def __init__(self, name: str, *, after: Arrival | None = None, sends_again: bool = False) -> None:
        self.name = name
        self.num_dropped = 0
        """Frames that were given up here; those that a stream drops later are in its own counts."""
        self.is_finished = False
        """Whether the client has said that no more frames will come."""
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[LiveFrame] = deque()
        self._is_over = False
        self._shift_seconds: float | None = 0.0 if after is None else None  # from the client's clock to the stream's
        self._last_seconds: float | None = None if after is None else after.pts_seconds
        self._interval_seconds = 0.0
        self._arrivals = OrderedDict({} if after is None else {after.pts_seconds: after})
        self._num_sent_again = MAX_SENT_AGAIN if sends_again else 0  # frames to come that may be such
        self._is_behind = False  # whether some of them wait

    def push(self, number: int, seconds: float, frame_HWC: np.ndarray) -> None:
        """Takes a frame, uint8 RGB; nothing after the end.

        Args:
            number: that the client gives it.
            seconds: when it came on screen, by the client's clock.
            frame_HWC: the picture.
        """
        with self._changed:
            if self._is_over:
                return
            if self._shift_seconds is None:
                assert self._last_seconds is not None
                is_later = seconds > self._last_seconds
                self._shift_seconds = 0.0 if is_later else self._last_seconds + JOIN_SECONDS - seconds
            seconds += self._shift_seconds
            if self._last_seconds is not None:
                self._interval_seconds = max(0.0, seconds - self._last_seconds)
            self._last_seconds = seconds
            self._arrivals[seconds] = Arrival(number, seconds, time.monotonic())
            if len(self._arrivals) > MAX_REMEMBERED:
                self._arrivals.popitem(last=False)
            self._waiting.append(LiveFrame(seconds, lambda: frame_HWC))
            self._num_sent_again = max(0, self._num_sent_again - 1)
            self._is_behind = self._num_sent_again > 0 or (self._is_behind and len(self._waiting) > MAX_WAITING)
            most = MAX_SENT_AGAIN if self._is_behind else MAX_WAITING
            most = max(1, min(most, MAX_WAITING_BYTES // frame_HWC.nbytes))
            while len(self._waiting) > most:
                self._arrivals.pop(self._waiting.popleft().pts_seconds, None)
                self.num_dropped += 1
            self._changed.notify_all()

    def arrival_of(self, pts_seconds: float) -> Arrival | None:
        """The frame that came on screen at a time on the clock of the stream; None if it is long ago."""
        with self._changed:
            return self._arrivals.get(pts_seconds)

    def finish(self) -> None:
        """No more frames will come; those that wait are still given."""
        with self._changed:
            self.is_finished = self._is_over = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[LiveFrame]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_over)
                if not self._waiting:
                    return
                frame = self._waiting.popleft()
            yield frame

    @property
    def end_seconds(self) -> float:  # noqa: D102
        return (self._last_seconds or 0.0) + self._interval_seconds

    def close(self) -> None:  # noqa: D102
        with self._changed:
            self._waiting.clear()
            self._is_over = True
            self._changed.notify_all()
