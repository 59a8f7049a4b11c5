"""Ticks that wait to be taken: as many as there is room for, and what happens to the others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lsn.video.frame_sampler import SamplerPosition, Tick
from lsn.video.live.options import Policy
from lsn.video.live.source import LiveFrame


@dataclass(frozen=True)
class FrameCounts:
    """What became of the frames of a source, all at one moment."""

    num_frames: int = 0
    """Frames that the source gave."""
    num_ticks: int = 0
    """Ticks that were made of them: taken, waiting or dropped."""
    num_dropped: int = 0
    """Ticks that nobody took in time."""
    num_late: int = 0
    """Frames that were left out because their timestamps did not go on."""
    num_reconnects: int = 0
    """How often the source came back after it was lost."""


class TickQueue:
    """Between one thread that makes ticks and one that takes them.

    Args:
        capacity: Ticks that can wait.
        on_ready: Set whenever there is something to take: a tick, an error or the end.
        view: Computes what a model sees of a frame ahead of its step, where no tick is dropped.
    """

    def __init__(
        self, capacity: int, on_ready: threading.Event, view: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        self.counts = FrameCounts()
        """Written by the thread that makes ticks, always as a whole, so that reading it needs no lock."""
        self.decode_ms = 0.0
        """Processor time that the maker spent on the tick that was taken last."""
        self.end_position: SamplerPosition[np.ndarray] | None = None
        """Where the sampler stood when its source ended, once `is_finished`; None if it was left before its end."""
        self._capacity = capacity
        self._on_ready, self._view = on_ready, view
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[tuple[Tick[np.ndarray], float]] = deque()  # with the processor time of each, in ms
        self._has_ended = self._is_closed = False
        self._error: Exception | None = None
        # Of the maker alone:
        self._owes_start = False  # a tick after a discontinuity was dropped before it was in the queue
        self._spent_seconds = 0.0

    def count(self, **more: int) -> None:
        """Adds to the counts."""
        self.counts = replace(self.counts, **{name: getattr(self.counts, name) + value for name, value in more.items()})

    def put(self, tick: Tick[LiveFrame], policy: Policy) -> None:
        """Converts the picture and puts the tick into the queue as the policy says; nothing once it is closed.

        Raises:
            VideoError: the picture cannot be decoded or converted.
        """
        if policy == "drop_newest" and self._is_full():  # and stays full or gets emptier: nobody else fills it
            self._owes_start |= tick.is_discontinuity
            self.count(num_ticks=1, num_dropped=1)
            return
        seen = tick.with_frame(tick.frame.rgb())
        view = self._view(seen.frame) if self._view is not None and policy == "block" else None
        seen = replace(seen, is_discontinuity=tick.is_discontinuity or self._owes_start, view=view)
        self._owes_start = False
        with self._changed:
            if policy == "block":
                self._changed.wait_for(lambda: self._is_closed or len(self._waiting) < self._capacity)
            if self._is_closed:
                return
            self._waiting.append((seen, self._spent_ms()))
            overflows = len(self._waiting) > self._capacity
            if overflows:
                self._drop_oldest()
            self.count(num_ticks=1, num_dropped=int(overflows))
            self._changed.notify_all()
        self._on_ready.set()

    def get(self, timeout_seconds: float | None) -> Tick[np.ndarray] | None:
        """Takes the next tick; None if none comes in time or at all.

        Raises:
            VideoError: the maker failed, and all that it made before is taken; said once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._has_ended, timeout_seconds)
            if self._waiting:
                tick, self.decode_ms = self._waiting.popleft()
                self._changed.notify_all()
                return tick
            error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to take and nothing will come."""
        with self._changed:
            return self._has_ended and not self._waiting and self._error is None

    def end(self, error: Exception | None, position: SamplerPosition[np.ndarray] | None = None) -> None:
        """Nothing more will be put in; the error is raised after the last tick.

        Args:
            error: why the maker failed.
            position: where its sampler stands, if the source came to its end.
        """
        with self._changed:
            self._has_ended = True
            self.end_position = position
            self._error = None if self._is_closed else error
            self._changed.notify_all()
        self._on_ready.set()

    def close(self) -> None:
        """Gives up what waits and wakes whoever waits for it."""
        with self._changed:
            self._waiting.clear()
            self._has_ended = self._is_closed = True
            self._error = None
            self._changed.notify_all()
        self._on_ready.set()

    def _is_full(self) -> bool:
        with self._changed:
            return len(self._waiting) >= self._capacity

    def _drop_oldest(self) -> None:
        dropped, _ = self._waiting.popleft()
        if dropped.is_discontinuity:
            tick, spent_ms = self._waiting[0]
            self._waiting[0] = replace(tick, is_discontinuity=True), spent_ms

    def _spent_ms(self) -> float:
        before, self._spent_seconds = self._spent_seconds, time.thread_time()
        return 1000 * (self._spent_seconds - before)
