"""Sequences of requests, each a stream of the engine: the memory of one is nobody else's.

Shapes: T frames, K classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Sequence

import numpy as np

from lsn.errors import ConfigError
from lsn.serving.kserve.tensors import RequestError
from lsn.serving.metrics import Metrics
from lsn.serving.pushed import PushedFrames
from lsn.serving.states import new_token
from lsn.serving.streams import LiveStreams, Saved
from lsn.streaming import StreamPrediction
from lsn.streaming.prediction import StreamEnd


class SequenceLimitError(ConfigError):
    """A client has as many sequences as it may have."""


class InferSequence:
    """One of them. Its frames are the ticks of the model's clock.

    Args:
        streams: run it.
        metrics: count what is answered.
    """

    def __init__(self, streams: LiveStreams, metrics: Metrics) -> None:
        self.name = f"kserve-{uuid.uuid4().hex}"
        self.turn = asyncio.Lock()
        """Of the request whose frames are looked at."""
        self.used_at = time.monotonic()
        self.is_over = False
        self._streams, self._metrics = streams, metrics
        self._source = PushedFrames(self.name)
        self._loop = asyncio.get_running_loop()
        self._answers: asyncio.Queue[StreamPrediction | StreamEnd] = asyncio.Queue()
        self._num_frames = 0

    async def open(self) -> None:
        """Takes a slot.

        Raises:
            ConfigError: all are taken.
        """
        opened = self._streams.open(self.name, self._source, self._hear, title=self.name, token=new_token())
        await asyncio.wrap_future(opened)
        self._metrics.count_opened()

    async def look(self, frames: Sequence[np.ndarray]) -> list[StreamPrediction]:
        """The answer to each frame, uint8 RGB HWC, after all before it.

        Raises:
            RequestError: the stream has ended.
        """
        found = []
        tick_seconds = 1 / self._streams.predictor.fps
        for frame_HWC in frames:
            self._source.push(self._num_frames, self._num_frames * tick_seconds, frame_HWC)
            self._num_frames += 1
            answer = await self._answers.get()
            if isinstance(answer, StreamEnd):
                self.is_over = True
                raise RequestError(f"the sequence has ended: {answer.error or 'the server ends'}")
            found.append(answer)
        self.used_at = time.monotonic()
        return found

    async def close(self) -> None:
        """Frees its slot."""
        self.is_over = True
        await asyncio.wrap_future(self._streams.leave(self.name))

    def _hear(self, result: StreamPrediction | StreamEnd | Saved, num_dropped: int) -> None:
        """Takes what is reported, in another thread."""
        if not isinstance(result, Saved):
            self._metrics.count(result, num_dropped=num_dropped, age_seconds=None)
            with contextlib.suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(self._answers.put_nowait, result)


class InferSequences:
    """All that have begun, by client and by the client's own id.

    Args:
        streams: run them.
        metrics: count what is answered.
        idle_seconds: after so long without a request, a sequence is ended.
        per_client: at the same time; None for no limit.
    """

    def __init__(
        self, streams: LiveStreams, metrics: Metrics, *, idle_seconds: float, per_client: int | None = None
    ) -> None:
        self._streams, self._metrics = streams, metrics
        self._idle_seconds, self._per_client = idle_seconds, per_client
        self._open: dict[tuple[str, int | str], InferSequence] = {}
        self._watches: set[asyncio.Task[None]] = set()

    async def alone(self, frames: Sequence[np.ndarray]) -> list[StreamPrediction]:
        """The answers to frames that are a sequence of their own.

        Raises:
            ConfigError: all slots are taken.
            RequestError: it has ended before its last frame.
        """
        sequence = InferSequence(self._streams, self._metrics)
        await sequence.open()
        try:
            return await sequence.look(frames)
        finally:
            await sequence.close()

    async def look(
        self, client: str, id: int | str, frames: Sequence[np.ndarray], *, is_start: bool, is_end: bool
    ) -> list[StreamPrediction]:
        """The answers to the next frames of a sequence.

        Args:
            client: whose sequence it is.
            id: by which the client knows it.
            frames: uint8 RGB HWC.
            is_start: begin it, and end one of the same id.
            is_end: end it after these.

        Raises:
            ConfigError: all slots are taken, or the client has too many sequences.
            RequestError: there is no such sequence (it may have ended), so its memory is not there.
        """
        key = client, id
        if is_start:
            await self._begin(key)
        if (sequence := self._open.get(key)) is None:
            raise RequestError(
                f"no sequence {str(id)[:80]}: begin it with sequence_start; one without a request for "
                f"{self._idle_seconds:g} seconds is ended"
            )
        async with sequence.turn:
            if sequence.is_over:
                raise RequestError(f"the sequence {str(id)[:80]} has ended; begin it again")
            try:
                return await sequence.look(frames)
            finally:
                if is_end or sequence.is_over:
                    await self._end(key, sequence)

    async def _begin(self, key: tuple[str, int | str]) -> None:
        if (old := self._open.get(key)) is not None:
            await self._end(key, old)
        if self._per_client is not None and sum(each == key[0] for each, _ in self._open) >= self._per_client:
            raise SequenceLimitError(f"{self._per_client} sequences are all that one client may have; end another one")
        self._open[key] = sequence = InferSequence(self._streams, self._metrics)
        try:
            await sequence.open()
        except ConfigError:
            sequence.is_over = True
            del self._open[key]
            raise
        watch = asyncio.create_task(self._end_when_idle(key, sequence))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _end(self, key: tuple[str, int | str], sequence: InferSequence) -> None:
        if self._open.get(key) is sequence:
            del self._open[key]
        await sequence.close()

    async def _end_when_idle(self, key: tuple[str, int | str], sequence: InferSequence) -> None:
        while not sequence.is_over:
            left = sequence.used_at + self._idle_seconds - time.monotonic()
            if left > 0 or sequence.turn.locked():
                await asyncio.sleep(max(left, 1.0))
            else:
                await self._end(key, sequence)
