"""The HTTP and WebSocket interface of a server."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect

import lsn
from lsn.errors import LSNError, VideoError
from lsn.inference.predictor import Predictor
from lsn.serving.live import LiveSocket
from lsn.serving.streams import LiveStreams
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline

MAX_PREDICTIONS = 4
"""Videos that wait for the one that is looked at."""
RETRY_SECONDS = 10
UPLOAD_SECONDS = 300
FOREIGN = "the page of another server may not use this one"


@dataclass(frozen=True)
class Limits:
    """What a client may ask for."""

    max_megabytes: int = 512
    """Of a video."""
    idle_seconds: float = 60.0
    """How long a live client may send no frame."""
    hosts: tuple[str, ...] | None = None
    """Names of the server that browsers may know; None for any. Otherwise a page could reach a server on the same
    machine by giving its own name this address (DNS rebinding)."""

    def allow(self, headers: Headers) -> bool:
        """Whether a request comes from no page, or from one of this server."""
        origin, host = headers.get("origin"), headers.get("host", "")
        try:
            page, name = urlsplit(origin or ""), urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        is_own = origin is None or page.netloc == host or (self.hosts is not None and page.hostname in self.hosts)
        return is_own and (self.hosts is None or name in self.hosts)


class Answers:
    """What is said of whole videos, one after the other.

    Args:
        answer: for a clip, the likeliest classes; for a long video, its events.
    """

    def __init__(self, answer: Predictor | StreamingPredictor) -> None:
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
        try:
            async with self._turn:
                return await asyncio.to_thread(self._of, video, name, given_up)
        finally:
            given_up.set()

    def _of(self, video: Path, name: str, given_up: threading.Event) -> dict[str, Any]:
        if isinstance(self._answer, Predictor):
            return self._answer(video).to_dict() | {"video": name}

        def look(*_: int) -> None:
            if given_up.is_set():
                raise VideoError(f"{name}: nobody waits for it")

        found = make_timeline(self._answer, video, progress=look)
        events = [asdict(event) for event in found.events]
        return {"video": name, "duration_seconds": found.duration_seconds, "events": events}


def create_app(streams: LiveStreams | None, answers: Answers, limits: Limits) -> FastAPI:
    """The interface.

    Args:
        streams: live streams; None if the model cannot watch any.
        answers: of whole videos.
        limits: what a client may ask for.
    """
    about = "Recognises actions in videos and live streams."
    # Without FastAPI's pages, which load scripts from elsewhere.
    app = FastAPI(title="LSN", version=lsn.__version__, description=about, docs_url=None, redoc_url=None)

    @app.middleware("http")
    async def for_own_pages(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuses what the page of another server makes a browser send."""
        return await call_next(request) if limits.allow(request.headers) else _error(403, FOREIGN)

    @app.get("/healthz")
    def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz")
    def ready(response: Response) -> dict[str, Any]:
        """Whether it can take work, and how many streams run."""
        is_ready = streams is None or streams.is_running
        response.status_code = 200 if is_ready else 503
        count = {} if streams is None else {"streams": streams.num_streams, "capacity": streams.capacity}
        return {"ready": is_ready, **count}

    @app.post("/v1/predict")
    async def predict(request: Request, name: str = "video") -> Response:
        """What happens in a video, whose bytes are the body: the likeliest classes, or events with their times."""
        return await _predicted(request, name, answers, limits)

    if streams is not None:

        @app.websocket("/v1/live")
        async def live(socket: WebSocket) -> None:
            if not limits.allow(socket.headers):
                await socket.close(1008, FOREIGN)
                return
            await LiveSocket(socket, streams, idle_seconds=limits.idle_seconds).run()

    return app


async def _predicted(request: Request, name: str, answers: Answers, limits: Limits) -> Response:
    """Takes the video that is the body of a request, and says what happens in it."""
    with answers.place() as has_place, tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        if not has_place:
            return _error(503, "too many videos wait; try again later", {"Retry-After": str(RETRY_SECONDS)})
        path = Path(folder, "video")
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                size = await _save(request, path, max_bytes=limits.max_megabytes << 20)
            if size is None:
                return _error(413, f"more than {limits.max_megabytes} MB; send a shorter or smaller video")
            if not size:
                return _error(422, "an empty body; send the bytes of a video file")
            return JSONResponse(await answers.of(path, name))
        except (TimeoutError, ClientDisconnect):
            return _error(408, f"the video did not come within {UPLOAD_SECONDS} seconds")
        except VideoError as error:
            return _error(422, str(error).replace(str(path), name))
        except LSNError as error:
            return _error(500, str(error))


async def _save(request: Request, path: Path, *, max_bytes: int) -> int | None:
    """Writes the body of a request to disk; returns its size, or None if it is too large."""
    size = 0
    with path.open("wb") as file:
        async for piece in request.stream():
            size += len(piece)
            if size > max_bytes:
                return None
            file.write(piece)
    return size


def _error(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status, headers=headers)
