"""A source that is read in a thread of its own, at a steady rate, into a queue that never grows."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self, get_args

from torch import Tensor

from lsn.errors import ConfigError, VideoError, did_you_mean
from lsn.video.clock import FrameClock, Tick
from lsn.video.live import Source, open_live
from lsn.video.reconnect import BACKOFF_SECONDS, Reconnector
from lsn.video.source import LiveFrame, LiveSource
from lsn.video.tick_queue import FeedCounts, Policy, TickQueue

__all__ = ["FeedCounts", "FrameFeed", "Policy"]

# A thread that waits for a silent network ends by itself later.
_LONGEST_JOIN_SECONDS = 1.0


class FrameFeed:
    """Ticks of a source, read, decoded and converted in a thread. Close it, or use it as a context manager.

    Live sources that end or fail are opened again, with growing pauses. Their time then goes on by as much as has
    really passed, and the first tick starts anew. A source whose first opening fails is not tried again, nor is one
    that was given open.

    A dropped tick that starts anew leaves its mark to the next one that is taken.

    Args:
        source: Whatever `open_live` takes, or a function that opens a `LiveSource`. The thread opens it, so that a
            camera that hangs keeps nobody waiting.
        fps: Ticks a second.
        policy: What happens when the queue is full. By default live sources drop the oldest tick and others wait.
        capacity: Ticks that can wait to be taken.
        longest_hold_seconds: How long a frame may stay on screen, see `FrameClock`.
        source_fps: Frames a second of a source that does not tell it, as `fps` of `open_live`.
        reconnect_seconds: How long to try to open a lost live source again; None for ever, 0 not at all.
        backoff_seconds: Pauses before the attempts; the last one is repeated.
        on_ready: Set whenever there is something to take: a tick, an error or the end. Several feeds may share it:
            clear it, look into all of them, then wait for it.

    Raises:
        ConfigError: an argument is wrong.
    """

    def __init__(
        self,
        source: Source | Callable[[], LiveSource],
        *,
        fps: float,
        policy: Policy | None = None,
        capacity: int = 8,
        longest_hold_seconds: float = 1.0,
        source_fps: float | None = None,
        reconnect_seconds: float | None = 60.0,
        backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
        on_ready: threading.Event | None = None,
    ) -> None:
        _check(policy, capacity, reconnect_seconds, backoff_seconds)
        self._make_clock: Callable[[], FrameClock[LiveFrame]]
        self._make_clock = partial(FrameClock, fps, longest_hold_seconds=longest_hold_seconds)
        self._make_clock()  # refuses wrong numbers here rather than in the thread
        if callable(source):
            if source_fps is not None:
                raise ConfigError("source_fps is given to a source that a function opens; let the function set it")
            self._open_source = source
        else:
            self._open_source = partial(open_live, source, fps=source_fps)
        self._policy = policy
        self._can_reopen = not isinstance(source, LiveSource) and reconnect_seconds != 0
        self._stopped = threading.Event()
        self._reconnector = Reconnector(
            self._open_source,
            reconnect_seconds=reconnect_seconds,
            backoff_seconds=backoff_seconds,
            stopped=self._stopped,
        )
        self._queue = TickQueue(capacity, on_ready or threading.Event())
        self._lock = threading.Lock()  # guards the next line
        self._source = source if isinstance(source, LiveSource) else None
        self._thread = threading.Thread(target=self._run, name="lsn-feed", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> FeedCounts:
        """What became of the frames so far."""
        return self._queue.counts

    @property
    def decode_ms(self) -> float:
        """Processor time of the thread for the tick that was taken last: reading, decoding and converting."""
        return self._queue.decode_ms

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to take and nothing will come: no tick, no error."""
        return self._queue.is_finished

    def get(self, timeout_seconds: float | None = None) -> Tick[Tensor] | None:
        """Takes the next tick; its frame is uint8 RGB, HWC.

        Args:
            timeout_seconds: How long to wait for it; None until it comes or the source ends.

        Returns:
            The tick, or None if none came in that time; `is_finished` tells whether any will.

        Raises:
            VideoError: the source failed, after all ticks before that were taken. Said once. What an iterator of
                frames raises comes out as it is.
        """
        return self._queue.get(timeout_seconds)

    def __iter__(self) -> Iterator[Tick[Tensor]]:
        """Yields ticks until the source ends or the feed is closed."""
        while (tick := self.get()) is not None:
            yield tick

    def close(self) -> None:
        """Ends the thread and gives up the ticks that wait; what waits in `get` returns."""
        self._stopped.set()
        self._queue.close()
        with self._lock:
            source = self._source
        if source is not None:
            source.close()
        self._thread.join(_LONGEST_JOIN_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._play_all()
        except Exception as failure:  # raised where the ticks are taken
            error = failure
        self._queue.end(error)

    def _play_all(self) -> None:
        """Plays the source, and again whenever it was lost and has come back."""
        source: LiveSource | None = self._open_source()
        now_seconds: Callable[[], float] | None = None  # time of the source, as it would have gone on
        while source is not None:
            with source:
                with self._lock:
                    self._source = source
                if self._stopped.is_set():  # closed while it was opened
                    return
                failure, now_seconds = self._play(source, now_seconds)
            if self._stopped.is_set():
                return
            if not (source.is_live and self._can_reopen):
                if failure is not None:
                    raise failure
                return
            source = self._reconnector.open_again(source.name, failure)

    def _play(
        self, source: LiveSource, now_seconds: Callable[[], float] | None
    ) -> tuple[VideoError | None, Callable[[], float] | None]:
        """Plays a source from its opening to its end.

        Args:
            source: Just opened.
            now_seconds: Time at which its first frame comes; None for the time that it tells itself.

        Returns:
            How it failed, None if it ended, and the time as it goes on without it.
        """
        clock = self._make_clock()
        failure = None
        shift_seconds: float | None = None
        arrived_at = last_seconds = 0.0
        policy = self._policy or ("drop_oldest" if source.is_live else "block")
        frames = iter(source)
        while not self._stopped.is_set():
            try:
                frame = next(frames, None)
            except VideoError as error:
                failure = error
                break
            if frame is None:
                break
            if shift_seconds is None:
                self._queue.count(num_reconnects=int(self._reconnector.frame_came(source.name)))
                shift_seconds = now_seconds() - frame.pts_seconds if now_seconds else 0.0
            arrived_at, last_seconds = time.monotonic(), frame.pts_seconds + shift_seconds
            num_late = clock.num_late
            ticks = list(clock.push(last_seconds, frame))
            self._queue.count(num_frames=1, num_late=clock.num_late - num_late)
            for tick in ticks:
                self._queue.put(tick, policy)
        if shift_seconds is None:
            return failure, now_seconds
        end_seconds = source.end_seconds + shift_seconds
        for tick in clock.finish(end_seconds):
            self._queue.put(tick, policy)
        return failure, lambda: max(end_seconds, last_seconds + time.monotonic() - arrived_at)


def _check(
    policy: Policy | None, capacity: int, reconnect_seconds: float | None, backoff_seconds: Sequence[float]
) -> None:
    if policy is not None and policy not in get_args(Policy):
        raise ConfigError(f"unknown policy {policy!r}; {did_you_mean(policy, get_args(Policy))}")
    if capacity < 1:
        raise ConfigError(f"a feed for {capacity} waiting ticks; there must be room for at least 1")
    if reconnect_seconds is not None and not 0 <= reconnect_seconds < math.inf:
        raise ConfigError(
            f"reconnect_seconds is {reconnect_seconds}; it must be a finite number, 0 (never) or None (for ever)"
        )
    if not backoff_seconds or not all(0 <= pause < math.inf for pause in backoff_seconds):
        raise ConfigError(f"backoff_seconds is {backoff_seconds!r}; expected one or more pauses of 0 seconds or more")
