"""A server process: from its start to its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType

import uvicorn

from lsn.errors import ConfigError
from lsn.serving.app import Answers, Limits, create_app
from lsn.serving.live import HEADER
from lsn.serving.streams import LiveStreams

MAX_FRAME_BYTES = 8 << 20
SHUTDOWN_SECONDS = 10
"""Time for what is under way when the server ends."""
SENDING_SECONDS = 0.1
"""Time for the last messages to live clients."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Server(uvicorn.Server):
    """Ends live streams before it closes their sockets, so that clients are sent the ends of their events."""

    def __init__(self, config: uvicorn.Config, streams: LiveStreams | None) -> None:
        super().__init__(config)
        self._streams, self._is_ending = streams, False

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

    def _engine_has_ended(self) -> None:
        self.should_exit = self.should_exit or not self._is_ending

    async def _end(self) -> None:
        if self._streams is not None:
            await asyncio.to_thread(self._streams.close)
            await asyncio.sleep(SENDING_SECONDS)
        self.should_exit = True


def serve(
    streams: LiveStreams | None,
    answers: Answers,
    limits: Limits,
    *,
    host: str,
    port: int,
    on_ready: Callable[[str], None],
) -> None:
    """Answers until SIGINT or SIGTERM.

    Args:
        streams: live streams; None if the model cannot watch any.
        answers: of whole videos.
        limits: what a client may ask for.
        host: address of this machine.
        port: 0 takes a free one.
        on_ready: called with the address once it can be used.

    Raises:
        ConfigError: the address cannot be used.
        Exception: what ended the thread of the engine.
    """
    shown = f"[{host}]" if ":" in host else host
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"{shown}:{port} cannot be used ({error}); give another --port") from None
    config = uvicorn.Config(
        create_app(streams, answers, limits),
        log_level="warning",
        ws_max_size=MAX_FRAME_BYTES + HEADER.size,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    on_ready(f"http://{shown}:{listener.getsockname()[1]}")
    _Server(config, streams).run(sockets=[listener])
    if streams is not None and streams.failure is not None:
        raise streams.failure
