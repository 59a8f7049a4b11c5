"""A server process: from its start to its end."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from lsn.errors import ConfigError
from lsn.serving.protocol import HEADER
from lsn.serving.streams import LiveStreams
from lsn.serving.videos.jobs import VideoJobs

MAX_FRAME_BYTES = 8 << 20
REQUEST_SECONDS = 15
"""Time for the first line and the headers of a request."""
SHUTDOWN_SECONDS = 10
"""Time for what is under way when the server ends."""
SENDING_SECONDS = 0.1
"""Time for the last messages to live clients."""


class _Http(H11Protocol):
    """Closes connections that do not say in time what they want."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to look whether requests come."""
        super().connection_made(transport)
        self._look_later()

    def _look_later(self) -> None:
        self.loop.call_later(REQUEST_SECONDS, self._look, self.cycle)

    def _look(self, cycle: RequestResponseCycle | None) -> None:
        if self.transport.is_closing() or self.transport.get_protocol() is not self:  # it has become a WebSocket
            return
        if self.cycle is cycle and (cycle is None or cycle.response_complete):
            self.transport.close()
        else:
            self._look_later()


class _Server(uvicorn.Server):
    """Ends live streams before it closes their sockets, so that clients are sent the ends of their events; and jobs."""

    def __init__(self, config: uvicorn.Config, streams: LiveStreams | None, jobs: VideoJobs) -> None:
        super().__init__(config)
        self._streams, self._jobs, self._is_ending = streams, jobs, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends the server; a second signal does not wait for its clients."""
        if self._is_ending:
            self.should_exit = self.force_exit = True
        self._is_ending = True
        asyncio.get_running_loop().call_soon_threadsafe(lambda: asyncio.create_task(self._end()))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends with the thread of the engine, as nothing is answered without it."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        if self._streams is not None:
            self._streams.on_end = partial(loop.call_soon_threadsafe, self._engine_has_ended)
            if not self._streams.is_running:
                self._engine_has_ended()

    def _engine_has_ended(self) -> None:
        self._jobs.close()
        self.should_exit = self.should_exit or not self._is_ending

    async def _end(self) -> None:
        self._jobs.close()
        if self._streams is not None:
            await asyncio.to_thread(self._streams.close)
            await asyncio.sleep(SENDING_SECONDS)
        self.should_exit = True


def serve(
    app: FastAPI,
    streams: LiveStreams | None,
    jobs: VideoJobs,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Answers until SIGINT or SIGTERM.

    Args:
        app: see `create_app`.
        streams: its live streams.
        jobs: its videos.
        host: address of this machine.
        port: 0 takes a free one.
        on_ready: called with the address once it can be used.
        certificate: in PEM, with those that it rests on, to answer over TLS.
        key: of the certificate, unless it stands in the same file.

    Raises:
        ConfigError: the address, the certificate or its key cannot be used.
        Exception: what ended the thread of the engine.
    """
    _check_certificate(certificate, key)
    shown = f"[{host}]" if ":" in host else host
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{shown}:{port} cannot be used ({error}); give another --port") from None
    logging.getLogger("uvicorn.error").addFilter(_is_no_refusal)
    config = uvicorn.Config(
        app,
        http=_Http,
        ws="websockets-sansio",
        log_level="warning",
        ws_max_size=MAX_FRAME_BYTES + HEADER.size,
        ws_per_message_deflate=False,  # pictures do not get smaller, and answers are small
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    on_ready(f"{'http' if certificate is None else 'https'}://{shown}:{listener.getsockname()[1]}")
    _Server(config, streams, jobs).run(sockets=[listener])
    if streams is not None and streams.failure is not None:
        raise streams.failure


def _is_no_refusal(record: logging.LogRecord) -> bool:
    """Keeps what uvicorn takes for an error out of the log: a WebSocket that was answered with a status."""
    return record.getMessage() != "ASGI callable returned without completing handshake."


def _check_certificate(certificate: Path | None, key: Path | None) -> None:
    if certificate is None:
        if key is not None:
            raise ConfigError(f"--key {key} needs --certificate")
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: b"")
    except OSError as error:  # as are errors of TLS
        raise ConfigError(
            f"{certificate}, {key or certificate}: no certificate and key for TLS ({error}); expected PEM without a "
            "password"
        ) from None
