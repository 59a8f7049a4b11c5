"""`lsn serve` in a process of its own, and clients that send frames."""

import io
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_recognizer import noisy_frames
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lsn.serving.protocol import HEADER
from lsn.streaming import StreamingPredictor
from lsn.video.decoding.frames_reader import decode_image

CAPACITY = 2


@dataclass
class Server:
    process: subprocess.Popen[str]
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


def start(weights: Path, *options: str, port: int = 0) -> Server:
    command = [sys.executable, "-m", "lsn", "serve", weights, "--port", str(port), "--streams", str(CAPACITY), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(("http://", "https://")):
            return Server(process, line.split()[0])
    raise AssertionError(f"it ended with {process.wait()}")


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
