"""Cameras and network streams: real servers on this machine, FFmpeg's own test picture as the camera."""

import io
import logging
import socket
import threading
from urllib.parse import quote

import numpy as np
import pytest
from http_server import Server, file_answer, jpeg, motion_jpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rtsp_server import RTSPServer
from video_files import picture, turned

from lsn.errors import VideoError
from lsn.video import open_video
from lsn.video.live.capture import CaptureSource
from lsn.video.live.ffmpeg_input import Address, camera_address, redacted
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions


def play(source) -> list:
    """The frames until the source ends or the connection does."""
    frames = []
    with pytest.raises(VideoError, match="lost after"):
        for frame in source:
            frames.append(frame)
        raise VideoError(f"lost after its end, {len(frames)} frames")
    return frames


def message_of(source, **options) -> str:
    with (
        pytest.raises(VideoError) as caught,
        open_live(source, SourceOptions(**{"timeout_seconds": 5.0, **options})) as frames,
    ):
        list(frames)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_file_over_http_is_the_file(make_video):
    path = make_video("served.mp4", num_frames=20, g="8", bf="2")
    with Server({"/clip.mp4": file_answer(path)}) as server, open_live(f"{server.url}/clip.mp4") as source:
        assert not source.is_live  # it states its length, so nobody waits for it to go on
        frames = list(source)
        with open_video(path) as reader:
            assert [frame.pts_seconds for frame in frames] == reader.pts_seconds.tolist()
            assert np.array_equal([f.rgb() for f in frames], reader.frames_at(range(20)).frames_THWC)
            assert source.end_seconds == pytest.approx(20 / 30)


def test_turned_streams_come_upright(make_video, tmp_path):
    path = turned(make_video("upright.mp4", num_frames=3), (0, 1, -1, 0), tmp_path / "turned.mp4")
    with Server({"/": file_answer(path)}) as server, open_live(f"{server.url}/") as source, open_video(path) as reader:
        assert np.array_equal(next(iter(source)).rgb(), reader.frames_at([0]).frames_THWC[0])


def test_motion_jpeg_has_the_times_of_arrival():
    images = [jpeg(picture(number)) for number in range(8)]
    go_on = threading.Semaphore(0)

    def one_by_one():
        for image in images:
            go_on.acquire()
            yield image

    go_on.release(4)  # for FFmpeg to find out what comes
    with (
        Server({"/": motion_jpeg(one_by_one())}) as server,
        open_live(server.url, SourceOptions(timeout_seconds=5)) as source,
    ):
        assert source.is_live
        frames = []
        with pytest.raises(VideoError, match="lost after 8 frames"):
            for frame in source:
                frames.append(frame)
                go_on.release()
        times = [frame.pts_seconds for frame in frames]
        assert times[0] == 0.0 and times == sorted(set(times))
        assert times != pytest.approx([number / 25 for number in range(8)])  # what FFmpeg makes up
        for frame, image in zip(frames, images, strict=True):
            expected = np.asarray(Image.open(io.BytesIO(image)), int)
            assert abs(frame.rgb() - expected).mean() < 3


def test_frames_may_change_their_size_on_the_way():
    sizes = [(64, 48)] * 3 + [(32, 40)] * 2 + [(64, 48)]
    images = [jpeg(picture(number, *size)) for number, size in enumerate(sizes)]
    with Server({"/": motion_jpeg(images)}) as server, open_live(server.url) as source:
        assert [tuple(frame.rgb().shape) for frame in play(source)] == [(h, w, 3) for w, h in sizes]


def test_packets_that_cannot_be_decoded_are_left_out_and_told_once(caplog):
    images = [jpeg(picture(number)) for number in range(8)]
    images[4] = images[6] = b"\xff\xd8 no picture \xff\xd9"
    with Server({"/": motion_jpeg(images)}) as server, open_live(server.url) as source:
        assert len(play(source)) == 6
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert f"{server.url}: a packet cannot be decoded" in caplog.text


def test_rtsp_has_the_times_of_the_camera():
    pictures = [picture(number) for number in range(12)]
    with RTSPServer(pictures, rate=10) as server, open_live(server.url) as source:
        assert source.is_live
        frames = list(source)
        assert np.diff([frame.pts_seconds for frame in frames]) == pytest.approx([0.1] * 11)
        assert source.end_seconds == pytest.approx(frames[-1].pts_seconds + 0.1)
        assert server.requests == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        for frame, expected in zip(frames, pictures, strict=True):
            assert abs(frame.rgb().astype(int) - expected).mean() < 12  # MPEG-4 loses colour, not order


def test_passwords_are_used_and_not_told():
    with RTSPServer([picture(0)] * 5, rate=10, password="secret") as server:
        assert "401 Unauthorized" in message_of(server.url)
        assert "as in rtsp://user:password@host/path" in message_of(server.url)
        with open_live(server.url.replace("//", "//me:secret@")) as source:
            assert source.name == server.url.replace("//", "//me:***@")
            assert len(list(source)) == 5


