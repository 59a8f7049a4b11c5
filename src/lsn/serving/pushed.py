"""Frames that a client sends, as a source of a stream.

Shapes: H height, W width, C = 3 channels.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import numpy as np

from lsn.video.live.source import LiveFrame, LiveSource

MAX_WAITING = 16
"""Frames that wait for the stream's thread; there are more only if it is far behind."""


class PushedFrames(LiveSource):
    """Pictures from another thread, in the order in which they come; of those that nobody takes the oldest are dropped.

    Args:
        name: what messages call it.
    """

    is_live = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_dropped = 0
        """Frames that were given up here; those that a stream drops later are in its own counts."""
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[LiveFrame] = deque()
        self._is_over = False
        self._last_seconds: float | None = None
        self._interval_seconds = 0.0

    def push(self, seconds: float, frame_HWC: np.ndarray) -> None:
        """Takes a frame, uint8 RGB, and when it came on screen; nothing after the end."""
        with self._changed:
            if self._is_over:
                return
            if self._last_seconds is not None:
                self._interval_seconds = max(0.0, seconds - self._last_seconds)
            self._last_seconds = seconds
            self._waiting.append(LiveFrame(seconds, lambda: frame_HWC))
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popleft()
                self.num_dropped += 1
            self._changed.notify_all()

    def finish(self) -> None:
        """No more frames will come; those that wait are still given."""
        with self._changed:
            self._is_over = True
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
