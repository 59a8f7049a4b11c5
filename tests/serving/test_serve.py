"""`lsn serve` in a process of its own, with clients that send frames and videos."""

import io
import json
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_recognizer import LABELS

from lsn.streaming import StreamingPredictor
from lsn.video.decoding.frames_reader import decode_image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import (
    CAPACITY,
    Server,
    all_messages,
    begin,
    free_slots,
    of,
    pictures,
    send,
    start,
    start_fresh,
    wait_until_free,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from lsn.serving.protocol import HEADER


@pytest.fixture(scope="module")
def server(weights) -> Iterator[Server]:
    server = start_fresh(weights, "--max-megabytes", "1")
    yield server
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=60) == 0


def test_a_live_stream_is_answered_as_if_its_frames_were_pushed(server, weights):
    sent = [pictures(seed, 12) for seed in (1, 2)]
    with server.live() as one, server.live() as two:
        ready = begin(one)
        assert (ready["type"], ready["fps"], ready["labels"]) == ("ready", 10, list(LABELS))
        assert begin(two)["stream"] != ready["stream"]
        results: dict[ClientConnection, list[dict[str, Any]]] = {one: [], two: []}
        for number in range(12):
            for socket, frames in ((one, sent[0]), (two, sent[1])):
                send(socket, number, frames[number])
            for socket, answers in results.items():
                while len(answers) <= number:
                    answers += of("result", [json.loads(socket.recv(timeout=60))])
        for socket, frames in ((one, sent[0]), (two, sent[1])):
            socket.send('{"type": "end"}')
            messages = all_messages(socket)
            session = StreamingPredictor(weights).open()
            expected = [
                answer
                for t, data in enumerate(frames)
                for answer in session.push(t / 10, decode_image(data, "", max_pixels=10_000))
            ]
            expected += session.finish(1.2)[0]
            mine = results[socket] + of("result", messages)
            assert [result["frame"] for result in mine] == list(range(12))
            assert [result["seconds"] for result in mine] == [answer.seconds for answer in expected]
            for result, answer in zip(mine, expected, strict=True):
                np.testing.assert_allclose(result["probabilities"], answer.probabilities, atol=1e-4)
                assert result["age_ms"] > 0
            assert messages[-1] == {"type": "ended", "seconds": expected[-1].seconds, "error": None}
    wait_until_free(server)


def test_frames_that_cannot_be_used_cost_an_error_and_the_stream_goes_on(server):
    frames, large = pictures(3, 6), io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(large, "PNG")
    with server.live() as socket:
        begin(socket)
        send(socket, 0, frames[0])
        send(socket, 1, frames[1][:200])
        socket.send(b"short")
        socket.send('{"type": "dance"}')
        socket.send(HEADER.pack(1, float("nan")) + frames[1])
        send(socket, 1, frames[1])
        send(socket, 1, frames[2])  # sent twice
        send(socket, 4, frames[4])
        send(socket, 5, large.getvalue())
        send(socket, 6, frames[5])
        socket.send('{"type": "end"}')
        messages = all_messages(socket)
    errors = [message["error"] for message in of("error", messages)]
    assert [error.split(" (")[0] for error in errors] == [
        "frame 1: a broken image",
        f"a frame of 5 bytes; its header alone has {HEADER.size}",
        'expected a frame, {"type": "reset"} or {"type": "end"}',
        "its time is nan; expected seconds",
        "frame 5: 8000x8000 pixels; send at most 9,437,184",
    ]
    assert of("missing", messages) == [{"type": "missing", "frames": 2, "before": 4}]
    assert {result["frame"] for result in of("result", messages)} == {0, 1, 4, 6}


def test_a_memory_that_is_reset(server):
    frames = pictures(4, 4)
    with server.live() as socket:
        begin(socket)
        for number in range(2):
            send(socket, number, frames[number])
        assert json.loads(socket.recv(timeout=60))["num_frames"] == 1
        socket.send('{"type": "reset"}')
        for number in range(2, 4):
            send(socket, number, frames[number])
        socket.send('{"type": "end"}')
        results = of("result", all_messages(socket))
    assert [result["reset"] for result in results].count("manual") == 1
    assert results[-1]["num_frames"] < 4


