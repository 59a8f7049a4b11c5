"""Sources that `lsn serve` reads itself: their lives, and what may not be read."""

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_server import Server as HttpServer
from http_server import jpeg, motion_jpeg
from PIL import Image
from rtsp_server import RTSPServer
from small_recognizer import noisy_frames

from lsn.streaming import StreamingPredictor
from lsn.streaming.runner import StreamRunner

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import CAPACITY, Server, end, start, wait_until_free

from lsn.serving.pulled.sources import AllowedSources, Place


@pytest.fixture(scope="module")
def cameras() -> Iterator[HttpServer]:
    """What cameras send, and what attackers put in their place."""
    pictures = [jpeg(frame) for frame in noisy_frames(1, num_frames=20).numpy()]
    goes_on = threading.Event()

    def redirect() -> tuple[dict[str, str], list[bytes]]:
        return {"Location": f"{server.url}/camera"}, []

    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + b"/camera\n#EXT-X-ENDLIST\n"
    with HttpServer({"/camera": motion_jpeg(pictures, goes_on, pause_seconds=0.1)}) as server:
        server.answers |= {
            "/playlist.m3u8": lambda: ({"Content-Type": "application/vnd.apple.mpegurl"}, [playlist]),
            "/list.ffconcat": lambda: ({}, [b"ffconcat version 1.0\nfile /etc/passwd\n"]),
            "/redirect": redirect,
        }
        yield server
        goes_on.set()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def server(weights, cameras, videos, folder) -> Iterator[Server]:
    shutil.copy(videos / "6.mp4", folder / "6.mp4")
    allowed = [each for entry in (cameras.url, str(folder)) for each in ("--allow-sources", entry)]
    server = start(weights, *allowed, "--requests-per-minute", "6000")
    yield server
    end(server)


def post(server: Server, name: str, source: str) -> tuple[int, Any]:
    body = json.dumps({"name": name, "source": source}).encode()
    return server.ask("/v1/streams", body, **{"Content-Type": "application/json"})


def wait(server: Server, name: str, is_so: Callable[[Any], bool]) -> Any:
    until = time.monotonic() + 60
    while not is_so(stream := server.ask(f"/v1/streams/{name}")[1]):
        assert time.monotonic() < until, stream
        time.sleep(0.05)
    return stream


def test_a_camera_from_its_beginning_to_its_end(server, cameras):
    status, stream = post(server, "yard", f"{cameras.url}/camera?user=me&password=secret")
    assert (status, stream["name"]) == (201, "yard")
    assert "secret" not in stream["source"]
    assert stream["state"] in ("connecting", "running")
    stream = wait(server, "yard", lambda stream: stream["state"] == "running" and stream["num_frames"] > 3)
    assert len(stream["top5"]) == 5
    with urllib.request.urlopen(f"{server.address}/v1/streams/yard/picture") as answer:
        assert Image.open(answer).format == "JPEG"
    wait(server, "yard", lambda stream: stream["state"] == "stalled")  # the camera says nothing more
    assert post(server, "yard", f"{cameras.url}/camera")[0] == 409
    assert [each["name"] for each in server.ask("/v1/streams")[1]["streams"]] == ["yard"]
    assert server.ask("/v1/streams/yard", method="DELETE")[0] == 200
    assert server.ask("/v1/streams/yard") == (404, {"error": "no stream 'yard'"})
    wait_until_free(server)


def test_a_file_gives_what_it_gives_alone(server, weights, folder):
    assert post(server, "file", str(folder / "6.mp4"))[0] == 201
    stream = wait(server, "file", lambda stream: stream["state"] == "ended")
    with StreamRunner(StreamingPredictor(weights), {"file": folder / "6.mp4"}) as runner:
        *_, last, _ = runner
    assert stream["num_frames"] == last.num_frames
    assert stream["seconds"] == last.seconds
    assert [each["label"] for each in stream["top5"]] == [label for label, _ in last.top(5)]
    np.testing.assert_allclose(stream["top5"][0]["probability"], last.top(1)[0][1], atol=1e-4)
    assert post(server, "file", str(folder / "6.mp4"))[0] == 201  # it has ended, so its name is free
    again = wait(server, "file", lambda stream: stream["state"] == "ended")
    assert again["num_frames"] == last.num_frames  # and its memory was forgotten
    server.ask("/v1/streams/file", method="DELETE")


def test_a_stream_that_pauses_leaves_its_slot_and_goes_on(server, cameras):
    post(server, "gate", f"{cameras.url}/camera")
    before = wait(server, "gate", lambda stream: stream["num_frames"] >= 5)
    assert server.ask("/v1/streams/gate/pause", b"")[1]["state"] == "paused"
    wait_until_free(server)
    assert server.ask("/v1/streams/gate/resume", b"")[0] == 200
    wait(server, "gate", lambda stream: stream["num_frames"] > before["num_frames"] + 3)
    server.ask("/v1/streams/gate/reset", b"")
    server.ask("/v1/streams/gate", method="DELETE")
    wait_until_free(server)


def test_events_as_they_come(server, cameras):
    post(server, "door", f"{cameras.url}/camera")
    with urllib.request.urlopen(f"{server.address}/v1/streams/door/events") as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        kind, data, empty = (answer.readline().decode().strip() for _ in range(3))
        assert kind in ("event: result", "event: event")
        assert json.loads(data.removeprefix("data: "))["type"] == kind.removeprefix("event: ")
        assert empty == ""
    server.ask("/v1/streams/door", method="DELETE")


