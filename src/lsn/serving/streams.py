"""All live streams of a server: one thread that runs the model for whoever has a frame."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from lsn.streaming import StreamingPredictor, StreamPrediction
from lsn.streaming.prediction import StreamEnd
from lsn.streaming.runner import StreamRunner
from lsn.streaming.session import StreamSession
from lsn.video.live.source import LiveSource
from lsn.video.live.tick_queue import FrameCounts

logger = logging.getLogger(__name__)

Listener: TypeAlias = "Callable[[StreamPrediction | StreamEnd, int], None]"
"""Takes what is reported of one stream, its end last, and how many frames were dropped so far. It is called in the
thread of the engine, so it must not wait."""
BATCH_SECONDS = 0.003
"""How long a frame waits for those of other streams, to be one batch with them."""


class LiveStreams:
    """Runs streams until it is closed.

    Args:
        predictor: with one slot for each stream at the same time; used by nobody else.
    """

    def __init__(self, predictor: StreamingPredictor) -> None:
        self.predictor = predictor
        self.failure: Exception | None = None
        """What ended the thread, if that was nobody's wish."""
        self.on_end: Callable[[], object] = lambda: None
        """Called by the thread as it ends."""
        self._runner = StreamRunner(predictor, {}, waits_for_more=True, batch_seconds=BATCH_SECONDS)
        self._listeners: dict[str, Listener] = {}
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

    def open(self, name: str, source: LiveSource, listener: Listener) -> Future[StreamSession]:
        """Has a stream begin.

        Args:
            name: no other stream may have had it.
            source: of its frames.
            listener: called from then on.

        Returns:
            The session, or a `ConfigError` if all slots are taken.
        """
        self._listeners[name] = listener
        session = self._runner.add(name, source)
        session.add_done_callback(lambda done: self._listeners.pop(name) if done.exception() else None)
        return session

    def reset(self, name: str) -> Future[None]:
        """Clears the memory of a stream before its next frame."""
        return self._runner.between_steps(lambda: self._runner.sessions[name].reset())

    def leave(self, name: str) -> Future[None]:
        """Has a stream end; its listener gets the end."""
        return self._runner.leave(name)

    def close(self) -> None:
        """Ends all streams, whose listeners get their ends, and the thread."""
        self._runner.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            for result in self._runner:
                listener, counts = self._listeners[result.stream], self._runner.counts(result.stream)
                if isinstance(result, StreamEnd):
                    del self._listeners[result.stream]
                    self._runner.release(result.stream)
                listener(result, counts.num_dropped)
        except Exception as error:
            logger.exception("the thread of the engine has ended")
            self.failure = error
            for name, listener in list(self._listeners.items()):
                listener(StreamEnd(name, 0.0, (), FrameCounts(), error), 0)
        finally:
            self._runner.close()
            self.on_end()
