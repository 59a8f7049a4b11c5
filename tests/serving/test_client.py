"""Clients of `lsn serve`: programs, and `lsn stream --server`."""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lsn.cli.app import main
from lsn.streaming import StreamingPredictor
from lsn.video.decoding.frames_reader import decode_image

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import Server, answers_alone, end, pictures, start, wait_until_free

from lsn.serving import Client, LiveClient, ServerError

JAVASCRIPT = Path(__file__).parents[2] / "examples/live_client.mjs"


@pytest.fixture(scope="module")
def server(weights) -> Iterator[Server]:
    server = start(weights)
    yield server
    end(server)


def answer_of(live: LiveClient, number: int) -> dict:
    """Waits for the answer at a frame."""
    while (message := live.get(timeout_seconds=60)) is not None:
        if message["type"] == "result" and message["frame"] == number:
            return message
    raise AssertionError("no answer came")


def test_what_a_server_says_of_its_model_and_of_a_video(server, videos):
    client = Client(server.address + "/")
    assert client.model()["fps"] == 10
    assert client.predict(videos / "6.mp4") == server.ask("/v1/predict?name=6.mp4", (videos / "6.mp4").read_bytes())[
        1
    ] | {"timings_ms": pytest.approx(client.predict(videos / "6.mp4")["timings_ms"], abs=1e9)}
    with pytest.raises(ServerError, match="not a video file"):
        client.predict(Path(__file__))
    with pytest.raises(ServerError, match="/nowhere: No such file"):
        client.predict("/nowhere")
    with pytest.raises(ServerError, match=r"127.0.0.1:1: .*does the server run\?"):
        Client("http://127.0.0.1:1").model()
    with pytest.raises(ServerError, match="does the server run"):
        Client("http://127.0.0.1:1").live()


def test_a_live_stream(server, weights):
    frames = pictures(4, 10)
    with Client(server.address).live() as live:
        assert live.get(timeout_seconds=60)["type"] == "ready"
        found = []
        for t, frame in enumerate(frames):
            live.send(t / 10, frame)
            found.append(answer_of(live, t)["probabilities"])
        live.reset()
        live.finish()
        assert [message["type"] for message in live][-1] == "ended"
    np.testing.assert_allclose(found, answers_alone(weights, frames), atol=1e-4)
    wait_until_free(server)


def test_a_live_stream_in_asyncio(server, weights):
    frames = pictures(5, 10)

    async def watch() -> list[list[float]]:
        found = []
        async with Client(server.address).live_async() as live:
            await live.send(0.0, frames[0])
            async for message in live:
                if message["type"] == "result":
                    found.append(message["probabilities"])
                    if len(found) == 10:
                        await live.finish()
                    elif len(found) < 10:
                        await live.send(len(found) / 10, frames[len(found)])
        return found

    np.testing.assert_allclose(asyncio.run(watch())[:10], answers_alone(weights, frames), atol=1e-4)


