"""What can be asked of a source: that it is checked, and that it gets where it belongs."""

import av
import pytest
from http_server import Server, file_answer, jpeg, motion_jpeg
from rtsp_server import RTSPServer
from video_files import picture

from lsn.errors import ConfigError, VideoError
from lsn.video.frame_sampler import FrameSampler
from lsn.video.live.capture_thread import CaptureThread
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions

PICTURES = [picture(number) for number in range(6)]


@pytest.fixture
def opened(monkeypatch):
    """Collects the containers that FFmpeg opens, each with what PyAV was asked for."""
    containers, original = [], av.open

    def collecting(*args, **kwargs):
        container = original(*args, **kwargs)
        containers.append((container, kwargs))
        return container

    monkeypatch.setattr(av, "open", collecting)
    return containers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fps": 0.0}, "fps is 0.0; it must be a finite number above 0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"policy": "drop_old"}, "unknown policy 'drop_old'; did you mean 'drop_oldest'?"),
        ({"timeout_seconds": 0.0}, "timeout_seconds is 0.0; it must be a finite number above 0"),
        ({"timeout_seconds": float("inf")}, "timeout_seconds is inf"),
        ({"reconnect_seconds": -1.0}, "reconnect_seconds is -1.0; it must be a finite number, 0"),
        ({"reconnect_seconds": float("nan")}, "reconnect_seconds is nan"),
        ({"reconnect_seconds": float("inf")}, "reconnect_seconds is inf"),
        ({"transport": "tpc"}, "unknown transport 'tpc'; did you mean 'tcp'?"),
        (
            {"transport": "carrier pigeon"},
            "unknown transport 'carrier pigeon'; choose from: http, tcp, udp, udp_multicast",
        ),
        ({"num_threads": 0}, "0 decoding threads; it must be at least 1"),
        ({"ffmpeg_options": {"rtbufsize": 64}}, "ffmpeg_options has 'rtbufsize': 64; both must be text"),
        ({"ffmpeg_options": {1: "64M"}}, "ffmpeg_options has 1: '64M'; both must be text"),
    ],
)
def test_values_out_of_range_are_refused(options, words):
    with pytest.raises(ConfigError) as caught:
        SourceOptions(**options)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source",
    ["clip.mp4", b"bytes", [(0.0, picture(0))], 0, "0", "/dev/video0", "http://host/x", "udp://@:1234"],
)
def test_only_rtsp_has_a_transport(source):
    with pytest.raises(ConfigError, match=r"transport is for addresses of RTSP; leave it out"):
        open_live(source, SourceOptions(transport="udp"))


def test_a_transport_that_is_refused_shows_no_password():
    with pytest.raises(ConfigError, match=r"^http://me:\*\*\*@host/x: transport is for"):
        open_live("http://me:secret@host/x", SourceOptions(transport="tcp"))


@pytest.mark.parametrize("source", ["clip.mp4", b"bytes", [(0.0, picture(0))]])
def test_files_and_iterators_have_no_options_of_ffmpeg(source):
    with pytest.raises(ConfigError, match="ffmpeg_options are for cameras and addresses; leave them out"):
        open_live(source, SourceOptions(ffmpeg_options={"video_size": "640x480"}))


@pytest.mark.parametrize(
    ("transport", "asked"),
    [
        ("tcp", "RTP/AVP/TCP;unicast"),
        ("udp", "RTP/AVP/UDP;unicast"),
        (None, "RTP/AVP/TCP;unicast"),
    ],
)
def test_frames_come_by_the_transport_that_is_asked_for(transport, asked):
    with (
        RTSPServer(PICTURES, rate=10, transports=("TCP", "UDP")) as server,
        open_live(server.url, SourceOptions(transport=transport)) as source,
    ):
        frames = list(source)
        (setup,) = server.transports
        assert setup.startswith(asked)
    for frame, expected in zip(frames, PICTURES, strict=True):
        assert abs(frame.rgb().astype(int) - expected).mean() < 12  # MPEG-4 loses colour


def test_one_server_gives_each_source_what_it_asks_for():
    transports = ["udp", "tcp", "udp"]
    with RTSPServer(PICTURES, rate=10, transports=("TCP", "UDP")) as server:
        for transport in transports:
            options = SourceOptions(transport=transport, policy="block", reconnect_seconds=0)
            with CaptureThread(server.url, FrameSampler(10.0), options) as capture:
                assert len(list(capture)) == len(PICTURES)
        assert [asked.partition(";")[0] for asked in server.transports] == [
            f"RTP/AVP/{transport.upper()}" for transport in transports
        ]


