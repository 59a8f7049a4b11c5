"""`lsn serve` in a process of its own, and clients that send frames.

Most servers are forks of a process that has imported what they need; `start_fresh` waits for Python and PyTorch too.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_recognizer import noisy_frames
from warm_server import WarmServer, lsn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lsn.serving.protocol import HEADER
from lsn.streaming import StreamingPredictor
from lsn.video.decoding.frames_reader import decode_image

CAPACITY = 2


class Forked:
    """What `subprocess.Popen` can, for a fork of the warm server."""

    def __init__(self, pid: int) -> None:
        self.pid, self._code = pid, None

    def poll(self) -> int | None:
        return self._ended_within(0)

    def wait(self, timeout: float = 60) -> int:
        code = self._ended_within(timeout)
        assert code is not None, "it still runs"
        return code

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended_within(self, seconds: float) -> int | None:
        if self._code is None:
            self._code = warm().wait(self.pid, seconds)
        return self._code


@dataclass
class Server:
    process: Forked | subprocess.Popen[str]
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def live(self, **options: Any) -> ClientConnection:
        return connect(f"{self.address.replace('http', 'ws')}/v1/live", **options)

    def ask(
        self, path: str, data: bytes | None = None, *, method: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        headers = {"Content-Type": "video/mp4", **headers}
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


@cache
def warm() -> WarmServer:
    return WarmServer("served", "lsn.cli.app", "lsn.serving.server", "lsn.inference.predictor", "lsn.models.weights")


def start(weights: Path, *options: str, port: int = 0) -> Server:
    folder = Path(tempfile.mkdtemp())
    stdout, stderr, arguments = folder / "stdout", folder / "stderr", arguments_of(weights, port, options)
    stdout.touch()
    process = Forked(warm().start(lsn, arguments, stdout=stdout, stderr=stderr, folder=Path.cwd()))
    while process.poll() is None:
        if (address := address_in(stdout.read_text().splitlines(keepends=True))) is not None:
            return Server(process, address)
        time.sleep(0.02)
    raise AssertionError(f"it ended with {process.wait()}: {stderr.read_text()}")


def start_fresh(weights: Path, *options: str) -> Server:
    command = [sys.executable, "-m", "lsn", *arguments_of(weights, 0, options)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if (address := address_in(process.stdout)) is not None:
        return Server(process, address)
    raise AssertionError(f"it ended with {process.wait()}")


def arguments_of(weights: Path, port: int, options: Sequence[str]) -> tuple[str, ...]:
    return ("serve", str(weights), "--port", str(port), "--streams", str(CAPACITY), *options)


def address_in(lines: Iterable[str]) -> str | None:
    """Where a server says that it is, as soon as it has said it."""
    said = (line.split()[0] for line in lines if line.startswith(("http://", "https://")) and line.endswith("\n"))
    return next(said, None)


def end(server: Server) -> None:
    """Stops it as an operator would."""
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0


def pictures(seed: int, num_frames: int) -> list[bytes]:
    found = []
    for frame_HWC in noisy_frames(seed, num_frames=num_frames).numpy():
        buffer = io.BytesIO()
        Image.fromarray(frame_HWC).save(buffer, "JPEG")
        found.append(buffer.getvalue())
    return found


def begin(socket: ClientConnection, **fields: str) -> dict[str, Any]:
    socket.send(json.dumps({"type": "start", **fields}))
    return json.loads(socket.recv(timeout=60))


def send(socket: ClientConnection, number: int, picture: bytes, *, seconds: float | None = None) -> None:
    socket.send(HEADER.pack(number, number / 10 if seconds is None else seconds) + picture)


def all_messages(socket: ClientConnection) -> list[dict[str, Any]]:
    """All that comes until the server closes."""
    found = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            found.append(json.loads(socket.recv(timeout=60)))
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1000
    return found


def of(kind: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == kind]


def free_slots(server: Server) -> int:
    return CAPACITY - server.ask("/readyz")[1]["streams"]


def wait_until_free(server: Server) -> None:
    until = time.monotonic() + 60
    while free_slots(server) < CAPACITY:
        assert time.monotonic() < until, "a slot was not freed"
        time.sleep(0.02)


def answers_alone(weights: Path, frames: list[bytes]) -> list[np.ndarray]:
    """The answers to frames, ten a second, as a stream that nothing else runs beside."""
    session = StreamingPredictor(weights).open()
    shown = [decode_image(data, "", max_pixels=10_000) for data in frames]
    return [answer.probabilities for t, frame in enumerate(shown) for answer in session.push(t / 10, frame)]