@pytest.mark.slow
def test_a_lost_camera_comes_back(weights):
    frames = noisy_frames(2, num_frames=40).numpy()
    with RTSPServer(frames, rate=10) as camera:
        server = start(weights, "--pull", f"yard={camera.url}")
        try:
            wait(server, "yard", lambda stream: stream["state"] == "reconnecting")
            wait(server, "yard", lambda stream: stream["state"] == "running")
            assert post(server, "other", camera.url)[0] == 403  # what the configuration names is no permission
        finally:
            end(server)


def test_what_is_full_and_what_cannot_be_opened(server, cameras, folder):
    names = [f"camera{number}" for number in range(CAPACITY + 1)]
    statuses = [post(server, name, f"{cameras.url}/camera")[0] for name in names]
    assert statuses == [201] * CAPACITY + [503]
    for name in names[:CAPACITY]:
        server.ask(f"/v1/streams/{name}", method="DELETE")
    assert post(server, "nothing", f"{cameras.url}/nothing")[0] == 201
    assert "404 Not Found" in wait(server, "nothing", lambda stream: stream["state"] == "failed")["error"]
    (folder / "text.mp4").write_text("no video")
    post(server, "text", str(folder / "text.mp4"))
    assert wait(server, "text", lambda stream: stream["state"] == "failed")["error"]
    assert post(server, "a b", str(folder / "6.mp4"))[0] == 422
    assert server.ask("/v1/streams", b"{}", **{"Content-Type": "application/json"})[0] == 422


@pytest.mark.parametrize("path", ["playlist.m3u8", "list.ffconcat", "redirect"])
def test_nothing_that_is_allowed_leads_elsewhere(path, server, cameras):
    assert post(server, "leads", f"{cameras.url}/{path}")[0] == 201
    wait(server, "leads", lambda stream: stream["state"] == "failed")
    server.ask("/v1/streams/leads", method="DELETE")


def test_what_is_not_allowed(server, cameras, folder, tmp_path):
    (folder / "link.mp4").symlink_to("/etc/passwd")
    (tmp_path / "elsewhere.mp4").write_bytes(b"")
    port = cameras.server_address[1]
    for source in (
        "http://169.254.169.254/latest/meta-data",
        f"http://localhost:{port}/camera",
        f"http://127.0.0.1:{port + 1}/camera",
        f"http://127.0.0.1.:{port}/camera",
        f"http://127.1:{port}/camera",
        f"http://2130706433:{port}/camera",
        f"http://0x7f.0.0.1:{port}/camera",
        f"http://[::ffff:127.0.0.1]:{port}/camera",
        f"http://127.0.0.1:{port}@evil.example/camera",
        f"http://evil.example/?@127.0.0.1:{port}/camera",
        f"http://evil.example#@127.0.0.1:{port}/camera",
        f"http://evil.example\\@127.0.0.1:{port}/camera",
        f"http://evil.example/\t@127.0.0.1:{port}/camera",
        f" http://127.0.0.1:{port}/camera",
        f"http://127.0.0.1:{port}/camera\r\nHost: evil",
        f"https://127.0.0.1:{port}/camera",
        f"rtsp://127.0.0.1:{port}/camera",
        f"HTTP://127.0.0.1:{port}/camera",
        f"tcp://127.0.0.1:{port}",
        f"concat:http://127.0.0.1:{port}/camera|/etc/passwd",
        f"crypto+http://127.0.0.1:{port}/camera",
        f"cache:http://127.0.0.1:{port}/camera",
        "file:///etc/passwd",
        "file:/etc/passwd",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "data:text/plain;base64,AAAA",
        "lavfi://testsrc",
        "pipe:0",
        "/etc/passwd",
        f"{folder}/../{tmp_path.name}/elsewhere.mp4",
        f"{folder}/../../../../../../etc/passwd",
        f"{folder}/link.mp4",
        str(tmp_path / "elsewhere.mp4"),
        f"{folder}x/6.mp4",
        str(folder),
        "6.mp4",
        "0",
        "/dev/video0",
        "/dev/../etc/passwd",
        "/dev/stdin",
        "",
        "\0",
        "x" * 4096,
    ):
        status, answer = post(server, "attack", source)
        assert status == 403, (source, answer)
    assert server.ask("/v1/streams/attack")[0] == 404
    wait_until_free(server)


def test_places_of_addresses():
    assert Place.of("rtsp://me:a%20b@Camera.lan/1?x=y") == Place("rtsp", "camera.lan", 554)
    assert Place.of("http://[fe80::1]:8080") == Place("http", "[fe80::1]", 8080)
    allowed = AllowedSources(("rtsp://camera.lan", "/dev/video1"))
    assert allowed.allow("rtsp://me:secret@camera.lan:554/1")
    assert allowed.allow("/dev/video1")
    assert not allowed.allow("/dev/video10")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--allow-sources", "ftp://host"], "--allow-sources ftp://host: expected SCHEME://HOST[:PORT]"),
        (["--allow-sources", "/nowhere"], "--allow-sources /nowhere: no such file or folder"),
        (["--pull", "yard"], "--pull yard: expected NAME=SOURCE"),
        (["--pull", "a b=/dev/video0"], "a stream's name has 1 to 64 letters"),
    ],
)
def test_bad_options(options, said, weights, capsys):
    from lsn.cli.app import main

    assert main(["serve", str(weights), "--port", "0", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
