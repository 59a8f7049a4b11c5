"""Videos that are sent to `lsn serve`: jobs, their progress, and files for annotation tools."""

import io
import json
import subprocess
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lsn.cli.app import main
from lsn.data.timelines.reading import FORMATS, read_timelines
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
from served import Server, end, start

SECONDS = 60


@pytest.fixture(scope="module")
def long_video(tmp_path_factory) -> Path:
    """Half a minute of synthetic gestures."""
    folder = tmp_path_factory.mktemp("made")
    options = ["--kind", "gesture_timeline", "--num-train", "1", "--num-val", "1", "--size", "96", "--seed", "3"]
    assert main(["data", "synthesize", str(folder), *options]) == 0
    return next((folder / "val").glob("*.mp4"))


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = start(Path("starter:gestures"), "--max-seconds", "100")
    yield server
    end(server)


def begin_job(server: Server, video: Path, *, name: str = "mine.mp4") -> dict[str, Any]:
    status, job = server.ask(f"/v1/jobs?name={name}", video.read_bytes())
    assert status == 202
    return job


def wait(server: Server, job: dict[str, Any]) -> dict[str, Any]:
    until = time.monotonic() + SECONDS
    while True:
        status, now = server.ask(f"/v1/jobs/{job['id']}")
        assert status == 200
        if now["state"] not in ("queued", "running"):
            return now
        assert time.monotonic() < until
        time.sleep(0.05)


def download(server: Server, path: str, data: bytes | None = None) -> tuple[str, bytes]:
    """Name and content of a file."""
    with urllib.request.urlopen(urllib.request.Request(server.address + path, data)) as answer:
        return answer.headers["Content-Disposition"].partition("filename*=UTF-8''")[2], answer.read()


def test_a_job_tells_how_far_it_is_and_what_it_found(server, long_video):
    job = begin_job(server, long_video)
    with urllib.request.urlopen(f"{server.address}/v1/jobs/{job['id']}/progress", timeout=SECONDS) as stream:
        lines = list(stream)
    messages = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    assert lines[-3] == b"event: done\n"
    seen = [message["seconds_done"] for message in messages]
    assert seen == sorted(seen)
    assert {message["seconds_total"] for message in messages if message["seconds_done"]} == {30}
    assert messages[-1]["state"] == "done"
    assert server.ask(f"/v1/jobs/{job['id']}") == (200, messages[-1])
    expected = make_timeline(StreamingPredictor(Path("starter:gestures")), long_video)
    result = messages[-1]["result"]
    assert result["video"] == "mine.mp4"
    assert [(event["label"], event["start_seconds"]) for event in result["events"]] == [
        (event.label, event.start_seconds) for event in expected.events
    ]
    assert server.ask("/v1/predict?name=mine.mp4", long_video.read_bytes()) == (200, result)


def test_events_are_downloaded_in_every_format_and_read_again(server, long_video, tmp_path):
    job = wait(server, begin_job(server, long_video, name="..%2Fa.b%2Fmine.mp4"))
    assert job["formats"] == list(FORMATS)
    (tmp_path / "mine.mp4").symlink_to(long_video)
    for format in FORMATS:
        name, content = download(server, f"/v1/jobs/{job['id']}/events?format={format}")
        assert b"/tmp/" not in content
        assert b"lsn-" not in content
        path = tmp_path / format
        if name.endswith(".zip"):
            zipfile.ZipFile(io.BytesIO(content)).extractall(path)
        else:
            path = tmp_path / name
            path.write_bytes(content)
        labels = [event["label"] for event in job["result"]["events"]]
        if format == "label-studio":  # predictions, that somebody has to accept before they are read
            (task,) = json.loads(content)
            regions = task["predictions"][0]["result"]
            assert [region["value"]["timelinelabels"] for region in regions] == [[label] for label in labels]
            continue
        (video,) = read_timelines(path, root=tmp_path).videos
        assert Path(video.path).stem == "mine"
        assert [event.label for event in video.events] == labels
        begins = "peak_seconds" if format == "e2e-spot" else "start_seconds"
        for event, expected in zip(video.events, job["result"]["events"], strict=True):
            assert event.start_seconds == pytest.approx(expected[begins], abs=0.07), format  # a frame
        if path.is_file():
            path.unlink()


