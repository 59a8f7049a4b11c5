"""Publish and subscribe: messages of a stream for its clients, each with a queue of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

MAX_SUBSCRIBERS, MAX_UNREAD = 64, 512
"""Clients, and messages that are queued for one that does not read; more end its subscription."""


class Subscribers:
    """Clients of the same messages. Any thread publishes; the server's event loop subscribes and reads."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[dict[str, Any] | None], asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def has_room(self) -> bool:
        """Whether one more may subscribe."""
        return len(self._queues) < MAX_SUBSCRIBERS

    def subscribe(self) -> asyncio.Queue[dict[str, Any] | None]:
        """Messages from now on; None at the end, or if too many were not read."""
        messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        with self._lock:
            self._queues[messages] = asyncio.get_running_loop()
            if self._is_closed:
                messages.put_nowait(None)
        return messages

    def unsubscribe(self, messages: asyncio.Queue[dict[str, Any] | None]) -> None:
        """Ends a subscription."""
        with self._lock:
            self._queues.pop(messages, None)

    def close(self) -> None:
        """Ends all subscriptions."""
        with self._lock:
            self._is_closed = True
        self.publish(None)

    def publish(self, message: dict[str, Any] | None) -> None:
        """Queues a message for every subscriber; None is the end."""
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
