"""Clients that are told what happens, each with a queue of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

MAX_LISTENERS, MAX_UNREAD = 64, 512
"""Clients, and messages that wait for one that does not read; more end it."""


class Listeners:
    """All who listen to the same. One thread tells, that of the server's event loop listens."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[dict[str, Any] | None], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def have_room(self) -> bool:
        """Whether one more may listen."""
        return len(self._queues) < MAX_LISTENERS

    def join(self) -> asyncio.Queue[dict[str, Any] | None]:
        """Messages from now on; None at the end, or if there were too many to wait for."""
        messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        with self._lock:
            self._queues[messages] = asyncio.get_running_loop()
            if self._is_closed:
                messages.put_nowait(None)
        return messages

    def leave(self, messages: asyncio.Queue[dict[str, Any] | None]) -> None:
        """Nobody reads these any more."""
        with self._lock:
            self._queues.pop(messages, None)

    def close(self) -> None:
        """Tells all of them that this is the end."""
        with self._lock:
            self._is_closed = True
        self.tell(None)

    def tell(self, message: dict[str, Any] | None) -> None:
        """Tells all of them."""
        with self._lock:
            queues = list(self._queues.items())
        for messages, loop in queues:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(_put, messages, message)


def _put(messages: asyncio.Queue[dict[str, Any] | None], message: dict[str, Any] | None) -> None:
    if messages.qsize() < MAX_UNREAD:
        messages.put_nowait(message)
    elif messages.qsize() == MAX_UNREAD:
        messages.put_nowait(None)
