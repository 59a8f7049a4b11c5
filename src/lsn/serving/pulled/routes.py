"""The interface of streams that the server reads itself."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse, StreamingResponse

from lsn.errors import ConfigError
from lsn.serving.access import SENT_AT_ONCE, refused
from lsn.serving.pulled.streams import (
    ForbiddenSourceError,
    PulledStream,
    PulledStreams,
    StreamExistsError,
    StreamNameError,
)
from lsn.serving.pulled.subscribers import Subscribers

RETRY = {"Retry-After": "5"}
PICTURE_SECONDS, PICTURE_SIDE = 0.5, 640
"""Between two pictures of a stream in messages, and the pixels of their longer side."""
MESSAGES: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}, 503: {}}
NAME, SOURCE = "Letters, digits, '.', '_' and '-'", "An address, a file or a camera that the server may read"


def pulled_routes(pulled: PulledStreams) -> APIRouter:
    """The routes of these streams."""
    routes = APIRouter(tags=["streams"])

    @routes.get("/v1/streams")
    def streams() -> dict[str, Any]:
        """All streams that the server reads, with their states."""
        return {"streams": [stream.to_dict() for stream in pulled.all()]}

    @routes.post("/v1/streams", status_code=201, responses={403: {}, 409: {}, 503: {}})
    def add_stream(
        name: Annotated[str, Body(description=NAME, examples=["yard"])],
        source: Annotated[str, Body(description=SOURCE, max_length=4096, examples=["rtsp://camera.lan/1"])],
    ) -> Response:
        """Begins to read a source; it resumes from the state that is kept under this name, if there is one."""
        try:
            return JSONResponse(pulled.add(name, source).to_dict(), status_code=201)
        except ForbiddenSourceError as error:
            return refused(403, str(error))
        except StreamExistsError as error:
            return refused(409, str(error))
        except StreamNameError as error:
            return refused(422, str(error))
        except ConfigError as error:
            return refused(503, str(error), RETRY)

    @routes.get("/v1/streams/{name}")
    def stream(name: str) -> Response:
        """One stream, with its last events."""
        return _with(pulled, name, lambda stream: None)

    @routes.delete("/v1/streams/{name}")
    def remove_stream(name: str) -> Response:
        """Ends a stream and forgets it."""
        return _with(pulled, name, pulled.remove)

    for action, change, about in (
        ("reset", pulled.reset, "Clears the memory of a stream."),
        ("pause", pulled.pause, "Stops reading; others may have the slot until the stream is resumed."),
        ("resume", pulled.resume, "Resumes a stream where it was paused."),
    ):
        routes.add_api_route(
            f"/v1/streams/{{name}}/{action}",
            _changing(pulled, change),
            methods=["POST"],
            name=f"{action}_stream",
            description=about,
        )
    _add_watching(routes, pulled)
    return routes


def _changing(pulled: PulledStreams, change: Callable[[PulledStream], None]) -> Callable[[str], Response]:
    def endpoint(name: str) -> Response:
        return _with(pulled, name, change)

    return endpoint


def _add_watching(routes: APIRouter, pulled: PulledStreams) -> None:
    """What streams show."""

    @routes.get("/v1/streams/{name}/picture", responses={200: {"content": {"image/jpeg": {}}}, 404: {}})
    def stream_picture(name: str) -> Response:
        """The last picture that was answered, as JPEG."""
        found = pulled.get(name)
        image = None if found is None else found.picture()
        return refused(404, f"no picture of {name!r}") if image is None else Response(image, media_type="image/jpeg")

    @routes.get("/v1/streams/{name}/events", responses={**MESSAGES, 404: {}})
    async def stream_events(name: str, pictures: bool = False) -> Response:
        """Answers and events as they come, as server-sent events; with pictures, some answers have the frame."""
        found = pulled.get(name)
        if found is None:
            return _unknown(name)
        return _event_stream(found.subscribers, pulled, {"stream": name}, pictures, stream=found)

    @routes.get("/v1/events", responses=MESSAGES)
    async def all_events(pictures: bool = False) -> Response:
        """The same of all streams, those included that begin later; each message names its `stream`."""
        return _event_stream(pulled.subscribers, pulled, {}, pictures)


def _event_stream(
    subscribers: Subscribers,
    pulled: PulledStreams,
    about: dict[str, str],
    pictures: bool,
    *,
    stream: PulledStream | None = None,
) -> Response:
    """Answers with messages as they come: of all streams, or of one until it ends."""
    if not subscribers.has_room:
        return refused(503, "too many clients subscribe; try again later", RETRY)

    async def lines() -> AsyncIterator[str]:
        messages, picture_at = subscribers.subscribe(), dict[str, float]()
        try:
            is_over = stream is not None and stream.is_over
            while not is_over and (message := await messages.get()) is not None:
                name, is_over = (about | message)["stream"], stream is not None and message["type"] == "ended"
                if pictures and message["type"] == "result" and time.monotonic() >= picture_at.get(name, 0.0):
                    picture_at[name] = time.monotonic() + PICTURE_SECONDS
                    message = message | {"picture": await asyncio.to_thread(_picture_address, pulled.get(name))}
                yield f"event: {message['type']}\ndata: {json.dumps(message)}\n\n"
        finally:
            subscribers.unsubscribe(messages)

    return StreamingResponse(lines(), media_type="text/event-stream", headers=SENT_AT_ONCE)


def _picture_address(stream: PulledStream | None) -> str | None:
    """The last picture as browsers take it in the place of an address."""
    picture = None if stream is None else stream.picture(PICTURE_SIDE)
    return None if picture is None else f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _with(pulled: PulledStreams, name: str, change: Callable[[PulledStream], None]) -> Response:
    stream = pulled.get(name)
    if stream is None:
        return _unknown(name)
    try:
        change(stream)
    except ConfigError as error:
        return refused(503, str(error), RETRY)
    return JSONResponse(stream.to_dict())


def _unknown(name: str) -> Response:
    return refused(404, f"no stream {name[:80]!r}")
