"""How `lsn stream` ends, is stopped and is continued: real processes, real signals, real servers."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import av
import numpy as np
import pytest
from http_server import Server, jpeg, motion_jpeg
from rtsp_server import RTSPServer
from video_files import picture

from lsn.video import open_video, write_video

LONG = 120.0  # seconds that no test waits unless something is broken
EASY = ("--on-threshold", 0.01, "--off-threshold", 0.005, "--min-seconds", 0)
NUMBERS = ("seconds", "probabilities", "num_frames", "reset", "events")


def lines_of(text) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def answers_of(text) -> list[list]:
    return [[line[name] for name in NUMBERS] for line in lines_of(text) if "seconds" in line]


def command_of(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "lsn", *map(str, arguments)]


def default_signals() -> None:
    """A shell that runs the tests in the background ignores SIGINT, and nohup SIGHUP; so would the command."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)


@contextmanager
def running(*arguments: object) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command_of(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def camera():
    """A camera that sends ten frames and then nothing, with its connection open."""
    images = [jpeg(picture(number)) for number in range(10)]
    never = threading.Event()
    with Server({"/": motion_jpeg(images, until=never)}) as server:
        yield server.url
        never.set()


def outputs_in(folder) -> tuple[object, ...]:
    events, record, state = (folder / name for name in ("events.jsonl", "seen.mp4", "state"))
    return ("--events", events, "--record", record, "--save-state", state, *EASY)


def assert_all_is_there(folder, end, *, min_frames) -> None:
    """Recording, state, log of events; and nothing that is half done."""
    assert sorted(path.name for path in folder.iterdir()) == ["events.jsonl", "seen.mp4", "state"]
    with open_video(folder / "seen.mp4") as reader:
        assert reader.num_frames >= min_frames
    logged = lines_of((folder / "events.jsonl").read_text())
    assert logged[-len(end["events"]) :] == [{"stream": end["stream"], **event} for event in end["events"]]
    assert len(end["events"]) > 0


def test_a_signal_ends_it_as_its_end_would(streaming, camera, tmp_path):
    with running("stream", streaming, camera, "--json", *outputs_in(tmp_path)) as process:
        assert "seconds" in json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    end = lines_of(out)[-1]
    assert end["stream"] == camera and end["error"] is None
    assert_all_is_there(tmp_path, end, min_frames=1)


@pytest.mark.slow
def test_a_terminal_that_closes_loses_nothing(streaming, camera, tmp_path):
    """SIGHUP comes, and what is then written to the terminal fails."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, command_of("stream", streaming, camera, *outputs_in(tmp_path)))
    seen = b""
    while b"ms: wait" not in seen:  # the live view shows an answer
        seen += os.read(terminal, 4096)
    os.close(terminal)
    start = time.monotonic()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        assert time.monotonic() < start + LONG
        time.sleep(0.05)
    assert {path.name for path in tmp_path.iterdir()} == {"events.jsonl", "seen.mp4", "state"}
    with open_video(tmp_path / "seen.mp4") as reader:
        assert reader.num_frames >= 1
    assert len(lines_of((tmp_path / "events.jsonl").read_text())) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("more", [("--json",), ()])
def test_a_reader_that_leaves_loses_nothing(streaming, tmp_path, more):
    long = tmp_path / "long.mp4"
    write_video(long, np.stack([picture(number) for number in range(80)]), fps=8)
    folder = tmp_path / "out"
    folder.mkdir()
    with running("stream", streaming, long, *more, *outputs_in(folder), "--reset-every", 0.25) as process:
        for _ in range(1 if more else 3):  # an answer, after two lines that say how the stream is seen
            assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=LONG) == 1
        assert process.stderr.read() == ""
        process.stdout = None  # nothing left to read
    assert {path.name for path in folder.iterdir()} == {"events.jsonl", "seen.mp4", "state"}
    with open_video(folder / "seen.mp4") as reader:
        assert reader.num_frames >= 1


def test_a_source_that_is_lost_for_good_loses_nothing(lsn, streaming, tmp_path):
    frames = [picture(number) for number in range(16)]
    with RTSPServer(frames, rate=8, sessions=1) as server:
        answer = lsn(
            "stream", streaming, server.url, "--json", "--policy", "block", "--reconnect", 0.3, *outputs_in(tmp_path)
        )
    assert answer.code == 2
    *answers, end = lines_of(answer.out)
    assert len(answers) == 16
    assert end["counts"]["num_ticks"] == 16
    assert f"lsn: {end['error']}\n" in answer.err
    assert "did not come back within 0.3 s" in end["error"]
    assert_all_is_there(tmp_path, end, min_frames=16)


def test_a_source_that_fails_at_once_has_an_end_too(lsn, streaming, tmp_path):
    answer = lsn("stream", streaming, "missing.mp4", "--json", "--save-state", tmp_path / "state")
    assert answer.code == 2
    (end,) = lines_of(answer.out)
    assert end["stream"] == "missing.mp4" and end["error"].startswith("missing.mp4: no such file")
    assert (tmp_path / "state").is_file()


@pytest.mark.slow
def test_the_time_ends_what_stalls_and_what_is_lost(lsn, streaming, camera):
    with RTSPServer([picture(number) for number in range(8)], rate=8, sessions=1) as server:
        for source in (camera, server.url):
            answer = lsn("stream", streaming, source, "--json", "--seconds", 1.5)
            assert answer.code == 0, answer.err
            assert lines_of(answer.out)[-1]["error"] is None


def test_a_silence_that_is_too_long_for_the_timeout(lsn, streaming, camera):
    answer = lsn("stream", streaming, camera, "--json", "--timeout", 0.3, "--reconnect", 0)
    assert answer.code == 2
    expected = (
        "nothing came for 0.3 s; check the address and the network, or allow a longer silence (--timeout of lsn stream"
    )
    assert expected in lines_of(answer.out)[-1]["error"]


@pytest.mark.parametrize("name", ["--seconds", "--reconnect", "--timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_times_that_are_none(lsn, streaming, clip, name, value):
    answer = lsn("stream", streaming, clip, f"{name}={value}")
    assert answer.code == 2
    assert answer.err.count("\n") == 1 and "must be a finite number" in answer.err


def test_two_halves_are_one_stream(lsn, streaming, tmp_path):
    """The state may take the place of the one that it continues."""
    frames = np.stack([picture(number) for number in range(48)])
    for name, part in (("whole", frames), ("first", frames[:24]), ("second", frames[24:])):
        write_video(tmp_path / f"{name}.mp4", part, fps=16, crf=0)
    state = tmp_path / "state"
    whole, first, second = (
        lsn("stream", streaming, tmp_path / f"{name}.mp4", "--json", "--save-state", state, *EASY, *more)
        for name, more in (("whole", ()), ("first", ()), ("second", ("--state", state)))
    )
    assert (whole.code, first.code, second.code) == (0, 0, 0)
    assert answers_of(first.out) + answers_of(second.out) == answers_of(whole.out)
    assert len(answers_of(whole.out)) == 24
    assert lines_of(second.out)[-1]["events"] == lines_of(whole.out)[-1]["events"]


def test_a_video_that_changes_its_size(lsn, streaming, tmp_path):
    """Two H.264 streams one after the other, as a camera writes them that was set to another size."""
    parts = []
    for number, (width, height) in enumerate(((64, 48), (96, 64), (48, 80))):
        path = tmp_path / f"{number}.h264"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for place in range(25):
                image = picture(25 * number + place, width, height)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(stream.encode(None))
        parts.append(path.read_bytes())
    (tmp_path / "sizes.h264").write_bytes(b"".join(parts))
    record = tmp_path / "seen.mp4"
    answer = lsn("stream", streaming, tmp_path / "sizes.h264", "--json", "--record", record, "--scene-cut", 0.9)
    assert answer.code == 0, answer.err
    *answers, end = lines_of(answer.out)
    assert end["error"] is None and end["counts"]["num_frames"] == 75
    assert answers[-1]["num_frames"] == len(answers) == 24
    with open_video(record) as reader:
        assert reader.num_frames == 24


SECRET = "s3cr/t@:?&=#"


@pytest.mark.parametrize(
    "place", ["rtsp://me:{}@{host}/live", "http://{host}/live?user=me&password={}", "http://{host}/a_pwd={}"]
)
def test_passwords_are_nowhere_to_be_seen(lsn, streaming, tmp_path, place):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    secret = SECRET if "@{host}" in place else SECRET.replace("&", "")
    source = place.replace("{}", secret).replace("{host}", host)
    for more in (("--json", "--debug"), ("--debug",), ("--name", "door")):
        answer = lsn("stream", streaming, source, "--events", tmp_path / "events", *more)
        assert answer.code == 2
        shown = answer.out + answer.err + (tmp_path / "events").read_text()
        assert "***" in shown and "me" in shown
        assert not any(part in shown for part in ("s3cr", "t@:", "&=#"))


def test_passwords_are_nowhere_in_what_is_told_of_a_camera_that_comes_and_goes(lsn, streaming, tmp_path):
    frames = [picture(number) for number in range(8)]
    with RTSPServer(frames, rate=8, password="s3cret", sessions=1) as server:
        url = server.url.replace("//", "//me:s3cret@")
        more = ("--policy", "block", "--reconnect", 0.3, "--events", tmp_path / "events", *EASY)
        answer = lsn("stream", streaming, url, "--json", "--debug", *more)
    shown = answer.out + answer.err + (tmp_path / "events").read_text()
    assert "opening it again" in answer.err and len(lines_of(answer.out)) == 9
    assert {line["stream"] for line in lines_of(answer.out)} == {server.url.replace("//", "//me:***@")}
    assert "s3cret" not in shown


def test_streams_have_the_names_that_they_are_given(lsn, streaming, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "c.mp4").write_bytes(clip.read_bytes())
    answer = lsn("stream", streaming, "a=b.mp4", "./a=b.mp4", "yard=c.mp4", "front door=./c.mp4", "c.mp4", "--json")
    assert answer.code == 0, answer.err
    streams = {line["stream"] for line in lines_of(answer.out)}
    assert streams == {"a=b.mp4", "./a=b.mp4", "yard", "front door", "c.mp4"}
    answer = lsn("stream", streaming, "c.mp4", "--name", "yard", "--json")
    assert {line["stream"] for line in lines_of(answer.out)} == {"yard"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("rtsp://me:a@h/x", "rtsp://me:b@h/x"),
            "rtsp://me:***@h/x would name two streams; give each stream a name",
        ),
        (("door=a.mp4", "door=b.mp4"), "door would name two streams; give each"),
        (("a.mp4", "b.mp4", "--name", "c"), "--name is for one source without a name"),
        (("rtsp://me:a@h/x", "rtsp://me:b@h/x", "--name", "c"), "--name is for one source without a name"),
        (("a=b.mp4", "--name", "c"), "--name is for one source without a name"),
        (("clip.mp4", "--record", "clip.mp4"), "would be written over clip.mp4"),
        (("yard=clip.mp4", "--save-state", "clip.mp4"), "would be written over clip.mp4"),
        (("clip.mp4", "--state", "a.mp4", "--record", "a.mp4"), "would be written over a.mp4"),
    ],
)
def test_names_that_clash(lsn, streaming, arguments, words):
    error = lsn("stream", streaming, *arguments).one_error_line()
    assert words in error
    assert "me:a" not in error and "me:b" not in error
