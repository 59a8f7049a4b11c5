"""Streams that are read while they go on: cameras, addresses, files and iterators, one or many."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from lsn.errors import LSNError
from lsn.inference.stream.events import Event
from lsn.inference.stream.predictor import StreamingPredictor
from lsn.inference.stream.session import Stream, StreamAnswer
from lsn.video.clock import Tick
from lsn.video.feed import FeedCounts, FrameFeed, Policy
from lsn.video.live import Source


@dataclass(frozen=True)
class StreamEnd:
    """How a stream ended."""

    stream: str
    """Name of the stream."""
    seconds: float
    """Time of its last tick, on the clock of the source."""
    events: tuple[Event, ...]
    """Events that were going on."""
    counts: FeedCounts
    """Frames read, dropped and left out."""
    error: LSNError | None
    """What ended it; None if the source ended by itself."""

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return {
            "stream": self.stream,
            "ended_seconds": self.seconds,
            "events": [asdict(event) for event in self.events],
            "counts": asdict(self.counts),
            "error": None if self.error is None else str(self.error),
        }


class Watch:
    """Reads sources, each in a thread of its own, and gives the answers as they come. Use it as a context manager.

    The model runs once for all streams that have a frame. A stream that ends or fails leaves the others alone.

    Args:
        predictor: with a free place for each source.
        sources: by name; a file, a folder of frames, a camera (0, "/dev/video0"), an address, or an iterator of
            frames: pairs of seconds and uint8 RGB HWC, or the frames alone with their `source_fps`.
        policy: what happens to frames that the model is too slow for: "block" lets the source wait, "drop_oldest" and
            "drop_newest" lose them, counted; by default live sources drop the oldest and others wait.
        source_fps: frames a second of sources that do not tell times: folders and bare iterators.
        reconnect_seconds: how long to try to reach a live source that was lost; None for ever, 0 not at all.
        states: files that `Stream.save` wrote, to go on from, by name of the stream.

    Raises:
        ConfigError: the predictor has too few places.
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
        states: Mapping[str, str | Path] | None = None,
    ) -> None:
        self.streams: dict[str, Stream] = {}
        """The streams by name, to save them or start them anew; those that have ended stand where they ended."""
        self._predictor = predictor
        self._running: dict[str, Stream] = {}
        self._feeds: dict[str, FrameFeed] = {}
        self._ready = threading.Event()
        self._is_stopped = False
        try:
            for name, source in sources.items():
                self.streams[name] = predictor.open(name, state=(states or {}).get(name))
                self._feeds[name] = FrameFeed(
                    source,
                    fps=predictor.fps,
                    policy=policy,
                    source_fps=source_fps,
                    longest_hold_seconds=predictor.resets.silence_seconds,
                    reconnect_seconds=reconnect_seconds,
                    on_ready=self._ready,
                )
            self._running.update(self.streams)
        except LSNError:
            self.close()
            raise

    def __iter__(self) -> Iterator[StreamAnswer | StreamEnd]:
        """Yields the answers of all streams as they come, and how each stream ended.

        Raises:
            LSNError: a stream cannot be opened or fails, if it is the only one.
        """
        is_alone = len(self.streams) == 1
        while self._running and not self._is_stopped:
            start = time.perf_counter()
            ticks, ends = self._take()
            wait_ms = 1000 * (time.perf_counter() - start)
            for name, error in ends.items():
                if error is not None and is_alone:
                    raise error
                yield self._end(name, error)
            yield from self._answers(ticks, wait_ms)

    def counts(self, name: str) -> FeedCounts:
        """What became of the frames of a stream so far."""
        return self._feeds[name].counts

    def stop(self) -> None:
        """Makes the iteration end after the answer under way, within a second if there is none.

        It takes no lock, so other threads and signal handlers may call it. The streams stay as they are until `close`.
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

    def _take(self) -> tuple[dict[Stream, Tick[Tensor]], dict[str, LSNError | None]]:
        """Waits until a stream has a tick or has ended; returns at most one tick a stream."""
        ticks: dict[Stream, Tick[Tensor]] = {}
        ends: dict[str, LSNError | None] = {}
        while not (ticks or ends or self._is_stopped):
            self._ready.clear()  # before the look, so that what comes after it is not missed
            for name, stream in self._running.items():
                feed = self._feeds[name]
                try:
                    tick = feed.get(timeout_seconds=0)
                except LSNError as error:
                    ends[name] = error
                    continue
                if tick is not None:
                    ticks[stream] = tick
                elif feed.is_finished:
                    ends[name] = None
            if not ticks and not ends:
                self._ready.wait(timeout=1.0)  # with an end, so that Ctrl-C and `stop` are heard
        return ticks, ends

    def _answers(self, ticks: Mapping[Stream, Tick[Tensor]], wait_ms: float) -> Iterator[StreamAnswer | StreamEnd]:
        before = {stream: {"wait": wait_ms, "decode": self._feeds[stream.name].decode_ms} for stream in ticks}
        answers = self._predictor.answer(ticks, timings_ms=before) if ticks else {}
        for stream, answer in answers.items():
            if not isinstance(answer, LSNError):
                yield answer
            elif len(self.streams) == 1:
                raise answer
            else:
                yield self._end(stream.name, answer)

    def _end(self, name: str, error: LSNError | None) -> StreamEnd:
        stream, feed = self._running.pop(name), self._feeds[name]
        feed.close()
        return StreamEnd(name, stream.seconds, tuple(stream.end_events(stream.seconds)), feed.counts, error)
