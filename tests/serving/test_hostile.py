"""Requests and clients that mean harm, and others that must not notice."""

import http.client
import io
import json
import math
import random
import signal
import socket as sockets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
import served
from served import Server, answers_alone, begin, end, pictures, send, start

from lsn.serving import Client
from lsn.serving.protocol import HEADER

pytestmark = pytest.mark.slow
GROWTH_MEGABYTES = 400


@pytest.fixture(scope="module")
def server(weights) -> Iterator[Server]:
    server = start(weights, "--requests-per-minute", "1000000", "--max-megabytes", "2")
    yield server
    end(server)


def resident_megabytes(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def check_that_it_lives(server: Server, videos: Path) -> None:
    """A good request is answered, once videos that nobody waits for any more are given up."""
    until = time.monotonic() + 30
    while server.ask("/v1/predict", (videos / "6.mp4").read_bytes())[0] == 503:
        assert time.monotonic() < until
        time.sleep(0.5)
    assert "top5" in Client(server.address).predict(videos / "6.mp4")


def test_requests_made_from_the_description(server, videos):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, settings

    schema = schemathesis.openapi.from_url(f"{server.address}/openapi.json")
    before, statuses = resident_megabytes(server), []

    for operation in schema.get_all_operations():
        operation = operation.ok()
        if operation.path.endswith("/events"):  # which does not end by itself
            continue

        @settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @pytest.mark.filterwarnings("ignore")
        def ask(case) -> None:
            answer = case.call(timeout=60)
            statuses.append(answer.status_code)
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            if answer.status_code >= 400:
                assert isinstance(answer.json()["error"], str)

        schemathesis_given(operation, ask)
    assert len(statuses) >= 300
    assert resident_megabytes(server) < before + GROWTH_MEGABYTES
    check_that_it_lives(server, videos)


def schemathesis_given(operation, function) -> None:
    """Calls a function with cases of an operation."""
    from hypothesis import given

    given(case=operation.as_strategy())(function)()


def raw(server: Server, data: bytes, *, wait_seconds: float = 10.0) -> int | None:
    """Sends bytes; the status of the answer, None if the server closes without one."""
    with sockets.create_connection(("127.0.0.1", server.port), timeout=wait_seconds) as connection:
        connection.sendall(data)
        connection.shutdown(sockets.SHUT_WR)
        answer = http.client.HTTPResponse(connection)
        try:
            answer.begin()
        except (http.client.HTTPException, OSError):
            return None
        return answer.status


def test_bytes_that_are_no_request(server, videos):
    before, numbers = resident_megabytes(server), random.Random(0)
    video = (videos / "6.mp4").read_bytes()
    post = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    for number in range(200):
        kind = number % 8
        data = {
            0: numbers.randbytes(200),
            1: b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
            2: post + b"Content-Length: 5000000\r\n\r\n" + numbers.randbytes(1000),  # cut off
            3: post + b"Transfer-Encoding: chunked\r\n\r\nfffffffff\r\n",
            4: post + b"Content-Length: -5\r\n\r\n",
            5: post + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
            6: post + f"Content-Length: {len(video)}\r\n\r\n".encode() + damaged(video, numbers),
            7: b"POST /v1/streams HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 200000\r\n\r\n" + b"[" * 200_000,
        }[kind]
        status = raw(server, data)
        assert status is None or 200 <= status < 500 or status == 503, (kind, status)
    assert resident_megabytes(server) < before + GROWTH_MEGABYTES
    check_that_it_lives(server, videos)


def damaged(video: bytes, numbers: random.Random) -> bytes:
    content = bytearray(video)
    for _ in range(20):
        content[numbers.randrange(len(content))] = numbers.randrange(256)
    return bytes(content)


def bombs() -> list[bytes]:
    """Pictures that are far larger than their files."""
    found = []
    for size, kind in (((8000, 8000), "PNG"), ((16000, 16000), "JPEG"), ((10000, 4000), "WEBP")):
        file = io.BytesIO()
        Image.new("L" if kind != "WEBP" else "RGB", size).save(file, kind)
        found.append(file.getvalue())
    return found


def test_other_clients_notice_nothing(weights, monkeypatch, videos):
    """27 good clients beside five that send bombs and damaged frames, do not read, are killed, or come and go."""
    monkeypatch.setattr(served, "CAPACITY", 33)
    server = start(weights, "--requests-per-minute", "1000000")
    is_over, frames = threading.Event(), [pictures(seed, 30) for seed in range(4)]
    found: list[list[list[float]]] = [[] for _ in range(27)]
    failures: list[BaseException] = []

    def guarded(work, *arguments) -> threading.Thread:
        def run() -> None:
            try:
                work(*arguments)
            except BaseException as failure:
                failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def good(number: int) -> None:
        with Client(server.address).live() as live:
            for t, frame in enumerate(frames[number % 4]):
                live.send(t / 10, frame)
                while (message := live.get(timeout_seconds=60))["type"] != "result" or message["frame"] < t:
                    pass
                found[number].append(message["probabilities"])

    def bad(seed: int) -> None:
        numbers, hostile = random.Random(seed), [*bombs(), b"", b"\xff\xd8\xff", b"\0" * 100_000]
        while not is_over.is_set():
            with server.live() as socket:
                begin(socket)
                for number in range(10):
                    picture = numbers.choice([*hostile, damaged(frames[0][0], numbers), big_and_small(number)])
                    send(socket, number, picture, seconds=numbers.choice([number / 10, -1e300, 1e300, math.nan]))

    def deaf() -> None:
        with server.live(max_queue=1) as socket:
            begin(socket)
            for number in range(10_000):
                if is_over.is_set():
                    return
                try:
                    socket.send(HEADER.pack(number, number / 10) + frames[0][0])
                except OSError:
                    return

    try:
        hostile = [guarded(bad, seed) for seed in range(3)]
        silent = guarded(lambda: contextless(deaf))
        victim = killed_client(server)
        clients = [guarded(good, number) for number in range(len(found))]
        time.sleep(0.5)
        victim.send_signal(signal.SIGKILL)
        for client in clients:
            client.join(timeout=120)
        is_over.set()
        for client in (*hostile, silent):
            client.join(timeout=60)
        assert failures == []
        expected = [answers_alone(weights, each) for each in frames]
        for number, answers in enumerate(found):
            np.testing.assert_allclose(answers, expected[number % 4], atol=1e-4)
        served.wait_until_free(server)
        check_that_it_lives(server, videos)
    finally:
        is_over.set()
        end(server)


def contextless(work) -> None:
    """A client whose connection the server gives up."""
    from websockets.exceptions import ConnectionClosed

    try:
        work()
    except ConnectionClosed:
        return


def big_and_small(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", ((1, 1), (1, 900), (1500, 2), (640, 480))[number % 4], (number, 0, 0)).save(file, "PNG")
    return file.getvalue()


def killed_client(server: Server) -> subprocess.Popen[bytes]:
    """A process that sends frames, and dies in the middle."""
    code = f"""
import itertools
from lsn.serving import Client
import numpy as np
with Client({server.address!r}).live() as live:
    for number in itertools.count():
        live.send(number / 10, np.zeros((48, 64, 3), np.uint8))
        while live.get()["type"] != "result":
            pass
"""
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)


def test_json_that_is_too_large(server):
    body = json.dumps({"name": "x" * 3_000_000, "source": "y"}).encode()
    assert server.ask("/v1/streams", body, **{"Content-Type": "application/json"})[0] in (413, 422)
