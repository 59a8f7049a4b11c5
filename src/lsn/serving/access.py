"""Who may use a server, and how much of it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from lsn.errors import ConfigError
from lsn.serving.metrics import Metrics

PAGE_PATHS = ("/page/", "/static-offline-docs/")
OPEN_PATHS = ("/", "/docs", "/openapi.json", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
"""That need no token: pages, which show nothing by themselves, and what watches a server."""
VIDEO_PATHS = ("/v1/predict", "/v1/jobs")
"""Whose bodies are large; their routes limit them."""
MAX_BODY_BYTES, MAX_TENSOR_BYTES, BODY_SECONDS = 64 << 10, 16 << 20, 15.0
"""Of all other bodies, and of KServe's, and how soon they come."""
MAX_UNREAD_BYTES, UNREAD_SECONDS = 64 << 20, 5.0
"""Of a body that is refused, what is read all the same: many clients read the answer once all is sent."""
SENT_AT_ONCE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Headers of streamed answers, which proxies must not buffer."""
UNFRAMED = [(b"x-frame-options", b"DENY"), (b"x-content-type-options", b"nosniff")]
"""Headers of all answers: other pages must not show these as a part of theirs."""
PROTOCOL, TOKEN_PREFIX = "lsn", "bearer."
"""What pages offer as protocols of a WebSocket, as they cannot set its headers: "lsn" and "bearer.TOKEN"."""
MAX_CLIENTS = 10_000
"""Clients whose requests are counted at the same time."""


@dataclass(frozen=True)
class Access:
    """Rules for all requests.

    Without tokens everybody who reaches the server may use it.
    """

    hosts: tuple[str, ...] | None = None
    """Names of the server that browsers may know; None for any. Otherwise a page could reach a server on the same
    machine by giving its own name this address (DNS rebinding)."""
    tokens: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each token, in hexadecimal, by the name of who holds it."""
    requests_per_minute: int = 600
    """Of a client, the openings of live streams included."""
    streams_per_client: int | None = None
    """Live streams of a client at the same time; None for no limit of its own."""

    def is_own_page(self, headers: Headers) -> bool:
        """Whether a request comes from no page, or from one of this server."""
        origin, host = headers.get("origin"), headers.get("host", "")
        try:
            page, name = urlsplit(origin or ""), urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        is_own = origin is None or page.netloc == host or (self.hosts is not None and page.hostname in self.hosts)
        return is_own and (self.hosts is None or name in self.hosts)

    def holder(self, headers: Headers) -> str | None:
        """Whose token a request shows; None if it shows none that is known. It takes as long whichever it shows."""
        kind, _, token = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            offered = (each.strip() for each in headers.get("sec-websocket-protocol", "").split(","))
            token = next((each.removeprefix(TOKEN_PREFIX) for each in offered if each.startswith(TOKEN_PREFIX)), "")
        shown, found = hashlib.sha256(token.strip().encode(errors="replace")).hexdigest(), None
        for name, known in self.tokens.items():
            if hmac.compare_digest(shown, known):
                found = name
        return found