def test_progress_of_a_job_that_is_over(server, videos):
    job = wait(server, begin_job(server, videos / "6.mp4"))
    with urllib.request.urlopen(f"{server.address}/v1/jobs/{job['id']}/progress", timeout=SECONDS) as stream:
        assert stream.read().startswith(b"event: done\n")


def test_a_prediction_in_a_format(server, long_video):
    name, content = download(server, "/v1/predict?name=mine.mp4&format=webvtt", long_video.read_bytes())
    assert name == "mine.vtt"
    assert content.startswith(b"WEBVTT\n")
    status, answer = server.ask("/v1/predict?format=word", long_video.read_bytes())
    assert status == 422
    assert "'csv'" in answer["error"]


def test_jobs_that_are_removed_and_jobs_that_fail(server, long_video, videos):
    jobs = [begin_job(server, long_video) for _ in range(3)]
    for job in reversed(jobs):
        status, answer = server.ask(f"/v1/jobs/{job['id']}", method="DELETE")
        assert (status, answer["state"]) == (200, "canceled")
        assert server.ask(f"/v1/jobs/{job['id']}")[0] == 404
        assert server.ask(f"/v1/jobs/{job['id']}/progress")[0] == 404
    (status, job), broken = server.ask("/v1/jobs?name=broken.mp4", b"no video"), "broken.mp4: "
    assert status == 202
    failed = wait(server, job)
    assert (failed["state"], failed["result"]) == ("failed", None)
    assert failed["error"].startswith(broken)
    status, answer = server.ask(f"/v1/jobs/{job['id']}/events?format=csv")
    assert (status, answer["error"]) == (422, failed["error"])
    assert server.ask("/v1/jobs", b"")[0] == 422
    assert wait(server, begin_job(server, videos / "6.mp4"))["state"] == "done"


def test_too_many_videos_are_queued(server, long_video):
    started, status = [], 202
    while status == 202:
        status, job = server.ask("/v1/jobs", long_video.read_bytes())
        started.append(job)
        assert len(started) < 30
    assert (status, started.pop()) == (503, {"error": "too many videos are queued; try again later"})
    status, answer = server.ask(f"/v1/jobs/{started[-1]['id']}/events?format=csv")
    assert (status, answer["error"]) == (409, "the video is not analyzed yet; it is queued")
    for job in started:
        server.ask(f"/v1/jobs/{job['id']}", method="DELETE")
    assert server.ask("/v1/predict", long_video.read_bytes())[0] == 200


@pytest.fixture(scope="module")
def hour(long_video, tmp_path_factory) -> Path:
    """The same over and over, which takes minutes."""
    path = tmp_path_factory.mktemp("hour") / "hour.mp4"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "120", "-i", long_video, "-c", "copy", path]
    subprocess.run(command, check=True)
    return path


@pytest.mark.slow
def test_a_video_that_is_too_long(server, hour):
    status, answer = server.ask("/v1/predict?name=hour.mp4", hour.read_bytes())
    assert status == 422
    assert answer["error"] == "hour.mp4: 3630 seconds; send at most 100, in parts"


@pytest.mark.slow
def test_a_server_that_is_stopped_does_not_wait_for_its_jobs(hour):
    server = start(Path("starter:gestures"))
    jobs = [begin_job(server, hour) for _ in range(2)]
    while not server.ask(f"/v1/jobs/{jobs[0]['id']}")[1]["seconds_done"]:
        time.sleep(0.1)
    end(server)  # within a minute
