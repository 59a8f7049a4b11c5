"""A live stream over a WebSocket: frames come, answers and events go.

The client begins with the JSON text `{"type": "start"}`, and is answered `ready`. Then it sends binary messages: the
number of the frame (uint64), the time at which it came on screen in seconds (float64), both little-endian, and the
picture (JPEG, WebP or PNG). It is sent JSON texts: `result` at each tick of the model's clock, `event` (`new`,
`update`, `end`), `dropped`, `missing`, `saved`, `error` for a frame that cannot be used, and `ended` at last.
`{"type": "reset"}` clears the memory before the model's next step, `{"type": "end"}` ends the stream once no frame of
it waits.

A client whose connection fails connects again, to this or another server with the same store, and sends the token that
`ready` gave it: `{"type": "start", "resume": TOKEN}`. `ready` then says behind which frame the stream goes on; the
client may send again what came after it. Every connection has a token of its own, so a server that has not noticed yet
that its client is gone cannot overwrite what another one keeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
import uuid
from typing import Any

import numpy as np
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from lsn.errors import ConfigError, VideoError, WeightsError
from lsn.serving.access import PROTOCOL, refused
from lsn.serving.metrics import Metrics
from lsn.serving.protocol import HEADER
from lsn.serving.pushed import Arrival, PushedFrames
from lsn.serving.states import Snapshot, StateStoreError, is_token, new_token
from lsn.serving.streams import LiveStreams, Saved
from lsn.streaming import StreamPrediction
from lsn.streaming.prediction import StreamEnd
from lsn.video.decoding.frames_reader import decode_image, image_size, is_jpeg

logger = logging.getLogger(__name__)

SMALL_BYTES, SMALL_PIXELS = 64 << 10, 320 * 240
"""Of pictures that take less than a millisecond to decode."""
MAX_PIXELS = 4096 * 2304
"""Of a frame: more than 4K, and some dozen of them wait at most."""
RETRY_SECONDS = 5
START_SECONDS = 10.0
"""How long a client may take for its first message."""
LATE_SECONDS = 1.0
"""A time that is further back means that the clock has started again."""
MAX_TITLE = 64
"""Characters of the name that a client gives its stream."""
MAX_TEXT = 4096
"""Characters of a message that is no frame."""
MAX_UNREAD = 512
"""Messages that wait for a client that does not read; more end its stream."""
PROTOCOL_ERROR, TRY_LATER = 1002, 1013
"""Codes that a WebSocket is closed with."""


class LiveSocket:
    """One client.

    Args:
        socket: not accepted yet.
        streams: run its stream.
        metrics: count what it is answered.
        idle_seconds: how long it may send no frame.
    """

    def __init__(self, socket: WebSocket, streams: LiveStreams, metrics: Metrics, *, idle_seconds: float) -> None:
        self.name = self._title = uuid.uuid4().hex
        self._socket, self._streams, self._metrics = socket, streams, metrics
        self._idle_seconds = idle_seconds
        self._source = PushedFrames(self.name)
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._last_seconds = -math.inf
        self._last_number = -1  # of the frames so far
        self._last_frame_at = 0.0  # by the clock of the loop
        self._end_reason = "the server ended the stream; resume it with its token"
        self._num_dropped = 0
        self._num_refused = 0  # frames since the last good one
        self._is_slow = asyncio.Event()

    async def run(self) -> None:
        """Serves the client until its stream has ended."""
        if self._streams.num_streams >= self._streams.capacity:
            await self._refuse()
            return
        offered = self._socket.scope.get("subprotocols", [])
        await self._socket.accept(PROTOCOL if PROTOCOL in offered else None)
        try:
            if await self._begin():
                await self._work()
        except (WebSocketDisconnect, RuntimeError):  # it left while its stream began
            return
        finally:
            self._end()

    async def _work(self) -> None:
        works = self._receive_all(), self._send_all(), self._is_slow.wait(), self._end_when_idle()
        tasks = [asyncio.create_task(each) for each in works]
        tasks[0].add_done_callback(lambda _: self._end())
        try:
            await asyncio.wait(tasks[1:3], return_when=asyncio.FIRST_COMPLETED)
            if self._is_slow.is_set():
                logger.warning("stream %s: %d answers were not read; it is ended", self.name, MAX_UNREAD)
        finally:
            self._end()
            for task in tasks:
                task.cancel()
            received, *_ = await asyncio.gather(*tasks, return_exceptions=True)
            if isinstance(received, Exception):
                logger.error("stream %s: a message could not be handled", self.name, exc_info=received)

    def _end(self) -> None:
        """Frees the slot now, whatever frames wait."""
        self._streams.leave(self.name)

    async def _end_when_idle(self) -> None:
        self._last_frame_at = self._loop.time()
        while (left := self._last_frame_at + self._idle_seconds - self._loop.time()) > 0:
            await asyncio.sleep(left)
        self._end_reason = f"no frame came for {self._idle_seconds:g} seconds; resume the stream with its token"
        self._end()

    async def _refuse(self) -> None:
        text = f"all {self._streams.capacity} streams are taken; try again in {RETRY_SECONDS} seconds"
        await self._socket.send_denial_response(refused(503, text, {"Retry-After": str(RETRY_SECONDS)}))

    async def _begin(self) -> bool:
        try:
            start = await asyncio.wait_for(self._socket.receive_text(), START_SECONDS)
        except (TimeoutError, KeyError):  # a binary message has no text
            start = ""
        message = _parsed(start)
        if message.get("type") != "start":
            await self._close(PROTOCOL_ERROR, 'expected {"type": "start"} as the first message')
            return False
        if isinstance(title := message.get("name"), str) and title:
            self._title = f"live/{title[:MAX_TITLE]}"  # no stream that the server reads itself is called like this
        token, resumed = new_token(), None
        try:
            if (old := message.get("resume")) is not None:
                resumed = await self._resume(old, token)
            else:
                await self._open(token, None, sends_again=False)
        except ConfigError:
            await self._close(TRY_LATER, f"all {self._streams.capacity} streams are taken")
            return False
        self._metrics.count_opened()
        predictor = self._streams.predictor
        ready = {"stream": self.name, "fps": predictor.fps, "labels": list(predictor.labels)}
        await self._socket.send_json(
            {"type": "ready", **ready, "model": predictor.network.name, "token": token, "resumed": resumed}
        )
        return True

    async def _resume(self, old: Any, token: str) -> dict[str, Any]:
        """Resumes a stream, or starts without its state if that is not possible; returns what `ready` says of it."""
        try:
            snapshot = await asyncio.to_thread(self._streams.resume, old) if is_token(old) else None
            if snapshot is not None:
                await self._open(token, snapshot, sends_again=True)
                return {"frame": snapshot.frame, "seconds": snapshot.seconds, "error": None}
            problem = "no stream was kept under this token, or not for that long"
        except (StateStoreError, TimeoutError) as error:
            problem = str(error) or "the stream under this token does not end"
        except WeightsError as error:
            problem = str(error).partition(": ")[2].partition(";")[0]  # without file and remedy
        logger.warning("stream %s cannot be resumed: %s", self.name, problem)
        await self._open(token, None, sends_again=True)
        return {"frame": None, "seconds": None, "error": f"{problem}; the stream starts without its state"}

    async def _open(self, token: str, resumed: Snapshot | None, *, sends_again: bool) -> None:
        self._last_number = -1 if resumed is None else resumed.frame
        after = None if resumed is None else Arrival(resumed.frame, resumed.seconds, time.monotonic())
        self._source = PushedFrames(self.name, after=after, sends_again=sends_again)
        opened = self._streams.open(
            self.name, self._source, self._hear, title=self._title, token=token, resumed=resumed
        )
        await asyncio.wrap_future(opened)

    async def _receive_all(self) -> None:
        """Takes messages until the client leaves."""
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                await self._take(message["bytes"])
            elif (kind := _parsed(message.get("text") or "").get("type")) == "end":
                self._source.finish()
            elif kind == "reset":
                self._streams.reset(self.name)
            else:
                self._tell({"type": "error", "error": 'expected a frame, {"type": "reset"} or {"type": "end"}'})

    async def _take(self, message: bytes) -> None:
        """Takes a frame; one that cannot be used costs an error, and the stream goes on."""
        if len(message) <= HEADER.size:
            self._tell(
                {"type": "error", "error": f"a frame of {len(message)} bytes; its header alone has {HEADER.size}"}
            )
            return
        number, seconds = HEADER.unpack_from(message)
        if number <= self._last_number:  # sent twice, as after a doubt whether it had arrived
            return
        if not math.isfinite(seconds):
            self._refuse_frame(number, f"its time is {seconds}; expected seconds")
            return
        try:
            frame_HWC = await _decoded(message[HEADER.size :], f"frame {number}")
        except VideoError as error:
            self._refuse_frame(number, str(error))
            return
        if 0 <= self._last_seconds - seconds < LATE_SECONDS:
            self._refuse_frame(number, f"its time, {seconds:g} s, is not after that of the frame before")
            return
        self._last_seconds = seconds
        missing, self._num_refused = number - self._last_number - 1 - self._num_refused, 0
        if self._last_number >= 0 and missing > 0:
            self._tell({"type": "missing", "frames": missing, "before": number})
        self._last_number = number
        self._last_frame_at = self._loop.time()
        self._source.push(number, seconds, frame_HWC)

    def _refuse_frame(self, number: int, error: str) -> None:
        self._num_refused += 1
        self._tell({"type": "error", "frame": number, "error": error})

    def _hear(self, result: StreamPrediction | StreamEnd | Saved, num_dropped: int) -> None:
        """Takes what is reported, in another thread."""
        with contextlib.suppress(RuntimeError):  # the server has ended
            self._loop.call_soon_threadsafe(self._report, result, num_dropped + self._source.num_dropped)

    def _report(self, result: StreamPrediction | StreamEnd | Saved, num_dropped: int) -> None:
        if isinstance(result, Saved):
            self._tell({"type": "saved", "frame": result.frame})
            return
        newly_dropped = max(0, num_dropped - self._num_dropped)
        self._num_dropped += newly_dropped
        if newly_dropped:
            self._tell({"type": "dropped", "frames": newly_dropped, "frames_in_all": num_dropped})
        age_seconds: float | None = None
        if isinstance(result, StreamPrediction):
            answer = result.to_dict()
            del answer["stream"], answer["frame_probabilities"], answer["events"]
            if (arrival := self._source.arrival_of(result.pts_seconds)) is not None:
                age_seconds = time.monotonic() - arrival.came_at
                queue_ms = 1000 * age_seconds - result.timings_ms["transform"] - result.timings_ms["model"]
                answer |= {"frame": arrival.number, "age_ms": 1000 * age_seconds, "queue_ms": max(0.0, queue_ms)}
            self._tell({"type": "result", **answer})
        self._metrics.count(result, num_dropped=newly_dropped, age_seconds=age_seconds)
        for report in result.events:
            self._tell({"type": "event", **report.to_dict()})
        if isinstance(result, StreamEnd):
            is_done = self._source.is_finished and not self._streams.is_closing
            error = None if is_done else self._end_reason
            error = error if result.error is None else str(result.error)
            self._tell({"type": "ended", "seconds": result.seconds, "error": error})
            self._outgoing.put_nowait(None)

    def _tell(self, message: dict[str, Any]) -> None:
        if self._outgoing.qsize() < MAX_UNREAD:
            self._outgoing.put_nowait(message)
        else:
            self._is_slow.set()

    async def _send_all(self) -> None:
        """Sends what there is to say until the stream has ended."""
        while (message := await self._outgoing.get()) is not None:
            await self._socket.send_json(message)
        await self._close(1000, "")

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state == WebSocketState.CONNECTED:
            await self._socket.close(code, reason)


async def _decoded(picture: bytes, name: str) -> np.ndarray:
    """Decodes a picture: a small JPEG at once, as the way to another thread takes longer."""
    if len(picture) <= SMALL_BYTES and is_jpeg(picture):
        width, height = image_size(picture, name)
        if width * height <= SMALL_PIXELS:
            await asyncio.sleep(0)  # others have their turn between two pictures
            return decode_image(picture, name, max_pixels=MAX_PIXELS)
    return await asyncio.to_thread(decode_image, picture, name, max_pixels=MAX_PIXELS)


def _parsed(text: str) -> dict[str, Any]:
    """The fields of a message; none if it is no JSON object."""
    if len(text) > MAX_TEXT:
        return {}
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