class Mortal:
    """A server that is killed with -9 and started again at the same place."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.server = arguments, start(*arguments)

    def kill_and_start(self) -> None:
        self.server.process.kill()
        self.server.process.wait()
        self.server = start(*self.arguments, port=self.server.port)


@pytest.fixture(scope="module")
def mortal(weights, tmp_path_factory) -> Iterator[Mortal]:
    states = tmp_path_factory.mktemp("states")
    mortal = Mortal(weights, "--state-store", str(states), "--snapshot-seconds", "0.1")
    yield mortal
    end(mortal.server)


@pytest.mark.slow
@pytest.mark.parametrize("is_async", [False, True])
def test_a_server_that_dies_costs_nothing_but_time(is_async, weights, mortal):
    """The answers after its death are those of a stream that went on."""
    frames = pictures(6, 20)
    found: dict[int, list[float]] = {}
    if is_async:
        asyncio.run(watch_async(mortal.server, frames, found, mortal.kill_and_start))
    else:
        with Client(mortal.server.address).live() as live:
            for t, frame in enumerate(frames):
                if t == 10:
                    mortal.kill_and_start()
                live.send(t / 10, frame)
                found[t] = answer_of(live, t)["probabilities"]
            assert live.conversation.num_lost == 0
    expected = answers_alone(weights, frames)
    np.testing.assert_allclose([found[t] for t in range(20)], expected, atol=1e-4)


async def watch_async(server, frames, found, kill_and_start) -> None:
    async with Client(server.address).live_async() as live:
        await live.send(0.0, frames[0])
        async for message in live:
            if message["type"] == "result":
                number = message["frame"]
                if number in found:
                    continue
                found[number] = message["probabilities"]
                if len(found) == 10:
                    kill_and_start()
                if len(found) == len(frames):
                    await live.finish()
                else:
                    await live.send(len(found) / 10, frames[len(found)])


def test_the_command_says_what_it_says_here(server, weights, videos, capsys):
    assert main(["stream", str(weights), str(videos / "6.mp4"), "--json"]) == 0
    here = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert main(["stream", "--server", server.address, str(videos / "6.mp4"), "--json"]) == 0
    there = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    there = [message for message in there if message["type"] == "result"]
    here = [message for message in here if "probabilities" in message]
    assert [message["seconds"] for message in there] == pytest.approx([message["seconds"] for message in here])
    difference = np.array([message["probabilities"] for message in there]) - [each["probabilities"] for each in here]
    assert np.abs(difference).max() < 0.1  # pictures are sent as JPEG


def test_the_command_needs_no_pytorch(server, videos, tmp_path):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['timm'] = None; from lsn.cli.app import main; sys.exit(main())"
    )
    arguments = [
        "stream",
        "--server",
        server.address,
        str(videos / "6.mp4"),
        "--events",
        str(tmp_path / "events.jsonl"),
    ]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "6.mp4  ended at " in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.mp4", "b.mp4"], "--server takes one source, and no weights"),
        (["a.mp4", "--save-state", "state"], "are for streams that run here"),
        (["a.mp4", "--fps", "5"], "the server's options say how streams are seen"),
        (["a.mp4", "--token-file", "/nowhere"], "--token-file /nowhere: cannot be read"),
        (["/nowhere.mp4"], "/nowhere.mp4: no such file"),
    ],
)
def test_the_command_is_used_wrongly(arguments, said, server, capsys):
    assert main(["stream", "--server", server.address, *arguments]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_the_command_shows_its_token(weights, tmp_path, videos, capsys):
    (tmp_path / "tokens").write_text(f"me {hashlib.sha256(b'secret').hexdigest()}\n")
    (tmp_path / "mine").write_text("secret\n")
    server = start(weights, "--tokens", str(tmp_path / "tokens"))
    try:
        arguments = ["stream", "--server", server.address, str(videos / "6.mp4")]
        assert main(arguments) == 2
        assert "this server asks for a token" in " ".join(capsys.readouterr().err.split())
        assert main([*arguments, "--token-file", str(tmp_path / "mine")]) == 0
    finally:
        end(server)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js")
def test_the_example_in_javascript(server, weights):
    frames, address = pictures(9, 8), server.address.replace("http", "ws")
    session = StreamingPredictor(weights).open()
    shown = [decode_image(data, "", max_pixels=10_000) for data in frames]
    answers = [session.push(t / 8, frame) for t, frame in enumerate(shown)]
    answers.append(session.finish(1.0)[0])
    command = ["node", "--experimental-websocket", JAVASCRIPT, f"{address}/v1/live"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as node:
        assert node.stdin is not None and node.stdout is not None
        deadline = threading.Timer(60, node.kill)
        deadline.start()
        for frame, expected in zip([*frames, b""], answers, strict=True):  # one after the other: none is dropped
            if frame:
                node.stdin.write(frame)
                node.stdin.flush()
            else:
                node.stdin.close()
            for answer in expected:
                percent = int(100 * answer.probabilities.max() + 0.5)
                assert node.stdout.readline().decode() == f"{answer.seconds:.2f} s  {answer.label}  {percent}%\n"
        assert json.loads(node.stdout.readlines()[-1])["type"] == "ended"
        deadline.cancel()
    assert node.returncode == 0
