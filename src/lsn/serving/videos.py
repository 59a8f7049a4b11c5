"""Whole videos that are sent to a server, and what is said of them."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from lsn.errors import LSNError, VideoError
from lsn.inference.predictor import Predictor
from lsn.serving.access import refused
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline

MAX_PREDICTIONS = 4
"""Videos that wait for the one that is looked at."""
RETRY_SECONDS = 10
LOOK_SECONDS = 1.0
"""Between two looks whether a client still waits."""
SLOW_SECONDS, SLOW_BYTES = 15.0, 64 << 10
"""A body that comes more slowly than so many bytes a second, after so many seconds, is given up."""


class Answers:
    """What is said of whole videos, one after the other.

    Args:
        answer: for a clip, the likeliest classes; for a long video, its events.
    """

    def __init__(self, answer: Predictor | StreamingPredictor) -> None:
        network = answer.runtime.network if isinstance(answer, Predictor) else answer.network
        self.model = network.name
        self.labels = answer.labels
        self._answer = answer
        self._turn = asyncio.Lock()
        self._num_waiting = 0

    @contextmanager
    def place(self) -> Iterator[bool]:
        """A place in the queue while the block runs; False if there is none."""
        has_place = self._num_waiting <= MAX_PREDICTIONS
        self._num_waiting += has_place
        try:
            yield has_place
        finally:
            self._num_waiting -= has_place

    async def of(self, video: Path, name: str) -> dict[str, Any]:
        """What is said of a video; given up soon if the client or the server does not wait for it.

        Raises:
            VideoError: it cannot be read.
        """
        given_up = threading.Event()
        async with self._turn:
            work = asyncio.create_task(asyncio.to_thread(self._of, video, name, given_up))
            try:
                return await asyncio.shield(work)
            finally:
                given_up.set()
                await asyncio.wait([work])  # the model serves one thread at a time

    def _of(self, video: Path, name: str, given_up: threading.Event) -> dict[str, Any]:
        if isinstance(self._answer, Predictor):
            return self._answer(video).to_dict() | {"video": name}

        def look(*_: int) -> None:
            if given_up.is_set():
                raise VideoError(f"{name}: nobody waits for it")

        found = make_timeline(self._answer, video, progress=look)
        events = [asdict(event) for event in found.events]
        return {"video": name, "duration_seconds": found.duration_seconds, "events": events}


async def predicted(request: Request, name: str, answers: Answers, *, max_megabytes: int) -> Response:
    """Takes the video that is the body of a request, and says what happens in it."""
    with answers.place() as has_place, tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        if not has_place:
            return refused(503, "too many videos wait; try again later", {"Retry-After": str(RETRY_SECONDS)})
        path = Path(folder, "video")
        try:
            size = await _save(request, path, max_bytes=max_megabytes << 20)
            if size is None:
                return refused(413, f"more than {max_megabytes} MB; send a shorter or smaller video")
            if not size:
                return refused(422, "an empty body; send the bytes of a video file")
            return JSONResponse(await _unless_left(request, answers.of(path, name)))
        except (TimeoutError, ClientDisconnect):
            return refused(408, "the video comes too slowly; try again with a better connection")
        except VideoError as error:
            return refused(422, str(error).replace(str(path), name))
        except LSNError as error:
            return refused(500, str(error))


async def _unless_left(request: Request, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """Waits for an answer; gives it up when its client has left.

    Raises:
        ClientDisconnect: it has.
    """
    task = asyncio.create_task(work)
    try:
        while not (await asyncio.wait([task], timeout=LOOK_SECONDS))[0]:
            if await request.is_disconnected():
                raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])  # it may still read the file


async def _save(request: Request, path: Path, *, max_bytes: int) -> int | None:
    """Writes the body of a request to disk; returns its size, or None if it is too large.

    Raises:
        TimeoutError: it comes too slowly.
    """
    size, start, pieces = 0, time.monotonic(), request.stream()
    with path.open("wb") as file:
        while True:
            left = start + SLOW_SECONDS + size / SLOW_BYTES - time.monotonic()
            if (piece := await asyncio.wait_for(anext(pieces, None), left)) is None:
                return size
            size += len(piece)
            if size > max_bytes:
                return None
            file.write(piece)