def test_a_server_without_tcp_is_asked_for_udp():
    with RTSPServer(PICTURES, rate=10, transports=("UDP",)) as server, open_live(server.url) as source:
        assert len(list(source)) == len(PICTURES)
        assert [asked.partition(";")[0] for asked in server.transports] == ["RTP/AVP/TCP", "RTP/AVP/UDP"]


@pytest.mark.parametrize(
    ("transport", "asked"), [("udp", "RTP/AVP/UDP;unicast"), ("udp_multicast", "RTP/AVP/UDP;multicast")]
)
def test_a_transport_that_the_server_does_not_have_is_not_replaced(transport, asked):
    with RTSPServer(PICTURES, rate=10, transports=("TCP",)) as server:
        with pytest.raises(VideoError) as caught:
            open_live(server.url, SourceOptions(transport=transport))
        (setup,) = server.transports
        assert setup.startswith(asked)
    assert str(caught.value) == (
        f"{server.url}: the server does not send its stream this way; choose another transport (--transport of lsn "
        "stream, SourceOptions.transport in Python)"
    )


def test_rtsp_through_http_asks_by_http():
    with RTSPServer(PICTURES, rate=10) as server:
        with pytest.raises(VideoError, match="check the address, the network"):
            open_live(server.url, SourceOptions(transport="http"))
        assert server.requests == ["GET"]


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_decode_files_and_addresses(make_video, opened, num_threads):
    path = make_video("threads.mp4", num_frames=8, g="4")
    options = SourceOptions(num_threads=num_threads)
    with Server({"/clip.mp4": file_answer(path)}) as server:
        for source in (path, f"{server.url}/clip.mp4"):
            opened.clear()
            with open_live(source, options) as frames:
                assert len([frame.rgb() for frame in frames]) == 8
                assert [container.streams.video[0].thread_count for container, _ in opened] == [num_threads]


def test_options_of_ffmpeg_reach_it():
    with Server({"/": motion_jpeg([jpeg(image) for image in PICTURES])}) as server:
        for name in ("door camera", "yard camera"):
            options = SourceOptions(ffmpeg_options={"user_agent": name, "no_such_option": "1"})
            with open_live(server.url, options) as source:
                next(iter(source))
        assert server.user_agents == ["door camera", "yard camera"]


def test_options_of_ffmpeg_are_more_than_the_houses_and_win(opened):
    with RTSPServer(PICTURES, rate=10, transports=("TCP", "UDP")) as server:
        with open_live(server.url) as source:
            list(source)
        more = {"rtsp_transport": "udp", "max_delay": "100000"}
        with open_live(server.url, SourceOptions(transport="tcp", ffmpeg_options=more)) as source:
            list(source)
        assert [asked.partition(";")[0] for asked in server.transports] == ["RTP/AVP/TCP", "RTP/AVP/UDP"]
    (_, alone), (_, given) = opened
    assert given["options"].items() >= more.items()
    assert alone["options"].keys() - given["options"].keys() == {"rtsp_flags"}  # what prefers TCP by itself


def test_the_rate_and_the_size_are_asked_of_a_camera(monkeypatch):
    asked = {}

    def no_camera(url, **kwargs):
        asked.update(url=url, **kwargs)
        raise av.FileNotFoundError(2, "no camera")

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(av, "open", no_camera)
    with pytest.raises(VideoError, match="no such camera"):
        open_live(7, SourceOptions(fps=12.5, timeout_seconds=3.0, ffmpeg_options={"video_size": "640x480"}))
    assert (asked["url"], asked["format"], asked["timeout"]) == ("/dev/video7", "v4l2", (3.0, 3.0))
    assert asked["options"] == {"framerate": "12.5", "video_size": "640x480"}


@pytest.mark.parametrize("seconds", [0.2, 0.4])
def test_a_silence_lasts_as_long_as_the_source_allows(seconds):
    options = SourceOptions(timeout_seconds=seconds, reconnect_seconds=0, policy="block")
    with (
        RTSPServer(PICTURES, rate=10, stays=True) as server,
        CaptureThread(server.url, FrameSampler(10.0), options) as capture,
        pytest.raises(VideoError, match=f"lost after .*: nothing came for {seconds} s"),
    ):
        list(capture)
