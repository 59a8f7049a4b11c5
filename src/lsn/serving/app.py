"""The HTTP and WebSocket interface of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from fastapi import Depends, FastAPI, Request, Response, WebSocket, params
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

import lsn
from lsn.serving.access import Access, Gate, StreamQuota, refused
from lsn.serving.kserve.routes import kserve_routes
from lsn.serving.kserve.sequences import InferSequences
from lsn.serving.live import LiveSocket
from lsn.serving.metrics import Metrics
from lsn.serving.pulled.routes import pulled_routes
from lsn.serving.pulled.sources import AllowedSources
from lsn.serving.pulled.streams import PulledStreams
from lsn.serving.streams import LiveStreams
from lsn.serving.videos.jobs import VideoJobs
from lsn.serving.videos.routes import video_routes

PAGE = Path(__file__).parent / "page"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; connect-src 'self' ws: wss:; "
    "frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Limits:
    """What a request may be."""

    max_megabytes: int = 512
    """Of a video."""
    idle_seconds: float = 60.0
    """How long a live client may send no frame."""


def create_app(
    streams: LiveStreams | None,
    jobs: VideoJobs,
    limits: Limits,
    access: Access,
    *,
    allowed: AllowedSources | None = None,
    pull: Mapping[str, str] | None = None,
    log: TextIO | None = None,
) -> FastAPI:
    """The interface.

    Args:
        streams: live streams; None if the model cannot watch any.
        jobs: whole videos.
        limits: what a request may be.
        access: who may ask.
        allowed: sources that clients may have the server read.
        pull: sources that it reads from the start, by the name of the stream.
        log: takes a JSON line for each request; None for no log.

    Raises:
        ConfigError: there are more sources than slots, or one has a name that no stream can have.
    """
    about = "Recognises actions in videos and live streams."
    app = FastAPIOffline(title="LSN", version=lsn.__version__, description=about, redoc_url=None)
    # The gate asks for tokens; this makes the pages of the documentation ask for one too.
    doors = [Depends(HTTPBearer(auto_error=False))] if access.tokens else []
    metrics = Metrics(lambda: (0, 0) if streams is None else (streams.num_streams, streams.capacity))
    quota = StreamQuota(access.streams_per_client)
    app.add_middleware(Gate, access=access, metrics=metrics, log=log, quota=quota)

    _add_errors(app)
    _add_status(app, streams, metrics)
    _add_page(app)

    app.include_router(video_routes(jobs, max_megabytes=limits.max_megabytes), dependencies=doors)

    @app.get("/v1/model", tags=["server"], dependencies=doors)
    def model() -> dict[str, Any]:
        """What the model knows, and what may be sent to it; `fps` is null if it cannot watch streams."""
        fps, background = None, None
        if streams is not None:
            fps, background = streams.predictor.fps, streams.predictor.events.background
        about = {"model": jobs.analyzer.model, "labels": jobs.analyzer.labels, "background": background}
        return {**about, "fps": fps, "max_megabytes": limits.max_megabytes}

    if streams is not None:
        pulled = _add_streams(app, streams, metrics, quota, doors, allowed or AllowedSources(), limits)
        for name, source in (pull or {}).items():
            pulled.add(name, source, is_trusted=True)
    return app


def _add_streams(
    app: FastAPI,
    streams: LiveStreams,
    metrics: Metrics,
    quota: StreamQuota,
    doors: Sequence[params.Depends],
    allowed: AllowedSources,
    limits: Limits,
) -> PulledStreams:
    """All that needs a model which can watch streams."""
    streams.snapshots.on_outcome = metrics.count_snapshot
    pulled = PulledStreams(streams, metrics, allowed)
    streams.on_ended = pulled.subscribers.close
    app.include_router(pulled_routes(pulled), dependencies=doors)
    sequences = InferSequences(streams, metrics, quota, idle_seconds=limits.idle_seconds)
    app.include_router(kserve_routes(streams, sequences), dependencies=doors)

    @app.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await LiveSocket(socket, streams, metrics, idle_seconds=limits.idle_seconds).run()

    return pulled


def _add_errors(app: FastAPI) -> None:
    """All errors are JSON with the key `error`."""

    @app.exception_handler(HTTPException)
    async def not_found(_: Request, error: HTTPException) -> Response:
        return refused(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def not_valid(_: Request, error: RequestValidationError) -> Response:
        problems = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        return refused(422, "; ".join(problems))


def _add_status(app: FastAPI, streams: LiveStreams | None, metrics: Metrics) -> None:
    """How the server is."""

    @app.get("/healthz", tags=["server"])
    def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["server"], responses={503: {}})
    def ready(response: Response) -> dict[str, Any]:
        """Whether it can take work, and how many streams run."""
        is_ready = streams is None or streams.is_running
        response.status_code = 200 if is_ready else 503
        count = {} if streams is None else {"streams": streams.num_streams, "capacity": streams.capacity}
        return {"ready": is_ready, **count}

    @app.get("/metrics", tags=["server"], response_class=Response)
    def measurements() -> Response:
        """Counters and histograms in the text format of Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    """The page for browsers."""

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})

    app.mount("/page", StaticFiles(directory=PAGE))