def test_a_full_server_says_when_to_come_again(server):
    with server.live() as one, server.live() as two:
        begin(one), begin(two)
        with pytest.raises(InvalidStatus) as refused:
            server.live()
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) > 0
        assert b"all 2 streams are taken" in refused.value.response.body
    wait_until_free(server)  # at once, as both have left
    with server.live() as socket:
        assert begin(socket)["type"] == "ready"


def test_a_client_that_speaks_another_language(server):
    for first in ('{"type": "stop"}', "hello", b"\x00\x01", "[1]"):
        with server.live() as socket:
            socket.send(first)
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=60)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1002
    assert free_slots(server) == CAPACITY


def test_clients_that_leave_at_once_leave_no_slot_behind(server):
    for _ in range(3):
        for _ in range(CAPACITY):
            with server.live() as socket:
                socket.send('{"type": "start"}')
        wait_until_free(server)


def test_a_client_that_does_not_read_loses_its_stream_alone(server):
    frame = pictures(6, 1)[0]
    with server.live(max_queue=1) as silent, server.live() as other:
        begin(silent), begin(other)
        with pytest.raises(ConnectionClosed):  # once the server has given it up
            while True:
                silent.send("{}")
        send(other, 0, frame)
        assert json.loads(other.recv(timeout=60))["num_frames"] == 1
    wait_until_free(server)


def test_the_pages_of_others_may_not_use_the_server(server, videos):
    assert server.ask("/readyz", Origin="http://evil.example")[0] == 403
    assert server.ask("/readyz", Origin=server.address)[0] == 200
    assert server.ask("/readyz", Host="[::1")[0] == 403
    assert server.ask("/readyz", Host="evil.example")[0] == 403  # a name of its own for this address
    with pytest.raises(InvalidStatus) as refused:
        server.live(origin="http://evil.example")
    assert refused.value.response.status_code == 403


def test_predictions(server, weights, videos):
    from lsn.inference.predictor import Predictor

    status, answer = server.ask("/v1/predict?name=mine.mp4", (videos / "6.mp4").read_bytes())
    assert status == 200
    assert answer["video"] == "mine.mp4"
    expected = Predictor(weights, device="cpu")(videos / "6.mp4")
    np.testing.assert_allclose(answer["probabilities"], expected.probabilities, atol=1e-5)
    status, answer = server.ask("/v1/predict?name=mine.mp4", b"no video at all")
    assert status == 422
    assert answer["error"].startswith("mine.mp4: ")
    assert server.ask("/v1/predict", b"")[0] == 422
    status, answer = server.ask("/v1/predict?format=csv", (videos / "6.mp4").read_bytes())
    assert (status, answer["error"]) == (422, "this model says what a clip shows, not when; ask for its result")
    status, answer = server.ask("/v1/predict", bytes((1 << 20) + 1))
    assert (status, answer["error"]) == (413, "more than 1 MB; send a shorter or smaller video")
    assert server.ask("/healthz") == (200, {"status": "ok"})
    assert "/v1/predict" in server.ask("/openapi.json")[1]["paths"]


def test_a_server_that_is_stopped_ends_its_streams(weights):
    server = start(weights)
    with server.live() as socket:
        begin(socket)
        for number, frame in enumerate(pictures(5, 3)):
            send(socket, number, frame)
        assert json.loads(socket.recv(timeout=60))["type"] == "result"
        server.process.send_signal(signal.SIGTERM)
        assert of("ended", all_messages(socket))
    assert server.process.wait(timeout=60) == 0


def test_an_address_for_everybody_must_be_asked_for(weights, capsys):
    from lsn.cli.app import main

    assert main(["serve", str(weights), "--host", "0.0.0.0"]) == 2
    assert "--host 0.0.0.0: everybody who reaches it could use the server" in capsys.readouterr().err
