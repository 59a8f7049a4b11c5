"""Files that are no videos, or only part of one: one clear line, always a VideoError."""

import os
import random
import re
import shutil
import subprocess
import warnings

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from video_files import plain_decode

from lsn.errors import ConfigError, VideoError
from lsn.video import open_video, window
from lsn.video.writing.jpeg_frames import extract_frames, open_for_extraction


def read_all(source) -> int:
    with open_video(source) as reader:
        return len(reader.frames_at(range(reader.num_frames)).indices)


def message_of(source, **options) -> str:
    with pytest.raises(VideoError) as caught, open_video(source, **options) as reader:
        reader.frames_at(range(reader.num_frames))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"once upon a time\n" * 100, "not a video file that FFmpeg knows; check what is in it, or fetch it again"),
        (b"", r"an empty file \(0 bytes\)"),
        (b"\0", "not a video file"),
        (random.Random(0).randbytes(20_000), "not a video file"),
        (b"\0\0\0\x18ftypisom" + bytes(100), "an incomplete MP4"),
    ],
)
def test_what_is_no_video_is_named(tmp_path, content, words):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    assert re.match(f"{re.escape(str(path))}: .*{words}", message_of(path))
    assert re.search(words, message_of(content))


def test_what_is_not_there_is_named(tmp_path, monkeypatch):
    assert message_of(tmp_path / "none.mp4") == f"{tmp_path}/none.mp4: no such file; check the spelling"
    monkeypatch.chdir(tmp_path)
    assert message_of("videos/none.mp4") == f"videos/none.mp4: no such file; relative paths start from {tmp_path}"
    assert "not a file" in message_of(os.devnull)
    (tmp_path / "empty").mkdir()
    assert "holds no frames" in message_of(tmp_path / "empty")


def test_sound_without_pictures(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    assert message_of(path) == f"{path}: holds no video, only audio"


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg command")
def test_a_cover_picture_is_no_video(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "cover.png")
    path = tmp_path / "song.mp4"
    sound = ["-f", "lavfi", "-i", "sine=d=1"]
    cover = ["-i", tmp_path / "cover.png", "-map", "0", "-map", "1", "-c:v", "copy", "-disposition:v", "attached_pic"]
    subprocess.run(["ffmpeg", "-v", "error", *sound, *cover, path], check=True)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == 1
    assert "holds no video, only audio" in message_of(path)


def test_unreadable_file(tmp_path, make_video, monkeypatch):
    path = make_video("locked.mp4", num_frames=2)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)  # root may read everything, so the mode alone proves nothing
    assert message_of(path) == f"{path}: cannot be read: Permission denied"


@pytest.mark.parametrize("number", [9, 30, 56])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("front.mp4", {"g": "12", "bf": "2", "muxer": {"movflags": "faststart"}}),
        ("cut.mkv", {"g": "12", "bf": "2"}),
        ("cut.webm", {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"}),
        ("cut.avi", {"codec": "mpeg4", "g": "12"}),
        ("cut_b.avi", {"codec": "mpeg4", "g": "12", "bf": "2"}),
        ("cut.flv", {"g": "12", "bf": "0"}),
    ],
)
def test_a_truncated_file_says_how_many_frames_of_how_many(make_video, tmp_path, name, options, number):
    whole = make_video(name, **options)
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    path = tmp_path / name
    path.write_bytes(whole.read_bytes()[: packets[number].pos + packets[number].size // 2])
    found = re.search(r"truncated: (\d+) of (?:about )?(\d+) frames are there", message_of(path))
    assert found, message_of(path)
    present, promised = map(int, found.groups())
    assert present == number
    assert str(promised) in message_of(path.read_bytes())
    assert promised == 60 if path.suffix in (".mp4", ".avi") else abs(promised - 60) <= 3


def test_an_mp4_whose_index_was_cut_off(make_video, tmp_path):
    path = tmp_path / "tail.mp4"
    path.write_bytes(make_video("tail.mp4").read_bytes()[:-500])
    assert "incomplete MP4" in message_of(path)


@pytest.fixture
def two_sizes(make_video, tmp_path):
    """Ten frames of 64x48, then ten of 96x48."""
    path = tmp_path / "two_sizes.h264"
    parts = [make_video(f"{width}.h264", size=(width, 48), num_frames=10) for width in (64, 96)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def test_frames_that_change_their_size_do_not_stack(two_sizes, tmp_path):
    assert "frame 10 is 96x48, the first one 64x48" in message_of(two_sizes)
    part = window(open_video(two_sizes), first=8, last=12)
    with part, pytest.raises(VideoError, match="frame 10 is 96x48, the first one 64x48"):
        part.frames_at(range(4))
    reader = open_for_extraction(two_sizes, short_side=40)
    with reader, pytest.raises(VideoError, match="frame 10 is 80x40, the first one 53x40"):
        extract_frames(reader, tmp_path / "frames")
    assert not (tmp_path / "frames").exists()


def test_frames_that_change_their_size_are_read_one_by_one(two_sizes):
    expected = plain_decode(two_sizes)
    with open_video(two_sizes) as reader:
        assert (reader.info.width, reader.info.height) == (64, 48)
        for (_, frame), (_, image) in zip(reader, expected, strict=True):
            np.testing.assert_array_equal(frame, image)
        for index in (15, 3, 10, 9):
            np.testing.assert_array_equal(reader.frames_at([index]).frames_THWC[0], expected[index][1])


def test_a_frame_that_is_lost_inside_is_not_passed_over(make_video, tmp_path):
    """Frames after a lost one would be taken for their predecessors."""
    path = make_video("whole.mp4", num_frames=40, g="10", bf="0")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
    data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    broken = tmp_path / "lost.mp4"
    broken.write_bytes(data)
    with open_video(broken) as reader:
        assert reader.num_frames == 40
        reader.frames_at(range(20))
        with pytest.raises(VideoError, match=r"lost.mp4: damaged: 20 of 40 frames can be decoded"):
            reader.frames_at([25])


@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("name", ["fuzz.mp4", "fuzz.avi"])
def test_damage_anywhere_is_read_or_refused(make_video, name, data):
    codec = "libx264" if name.endswith("mp4") else "mpeg4"
    original = _content(make_video, name, codec)
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 20))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(len(damaged) // 2, len(damaged))) :]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            read_all(bytes(damaged))
        except VideoError as error:
            assert "\n" not in str(error)


_contents: dict[str, bytes] = {}


def _content(make_video, name: str, codec: str) -> bytes:
    if name not in _contents:
        _contents[name] = make_video(name, codec, num_frames=20, g="8", bf="2").read_bytes()
    return _contents[name]


def test_wrong_arguments(make_video):
    path = make_video("arguments.mp4", num_frames=2)
    with pytest.raises(ConfigError, match="unknown video reader 'torchcode'; did you mean 'torchcodec'"):
        open_video(path, reader="torchcode")
    with pytest.raises(ConfigError, match="0 decoding threads"):
        open_video(path, num_threads=0)
    with pytest.raises(VideoError, match="no folder, but a frame pattern"):
        open_video(path, frame_pattern="img_{:05d}.jpg")
