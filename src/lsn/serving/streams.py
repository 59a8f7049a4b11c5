"""All live streams of a server: one thread that runs the model for whoever has a frame."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from lsn.errors import LSNError
from lsn.serving.pushed import Arrival, PushedFrames
from lsn.serving.states import Snapshot, Snapshots
from lsn.streaming import StreamingPredictor, StreamPrediction
from lsn.streaming.engine import StreamEngine
from lsn.streaming.events import EventReport
from lsn.streaming.prediction import StreamEnd
from lsn.streaming.runner import StreamRunner
from lsn.streaming.session import StreamSession
from lsn.video.live.options import SourceOptions
from lsn.video.live.source import LiveSource
from lsn.video.live.tick_queue import FrameCounts

logger = logging.getLogger(__name__)

LiveInput: TypeAlias = "PushedFrames | Callable[[], LiveSource]"
"""Frames that a client sends, or what opens a source, again when it is lost."""
Listener: TypeAlias = "Callable[[StreamPrediction | StreamEnd | Saved, int], None]"
"""Takes what is reported of one stream, its end last, and how many frames were dropped so far. It is called in other
threads, and must not wait."""
LONGEST_WAIT_SECONDS = 0.005
"""How long a frame waits at most for those of other streams, to be one batch with them."""
CLOSING_SECONDS = 5.0
"""Time for the last snapshots."""


_WAITING = SourceOptions(policy="block")
"""Frames that are pushed wait, and are dropped, where they come in."""


@dataclass(frozen=True)
class Saved:
    """A snapshot is kept: frames up to this number need not be sent again."""

    frame: int


@dataclass
class _Live:
    """A stream that runs."""

    source: LiveInput
    listener: Listener
    token: str | None
    title: str
    """What others call it."""
    snapshot_at: float
    """When the next snapshot is due."""
    is_left: bool = False
    """Whether its end was asked for while its source went on."""
    ended: Future[None] = field(default_factory=Future)
    """Done once its last snapshot can be asked for."""


class LiveStreams:
    """Runs streams until it is closed.

    Args:
        predictor: with one slot for each stream at the same time; used by nobody else.
        snapshots: where streams are kept.
        snapshot_seconds: between two snapshots of a stream.
    """

    def __init__(self, predictor: StreamingPredictor, snapshots: Snapshots, *, snapshot_seconds: float = 5.0) -> None:
        self.predictor = predictor
        self.failure: Exception | None = None
        """What ended the thread, if that was nobody's wish."""
        self.on_ended: Callable[[], object] = lambda: None
        """Called by the thread once all streams have ended and reported it."""
        self.on_end: Callable[[], object] = lambda: None
        """Called by the thread as it ends, after that."""
        self.on_event: Callable[[str, str, EventReport, float], object] = lambda *_: None
        """Called by the thread with what is said of events: the title of the stream, what the event is called and no
        other one, the report, and the time on the clock of the stream."""
        self.snapshots, self._snapshot_seconds = snapshots, snapshot_seconds
        # A part of what a step of their own would cost them.
        wait_seconds = min(LONGEST_WAIT_SECONDS, _step_seconds(predictor.engine) / 4)
        self._runner = StreamRunner(predictor, {}, waits_for_more=True, batch_seconds=wait_seconds)
        self._live: dict[str, _Live] = {}
        self.is_closing = False
        """Whether all streams are being ended."""
        self._folder = tempfile.TemporaryDirectory(prefix="lsn-")
        self._thread = threading.Thread(target=self._run, name="lsn-engine", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether streams can be opened."""
        return self._thread.is_alive()

    @property
    def num_streams(self) -> int:
        """Streams that have a slot."""
        return self.predictor.engine.num_streams

    @property
    def capacity(self) -> int:
        """Streams that there is room for."""
        return self.predictor.engine.capacity

    def open(
        self,
        name: str,
        source: LiveInput,
        listener: Listener,
        *,
        title: str,
        token: str | None,
        resumed: Snapshot | None = None,
    ) -> Future[StreamSession]:
        """Has a stream begin.

        Args:
            name: no other stream may have had it.
            source: of its frames.
            listener: called from then on.
            title: what others call it.
            token: under which its snapshots are kept; None for a stream that is never resumed.
            resumed: where it goes on.

        Returns:
            The session, or a `ConfigError` if all slots are taken, or a `WeightsError` if the snapshot does not fit.
        """
        state = None
        if resumed is not None:
            state = Path(self._folder.name, name)
            state.write_bytes(resumed.state)
        self._live[name] = _Live(source, listener, token, title, time.monotonic() + self._snapshot_seconds)
        options = _WAITING if isinstance(source, PushedFrames) else None
        session = self._runner.add(name, source, options, state=state)

        def has_begun(done: Future[StreamSession]) -> None:
            if state is not None:
                state.unlink()
            if done.exception():
                self._live.pop(name).ended.set_result(None)

        session.add_done_callback(has_begun)
        return session

    def resume(self, token: str) -> Snapshot | None:
        """The last snapshot under a token; a stream here that still has it is ended before. It may wait for a store.

        Raises:
            StateStoreError: the store does not answer.
        """
        for name, live in list(self._live.items()):
            if live.token == token:
                self.leave(name).result(timeout=CLOSING_SECONDS)
        return self.snapshots.of(token)

    def reset(self, name: str) -> Future[None]:
        """Clears the memory of a stream before its next frame."""
        return self._runner.between_steps(lambda: self._runner.sessions[name].reset())

    def leave(self, name: str) -> Future[None]:
        """Has a stream end; its listener gets the end. Done once its last snapshot can be asked for."""
        if (live := self._live.get(name)) is None:
            ended: Future[None] = Future()
            ended.set_result(None)
            return ended
        if not live.is_left:
            live.is_left = True
            self._runner.leave(name)
        return live.ended

    def close(self) -> None:
        """Ends all streams, whose snapshots are kept and whose listeners get their ends, and the thread."""
        self.is_closing = True
        self._runner.stop()
        self._thread.join()
        self.snapshots.close(CLOSING_SECONDS)
        self._folder.cleanup()

    def _run(self) -> None:
        try:
            for result in self._runner:
                live, counts = self._live[result.stream], self._runner.counts(result.stream)
                is_over = isinstance(result, StreamEnd)
                if isinstance(result, StreamEnd):
                    self._end(result, live)
                elif self.snapshots.outlives_process and time.monotonic() >= live.snapshot_at:
                    self._keep(result.stream, live)
                live.listener(result, counts.num_dropped)
                for report in result.events:
                    self.on_event(live.title, f"{result.stream}-{report.event.id}", report, result.seconds)
                if is_over:
                    live.ended.set_result(None)
        except Exception as error:
            logger.exception("the thread of the engine has ended")
            self.failure = error
            while self._live:
                name, live = self._live.popitem()
                live.listener(StreamEnd(name, 0.0, (), FrameCounts(), error), 0)
                live.ended.set_result(None)
        finally:
            self._runner.close()
            self.on_ended()
            self.on_end()

    def _end(self, end: StreamEnd, live: _Live) -> None:
        is_done = not (live.is_left or self.is_closing or end.error is not None)
        if isinstance(live.source, PushedFrames) and not live.source.is_finished:
            is_done = False
        if is_done and live.token is not None:
            self.snapshots.keep(live.token, None)
        else:
            self._keep(end.stream, live)
        del self._live[end.stream]
        self._runner.release(end.stream)

    def _keep(self, name: str, live: _Live) -> None:
        """Has a snapshot kept of a stream as it stands after its last answer."""
        session, path = self._runner.sessions[name], Path(self._folder.name, f"{name}-now")
        live.snapshot_at = time.monotonic() + self._snapshot_seconds
        if live.token is None or session.pts_seconds is None:  # nothing was answered yet
            return
        if isinstance(live.source, PushedFrames):
            last = live.source.arrival_of(session.pts_seconds)
        else:
            last = Arrival(0, session.pts_seconds, 0.0)  # nobody counts the frames
        if last is None:
            return
        try:
            session.save(path)
        except (LSNError, OSError) as error:
            logger.error("stream %s: no snapshot: %s", name, error)
            return
        snapshot = Snapshot(last.number, last.pts_seconds, path.read_bytes())
        path.unlink()
        self.snapshots.keep(live.token, snapshot, lambda: live.listener(Saved(last.number), 0))


def _step_seconds(engine: StreamEngine) -> float:
    """How long the model takes for a frame of one stream."""
    slot, measured = engine.acquire(), []
    frame_CHW = np.zeros((3, engine.runtime.height, engine.runtime.width), np.uint8)
    for _ in range(4):  # the first one gets ready
        start = time.perf_counter()
        engine.step({slot: frame_CHW})
        measured.append(time.perf_counter() - start)
    engine.release(slot)
    return min(measured)
