"""A file or its bytes are read, and nothing else, whatever they hold and however they are called."""

import struct
from pathlib import Path

import av
import pytest
from http_server import Server, file_answer
from PIL import Image
from test_torchcodec_reader import needs_torchcodec
from video_files import picture

from lsn.errors import VideoError
from lsn.video import open_video
from lsn.video.decoding.limits import CONTAINERS
from lsn.video.live.opening import open_live
from lsn.video.live.options import SourceOptions

SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"


@pytest.fixture
def secret(make_video, tmp_path):
    """Another file beside, which nobody asked for."""
    for ending in ("mp4", "ts"):
        (tmp_path / f"secret.{ending}").write_bytes(make_video(f"secret.{ending}", num_frames=5).read_bytes())
    return tmp_path / "secret.mp4"


def refused(source, **options) -> str:
    with pytest.raises(VideoError) as caught, open_video(source, **options) as reader:
        reader.frames_at([0])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("reader", ["pyav", pytest.param("torchcodec", marks=needs_torchcodec)])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.ffconcat", "clip.m3u8", "clip.sdp", "clip.mpd"])
@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile secret.mp4\n",
        "ffconcat version 1.0\nfile '{path}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{path}\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?><MPD type="static"><Period><AdaptationSet><Representation id="0"><BaseURL>secret.mp4'
        "</BaseURL></Representation></AdaptationSet></Period></MPD>",
        SDP,
    ],
    ids=["concat", "concat by path", "hls", "hls by path", "dash", "sdp"],
)
def test_playlists_are_no_videos(secret, name, content, reader):
    path = secret.with_name(name)
    path.write_text(content.format(path=secret) + "\n" * 300)
    assert "no video" in refused(path, reader=reader) or "not a video" in refused(path, reader=reader)
    refused(path.read_bytes(), reader=reader)


def test_the_name_of_a_file_is_no_pattern(tmp_path):
    """FFmpeg takes images by their ending, and `%` in their names for a number."""
    for name in ("a%d.png", "a1.png", "a2.png"):
        Image.fromarray(picture(1)).save(tmp_path / name)
    assert "a folder of numbered images" in refused(tmp_path / "a%d.png")


def test_a_file_with_a_percent_sign_is_that_file(make_video, tmp_path):
    path = tmp_path / "100%d.mp4"
    path.write_bytes(make_video("percent.mp4", num_frames=3).read_bytes())
    with open_video(path) as reader:
        assert reader.num_frames == 3


def with_reference(data: bytes, target: Path) -> bytes:
    """An MP4 whose track says that its frames are in another file, as QuickTime's reference movies do."""
    path, name = str(target).encode(), target.name.encode()
    alias = bytes(10) + bytes([1]) + b"x".ljust(27, b"\0") + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0")
    alias += bytes(16) + struct.pack(">hh", 1, 1) + bytes(16)
    alias += struct.pack(">hh", 2, len(path)) + path + bytes(len(path) % 2) + struct.pack(">hh", -1, 0)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    dref = struct.pack(">I4sII", 16 + len(entry), b"dref", 0, 1) + entry
    place = data.index(b"dref") - 4
    (old_size,) = struct.unpack_from(">I", data, place)
    changed = bytearray(data[:place] + dref + data[place + old_size :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        start = changed.index(box) - 4
        struct.pack_into(">I", changed, start, struct.unpack_from(">I", changed, start)[0] + len(dref) - old_size)
    return bytes(changed)


def test_references_of_an_mp4_are_not_followed(make_video, secret, tmp_path):
    """The other file is the same video, so that its frames lie where the reference says."""
    path = tmp_path / "reference.mov"
    data = make_video("referring.mov", num_frames=8).read_bytes()
    secret.write_bytes(data)
    path.write_bytes(with_reference(data, secret))
    with av.open(str(path), options={"enable_drefs": "1", "use_absolute_path": "1"}) as container:
        assert len(list(container.decode(video=0))) == 8
    refused(path)


def test_the_list_holds_names_that_ffmpeg_knows_and_none_that_opens_files():
    for name in CONTAINERS.split(","):
        av.format.ContainerFormat(name, "r")
    for name in ("concat", "hls", "dash", "image2", "sdp", "rtsp", "lavfi", "mlv", "webm_dash_manifest", "rawvideo"):
        assert name not in CONTAINERS.split(",")


@pytest.mark.parametrize("address", ["file://{path}", "{path}", "file:{path}"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile '{address}'\n"),
    ],
)
def test_a_playlist_from_the_network_opens_no_local_file(secret, tmp_path, address, name, content):
    playlist = tmp_path / name
    playlist.write_text(content.format(address=address.format(path=secret.with_suffix(".ts"))))
    with (
        Server({f"/{name}": file_answer(playlist)}) as server,
        pytest.raises(VideoError),
        open_live(f"{server.url}/{name}", SourceOptions(timeout_seconds=3)) as source,
    ):
        next(iter(source))