@given(
    password=st.text(st.characters(codec="ascii", exclude_characters="*"), min_size=1),
    path=st.sampled_from(["", "/", "/a?b=c"]),
)
def test_no_password_before_a_host_is_shown(password, path):
    address = f"rtsp://me:{password}@camera:554{path}"
    assert redacted(address) == f"rtsp://me:***@camera:554{path}"
    assert redacted(f"rtsp://me:{quote(password, safe='')}@camera:554{path}") == redacted(address)


@given(
    name=st.sampled_from(
        ["password", "PWD", "access_token", "api_key", "X-Amz-Signature", "pass%77ord", "auth", "secret"]
    ),
    value=st.text(st.characters(codec="ascii", exclude_characters="&@*"), min_size=1),
    template=st.sampled_from(["http://h/x?{}", "http://h:80/x?a=1&{}&b=2", "rtsp://h/user=me&{}", "http://h/x#{}&z"]),
)
def test_no_secret_parameter_is_shown(name, value, template):
    assert redacted(template.format(f"{name}={value}")) == template.format(f"{name}=***")


@pytest.mark.parametrize(
    "address",
    ["rtsp://h/x", "rtsp://me@h/x", "http://h/@me/x", "http://[::1]:80/x?user=me&id=7", "udp://@:1234", "a:b@c.mp4"],
)
def test_what_is_no_secret_is_shown(address):
    assert redacted(address) == address


def test_a_stream_that_goes_silent_is_lost():
    with RTSPServer([picture(number) for number in range(5)], rate=10, stays=True) as server:
        message = message_of(server.url, timeout_seconds=0.3)
        assert message.startswith(f"{server.url}: lost after ")
        assert message.endswith(
            "nothing came for 0.3 s; check the address and the network, or allow a longer silence (--timeout of "
            "lsn stream, SourceOptions.timeout_seconds in Python)"
        )


def test_a_server_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for scheme in ("http", "rtsp"):
            url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/x"
            assert message_of(url, timeout_seconds=0.2).startswith(f"{url}: nothing came for 0.2 s;")


@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtmp"])
def test_refused_connections(scheme):
    url = f"{scheme}://127.0.0.1:{closed_port()}/camera"
    assert message_of(url) == f"{url}: connection refused; check the host and the port, and that the server runs"


def test_what_servers_say_no_with(make_video, tmp_path):
    sound = tmp_path / "sound.txt"
    sound.write_text("once upon a time\n" * 1000)
    answers = {"/broken": 500, "/locked": 403, "/text": file_answer(sound)}
    with Server(answers) as server:
        assert message_of(f"{server.url}/none").endswith("no such stream (404 Not Found); check the path")
        assert "5XX Server Error" in message_of(f"{server.url}/broken")
        assert "as in http://user:password@host/path" in message_of(f"{server.url}/locked")
        assert message_of(f"{server.url}/text").endswith("no video that FFmpeg knows; check the address")


def test_protocols_that_this_ffmpeg_does_not_speak():
    assert "does not speak gopherz; offer the stream as rtsp" in message_of("gopherz://127.0.0.1/x")


@pytest.mark.parametrize("camera", [97, "97", "/dev/video97"])
def test_cameras_that_are_not_there(camera, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    assert "/dev/video97" in message_of(camera)
    assert "no such camera; th" in message_of(camera)


def test_how_systems_call_their_cameras(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    linux = Address("/dev/video1", "camera 1 (/dev/video1)", {"framerate": "12.5"}, "v4l2")
    assert camera_address("1", fps=12.5) == linux
    assert camera_address("/dev/video2") == Address("/dev/video2", "/dev/video2", {}, "v4l2")
    monkeypatch.setattr("sys.platform", "darwin")
    assert camera_address("0") == Address("0:none", "camera 0", {"framerate": "30"}, "avfoundation")
    monkeypatch.setattr("sys.platform", "plan9")
    with pytest.raises(VideoError, match="camera 0: cameras of plan9 cannot be opened"):
        camera_address("0")


def test_a_device_of_ffmpeg_is_a_camera():
    """lavfi is one of FFmpeg's input devices, and the only one that every machine has."""
    address = Address("testsrc2=size=64x48:rate=10:duration=1", "test picture", {}, "lavfi")
    with CaptureSource(address, timeout_seconds=5.0) as source:
        frames = list(source)
        assert source.is_live
        assert [frame.pts_seconds for frame in frames] == pytest.approx([number / 10 for number in range(10)])
        assert {tuple(frame.rgb().shape) for frame in frames} == {(48, 64, 3)}
        assert source.end_seconds == pytest.approx(1.0)


def test_closing_from_another_thread_while_frames_come():
    address = Address("testsrc2=size=64x48:rate=1000", "endless", {}, "lavfi")
    source = CaptureSource(address, timeout_seconds=5.0)
    seen = threading.Event()

    def watch():
        for number, frame in enumerate(source):
            frame.rgb()
            if number == 5:
                seen.set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert seen.wait(10)
    source.close()
    thread.join(10)
    assert not thread.is_alive()