def read_tokens(path: Path) -> dict[str, str]:
    """Reads a file of tokens: in each line a name and the token's SHA-256 in hexadecimal.

    Raises:
        ConfigError: it cannot be read, or a line is not like that.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); expected a file of tokens") from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2 or not re.fullmatch(r"[0-9a-fA-F]{64}", words[1]):
            raise ConfigError(
                f"{path}, line {number}: expected a name and the SHA-256 of a token; make one with "
                "`printf %s TOKEN | sha256sum`"
            )
        if words[0] in found:
            raise ConfigError(f"{path}, line {number}: a second token of {words[0]}; give it another name")
        found[words[0]] = words[1].lower()
    if not found:
        raise ConfigError(f"{path}: no tokens, so nobody could use the server; write a name and a SHA-256 into a line")
    return found


class Gate:
    """Lets through what the rules allow, counts it, and writes a line of the log for each request.

    Args:
        app: answers what is let through.
        access: the rules.
        metrics: counts requests.
        log: takes JSON lines; None for no log.
        quota: of live streams.
    """

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics, log: TextIO | None, quota: StreamQuota) -> None:
        self._app, self._access, self._metrics, self._log = app, access, metrics, log
        self._rates, self._quota = _Rates(access.requests_per_minute), quota

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        start, status = time.monotonic(), 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *UNFRAMED]}
            elif message["type"] == "websocket.accept":
                status = 101
            await send(message)

        client, refusal = self._judge(scope)
        scope.setdefault("state", {})["client"] = client
        try:
            if refusal is not None:
                await _answer(refusal, scope, receive, _drain_first(scope, receive, watch)[1])
            elif scope["type"] == "websocket":
                await self._live(client, scope, receive, watch)
            elif scope["path"] in VIDEO_PATHS:
                await self._app(scope, *_drain_first(scope, receive, watch))
            else:
                await self._small(scope, receive, watch)
        finally:
            self._note(scope, client, status, time.monotonic() - start)

    async def _small(self, scope: Scope, receive: Receive, send: Send) -> None:
        max_bytes = MAX_TENSOR_BYTES if _is_infer(scope) else MAX_BODY_BYTES
        receive, send_drained = _drain_first(scope, receive, send)
        try:
            replayed = await asyncio.wait_for(_small_body(receive, max_bytes), BODY_SECONDS)
        except TimeoutError:
            await refused(408, f"the body did not come within {BODY_SECONDS:g} seconds")(scope, receive, send)
            return
        if replayed is None:
            await refused(413, f"more than {max_bytes} bytes")(scope, receive, send_drained)
        else:
            await self._app(scope, replayed, send)

    async def _live(self, client: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._quota.acquire(client):
            await _answer(refused(429, self._quota.refusal, {"Retry-After": "5"}), scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._quota.release(client)

    def _judge(self, scope: Scope) -> tuple[str, Response | None]:
        """Who asks, and why that is refused; None if it is not."""
        headers, address = Headers(scope=scope), (scope.get("client") or ("unknown",))[0]
        if not self._access.is_own_page(headers):
            return address, refused(403, "the page of another server may not use this one")
        if scope["path"].startswith(PAGE_PATHS) or scope["path"] in OPEN_PATHS:
            return address, None
        client = address
        if self._access.tokens:
            holder = self._access.holder(headers)
            if holder is None:
                text = "this server asks for a token: send the header Authorization: Bearer TOKEN"
                return address, refused(401, text, {"WWW-Authenticate": "Bearer"})
            client = holder
        if (wait_seconds := self._rates.take(client)) > 0:
            text = f"more than {self._access.requests_per_minute} requests a minute; wait {wait_seconds} seconds"
            return client, refused(429, text, {"Retry-After": str(wait_seconds)})
        return client, None

    def _note(self, scope: Scope, client: str, status: int, seconds: float) -> None:
        method = "LIVE" if scope["type"] == "websocket" else scope["method"]
        self._metrics.count_request(method, getattr(scope.get("route"), "path", "other"), status, seconds)
        if self._log is not None:
            # Without what follows "?", which may name videos.
            line = {"time": round(time.time(), 3), "client": client, "method": method, "path": scope["path"]}
            self._log.write(json.dumps(line | {"status": status, "seconds": round(seconds, 4)}) + "\n")
            self._log.flush()


class StreamQuota:
    """How many live streams each client has.

    Args:
        per_client: at the same time; None for no limit.
    """

    def __init__(self, per_client: int | None) -> None:
        self._per_client = per_client
        self._taken: Counter[str] = Counter()
        self.refusal = f"{per_client} live streams are all that one client may have; end another one first"
        """The error for a client that has as many."""

    def acquire(self, client: str) -> bool:
        """Counts one more, unless the client has as many as it may have."""
        if self._per_client is not None and self._taken[client] >= self._per_client:
            return False
        self._taken[client] += 1
        return True

    def release(self, client: str) -> None:
        """One has ended."""
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]


class _Rates:
    """How many requests each client has left; clients that have not asked for long are forgotten."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # requests, and when that was so

    def take(self, client: str) -> int:
        """Takes a request of a client; returns 0, or the seconds until there is one."""
        now, rate = time.monotonic(), self._per_minute / 60
        left, at = self._left.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + rate * (now - at))
        allowed = left >= 1
        self._left[client] = left - allowed, now
        if len(self._left) > MAX_CLIENTS:
            self._left.popitem(last=False)
        return 0 if allowed else int((1 - left) / rate) + 1


def refused(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that says what is wrong."""
    return JSONResponse({"error": text.encode(errors="replace").decode()}, status_code=status, headers=headers)


async def _small_body(receive: Receive, max_bytes: int) -> Receive | None:
    """Reads the body of a request, and returns what gives it again; None if it is too large."""
    messages, size = [], 0
    while True:
        messages.append(message := await receive())
        size += len(message.get("body", b""))
        if size > max_bytes:
            return None
        if not message.get("more_body"):
            break
    waiting = iter(messages)

    async def again() -> Message:
        message = next(waiting, None)
        return await receive() if message is None else message

    return again


def _is_infer(scope: Scope) -> bool:
    return scope["path"].startswith("/v2/models/") and scope["path"].endswith("/infer")


def _drain_first(scope: Scope, receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Begins the answer to a large body once its client has sent all of it, unless that is too much or too slow."""
    is_large = scope["type"] == "http" and (scope["path"] in VIDEO_PATHS or _is_infer(scope))
    is_whole = not is_large or "expect" in Headers(scope=scope)

    async def receive_next() -> Message:
        nonlocal is_whole
        message = await receive()
        is_whole = not message.get("more_body")
        return message

    async def send_drained(message: Message) -> None:
        nonlocal is_whole
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(UNREAD_SECONDS):
                while not is_whole and size < MAX_UNREAD_BYTES:
                    size += len((await receive_next()).get("body", b""))
        is_whole = True  # or long enough
        await send(message)

    return receive_next, send_drained


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await response(scope, receive, send)
    else:
        await WebSocket(scope, receive, send).send_denial_response(response)
