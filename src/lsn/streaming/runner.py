"""Streams that are read while they go on: cameras, addresses, files and iterators, one or many."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch import Tensor

from lsn.errors import ConfigError, LSNError, did_you_mean
from lsn.streaming.events import Event
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.session import Stream, StreamPrediction
from lsn.video.frame_sampler import Tick, check_above_zero
from lsn.video.live.capture_thread import FeedCounts, FrameFeed, Policy
from lsn.video.live.opening import TIMEOUT_SECONDS, Source

_POLL_SECONDS = 0.1  # how long `stop`, Ctrl-C and the end of the time may go unnoticed while nothing comes


@dataclass(frozen=True)
class StreamEnd:
    """How a stream ended."""

    stream: str
    """Name of the stream."""
    seconds: float
    """Time of its last tick, on the clock of the stream."""
    events: tuple[Event, ...]
    """Events that were going on; a stream that is continued from its saved state reports them again, whole."""
    counts: FeedCounts
    """Frames read, dropped and left out."""
    error: Exception | None
    """What ended it; None if the source ended by itself, or the watch was stopped."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return {
            "stream": self.stream,
            "ended_seconds": self.seconds,
            "events": [asdict(event) for event in self.events],
            "counts": asdict(self.counts),
            "error": None if self.error is None else str(self.error),
        }


class StreamRunner:
    """Reads sources, each in a thread of its own, and gives the answers as they come. Use it as a context manager.

    The model runs once for all streams that have a frame. A stream that ends or fails leaves the others alone. However
    a stream ends, the iteration reports it with a `StreamEnd`.

    Args:
        predictor: with a free place for each source.
        sources: by name; a file, a folder of frames, a camera (0, "/dev/video0"), an address, or an iterator of
            frames: pairs of seconds and uint8 RGB HWC, or the frames alone with their `source_fps`.
        policy: what happens to frames that the model is too slow for: "block" lets the source wait, "drop_oldest" and
            "drop_newest" lose them, counted; by default live sources drop the oldest and others wait.
        source_fps: frames a second of sources that do not tell times: folders and bare iterators.
        reconnect_seconds: how long to try to reach a live source that was lost; None for ever, 0 not at all.
        timeout_seconds: longest silence of a camera or an address, after which it counts as lost.
        states: files that `Stream.save` wrote, to continue from, by name of the stream. The times of a source are
            joined to those before; see `FrameSampler`.
        seconds: how long to watch, from the start of the iteration, whatever the sources do; None is until they end.
        on_error: what follows the `StreamEnd` of a stream that failed: "report" lets the others go on, "raise" ends
            them too and raises the error. What an iterator of frames raises is raised in any case, unless it is an
            `LSNError`.

    Raises:
        ConfigError: the predictor has too few places, or an argument is wrong.
        WeightsError: a state cannot be read or does not fit.
    """

    def __init__(
        self,
        predictor: StreamingPredictor,
        sources: Mapping[str, Source],
        *,
        policy: Policy | None = None,
        source_fps: float | None = None,
        reconnect_seconds: float | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        states: Mapping[str, str | Path] | None = None,
        seconds: float | None = None,
        on_error: Literal["report", "raise"] = "report",
    ) -> None:
        if on_error not in ("report", "raise"):
            raise ConfigError(f"on_error {on_error!r}; {did_you_mean(on_error, ('report', 'raise'))}")
        check_above_zero(seconds=seconds)
        self.streams: dict[str, Stream] = {}
        """The streams by name, to save them or start them anew; those that have ended stand where they ended."""
        self._predictor = predictor
        self._running: dict[str, Stream] = {}
        self._feeds: dict[str, FrameFeed] = {}
        self._ready = threading.Event()
        self._is_stopped = False
        self._seconds, self._stop_at = seconds, math.inf
        self._raises = on_error == "raise"
        try:
            for name, source in sources.items():
                stream = self.streams[name] = predictor.open(name, state=(states or {}).get(name))
                self._feeds[name] = FrameFeed(
                    source,
                    fps=predictor.fps,
                    policy=policy,
                    source_fps=source_fps,
                    longest_hold_seconds=predictor.resets.max_gap_seconds,
                    timeout_seconds=timeout_seconds,
                    reconnect_seconds=reconnect_seconds,
                    on_ready=self._ready,
                    position=stream.position,
                )
            self._running.update(self.streams)
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
        while self._running and not failures and not self._is_over:
            start = time.perf_counter()
            ticks, ends = self._take()
            wait_ms = 1000 * (time.perf_counter() - start)
            answers = self._predictor.answer(ticks, timings_ms=self._timings(ticks, wait_ms)) if ticks else {}
            for stream, answer in answers.items():
                if isinstance(answer, StreamPrediction):
                    yield answer
                else:
                    ends[stream.name] = answer
            for name, error in ends.items():
                yield self._end(name, error)
                if error is not None and (self._raises or not isinstance(error, LSNError)):
                    failures.append(error)
        for name in list(self._running):
            yield self._end(name, None)
        if failures:
            raise failures[0]

    def counts(self, name: str) -> FeedCounts:
        """What became of the frames of a stream so far."""
        return self._feeds[name].counts

    def stop(self) -> None:
        """Makes the iteration end all streams after the answer under way, at once if there is none.

        It takes no lock, so other threads and signal handlers may call it. The streams can be saved until `close`.
        """
        self._is_stopped = True

    def close(self) -> None:
        """Ends all streams and their threads, and gives their places back."""
        for feed in self._feeds.values():
            feed.close()
        self._running.clear()
        while self.streams:
            self.streams.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _is_over(self) -> bool:
        return self._is_stopped or time.monotonic() >= self._stop_at

    def _take(self) -> tuple[dict[Stream, Tick[Tensor]], dict[str, Exception | None]]:
        """Waits until a stream has a tick or its source has ended; returns at most one tick a stream."""
        ticks: dict[Stream, Tick[Tensor]] = {}
        ends: dict[str, Exception | None] = {}
        while not (ticks or ends or self._is_over):
            self._ready.clear()  # before the look, so that what comes after it is not missed
            for name, stream in self._running.items():
                feed = self._feeds[name]
                try:
                    tick = feed.get(timeout_seconds=0)
                except Exception as error:  # an iterator may raise anything
                    ends[name] = error
                else:
                    if tick is not None:
                        ticks[stream] = tick
                    elif feed.is_finished:
                        ends[name] = None
                if name in ends and feed.end_position is not None:
                    stream.end_source(feed.end_position)
            if not ticks and not ends:
                self._ready.wait(timeout=_POLL_SECONDS)
        return ticks, ends

    def _timings(self, ticks: Mapping[Stream, Tick[Tensor]], wait_ms: float) -> dict[Stream, dict[str, float]]:
        return {stream: {"wait": wait_ms, "decode": self._feeds[stream.name].decode_ms} for stream in ticks}

    def _end(self, name: str, error: Exception | None) -> StreamEnd:
        stream, feed = self._running.pop(name), self._feeds[name]
        feed.close()
        return StreamEnd(name, stream.seconds, tuple(stream.end_events(stream.seconds)), feed.counts, error)
