"""Two servers behind nginx, configured as docs/serving.md says."""

import re
import shutil
import socket as sockets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import Server, answers_alone, pictures, start

from lsn.serving import Client

pytestmark = pytest.mark.slow
DOCS = Path(__file__).parents[2] / "docs/serving.md"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin")


@pytest.fixture
def servers(weights, tmp_path) -> Iterator[list[Server]]:
    options = ("--state-store", str(tmp_path / "states"), "--snapshot-seconds", "0.1", "--names", "lsn.example")
    servers = [start(weights, *options) for _ in range(2)]
    yield servers
    for server in servers:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def address(servers, tmp_path) -> Iterator[str]:
    """Of the proxy."""
    if NGINX is None:
        pytest.skip("needs nginx")
    (example,) = re.findall(r"```nginx\n(.*?)```", DOCS.read_text(), re.DOTALL)
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    changes = {"8001": servers[0].port, "8002": servers[1].port, "listen 80": f"listen 127.0.0.1:{port}"}
    for said, here in changes.items():
        assert example.count(said) == 1
        example = example.replace(said, str(here))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in kinds)
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}{example}}}\n"
    )
    process = subprocess.Popen([NGINX, "-c", config, "-g", "daemon off;"])
    until = time.monotonic() + 60
    while sockets.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=60)


def test_a_stream_goes_on_when_the_server_behind_the_proxy_dies(servers, address, weights, videos):
    frames, found = pictures(3, 20), {}
    client = Client(address)
    assert client.predict(videos / "6.mp4")["label"]
    with client.live() as live:
        for t, frame in enumerate(frames):
            if t == 10:
                serving = next(each for each in servers if each.ask("/readyz")[1]["streams"])
                serving.process.kill()
                serving.process.wait()
            live.send(t / 10, frame)
            while (message := live.get(timeout_seconds=60))["type"] != "result" or message["frame"] < t:
                pass
            found[t] = message["probabilities"]
        assert live.conversation.num_lost == 0
    np.testing.assert_allclose([found[t] for t in range(20)], answers_alone(weights, frames), atol=1e-4)
