"""A real HTTP server on this machine, whose paths give what a test puts there, and which can die and come back."""

from __future__ import annotations

import contextlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

Answer = Callable[[], tuple[dict[str, str], Iterable[bytes]]]
"""Makes the headers and the pieces of the body of one answer."""


class Server(ThreadingHTTPServer):
    """Answers until the block ends, then breaks the connections that are open."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, answers: dict[str, Answer | int], port: int = 0) -> None:
        self.answers = answers
        self.open: set[socket.socket] = set()
        self.user_agents: list[str] = []  # of the requests so far
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def kill(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()

    def handle_error(self, request, client_address) -> None:
        """Connections that break are the point."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.user_agents.append(self.headers["User-Agent"])
        answer = self.server.answers.get(self.path.partition("?")[0], 404)
        if isinstance(answer, int):
            self.send_error(answer)
            return
        headers, pieces = answer()
        self.server.open.add(self.connection)
        self.send_response(302 if "Location" in headers else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)
        self.server.open.discard(self.connection)

    def log_message(self, *arguments) -> None:
        """Says nothing."""


def file_answer(path: Path) -> Answer:
    data = path.read_bytes()
    return lambda: ({"Content-Length": str(len(data)), "Content-Type": "video/mp4"}, [data])


def jpeg(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def motion_jpeg(images: Iterable[bytes], until: threading.Event | None = None, *, pause_seconds: float = 0.0) -> Answer:
    """What network cameras send: one JPEG after the other, without times; then silence until an event, if given."""

    def parts() -> Iterator[bytes]:
        for image in images:
            time.sleep(pause_seconds)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(image)}\r\n\r\n"
            yield head.encode() + image + b"\r\n"
        if until is not None:
            until.wait()

    return lambda: ({"Content-Type": "multipart/x-mixed-replace; boundary=frame"}, parts())
