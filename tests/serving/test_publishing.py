"""Events for other systems, as they happen: a real MQTT broker, and a webhook."""

import json
import shutil
import socket as sockets
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from lsn.cli.app import main

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import end, start

mqtt = pytest.importorskip("paho.mqtt.client")
SECONDS = 60


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Synthetic hands that make gestures."""
    folder = tmp_path_factory.mktemp("gestures")
    options = ["--kind", "gesture_timeline", "--num-train", "1", "--num-val", "1", "--size", "96", "--seed", "3"]
    assert main(["data", "synthesize", str(folder / "made"), *options]) == 0
    return next((folder / "made/val").glob("*.mp4"))


class Broker:
    """mosquitto, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with sockets.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        password = folder / "passwords"
        password.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", password, "lsn", "se:cret"], check=True)
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(
            f"listener {self.port} 127.0.0.1\npassword_file {password}\nallow_anonymous false\nuser root\n"
        )
        self.start()

    def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin")
        self.process = subprocess.Popen([program, "-c", self._settings], stderr=subprocess.DEVNULL)
        until = time.monotonic() + SECONDS
        while sockets.socket().connect_ex(("127.0.0.1", self.port)):
            assert time.monotonic() < until
            time.sleep(0.05)

    def listen(self, topic: str) -> SimpleQueue:
        """Messages of a topic from now on."""
        found, is_there = SimpleQueue(), threading.Event()
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.username_pw_set("lsn", "se:cret")
        client.on_connect = lambda client, *_: client.subscribe(topic)
        client.on_subscribe = lambda *_: is_there.set()
        client.on_message = lambda client, data, message: found.put((message.topic, message.payload.decode()))
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        assert is_there.wait(SECONDS)
        return found


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    if shutil.which("mosquitto", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("needs mosquitto")
    broker = Broker(tmp_path)
    yield broker
    broker.process.kill()
    broker.process.wait()


def check_events(messages: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """What was published is what the server knows of the stream."""
    assert [each["type"] for each in messages] == [each["report"] for each in found]
    assert [each["after"]["label"] for each in messages] == [each["label"] for each in found]
    ends = [each for each in messages if each["type"] == "end"]
    assert len(ends) >= 2
    for message in ends:
        after = message["after"]
        assert after["camera"] == "hand"
        assert message["before"]["id"] == after["id"]
        assert after["end_time"] - after["start_time"] == pytest.approx(
            after["end_seconds"] - after["start_seconds"], abs=30
        )
        assert time.time() - 600 < after["end_time"] <= time.time() + 1
        assert 0 < after["score"] <= after["top_score"] <= 1


def wait_for_end(server) -> list[dict[str, Any]]:
    until = time.monotonic() + SECONDS
    while (stream := server.ask("/v1/streams/hand")[1])["state"] != "ended":
        assert time.monotonic() < until, stream
        time.sleep(0.1)
    return stream["events"]


@pytest.mark.slow
def test_events_go_to_a_broker(broker, video):
    address = f"mqtt://lsn:se%3Acret@127.0.0.1:{broker.port}/home/lsn"
    messages = broker.listen("home/lsn/#")
    server = start(Path("starter:gestures"), "--publish", address, "--pull", f"hand={video}")
    try:
        found = wait_for_end(server)
        published = []
        assert messages.get(timeout=SECONDS) == ("home/lsn/available", "online")
        while len(published) < len(found):
            topic, text = messages.get(timeout=SECONDS)
            assert topic == "home/lsn/events"
            published.append(json.loads(text))
        check_events(published, found)
    finally:
        end(server)
    assert messages.get(timeout=SECONDS) == ("home/lsn/available", "offline")
    with pytest.raises(Empty):
        messages.get(timeout=0.5)


@pytest.mark.slow
def test_a_broker_that_comes_late_gets_all(broker, video):
    broker.process.kill()
    broker.process.wait()
    address = f"mqtt://lsn:se%3Acret@127.0.0.1:{broker.port}"
    server = start(Path("starter:gestures"), "--publish", address, "--pull", f"hand={video}")
    try:
        found = wait_for_end(server)
        broker.start()
        messages = broker.listen("lsn/events")
        published = []
        while len(published) < len(found):
            published.append(json.loads(messages.get(timeout=SECONDS)[1]))
        check_events(published, found)
    finally:
        end(server)


@pytest.mark.slow
def test_events_go_to_a_webhook(video):
    messages: SimpleQueue = SimpleQueue()

    class Hook(BaseHTTPRequestHandler):
        statuses = iter((503, 400))  # not ready yet; never ready for the first event

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if (status := next(self.statuses, None)) is not None:
                self.send_error(status)
                return
            messages.put(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as hook:
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{hook.server_port}/alarm?token=secret"
        server = start(Path("starter:gestures"), "--publish", address, "--pull", f"hand={video}")
        try:
            found = wait_for_end(server)
            check_events([messages.get(timeout=SECONDS) for _ in found[1:]], found[1:])
        finally:
            end(server)
            hook.shutdown()


@pytest.mark.parametrize("address", ["ftp://me:secret@host", "mqtt://", "mqtt://host:x", "host"])
def test_addresses_that_take_nothing(address, capsys):
    assert main(["serve", "starter:gestures", "--port", "0", "--publish", address]) == 2
    said = capsys.readouterr().err
    assert "--publish" in said and "secret" not in said
