"""Clients of `lsn serve`, for programs that need neither PyTorch nor a model."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import queue
import random
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np
from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from lsn.errors import LSNError
from lsn.serving.protocol import Conversation

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 10.0
"""Between two tries to connect again."""
TIMEOUT_SECONDS = 30.0
MAX_MESSAGE_BYTES = 1 << 22


class ServerError(LSNError):
    """A server refuses, or cannot be reached."""


class Client:
    """A server.

    Args:
        address: as the server prints it, http://HOST:PORT.
        others: servers with the same state store, where live streams go on when this one fails.
        token: that the server asks for.
    """

    def __init__(self, address: str, *others: str, token: str | None = None) -> None:
        self.address = address.rstrip("/")
        self._live = [f"{each.rstrip('/').replace('http', 'ws', 1)}/v1/live" for each in (address, *others)]
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def model(self) -> dict[str, Any]:
        """What the server's model knows: name, labels, frames per second, limits.

        Raises:
            ServerError: the server refuses, or cannot be reached.
        """
        return self._ask("/v1/model")

    def predict(self, video: str | Path) -> dict[str, Any]:
        """What happens in a video file: the likeliest classes, or events with their times.

        Raises:
            ServerError: likewise; or the file cannot be read.
        """
        path = Path(video)
        try:
            with path.open("rb") as file:
                return self._ask(f"/v1/predict?name={quote(path.name)}", file, path.stat().st_size)
        except OSError as error:
            raise ServerError(f"{path}: {error.strerror}") from None

    def live(self) -> LiveClient:
        """A live stream; use it as a context manager.

        Raises:
            ServerError: the server refuses, or cannot be reached.
        """
        return LiveClient(self._live, self._headers)

    def live_async(self) -> AsyncLiveClient:
        """A live stream for asyncio; use it as a context manager."""
        return AsyncLiveClient(self._live, self._headers)

    def _ask(self, path: str, body: Any = None, length: int | None = None) -> dict[str, Any]:
        headers = dict(self._headers)
        if length is not None:
            headers |= {"Content-Length": str(length), "Content-Type": "application/octet-stream"}
        request = urllib.request.Request(self.address + path, body, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ServerError(f"{self.address}: {_said(error.read()) or error.reason}") from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise ServerError(f"{self.address}: {getattr(error, 'reason', error)}; does the server run?") from None


class LiveClient:
    """A live stream. A connection that fails is made again, and the stream goes on; see `num_lost` of `conversation`.

    Args:
        addresses: ws://..., one after the other when connections fail.
        headers: of the request.

    Raises:
        ServerError: the server refuses, or cannot be reached.
    """

    def __init__(self, addresses: Sequence[str], headers: dict[str, str]) -> None:
        self.conversation = Conversation()
        self._addresses, self._headers = itertools.cycle(addresses), headers
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # held while something is sent, or frames are sent again
        self._is_finished = self._is_closed = False
        self._closing = threading.Event()
        self._socket = self._connected()
        self._thread = threading.Thread(target=self._receive_all, name="lsn-client", daemon=True)
        self._thread.start()

    def send(self, seconds: float, picture: np.ndarray | bytes) -> None:
        """Sends a frame; while the connection is broken it is kept for later, the last 64 of them.

        Args:
            seconds: when it came on screen, on a clock that does not jump.
            picture: uint8 RGB HWC, or JPEG, WebP or PNG.

        Raises:
            VideoError: it is no picture.
        """
        with self._lock:
            message = self.conversation.frame(seconds, picture)
            self._say(message)

    def reset(self) -> None:
        """Clears the memory of the stream before the model's next step."""
        with self._lock:
            self._say(self.conversation.reset())

    def finish(self) -> None:
        """No more frames will come; iterate for what is still answered."""
        with self._lock:
            self._is_finished = True
            self._say('{"type": "end"}')

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yields the server's messages as they come, until the stream has ended."""
        while (message := self._messages.get()) is not None:
            yield message

    def get(self, timeout_seconds: float | None = None) -> dict[str, Any] | None:
        """The next message; None if none comes in that time, or the stream has ended."""
        with contextlib.suppress(queue.Empty):
            return self._messages.get(timeout=timeout_seconds)
        return None

    def close(self) -> None:
        """Ends the stream at once."""
        self._is_closed = True
        self._closing.set()
        self._socket.close()
        self._thread.join()
        self._socket.close()  # one that was made meanwhile

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _say(self, message: str | bytes) -> None:
        with contextlib.suppress(WebSocketException, OSError):  # it is noticed, and mended, where messages are received
            self._socket.send(message)

    def _connected(self) -> ClientConnection:
        """Connects and begins or resumes the stream."""
        address, socket = next(self._addresses), None
        try:
            opening = connect(
                address, additional_headers=self._headers, max_size=MAX_MESSAGE_BYTES, open_timeout=TIMEOUT_SECONDS
            )
            socket = contextlib.ExitStack().enter_context(opening)  # closed by `close`
            socket.send(self.conversation.start())
            self._messages.put(self.conversation.take(str(socket.recv(timeout=TIMEOUT_SECONDS))))
        except (WebSocketException, OSError, ValueError, KeyError) as error:
            if socket is not None:
                socket.close()
            raise ServerError(f"{address}: {_why(error)}") from None
        return socket

    def _receive_all(self) -> None:
        while not self._is_closed:
            with contextlib.suppress(WebSocketException, OSError):
                for text in self._socket:
                    message = self.conversation.take(str(text))
                    is_over = message["type"] == "ended"
                    if not is_over or self._is_finished:
                        self._messages.put(message)
                    if is_over and self._is_finished and message["error"] is None:
                        self._is_closed = True
            if not self._is_closed:
                self._connect_again()
        self._messages.put(None)

    def _connect_again(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        self._messages.put({"type": "disconnected"})
        while not self._closing.wait(pause * random.uniform(0.75, 1.25)):
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                socket = self._connected()
            except ServerError:
                continue
            with self._lock:
                self._socket = socket
                for message in self.conversation.unseen():
                    self._say(message)
                if self._is_finished:
                    self._say('{"type": "end"}')
            return


class AsyncLiveClient:
    """`LiveClient` for asyncio: `async with client.live_async() as live`.

    Args:
        addresses: ws://..., one after the other when connections fail.
        headers: of the request.
    """

    def __init__(self, addresses: Sequence[str], headers: dict[str, str]) -> None:
        self.conversation = Conversation()
        self._addresses, self._headers = itertools.cycle(addresses), headers
        self._socket: AsyncConnection | None = None
        self._lock = asyncio.Lock()
        self._is_finished = False
        self._waiting: list[dict[str, Any]] = []

    async def __aenter__(self) -> Self:
        """Begins the stream.

        Raises:
            ServerError: the server refuses, or cannot be reached.
        """
        self._socket = await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def send(self, seconds: float, picture: np.ndarray | bytes) -> None:
        """As `LiveClient.send`."""
        async with self._lock:
            await self._say(self.conversation.frame(seconds, picture))

    async def reset(self) -> None:
        """As `LiveClient.reset`."""
        async with self._lock:
            await self._say(self.conversation.reset())

    async def finish(self) -> None:
        """As `LiveClient.finish`."""
        async with self._lock:
            self._is_finished = True
            await self._say('{"type": "end"}')

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """Yields the server's messages as they come, until the stream has ended; one task may do so."""
        while True:
            while self._waiting:
                yield self._waiting.pop(0)
            assert self._socket is not None, "use it in `async with`"
            try:
                message = self.conversation.take(str(await self._socket.recv()))
            except (WebSocketException, OSError):
                yield {"type": "disconnected"}
                await self._connect_again()
                continue
            if message["type"] != "ended":
                yield message
            elif self._is_finished and message["error"] is None:
                yield message
                return

    async def _say(self, message: str | bytes) -> None:
        with contextlib.suppress(WebSocketException, OSError):
            if self._socket is not None:
                await self._socket.send(message)

    async def _connected(self) -> AsyncConnection:
        address, socket = next(self._addresses), None
        try:
            socket = await connect_async(
                address, additional_headers=self._headers, max_size=MAX_MESSAGE_BYTES, open_timeout=TIMEOUT_SECONDS
            )
            await socket.send(self.conversation.start())
            self._waiting.append(self.conversation.take(str(await asyncio.wait_for(socket.recv(), TIMEOUT_SECONDS))))
        except (WebSocketException, OSError, ValueError, KeyError) as error:
            if socket is not None:
                await socket.close()
            raise ServerError(f"{address}: {_why(error)}") from None
        return socket

    async def _connect_again(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            try:
                socket = await self._connected()
            except ServerError:
                continue
            async with self._lock:
                self._socket = socket
                for message in self.conversation.unseen():
                    await self._say(message)
                if self._is_finished:
                    await self._say('{"type": "end"}')
            return


def _why(error: Exception) -> str:
    if isinstance(error, InvalidStatus):
        return _said(error.response.body or b"") or f"status {error.response.status_code}"
    return f"{error or type(error).__name__}; does the server run?"


def _said(body: bytes | bytearray) -> str | None:
    """What the server says is wrong."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(body)["error"])
    return None
