"""Files that players play although their headers or times are wrong, beside truncated ones, which look alike."""

import random
import re
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import plain_decode

from lsn.errors import VideoError
from lsn.video import open_video


def remuxed(source: Path, out: Path, **changes) -> Path:
    """Copies the packets of a video; `changes` are functions of a packet and the one before it."""
    with av.open(str(source)) as reader, av.open(str(out), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        packets = [packet for packet in reader.demux(video=0) if packet.size]
        for packet in packets:
            packet.stream = stream
            for name, change in changes.items():
                setattr(packet, name, change(packet, packets))
            writer.mux(packet)
    return out


@pytest.mark.parametrize("ending", ["mp4", "mov", "mkv", "flv"])
@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_b_frames_whose_times_are_those_of_decoding(make_video, tmp_path, codec, ending):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    if (codec, ending) == ("libx265", "flv"):
        pytest.skip("this muxer does not know it")
    source = make_video(f"reordered_{codec}.mp4", codec, g="24", bf="3", **options)
    path = remuxed(source, tmp_path / f"flat.{ending}", pts=lambda packet, _: packet.dts)
    expected = [image for _, image in plain_decode(path)]
    with open_video(path) as reader:
        assert reader.num_frames == len(expected) >= 57  # MP4 cuts off what lies before 0
        np.testing.assert_array_equal(reader.frames_at(range(len(expected))).frames_THWC, np.stack(expected))
        np.testing.assert_array_equal(reader.frames_at([40]).frames_THWC[0], expected[40])
        assert (np.diff(reader.pts_seconds) >= 0).all()
        assert reader.info.duration_seconds == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mjpeg"])
@pytest.mark.parametrize("riff_size", [None, 0, 0xFFFFFFFF])
@pytest.mark.parametrize("num_frames", [0, 0x3FFFFFFF, 0x40000000, 0xFFFFFFFF])
def test_an_avi_of_a_streaming_writer_has_no_count(make_video, tmp_path, codec, riff_size, num_frames):
    options = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
    data = bytearray(make_video(f"whole_{codec}.avi", codec, num_frames=20, **options).read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, num_frames)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, num_frames)
    if riff_size is not None:
        struct.pack_into("<I", data, 4, riff_size)
        struct.pack_into("<I", data, data.index(b"movi") - 4, riff_size)
        del data[data.index(b"idx1") :]  # which such a writer could not add either
    path = tmp_path / "streamed.avi"
    path.write_bytes(data)
    for source in (path, bytes(data)):
        with open_video(source) as reader:
            assert len(reader.frames_at(range(20)).frames_THWC) == reader.num_frames == 20


def held(make_video, out: Path) -> Path:
    """Thirty frames, the last of which stays for ten seconds."""
    source = make_video("before_held.mp4", num_frames=30, bf="0")

    def duration(packet, packets):
        is_last = packet.pts == max(other.pts for other in packets)
        return round((10 if is_last else Fraction(1, 30)) / packet.time_base)

    return remuxed(source, out, duration=duration)


@pytest.mark.parametrize("ending", ["flv", "mkv"])
def test_a_last_frame_that_is_held_long(make_video, tmp_path, ending):
    path = held(make_video, tmp_path / f"held.{ending}")
    data = path.read_bytes()
    if ending == "mkv":  # a last block without a duration of its own, as most writers leave it
        short = make_video("short.mkv", num_frames=30, bf="0").read_bytes()
        data = re.sub(rb"00:00:01\.0\d{8}", b"00:00:11.000000000", short)
        assert data != short
        path.write_bytes(data)
    with av.open(str(path)) as container:
        written = container.streams.video[0].metadata.get("DURATION", f"0:0:{container.duration / 1e6}")
        assert float(written.split(":")[-1]) > 10
    for source in (path, data):
        with open_video(source) as reader:
            assert reader.num_frames == 30
            assert len(reader.frames_at(range(30)).frames_THWC) == 30


def test_a_live_matroska_file_may_end_anywhere(make_video, tmp_path):
    whole = make_video("live.mkv", g="12", muxer={"live": "1"})
    with av.open(str(whole)) as container:
        positions = [packet.pos for packet in container.demux(video=0) if packet.size]
    path = tmp_path / "live.mkv"
    path.write_bytes(whole.read_bytes()[: positions[40]])
    with open_video(path) as reader:
        assert 38 <= reader.num_frames <= 40


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("anywhere.mp4", {"muxer": {"movflags": "faststart"}}),
        ("anywhere.mkv", {}),
        ("anywhere.webm", {"codec": "libvpx"}),
        ("anywhere.flv", {}),
        ("anywhere.avi", {"codec": "mpeg4"}),
        ("held.flv", None),
    ],
)
def test_a_file_cut_anywhere_has_all_its_frames_or_is_refused(make_video, tmp_path, name, options):
    path = held(make_video, tmp_path / name) if options is None else make_video(name, g="12", **options)
    data = path.read_bytes()
    with open_video(data) as reader:
        num_frames = reader.num_frames
    rng, refused = random.Random(name), 0
    for _ in range(25):
        try:
            with open_video(data[: rng.randrange(len(data) // 3, len(data))]) as reader:
                assert reader.num_frames == num_frames
        except VideoError:
            refused += 1
    assert refused > 12
