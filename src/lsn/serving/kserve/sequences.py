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

from lsn.errors import ConfigError, LSNError
from lsn.serving.access import StreamQuota
from lsn.serving.kserve.tensors import RequestError
from lsn.serving.live import MAX_TITLE
from lsn.serving.metrics import Metrics
from lsn.serving.pushed import PushedFrames
from lsn.serving.streams import LiveStreams, Saved
from lsn.streaming import StreamPrediction
from lsn.streaming.prediction import StreamEnd


class SequenceLimitError(ConfigError):
    """A client has as many streams as it may have."""


class SequenceEndedError(LSNError):
    """A sequence has ended before its last frame, without its client's wish."""


class InferSequence:
    """One of them. Its frames are the ticks of the model's clock.

    Args:
        streams: run it.
        metrics: count what is answered.
        title: what events call it.
    """

    def __init__(self, streams: LiveStreams, metrics: Metrics, title: str) -> None:
        self.name = f"kserve-{uuid.uuid4().hex}"
        self.title = title
        self.lock = asyncio.Lock()
        """Held by the request under way, as the frames of a sequence have an order."""
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
        opened = self._streams.open(self.name, self._source, self._on_result, title=self.title, token=None)
        await asyncio.wrap_future(opened)
        self._metrics.count_opened()

    async def infer(self, frames: Sequence[np.ndarray]) -> list[StreamPrediction]:
        """The answer to each frame, uint8 RGB HWC, after all before it.

        Raises:
            SequenceEndedError: the stream has ended.
        """
        found = []
        tick_seconds = 1 / self._streams.predictor.fps
        for frame_HWC in frames:
            self._source.push(self._num_frames, self._num_frames * tick_seconds, frame_HWC)
            self._num_frames += 1
            answer = await self._answers.get()
            if isinstance(answer, StreamEnd):
                self.is_over = True
                raise SequenceEndedError(
                    f"the sequence has ended: {answer.error or 'its client or the server ended it'}"
                )
            found.append(answer)
        self.used_at = time.monotonic()
        return found

    async def close(self) -> None:
        """Frees its slot."""
        self.is_over = True
        await asyncio.wrap_future(self._streams.leave(self.name))

    def _on_result(self, result: StreamPrediction | StreamEnd | Saved, num_dropped: int) -> None:
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
        quota: of live streams that a client may have.
        idle_seconds: after so long without a request, a sequence is ended.
    """

    def __init__(self, streams: LiveStreams, metrics: Metrics, quota: StreamQuota, *, idle_seconds: float) -> None:
        self._streams, self._metrics, self._quota = streams, metrics, quota
        self._idle_seconds = idle_seconds
        self._open: dict[tuple[str, int | str], InferSequence] = {}
        self._watches: set[asyncio.Task[None]] = set()

    async def infer_once(self, client: str, frames: Sequence[np.ndarray]) -> list[StreamPrediction]:
        """The answers to frames that are a sequence of their own.

        Raises:
            ConfigError: all slots are taken, or the client has too many streams.
            SequenceEndedError: it has ended before its last frame.
        """
        sequence = await self._opened(client, "kserve")
        try:
            return await sequence.infer(frames)
        finally:
            await self._close(client, sequence)

    async def infer(
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
            ConfigError: all slots are taken, or the client has too many streams.
            RequestError: there is no such sequence (it may have ended), so its memory is not there.
            SequenceEndedError: it ends before its last frame.
        """
        key = client, id
        sequence = await self._begin(key) if is_start else self._open.get(key)
        if sequence is None:
            raise RequestError(
                f"no sequence {str(id)[:80]}: begin it with sequence_start; one without a request for "
                f"{self._idle_seconds:g} seconds is ended"
            )
        async with sequence.lock:
            if sequence.is_over:
                raise RequestError(f"the sequence {str(id)[:80]} has ended; begin it again")
            try:
                return await sequence.infer(frames)
            except BaseException:  # some of its frames may have been seen
                sequence.is_over = True
                raise
            finally:
                if is_end or sequence.is_over:
                    await self._end(key, sequence)

    async def _begin(self, key: tuple[str, int | str]) -> InferSequence:
        """Begins a sequence in the place of all that have its key, also those that begin meanwhile."""
        await self._end_all(key)
        sequence = await self._opened(key[0], f"kserve/{key[1]}"[:MAX_TITLE])
        await self._end_all(key)
        self._open[key] = sequence
        watch = asyncio.create_task(self._end_when_idle(key, sequence))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        return sequence

    async def _opened(self, client: str, title: str) -> InferSequence:
        if not self._quota.acquire(client):
            raise SequenceLimitError(self._quota.refusal)
        sequence = InferSequence(self._streams, self._metrics, title)
        try:
            await sequence.open()
        except BaseException:
            self._quota.release(client)
            raise
        return sequence

    async def _end_all(self, key: tuple[str, int | str]) -> None:
        while (sequence := self._open.get(key)) is not None:
            await self._end(key, sequence)

    async def _end(self, key: tuple[str, int | str], sequence: InferSequence) -> None:
        if self._open.get(key) is sequence:
            del self._open[key]
            await self._close(key[0], sequence)

    async def _close(self, client: str, sequence: InferSequence) -> None:
        try:
            await sequence.close()
        finally:
            self._quota.release(client)

    async def _end_when_idle(self, key: tuple[str, int | str], sequence: InferSequence) -> None:
        while not sequence.is_over:
            left = sequence.used_at + self._idle_seconds - time.monotonic()
            if left > 0 or sequence.lock.locked():
                await asyncio.sleep(max(left, 1.0))
            else:
                await self._end(key, sequence)
