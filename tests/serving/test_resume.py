"""Live streams that go on after their connection or their server has ended."""

import hashlib
import json
import shutil
import socket as sockets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_recognizer import INPUT, LABELS, RATES, lively_model

from lsn.files import is_leftover
from lsn.models.weights import save_weights
from lsn.streaming import StreamingPredictor, StreamPrediction
from lsn.video.decoding.frames_reader import decode_image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import Server, all_messages, begin, end, of, pictures, send, start, wait_until_free
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

Answer = dict[str, Any]


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory) -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs redis-server")
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while sockets.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < until
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> Path:
    """Where servers keep their streams."""
    return tmp_path_factory.mktemp("served") / "states"


@pytest.fixture(scope="module")
def heir(weights, states) -> Iterator[Server]:
    """A server that goes on with the streams of others, from a folder."""
    server = start(weights, "--state-store", str(states))
    yield server
    end(server)


@pytest.fixture(scope="module")
def redis_heir(weights, redis_address) -> Iterator[Server]:
    """The same from Redis."""
    server = start(weights, "--state-store", redis_address)
    yield server
    end(server)


def ask(socket: ClientConnection, number: int, frames: list[bytes]) -> tuple[Answer, list[Answer]]:
    """Sends a frame and waits for the answer at its tick; what else was said comes second."""
    send(socket, number, frames[number])
    others = []
    while (message := json.loads(socket.recv(timeout=60)))["type"] != "result" or message["frame"] < number:
        others.append(message)
    return message, others


def alone(weights: Path, frames: list[bytes], left_out: range = range(0)) -> dict[int, StreamPrediction]:
    """Answers of an uninterrupted stream by the number of the frame."""
    session = StreamingPredictor(weights).open()
    shown = [(t, decode_image(data, "", max_pixels=10_000)) for t, data in enumerate(frames) if t not in left_out]
    return {round(10 * answer.pts_seconds): answer for t, frame in shown for answer in session.push(t / 10, frame)}


def check(found: dict[int, Answer], expected: dict[int, StreamPrediction]) -> None:
    for number, answer in found.items():
        np.testing.assert_allclose(answer["probabilities"], expected[number].probabilities, atol=1e-4)
        assert answer["num_frames"] == expected[number].num_frames
        assert answer["seconds"] == pytest.approx(expected[number].seconds)


def kill(server: Server) -> None:
    server.process.kill()
    server.process.wait(timeout=60)


@pytest.mark.parametrize(
    ("store", "survivor"),
    [("states", "heir"), pytest.param("redis_address", "redis_heir", marks=pytest.mark.slow)],
    ids=["folder", "redis"],
)
def test_a_stream_survives_the_death_of_its_server(request, weights, store, survivor):
    store, second = map(request.getfixturevalue, (store, survivor))
    first = start(weights, "--state-store", str(store), "--snapshot-seconds", "0.05")
    frames = pictures(7, 24)
    try:
        with first.live() as socket:
            token, saved = begin(socket)["token"], -1
            for number in range(12):
                _, others = ask(socket, number, frames)
                saved = max([saved, *(each["frame"] for each in of("saved", others))])
            while saved < 5:
                saved = max([saved, *(each["frame"] for each in [json.loads(socket.recv(timeout=60))])])
            kill(first)
        with second.live() as socket:
            ready = begin(socket, resume=token)
            last = ready["resumed"]["frame"]
            assert ready["resumed"] == {"frame": last, "seconds": last / 10, "error": None}
            assert saved <= last <= 11
            assert ready["token"] != token
            check({number: ask(socket, number, frames)[0] for number in range(last + 1, 24)}, alone(weights, frames))
    finally:
        kill(first)
    wait_until_free(second)


@pytest.mark.slow
def test_a_stopped_server_keeps_its_streams_and_lost_frames_are_counted(weights, states, heir):
    first = start(weights, "--state-store", str(states))
    frames = pictures(8, 16)
    try:
        with first.live() as socket:
            token = begin(socket)["token"]
            for number in range(6):
                ask(socket, number, frames)
            end(first)
            (ended,) = of("ended", all_messages(socket))
            assert ended["error"] == "the server ended the stream; resume it with its token"
        with heir.live() as socket:
            assert begin(socket, resume=token)["resumed"]["frame"] == 5
            answer, others = ask(socket, 9, frames)
            assert of("missing", others) == [{"type": "missing", "frames": 3, "before": 9}]
            assert [each["frame"] for each in of("result", others)] == [5, 5, 5]  # on screen until frame 9
            found = {9: answer} | {number: ask(socket, number, frames)[0] for number in range(10, 16)}
            check(found, alone(weights, frames, left_out=range(6, 9)))
            kept = [path for path in states.iterdir() if not is_leftover(path)]  # the other server writes its own
            assert kept and all(path.stat().st_mode & 0o077 == 0 for path in (states, *kept))
    finally:
        kill(first)
    wait_until_free(heir)


