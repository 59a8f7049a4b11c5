"""The interface of whole videos: /v1/predict for those who wait for the answer, /v1/jobs for all others."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.requests import ClientDisconnect

from lsn.config.timelines import Format
from lsn.data.timelines.reading import FORMATS
from lsn.serving.access import SENT_AT_ONCE, refused
from lsn.serving.videos.formats import EventsFile
from lsn.serving.videos.jobs import QueueFullError, VideoJob, VideoJobs

RETRY = {"Retry-After": "10"}
POLL_SECONDS = 1.0
"""How often it is checked whether a client still waits, and whether a job has progressed."""
SLOW_SECONDS, SLOW_BYTES = 15.0, 64 << 10
"""A body of which nothing arrives for so many seconds, or fewer bytes per second after them, is refused."""
VIDEO = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"format": "binary"}}}}}
Name = Annotated[str, Query(description="What results call the video", max_length=1000, examples=["clip.mp4"])]


class _BodyError(Exception):
    """A body that is no video, with the status of HTTP."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def video_routes(jobs: VideoJobs, *, max_megabytes: int) -> APIRouter:
    """The routes of videos that have at most so many megabytes."""
    routes = APIRouter(prefix="/v1", tags=["videos"])

    @routes.post("/predict", openapi_extra=VIDEO, responses={413: {}, 422: {}, 503: {}})
    async def predict(request: Request, name: Name = "video", format: Format | None = None) -> Response:
        """What happens in a video, whose bytes are the body: the likeliest classes, or events with their times.

        With a format, the events as a file of that format.
        """
        job = None
        try:
            job = await _received(request, jobs, name, () if format is None else (format,), max_megabytes)
            while not await _wait(job, POLL_SECONDS):
                if await request.is_disconnected():
                    return refused(408, "its client has left")
            return _result(job) if format is None else _file(job, format)
        except (QueueFullError, _BodyError) as error:
            return _refused(error)
        finally:
            if job is not None:
                await jobs.remove(job)

    @routes.post("/jobs", status_code=202, openapi_extra=VIDEO, responses={413: {}, 422: {}, 503: {}})
    async def send_video(request: Request, name: Name = "video") -> Response:
        """Queues a video, whose bytes are the body, and answers at once with the job."""
        try:
            job = await _received(request, jobs, name, FORMATS, max_megabytes)
        except (QueueFullError, _BodyError) as error:
            return _refused(error)
        return JSONResponse(job.to_dict(), status_code=202, headers={"Location": f"/v1/jobs/{job.id}"})

    _add_jobs(routes, jobs)
    return routes


def _add_jobs(routes: APIRouter, jobs: VideoJobs) -> None:
    """The routes of jobs, which are kept for an hour."""

    @routes.get("/jobs/{id}", responses={404: {}})
    async def job(id: str) -> Response:
        """The state of a job, its progress in seconds of the video, and its result."""
        job = jobs.get(id)
        return _unknown(id) if job is None else JSONResponse(job.to_dict())

    @routes.delete("/jobs/{id}", responses={404: {}})
    async def remove_job(id: str) -> Response:
        """Cancels a job, whatever its state, and forgets it."""
        if (job := jobs.get(id)) is None:
            return _unknown(id)
        await jobs.remove(job)
        return JSONResponse(job.to_dict())

    @routes.get("/jobs/{id}/progress", responses={200: {"content": {"text/event-stream": {}}}, 404: {}})
    async def job_progress(id: str) -> Response:
        """The state of a job whenever it has changed, as server-sent events, until it is finished."""
        if (job := jobs.get(id)) is None:
            return _unknown(id)
        return StreamingResponse(_states(job), media_type="text/event-stream", headers=SENT_AT_ONCE)

    @routes.get("/jobs/{id}/events", responses={404: {}, 409: {}, 422: {}})
    async def job_events(id: str, format: Format) -> Response:
        """The events of a finished job, as a file of a format."""
        if (job := jobs.get(id)) is None:
            return _unknown(id)
        if not job.finished.is_set():
            return refused(409, f"the video is not analyzed yet; it is {job.state}", RETRY)
        return _file(job, format)


async def _states(job: VideoJob) -> AsyncIterator[str]:
    last: dict[str, Any] = {}
    finished = False
    while not finished:
        finished = job.finished.is_set() or (bool(last) and await _wait(job, POLL_SECONDS))
        if (now := job.to_dict()) != last or finished:
            last = now
            yield f"event: {'done' if finished else 'progress'}\ndata: {json.dumps(now)}\n\n"


async def _wait(job: VideoJob, seconds: float) -> bool:
    """Waits until a job is finished, at most for some seconds; returns whether it is."""
    try:
        await asyncio.wait_for(job.finished.wait(), seconds)
    except TimeoutError:
        return False
    return True


async def _received(
    request: Request, jobs: VideoJobs, name: str, formats: tuple[Format, ...], max_megabytes: int
) -> VideoJob:
    """Queues the body of a request as a video."""
    job = jobs.add(request.state.client, name, formats)
    try:
        size = await _save(request, job.path, max_bytes=max_megabytes << 20)
        if size is None:
            raise _BodyError(413, f"more than {max_megabytes} MB; send a shorter or smaller video")
        if not size:
            raise _BodyError(422, "an empty body; send the bytes of a video file")
    except (TimeoutError, ClientDisconnect):
        await jobs.remove(job)
        raise _BodyError(408, "the video comes too slowly; try again with a better connection") from None
    except BaseException:
        await jobs.remove(job)
        raise
    jobs.start(job)
    return job


async def _save(request: Request, path: Path, *, max_bytes: int) -> int | None:
    """Writes the body of a request to disk; returns its size, or None if it is too large.

    Raises:
        TimeoutError: it comes too slowly.
    """
    size, start, pieces = 0, time.monotonic(), request.stream()
    with path.open("wb") as file:
        while True:
            left = start + SLOW_SECONDS + size / SLOW_BYTES - time.monotonic()
            if (piece := await asyncio.wait_for(anext(pieces, None), min(left, SLOW_SECONDS))) is None:
                return size
            size += len(piece)
            if size > max_bytes:
                return None
            file.write(piece)


def _result(job: VideoJob) -> Response:
    return JSONResponse(job.result) if job.error is None else refused(job.status, job.error)


def _file(job: VideoJob, format: Format) -> Response:
    if job.error is not None:
        return refused(job.status, job.error)
    file = job.events.get(format, "this model says what a clip shows, not when; ask for its result")
    if not isinstance(file, EventsFile):
        return refused(422, file)
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name)}"}
    return Response(file.content, media_type=file.media_type, headers=headers)


def _refused(error: QueueFullError | _BodyError) -> Response:
    if isinstance(error, _BodyError):
        return refused(error.status, str(error))
    return refused(503, str(error), RETRY)


def _unknown(id: str) -> Response:
    return refused(404, f"no job {id[:80]!r}; jobs are kept for an hour")
