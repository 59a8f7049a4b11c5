"""Events as they happen, for other systems: to an MQTT broker, in Frigate's form, or to a webhook."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from lsn.errors import ConfigError
from lsn.streaming.events import EventReport
from lsn.video.live.ffmpeg_input import redacted

logger = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Messages that wait for a receiver that does not answer; of more, the oldest are dropped, and the log says so."""
PAUSES_SECONDS = (1.0, 4.0, 16.0)
"""Between the tries to send a message; the last one goes on."""
ANSWER_SECONDS = 10.0


class Receiver(Protocol):
    """Takes messages."""

    def send(self, message: dict[str, Any]) -> None:
        """Sends a message; an `OSError` says why that is not possible."""

    def close(self) -> None:
        """Leaves."""


class Publisher:
    """Sends the events of all streams to a receiver, in their order, by a thread of its own.

    Args:
        address: mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC] (mqtts:// with TLS), or the http(s):// address of a webhook.

    Raises:
        ConfigError: it is none of these.
    """

    def __init__(self, address: str) -> None:
        self._name = redacted(address)
        self._receiver = _receiver(address)
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue(MAX_WAITING)
        self._events: dict[str, dict[str, Any]] = {}  # as they were said last, while they go on
        self._is_failing, self._num_dropped = False, 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lsn-publisher", daemon=True)
        self._thread.start()

    def take(self, stream: str, event_id: str, report: EventReport, seconds: float) -> None:
        """Has an event sent.

        Args:
            stream: its name.
            event_id: what no other event is called.
            report: of the event.
            seconds: now, on the clock of the stream.
        """
        event, now = report.event, time.time()
        after = {
            "id": event_id,
            "camera": stream,
            "label": event.label,
            "start_time": now - (seconds - event.start_seconds),
            "end_time": now - (seconds - event.end_seconds) if report.kind == "end" else None,
            "score": event.confidence,
            "top_score": event.peak,
            "start_seconds": event.start_seconds,
            "end_seconds": event.end_seconds,
        }
        before = self._events.get(event_id, after)
        after["start_time"] = before["start_time"]  # as the clocks are not the same to the millisecond
        self._events[event_id] = after
        if report.kind == "end":
            del self._events[event_id]
        self._put({"type": report.kind, "before": before, "after": after})

    def close(self, timeout_seconds: float) -> None:
        """Waits for what is under way."""
        self._put(None)
        self._thread.join(timeout_seconds)
        self._closing.set()
        self._thread.join(ANSWER_SECONDS)
        self._receiver.close()

    def _put(self, message: dict[str, Any] | None) -> None:
        while True:
            try:
                self._messages.put_nowait(message)
                return
            except queue.Full:
                with contextlib.suppress(queue.Empty):
                    self._messages.get_nowait()
                self._num_dropped += 1
                if self._num_dropped % MAX_WAITING == 1:
                    logger.warning("%s: %d events were dropped, as too many wait", self._name, self._num_dropped)

    def _run(self) -> None:
        while (message := self._messages.get()) is not None and not self._closing.is_set():
            pauses = itertools.chain(PAUSES_SECONDS, itertools.repeat(PAUSES_SECONDS[-1]))
            while (failure := self._sent(message)) is not None:
                if not self._is_failing:
                    logger.error("%s does not take events: %s", self._name, failure)
                self._is_failing = True
                if isinstance(failure, urllib.error.HTTPError) and failure.code not in _LATER and failure.code < 500:
                    break  # it will not take this one later either
                if self._closing.wait(next(pauses)):
                    return
            else:
                self._is_failing = False

    def _sent(self, message: dict[str, Any]) -> Exception | None:
        """Sends a message; returns why that was not possible."""
        try:
            self._receiver.send(message)
        except Exception as error:  # what comes from elsewhere must not end the thread
            return error
        return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the message."""

    def redirect_request(self, *_: Any) -> None:
        """Leaves the status as it is."""


_OPENER = urllib.request.build_opener(_NoRedirects)
_LATER = (408, 425, 429)
"""Statuses below 500 of a webhook that may take the message another time."""


class _Webhook:
    """POSTs each message as JSON."""

    def __init__(self, address: str) -> None:
        self._address = address

    def send(self, message: dict[str, Any]) -> None:
        content = json.dumps(message).encode()
        request = urllib.request.Request(self._address, content, {"Content-Type": "application/json"})
        with _OPENER.open(request, timeout=ANSWER_SECONDS):
            return

    def close(self) -> None:
        """There is no connection."""


class _Broker:
    """Publishes messages under TOPIC/events, and under TOPIC/available whether the server is there."""

    def __init__(self, address: str) -> None:
        try:
            from paho.mqtt.client import Client, MQTTMessageInfo
            from paho.mqtt.enums import CallbackAPIVersion
        except ModuleNotFoundError:
            raise ConfigError("--publish mqtt:// needs paho-mqtt: pip install 'lsn-video[serve]'") from None
        parts = urlsplit(address)
        is_safe = parts.scheme == "mqtts"
        self._topic = parts.path.strip("/") or "lsn"
        self._client = Client(CallbackAPIVersion.VERSION2)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or "") or None)
        if is_safe:
            self._client.tls_set()
        self._client.will_set(f"{self._topic}/available", "offline", qos=1, retain=True)
        self._client.on_connect = lambda client, *_: client.publish(
            f"{self._topic}/available", "online", qos=1, retain=True
        )
        self._client.connect_async(str(parts.hostname), parts.port or (8883 if is_safe else 1883))
        self._client.loop_start()
        self._last: MQTTMessageInfo | None = None

    def send(self, message: dict[str, Any]) -> None:
        if not self._client.is_connected():
            raise ConnectionError("no connection to the broker")
        self._last = self._client.publish(f"{self._topic}/events", json.dumps(message), qos=1)

    def close(self) -> None:
        if self._client.is_connected():
            if self._last is not None:
                self._last.wait_for_publish(ANSWER_SECONDS)
            self._client.publish(f"{self._topic}/available", "offline", qos=1, retain=True).wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()


def _receiver(address: str) -> Receiver:
    kinds: dict[str, Callable[[str], Receiver]] = {
        "mqtt": _Broker,
        "mqtts": _Broker,
        "http": _Webhook,
        "https": _Webhook,
    }
    try:
        parts = urlsplit(address)
        _ = parts.port  # which is read only now
    except ValueError as error:
        raise ConfigError(f"--publish {redacted(address)}: {error}") from None
    if parts.scheme not in kinds or not parts.hostname:
        raise ConfigError(f"--publish {redacted(address)}: expected mqtt://HOST[:PORT][/TOPIC] or http(s)://...")
    return kinds[parts.scheme](address)
