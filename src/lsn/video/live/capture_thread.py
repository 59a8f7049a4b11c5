"""A source that is read in a thread of its own, at a steady rate, into a queue that never grows."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np

from lsn.errors import ConfigError, VideoError
from lsn.video.frame_sampler import FrameSampler, SamplerPosition, Tick
from lsn.video.live.opening import Source, open_live
from lsn.video.live.options import SourceOptions
from lsn.video.live.reconnect import BACKOFF_SECONDS, Reconnector
from lsn.video.live.source import LiveFrame, LiveSource
from lsn.video.live.tick_queue import FrameCounts, TickQueue

__all__ = ["CaptureThread", "FrameCounts"]

# A thread that waits for a silent network ends by itself later.
_LONGEST_JOIN_SECONDS = 1.0


class CaptureThread:
    """Reads, decodes and samples a source in a thread. Close it, or use it as a context manager.

    Live sources that end or fail are opened again, with growing pauses. Their time then goes on by as much as has
    really passed, and the first tick is a discontinuity. A source whose first opening fails is not tried again, nor is
    one that was given open.

    A tick after a discontinuity that is dropped leaves its mark to the next one that is taken.

    Args:
        source: Whatever `open_live` takes, or a function that opens a `LiveSource`. The thread opens it, so that a
            camera that hangs keeps nobody waiting.
        sampler: The clock of the stream, which is the thread's alone until it is closed. How the times of this source
            are joined to those before it, see `FrameSampler`.
        options: How the source is opened and read; a function that opens one sets its own.
        capacity: Ticks that can wait to be taken.
        backoff_seconds: Pauses before the attempts to open a lost source; the last one is repeated.
        on_ready: Set whenever there is something to take: a tick, an error or the end. Several threads may share it:
            clear it, look into all of them, then wait for it.
        view: What a model sees of a frame. Where ticks wait and none is dropped, the thread computes it ahead.

    Raises:
        ConfigError: an argument is wrong.
    """

    def __init__(
        self,
        source: Source | Callable[[], LiveSource],
        sampler: FrameSampler[LiveFrame],
        options: SourceOptions | None = None,
        *,
        capacity: int = 8,
        backoff_seconds: Sequence[float] = BACKOFF_SECONDS,
        on_ready: threading.Event | None = None,
        view: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        _check(capacity, backoff_seconds)
        options = options or SourceOptions()
        self._sampler = sampler
        self._end_position: SamplerPosition[np.ndarray] | None = None
        if callable(source):
            if options.fps is not None:
                raise ConfigError("fps is given for a source that a function opens; let the function set it")
            self._open_source = source
        else:
            self._open_source = partial(open_live, source, options)
        self._policy = options.policy
        self._can_reopen = not isinstance(source, LiveSource) and options.reconnect_seconds != 0
        self._stopped = threading.Event()
        self._reconnector = Reconnector(
            self._open_source,
            reconnect_seconds=options.reconnect_seconds,
            backoff_seconds=backoff_seconds,
            stopped=self._stopped,
        )
        self._queue = TickQueue(capacity, on_ready or threading.Event(), view)
        self._lock = threading.Lock()  # guards the next line
        self._source = source if isinstance(source, LiveSource) else None
        self._thread = threading.Thread(target=self._run, name="lsn-capture", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> FrameCounts:
        """What became of the frames so far."""
        return self._queue.counts

    @property
    def decode_ms(self) -> float:
        """Processor time of the thread for the tick that was taken last: reading, decoding, converting, its view."""
        return self._queue.decode_ms

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to take and nothing will come: no tick, no error."""
        return self._queue.is_finished

    @property
    def end_position(self) -> SamplerPosition[np.ndarray] | None:
        """Where the sampler stood when the source ended, once `is_finished`; None if it was left before its end."""
        return self._queue.end_position

    def get(self, timeout_seconds: float | None = None) -> Tick[np.ndarray] | None:
        """Takes the next tick; its frame is uint8 RGB, HWC.

        Args:
            timeout_seconds: How long to wait for it; None until it comes or the source ends.

        Returns:
            The tick, or None if none came in that time; `is_finished` says whether any will.

        Raises:
            VideoError: the source failed, after all ticks before that were taken. Said once. What an iterator of
                frames raises comes out as it is.
        """
        return self._queue.get(timeout_seconds)

    def __iter__(self) -> Iterator[Tick[np.ndarray]]:
        """Yields ticks until the source ends or the thread is closed."""
        while (tick := self.get()) is not None:
            yield tick

    def close(self, *, waits: bool = True) -> None:
        """Ends the thread and gives up the ticks that wait; what waits in `get` returns.

        Args:
            waits: for the end of the thread, for a second at most, as a source may be slow to let go.
        """
        self._stopped.set()
        self._queue.close()
        with self._lock:
            source = self._source
        if source is not None:
            source.close()
        if waits:
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
        sampler, failure = self._sampler, None
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
                is_foreign = source.is_live and not source.continues_clock
                sampler.next_source(is_foreign=is_foreign, resumes_at=now_seconds() if now_seconds else None)
                self._end_position = None
            arrived_at = time.monotonic()
            num_late = sampler.num_late
            ticks = list(sampler.push(frame.pts_seconds, frame))
            self._queue.count(num_frames=1, num_late=sampler.num_late - num_late)
            for tick in ticks:
                self._queue.put(tick, policy)
        if arrived_at is None or self._stopped.is_set():
            return failure, now_seconds
        for tick in sampler.finish(source.end_seconds):
            self._queue.put(tick, policy)
        return failure, self._after_end(arrived_at)

    def _after_end(self, arrived_at: float) -> Callable[[], float]:
        """Keeps where the sampler stands at the end of a source; returns its time as it goes on without one.

        Args:
            arrived_at: When the last frame came, on the monotonic clock.
        """
        position = self._sampler.position
        assert position is not None and position.end_seconds is not None, "a frame came, and the sampler was finished"
        with contextlib.suppress(VideoError):  # the last frame is damaged, but nobody has to see it
            self._end_position = position.map(LiveFrame.rgb)  # now, since the source is about to be closed
        shown_seconds, end_seconds = position.pts_seconds, position.end_seconds
        return lambda: max(end_seconds, shown_seconds + time.monotonic() - arrived_at)


def _check(capacity: int, backoff_seconds: Sequence[float]) -> None:
    if capacity < 1:
        raise ConfigError(f"room for {capacity} waiting ticks; there must be room for at least 1")
    if not backoff_seconds or not all(0 <= pause < math.inf for pause in backoff_seconds):
        raise ConfigError(f"backoff_seconds is {backoff_seconds!r}; expected one or more pauses of 0 seconds or more")