@pytest.fixture(scope="module")
def server(weights) -> Iterator[Server]:
    server = start(weights, "--idle-seconds", "1")
    yield server
    end(server)


def test_a_connection_that_failed_is_taken_over(server, weights):
    frames = pictures(9, 20)
    with server.live() as old:
        token = begin(old)["token"]
        for number in range(5):
            ask(old, number, frames)
        with server.live() as new:  # the server does not know yet that the old one is of no use
            ready = begin(new, resume=token)
            assert ready["resumed"]["frame"] == 4
            assert of("ended", all_messages(old))
            check({number: ask(new, number, frames)[0] for number in range(5, 20)}, alone(weights, frames))
    wait_until_free(server)


def test_a_client_whose_clock_has_started_again(server):
    frames = pictures(10, 8)
    with server.live() as socket:
        token = begin(socket)["token"]
        for number in range(4):
            answer, _ = ask(socket, number + 100, [b""] * 100 + frames)
    with server.live() as socket:
        assert begin(socket, resume=token)["resumed"]["frame"] == 103
        for number in range(4):
            send(socket, number + 104, frames[4 + number], seconds=number / 10)
            later = json.loads(socket.recv(timeout=60))
            assert later["frame"] == number + 104
            assert later["num_frames"] == answer["num_frames"] + number + 1


@pytest.mark.slow
def test_streams_that_cannot_be_resumed_begin_anew(server, heir, states, tmp_path):
    with server.live() as socket:
        ready = begin(socket, resume="never given")
        assert ready["resumed"]["error"].startswith("no stream was kept under this token")
        assert ask(socket, 0, pictures(1, 1))[0]["num_frames"] == 1
        socket.send('{"type": "end"}')  # one that has ended by its client's wish is not kept
        all_messages(socket)
    with server.live() as socket:
        assert begin(socket, resume=ready["token"])["resumed"]["error"].startswith("no stream was kept")
    other = tmp_path / "other"
    save_weights(other, lively_model("convlstm_resnet10t"), labels=LABELS, input=INPUT, metrics={}, frame_rates=RATES)
    token, frames = leave_a_stream(heir), pictures(2, 3)
    elsewhere = start(other, "--state-store", str(states))
    try:
        with elsewhere.live() as socket:
            assert (
                "with other weights; the stream starts without its state"
                in begin(socket, resume=token)["resumed"]["error"]
            )
            assert ask(socket, 0, frames)[0]["num_frames"] == 1
        path = states / f"{hashlib.sha256(token.encode()).hexdigest()}.lsnstate"
        path.write_bytes(path.read_bytes()[:-5] + b"12345")
        with elsewhere.live() as socket:
            assert "its content is not what was written" in begin(socket, resume=token)["resumed"]["error"]
    finally:
        end(elsewhere)


def leave_a_stream(server: Server) -> str:
    """Has a server keep a stream; returns its token."""
    with server.live() as socket:
        token = begin(socket)["token"]
        for number in range(3):
            ask(socket, number, pictures(2, 3))
    wait_until_free(server)
    return token


def test_a_silent_client_is_ended(server):
    with server.live() as socket:
        begin(socket)
        with pytest.raises(ConnectionClosed):
            while True:
                message = json.loads(socket.recv(timeout=60))
    assert message["type"] == "ended"
    assert message["error"].startswith("no frame came for 1 seconds")
    wait_until_free(server)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("redis://127.0.0.1:1/0", "--state-store redis://127.0.0.1/0: "),
        ("redis://user:secret@127.0.0.1:1", "--state-store redis://127.0.0.1: "),
        ("/proc/nowhere", "--state-store /proc/nowhere: nothing can be written there"),
        ("memcached://here", "--state-store memcached://: expected a folder or redis://HOST:PORT"),
    ],
)
def test_a_store_that_cannot_be_used(place, said, weights, capsys):
    from lsn.cli.app import main

    assert main(["serve", str(weights), "--port", "0", "--state-store", place]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert said in error
    assert "secret" not in error
