"""Streams that are read while they go on: cameras, addresses, files and iterators, one or many."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from lsn.errors import ConfigError, LSNError, did_you_mean
from lsn.streaming.prediction import StreamEnd, StreamPrediction
from lsn.streaming.session import StreamSession, advance
from lsn.video.frame_sampler import Tick, check_above_zero
from lsn.video.live.capture_thread import CaptureThread, FrameCounts
from lsn.video.live.opening import Source
from lsn.video.live.options import SourceOptions
from lsn.video.live.source import LiveSource

if TYPE_CHECKING:
    from lsn.streaming.predictor import StreamingPredictor

T = TypeVar("T")

_POLL_SECONDS = 0.1  # how long `stop`, Ctrl-C and the end of the time may go unnoticed while nothing comes


class StreamRunner:
    """Reads sources, each in a thread of its own, and gives the answers as they come. Use it as a context manager.

    The model runs once for all streams that have a frame. A stream that ends or fails leaves the others alone. However
    a stream ends, the iteration reports it with a `StreamEnd`.

    Args:
        predictor: with a free slot for each source.
        sources: by name; a file, a folder of frames, a camera (0, "/dev/video0"), an address, or an iterator of
            frames: pairs of seconds and uint8 RGB HWC, or the frames alone with their `fps` in the options.
        options: how sources are opened and read: for all of them, or by name.
        states: files that `StreamSession.save` wrote, to continue from, by name of the stream. The times of a source
            are joined to those before; see `FrameSampler`.
        seconds: how long to run, from the start of the iteration, whatever the sources do; None is until they end.
        on_error: what follows the `StreamEnd` of a stream that failed: "report" lets the others go on, "raise" ends
            them too and raises the error. What an iterator of frames raises is raised in any case, unless it is an
            `LSNError`.
        waits_for_more: whether the iteration continues without a stream, until `stop`, as streams come with `add`.
        batch_seconds: how long a frame may wait for those of other streams, to be one batch with them.

    Raises:
        ConfigError: the predictor has too few slots, or an argument is wrong.
        WeightsError: a state cannot be read or does not fit.
    """

    def __init__(
        self,
        predictor: StreamingPredictor,
        sources: Mapping[str, Source | Callable[[], LiveSource]],
        *,
        options: SourceOptions | Mapping[str, SourceOptions] | None = None,
        states: Mapping[str, str | Path] | None = None,
        seconds: float | None = None,
        on_error: Literal["report", "raise"] = "report",
        waits_for_more: bool = False,
        batch_seconds: float = 0.0,
    ) -> None:
        if on_error not in ("report", "raise"):
            raise ConfigError(f"on_error {on_error!r}; {did_you_mean(on_error, ('report', 'raise'))}")
        check_above_zero(seconds=seconds)
        by_name = dict.fromkeys(sources, options) if isinstance(options, SourceOptions) else dict(options or {})
        for name in by_name:
            if name not in sources:
                raise ConfigError(f"options for {name!r}, which is no source; {did_you_mean(name, list(sources))}")
        self.sessions: dict[str, StreamSession] = {}
        """The streams by name, to save or reset them; those that have ended stand where they ended."""
        self._predictor = predictor
        self._running: dict[str, StreamSession] = {}
        self._threads: dict[str, CaptureThread] = {}
        self._left: list[str] = []
        self._ready = threading.Event()
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._is_stopped = self._is_closed = False
        self._seconds, self._stop_at = seconds, math.inf
        self._raises, self._waits_for_more, self._batch_seconds = on_error == "raise", waits_for_more, batch_seconds
        try:
            for name, source in sources.items():
                self._start(name, source, by_name.get(name), state=(states or {}).get(name))
        except LSNError:
            self.close()
            raise

    def __iter__(self) -> Iterator[StreamPrediction | StreamEnd]:
        """Yields the answers of all streams as they come, and how each stream ended.

        Raises:
            LSNError: a stream could not be opened or failed, after its end was reported; only with on_error="raise".
        """
        if self._seconds is not None:
            self._stop_at = time.monotonic() + self._seconds
        failures: list[Exception] = []
        while (self._running or self._waits_for_more) and not failures and not self._is_over:
            start = time.perf_counter()
            ticks, ends = self._take()
            wait_ms = 1000 * (time.perf_counter() - start)
            answers = advance(ticks, timings_ms=self._timings(ticks, wait_ms))
            for session, answer in answers.items():
                if isinstance(answer, StreamPrediction):
                    yield answer
                else:
                    ends[session.name] = answer
            for name, error in ends.items():
                yield self._end(name, error)
                if error is not None and (self._raises or not isinstance(error, LSNError)):
                    failures.append(error)
        for name in list(self._running):
            yield self._end(name, None)
        if failures:
            raise failures[0]

    def between_steps(self, job: Callable[[], T]) -> Future[T]:
        """Has the thread that iterates call a function before the next step, as it alone may touch the streams.

        Any thread may ask for it.

        Returns:
            What the function returns or raises; a `ConfigError` if the runner is closed first.
        """
        future: Future[T] = Future()
        self._jobs.put((future, job))
        self._ready.set()
        if self._is_closed:
            self._refuse_jobs()
        return future

    def add(
        self,
        name: str,
        source: Source | Callable[[], LiveSource],
        options: SourceOptions | None = None,
        *,
        state: str | Path | None = None,
    ) -> Future[StreamSession]:
        """Has a stream begin while others run; arguments are those of the runner, for one stream.

        Any thread may ask for it.

        Returns:
            The session, or a `ConfigError` if there is a stream of that name or no slot is free, or a `WeightsError`
            if the state does not fit.
        """
        return self.between_steps(lambda: self._start(name, source, options, state=state))

    def leave(self, name: str) -> Future[None]:
        """Has a stream end after the answer under way; its `StreamEnd` is reported. Any thread may ask for it.

        Returns:
            When it is under way, or a `ConfigError` if there is no such stream.
        """

        def mark() -> None:
            self._require(name, self._running)
            self._left.append(name)

        return self.between_steps(mark)

    def release(self, name: str) -> None:
        """Frees the slot of a stream that has ended, and its name. For the thread that iterates.

        Raises:
            ConfigError: there is no such stream, or it has not ended.
        """
        self._require(name, {each: session for each, session in self.sessions.items() if each not in self._running})
        self.sessions.pop(name).close()
        del self._threads[name]

    def counts(self, name: str) -> FrameCounts:
        """What became of the frames of a stream so far."""
        return self._threads[name].counts

    def stop(self) -> None:
        """Makes the iteration end all streams after the answer under way, at once if there is none.

        It takes no lock, so other threads and signal handlers may call it. The sessions can be saved until `close`.
        """
        self._is_stopped = True

    def close(self) -> None:
        """Ends all streams and their threads, and frees their slots."""
        for thread in self._threads.values():
            thread.close()
        self._running.clear()
        while self.sessions:
            self.sessions.popitem()[1].close()
        self._is_closed = True
        self._refuse_jobs()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _is_over(self) -> bool:
        return self._is_stopped or time.monotonic() >= self._stop_at

    def _start(
        self,
        name: str,
        source: Source | Callable[[], LiveSource],
        options: SourceOptions | None = None,
        *,
        state: str | Path | None = None,
    ) -> StreamSession:
        if name in self.sessions:
            raise ConfigError(f"there is a stream {name!r} already; give the other one another name")
        session = self._predictor.open(name, state=state)
        try:
            self._threads[name] = CaptureThread(
                source, session.sampler, options, on_ready=self._ready, view=session.view
            )
        except BaseException:  # such as no more threads
            session.close()
            raise
        self.sessions[name] = self._running[name] = session
        return session

    def _require(self, name: str, known: Mapping[str, StreamSession]) -> None:
        if name not in known:
            raise ConfigError(f"no stream {name!r}; {did_you_mean(name, list(known))}")

    def _refuse_jobs(self) -> None:
        with suppress(Empty):
            while True:
                future, _ = self._jobs.get_nowait()
                if future.set_running_or_notify_cancel():
                    future.set_exception(ConfigError("the streams have ended; start them again"))

    def _do_jobs(self) -> None:
        while not self._jobs.empty():
            future, job = self._jobs.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except Exception as error:
                future.set_exception(error)

    def _take(self) -> tuple[dict[StreamSession, Tick[np.ndarray]], dict[str, Exception | None]]:
        """Waits until a stream has a tick or its source has ended; returns at most one tick a stream."""
        ticks: dict[StreamSession, Tick[np.ndarray]] = {}
        ends: dict[str, Exception | None] = {}
        until = math.inf  # when the batch is closed
        while not (ends or self._is_over or time.monotonic() >= until):
            self._ready.clear()  # before the look, so that what comes after it is not missed
            self._do_jobs()
            self._look(ticks, ends)
            if ends or (ticks and len(ticks) == len(self._running)):
                break
            if ticks:
                until = min(until, time.monotonic() + self._batch_seconds)
            self._ready.wait(timeout=max(0.0, min(_POLL_SECONDS, until - time.monotonic())))
        return ticks, ends

    def _look(self, ticks: dict[StreamSession, Tick[np.ndarray]], ends: dict[str, Exception | None]) -> None:
        """Takes a tick of each stream that has one and is not in the batch yet, and notes those that are over."""
        ends |= dict.fromkeys(name for name in self._left if name in self._running)
        self._left.clear()
        for name, session in self._running.items():
            if session in ticks or name in ends:
                continue
            thread = self._threads[name]
            try:
                tick = thread.get(timeout_seconds=0)
            except Exception as error:  # an iterator may raise anything
                ends[name] = error
            else:
                if tick is not None:
                    ticks[session] = tick
                elif thread.is_finished:
                    ends[name] = None

    def _timings(
        self, ticks: Mapping[StreamSession, Tick[np.ndarray]], wait_ms: float
    ) -> dict[StreamSession, dict[str, float]]:
        return {session: {"wait": wait_ms, "decode": self._threads[session.name].decode_ms} for session in ticks}

    def _end(self, name: str, error: Exception | None) -> StreamEnd:
        session, thread = self._running.pop(name), self._threads[name]
        position = thread.end_position if thread.is_finished else None
        thread.close(waits=not self._waits_for_more)  # others must not wait for it
        session.leave_source(position)
        events = tuple(session.ongoing_events(session.end_seconds))
        return StreamEnd(name, session.seconds, events, thread.counts, error)
