"""Who is let in by `lsn serve`, how much each may ask for, and what is written about it."""

import hashlib
import json
import socket as sockets
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from prometheus_client.parser import text_string_to_metric_families
from served import Server, begin, end, pictures, send, start
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lsn.serving.access import Access, Headers

SECRETS = {"door": "open-sesame", "yard": "moon & stars"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module")
def server(weights, folder) -> Iterator[Server]:
    lines = [
        "# who may watch",
        *(f"{name} {hashlib.sha256(each.encode()).hexdigest()}" for name, each in SECRETS.items()),
    ]
    (folder / "tokens").write_text("\n".join(lines))
    options = ("--tokens", "tokens", "--access-log", "log", "--requests-per-minute", "30", "--streams-per-client", "1")
    server = start(weights, *(str(folder / each) if each in ("tokens", "log") else each for each in options))
    yield server
    end(server)


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def test_who_shows_no_token_is_refused(server):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic b3Blbi1zZXNhbWU="}):
        status, answer = server.ask("/v1/predict?name=a.mp4", b"", **headers)
        assert status == 401
        assert answer["error"].startswith("this server asks for a token")
        with pytest.raises(InvalidStatus) as closed:
            server.live(additional_headers=headers)
        assert closed.value.response.status_code == 401
    assert server.ask("/metrics")[0] == 401
    assert server.ask("/healthz")[0] == server.ask("/readyz")[0] == 200
    assert server.ask("/v1/predict", b"", **bearer("door"))[0] == 422
    with server.live(additional_headers=bearer("yard")) as socket:
        assert begin(socket)["type"] == "ready"


def test_a_page_shows_its_token_as_a_protocol(server):
    offered = ["lsn", "bearer.open-sesame"]
    with server.live(subprotocols=offered, origin=server.address) as socket:
        assert socket.subprotocol == "lsn"
        assert begin(socket)["type"] == "ready"


def live_in_time(server: Server, name: str) -> ClientConnection:
    """A stream of who may have one, once the one of the test before has ended."""
    until = time.monotonic() + 60
    while True:
        try:
            return server.live(additional_headers=bearer(name))
        except InvalidStatus:
            assert time.monotonic() < until
            time.sleep(5)  # as each try is a request


@pytest.mark.slow
def test_connections_that_say_nothing_are_closed(server):
    host, port = server.address.removeprefix("http://").split(":")
    with sockets.create_connection((host, int(port))) as loris, live_in_time(server, "yard") as live:
        begin(live)
        loris.sendall(b"GET /healthz HTTP/1.1\r\n")
        until = time.monotonic() + 60
        loris.settimeout(1)
        while True:
            assert time.monotonic() < until
            try:
                loris.sendall(b"X-Slow: 1\r\n")
                if loris.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        live.send('{"type": "end"}')  # one that has become a WebSocket stays
        assert json.loads(live.recv(timeout=60))["type"] == "ended"


def test_a_client_has_its_share(server, folder):
    with live_in_time(server, "door") as socket, live_in_time(server, "yard"):
        begin(socket)
        with pytest.raises(InvalidStatus) as refused:
            server.live(additional_headers=bearer("door"))
        assert refused.value.response.status_code == 429
        name = server.ask("/v1/model", **bearer("door"))[1]["model"]
        tensor = {"name": "frames", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
        status, answer = server.ask(
            f"/v2/models/{name}/infer", json.dumps({"inputs": [tensor]}).encode(), **bearer("door")
        )
        assert (status, answer["error"].split(";")[0]) == (429, "1 live streams are all that one client may have")
    statuses = [server.ask("/v1/nothing", **bearer("door"))[0] for _ in range(40)]
    assert set(statuses) == {404, 429}
    assert statuses.index(429) == len(statuses) - statuses.count(429)  # from then on
    assert server.ask("/v1/nothing", **bearer("yard"))[0] == 404
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    found = [(line["client"], line["method"], line["path"], line["status"]) for line in lines]
    assert {("door", "GET", "/v1/nothing", 404), ("door", "GET", "/v1/nothing", 429)} <= set(found)
    assert {line["status"] for line in lines if line["method"] == "LIVE"} >= {101, 401}
    text = (folder / "log").read_text()
    assert not any(each in text for each in (*SECRETS.values(), "a.mp4"))


def test_metrics(weights):
    server = start(weights)
    try:
        with server.live() as socket:
            begin(socket)
            for number, frame in enumerate(pictures(3, 5)):
                send(socket, number, frame)
                socket.recv(timeout=60)
            found = samples(server)
            assert found["lsn_streams"] == found["lsn_streams_opened_total"] == 1
            assert found["lsn_stream_slots"] == 2
            assert (
                found["lsn_answers_total"] == found["lsn_step_seconds_count"] == found["lsn_answer_seconds_count"] == 5
            )
            assert found["lsn_batch_streams_sum"] == 5
        until = time.monotonic() + 60
        while samples(server)["lsn_streams"]:
            assert time.monotonic() < until
        assert samples(server)["lsn_snapshots_total"] == 1
        for path in ("/v1/nothing", "/elsewhere"):
            assert server.ask(path) == (404, {"error": "Not Found"})
        assert server.ask("/v1/predict")[0] == 405
        requests = [sample for sample in all_samples(server) if sample.name == "lsn_requests_total"]
        assert {each.labels["route"] for each in requests} == {"/metrics", "/v1/live", "/v1/predict", "other"}
    finally:
        end(server)


def all_samples(server: Server) -> list:
    with urllib.request.urlopen(f"{server.address}/metrics") as answer:
        return [each for family in text_string_to_metric_families(answer.read().decode()) for each in family.samples]


def samples(server: Server) -> dict[str, float]:
    return {sample.name: sample.value for sample in all_samples(server)}


@pytest.mark.slow
def test_tls(weights, tmp_path):
    files = "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "certificate")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject], check=True, capture_output=True
    )
    server = start(weights, "--certificate", str(tmp_path / "certificate"), "--key", str(tmp_path / "key"))
    try:
        assert server.address.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context(cafile=tmp_path / "certificate")
        with urllib.request.urlopen(f"{server.address}/healthz", context=trusted) as answer:
            assert answer.status == 200
        with connect(f"wss{server.address[5:]}/v1/live", ssl=trusted) as socket:
            assert begin(socket)["type"] == "ready"
    finally:
        end(server)


def test_the_time_of_a_refusal_does_not_depend_on_the_token():
    """All known tokens are compared, wherever one fits."""
    hashes = {str(number): hashlib.sha256(str(number).encode()).hexdigest() for number in range(3)}
    compared = []

    class Watched(dict):
        def items(self):
            for item in super().items():
                compared.append(item[0])
                yield item

    access = Access(tokens=Watched(hashes))
    for token, holder in (("0", "0"), ("2", "2"), ("x", None)):
        compared.clear()
        assert access.holder(Headers({"authorization": f"Bearer {token}"})) == holder
        assert compared == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("door", "line 1: expected a name and the SHA-256 of a token"),
        ("a b\n", "line 1: expected a name and the SHA-256"),
        (f"a {'0' * 64}\na {'1' * 64}", "line 2: a second token of a"),
        ("# nobody\n", "no tokens, so nobody could use the server"),
    ],
)
def test_files_of_tokens_that_are_wrong(content, said, weights, tmp_path, capsys):
    from lsn.cli.app import main

    (tmp_path / "tokens").write_text(content)
    assert main(["serve", str(weights), "--tokens", str(tmp_path / "tokens")]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tokens", "/nowhere"], "/nowhere: cannot be read"),
        (["--certificate", "/nowhere"], "/nowhere, /nowhere: no certificate and key for TLS"),
        (["--key", "/nowhere"], "--key /nowhere needs --certificate"),
        (["--requests-per-minute", "0"], "must be at least 1"),
        (["--access-log", "/nowhere/log"], "--access-log /nowhere/log: cannot be written"),
    ],
)
def test_doors_that_cannot_be_used(options, said, weights, capsys):
    from lsn.cli.app import main

    assert main(["serve", str(weights), "--port", "0", *options]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
