"""A source that is read in a thread of its own, at a steady rate, into a queue that never grows."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self, get_args

from torch import Tensor

from lsn.errors import ConfigError, VideoError, did_you_mean
from lsn.video.frame_sampler import FrameSampler, SamplerPosition, Tick, check_above_zero
from lsn.video.live.opening import TIMEOUT_SECONDS, Source, open_live
from lsn.video.live.reconnect import BACKOFF_SECONDS, Reconnector
from lsn.video.live.source import LiveFrame, LiveSource
from lsn.video.live.tick_queue import FeedCounts, Policy, TickQueue

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
        longest_hold_seconds: How long a frame may stay on screen, see `FrameSampler`.
        source_fps: Frames a second of a source that does not tell it, as `fps` of `open_live`.
        timeout_seconds: Longest silence of a camera or an address, as of `open_live`; a function that opens a source
            sets its own.
        reconnect_seconds: How long to try to open a lost live source again; None for ever, 0 not at all.
        backoff_seconds: Pauses before the attempts; the last one is repeated.
        on_ready: Set whenever there is something to take: a tick, an error or the end. Several feeds may share it:
            clear it, look into all of them, then wait for it.
        position: Where the clock stood after the last tick of an earlier feed, to continue from; see `FrameSampler` for
            how the times of this source are joined to those before.

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
        timeout_seconds: float = TIMEOUT_SECONDS,
        reconnect_seconds: float | None = 60.0,
        backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
        on_ready: threading.Event | None = None,
        position: SamplerPosition[Tensor] | None = None,
    ) -> None:
        _check(policy, capacity, reconnect_seconds, backoff_seconds)
        check_above_zero(timeout_seconds=timeout_seconds)
        self._clock: FrameSampler[LiveFrame] = FrameSampler(fps, longest_hold_seconds=longest_hold_seconds)
        self._clock.resume(None if position is None else position.map(_as_live))
        self._end_position: SamplerPosition[Tensor] | None = None
        if callable(source):
            if source_fps is not None:
                raise ConfigError("source_fps is given to a source that a function opens; let the function set it")
            self._open_source = source
        else:
            self._open_source = partial(open_live, source, fps=source_fps, timeout_seconds=timeout_seconds)
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

    @property
    def end_position(self) -> SamplerPosition[Tensor] | None:
        """Where the clock stood when the source ended, once `is_finished`; None if it was left before its end."""
        return self._queue.end_position

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
        self._queue.end(error, self._end_position)

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
            now_seconds: Time at which its first frame comes; None for the first source.

        Returns:
            How it failed, None if it ended, and the time as it goes on without it.
        """
        clock, failure = self._clock, None
        arrived_at: float | None = None  # when the last frame came
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
            if arrived_at is None:
                self._queue.count(num_reconnects=int(self._reconnector.frame_came(source.name)))
                clock.next_source(is_foreign=source.is_live, resumes_at=now_seconds() if now_seconds else None)
                self._end_position = None
            arrived_at = time.monotonic()
            num_late = clock.num_late
            ticks = list(clock.push(frame.pts_seconds, frame))
            self._queue.count(num_frames=1, num_late=clock.num_late - num_late)
            for tick in ticks:
                self._queue.put(tick, policy)
        if arrived_at is None or self._stopped.is_set():
            return failure, now_seconds
        for tick in clock.finish(source.end_seconds):
            self._queue.put(tick, policy)
        return failure, self._after_end(arrived_at)

    def _after_end(self, arrived_at: float) -> Callable[[], float]:
        """Keeps where the clock stands at the end of a source; returns its time as it goes on without one.

        Args:
            arrived_at: When the last frame came, on the monotonic clock.
        """
        position = self._clock.position
        assert position is not None and position.end_seconds is not None, "a frame came, and the clock was finished"
        with contextlib.suppress(VideoError):  # the last frame is damaged, but nobody has to see it
            self._end_position = position.map(LiveFrame.rgb)  # now, since the source is about to be closed
        shown_seconds, end_seconds = position.pts_seconds, position.end_seconds
        return lambda: max(end_seconds, shown_seconds + time.monotonic() - arrived_at)


def _as_live(frame_HWC: Tensor) -> LiveFrame:
    """A picture that was taken from an earlier feed."""
    return LiveFrame(math.nan, lambda: frame_HWC)


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
