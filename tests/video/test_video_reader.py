"""The PyAV reader against plain sequential decoding, over the kinds of files that people have."""

import logging
import random
import shutil
import struct
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_files import CLIPS, KINDS, TURNS, needs_clips, picture, plain_decode, turned

from lsn.errors import VideoError
from lsn.video import open_video
from lsn.video.decoding.decoder import Decoder

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg command")


@pytest.fixture(scope="module", params=KINDS)
def file(request, make_video):
    return make_video(request.param, **KINDS[request.param])


@pytest.fixture(scope="module")
def gop_file(make_video):
    return make_video("shared_gop.mp4", num_frames=120, g="12", bf="2")


def assert_same_frames(path: Path, seed: int = 0) -> None:
    """In order and in any order, the reader gives what decoding from the start gives."""
    expected = np.stack([image for _, image in plain_decode(path)])
    rng = random.Random(seed)
    with open_video(path) as reader:
        assert reader.num_frames == len(expected)
        assert (reader.info.height, reader.info.width) == expected.shape[1:3]
        for _ in range(8):
            indices = [rng.randrange(len(expected)) for _ in range(rng.choice([1, 2, 7, 16]))]
            batch = reader.frames_at(indices)
            assert batch.indices == tuple(indices)
            assert np.array_equal(batch.frames_THWC, expected[indices]), indices
            assert np.array_equal(batch.pts_seconds, reader.pts_seconds[indices])
        in_order = list(reader)
        assert np.array_equal([frame for _, frame in in_order], expected)
        assert [pts for pts, _ in in_order] == reader.pts_seconds.tolist()


def test_frames_are_those_of_sequential_decoding(file):
    assert_same_frames(file)


def test_bytes_give_what_the_file_gives(file):
    with open_video(file) as from_file, open_video(file.read_bytes()) as from_bytes:
        every_third = range(0, from_file.num_frames, 3)
        assert np.array_equal(
            from_file.frames_at(every_third).frames_THWC, from_bytes.frames_at(every_third).frames_THWC
        )
        assert "in memory" in from_bytes.info.name


def test_timestamps_are_those_of_the_file(file):
    with av.open(str(file)) as container:
        time_base = container.streams.video[0].time_base
        times = [frame.pts for frame in container.decode(video=0)]
    with open_video(file) as reader:
        seconds = reader.pts_seconds
    assert seconds.dtype == np.float64
    if None in times or sorted(times) != times:  # AVI and bare streams say nothing: the frame rate stands in
        rate = 25 if file.suffix == ".h264" else 30
        assert np.allclose(np.diff(seconds), 1 / rate, atol=1e-12)
    else:
        assert seconds.tolist() == [float(pts * time_base) for pts in times]


def test_info_says_what_was_written(make_video):
    with open_video(make_video("info.mp4", rate=24, num_frames=36)) as reader:
        info = reader.info
        assert (info.num_frames, info.width, info.height, info.codec) == (36, 64, 48, "h264")
        assert info.duration_seconds == pytest.approx(1.5)
        assert info.average_fps == pytest.approx(24)
        assert info.rotation_degrees == 0
        assert info.name.endswith("info.mp4")


def test_variable_frame_rate_keeps_its_times(make_video):
    times = sorted(random.Random(0).sample(range(400), 30))
    path = make_video("variable.mp4", times=[t - times[0] for t in times], num_frames=30)
    with open_video(path) as reader:
        assert reader.pts_seconds.tolist() == pytest.approx([(t - times[0]) / 30 for t in times], abs=1e-9)
        assert reader.info.average_fps < 30
    assert_same_frames(path)


@given(indices=st.lists(st.integers(0, 119), min_size=1, max_size=20))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_duplicates(gop_file, indices):
    with open_video(gop_file) as reader:
        frames_THWC = reader.frames_at(indices).frames_THWC
    for index, frame in zip(indices, frames_THWC, strict=True):
        # The number is in the bars of the picture: an oracle that no decoder is part of.
        assert np.abs(frame[:12].astype(int) - picture(index)[:12]).mean() < 20
        bars = frame[4, 4::8].mean(axis=-1) > 127
        assert sum(int(bar) << bit for bit, bar in enumerate(bars)) == index


@pytest.fixture
def work(monkeypatch):
    """Counts the frames that come out of the decoder, and its seeks."""
    counts = Counter()

    def counted(name):
        original = getattr(Decoder, name)

        def count(self, *args):
            counts[name] += 1
            return original(self, *args)

        monkeypatch.setattr(Decoder, name, count)

    for name in ("next_frame", "seek", "rewind"):
        counted(name)
    return counts


def test_a_late_frame_costs_its_group_of_pictures_and_no_more(gop_file, work):
    with open_video(gop_file) as reader:
        work.clear()
        reader.frames_at([115])
        assert work["seek"] == 1
        assert work["next_frame"] <= 12


def test_frames_a_little_ahead_are_decoded_on(gop_file, work):
    with open_video(gop_file) as reader:
        reader.frames_at([50])
        work.clear()
        reader.frames_at([53])
        reader.frames_at([53])
        reader.frames_at([54, 56])
        assert work["seek"] == work["rewind"] == 0
        assert work["next_frame"] <= 6


def test_frames_that_none_refers_to_are_not_decoded(make_video, work):
    path = make_video("skips.mp4", num_frames=120, g="250", bf="3", **{"x264-params": "b-pyramid=none:b-adapt=0"})
    with open_video(path) as reader:
        work.clear()
        reader.frames_at(range(8, 112, 16))
        assert work["next_frame"] < 60  # three of four are B-frames, of which few are asked for
        assert work["seek"] == 0
    assert_same_frames(path)


def test_iteration_and_random_access_do_not_disturb_each_other(gop_file):
    with open_video(gop_file) as reader, open_video(gop_file) as other:
        rng = random.Random(4)
        for number, ((_, frame), (_, expected)) in enumerate(zip(reader, other, strict=True)):
            assert np.array_equal(frame, expected)
            if number % 9 == 0:
                reader.frames_at([rng.randrange(120), rng.randrange(120)])


def test_decoding_threads_change_nothing(gop_file):
    with open_video(gop_file) as one, open_video(gop_file, num_threads=3) as three:
        indices = [100, 3, 4, 60, 119]
        assert np.array_equal(one.frames_at(indices).frames_THWC, three.frames_at(indices).frames_THWC)


def test_wrong_keyframe_flags_are_seen_through(make_video, tmp_path, caplog):
    """Without its table of keyframes an MP4 claims that decoding can start anywhere."""
    data = make_video("flags.mp4", "mpeg4", g="30", bf="2").read_bytes()
    assert data.count(b"stss") == 1
    path = tmp_path / "liar.mp4"
    path.write_bytes(data.replace(b"stss", b"free"))
    with open_video(path) as reader, caplog.at_level(logging.DEBUG, "lsn.video"):
        reader.frames_at([40])
    assert "from the start" in caplog.text
    assert_same_frames(path)


def test_a_file_that_cannot_be_sought_is_decoded_from_the_start(gop_file, monkeypatch):
    monkeypatch.setattr(Decoder, "seek", lambda self, key, index: False)
    assert_same_frames(gop_file)


def test_a_seek_that_lands_elsewhere_is_noticed(gop_file, monkeypatch):
    right = Decoder.seek

    def wrong(self, key, index):
        return right(self, index.keys[(index.keys.index(key) + 3) % len(index.keys)], index)

    monkeypatch.setattr(Decoder, "seek", wrong)
    assert_same_frames(gop_file)


@needs_ffmpeg
@pytest.mark.parametrize("source", ["gop.mp4", "open_gop.mp4", "hevc.mp4"])
def test_edit_lists_and_negative_times(make_video, tmp_path, source):
    """Cut between keyframes without re-encoding: the file holds frames that are decoded and never shown."""
    path = tmp_path / "cut.mp4"
    command = ["ffmpeg", "-v", "error", "-ss", "0.5", "-i", make_video(source, **KINDS[source]), "-c", "copy", path]
    subprocess.run(command, check=True)
    with av.open(str(path)) as container:
        assert any(packet.is_discard for packet in container.demux(video=0))
    assert_same_frames(path)


@pytest.mark.parametrize("matrix", TURNS)
def test_rotation_and_mirroring_are_applied(make_video, tmp_path, matrix):
    stored = make_video("upright.mp4", num_frames=3)
    path = turned(stored, matrix, tmp_path / "turned.mp4")
    turn, degrees = TURNS[matrix]
    expected = np.stack([turn(image) for _, image in plain_decode(stored)])
    with open_video(path) as reader:
        frames = reader.frames_at(range(3)).frames_THWC
        assert (reader.info.height, reader.info.width) == expected.shape[1:3]
        assert reader.info.rotation_degrees == degrees
    np.testing.assert_array_equal(frames, expected)
    if shutil.which("ffmpeg"):
        np.testing.assert_array_equal(frames.reshape(-1), ffmpeg_rgb(path))


def test_a_turn_that_is_no_quarter_is_reported_and_left_out(make_video, tmp_path, caplog):
    path = make_video("upright.mp4", num_frames=3)
    data = bytearray(path.read_bytes())
    cos, sin = round(0.8 * 65536), round(0.6 * 65536)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 44, cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30)
    skewed = tmp_path / "skewed.mp4"
    skewed.write_bytes(data)
    with open_video(skewed) as reader:
        assert (reader.info.width, reader.info.height) == (64, 48)
    assert "no quarter turn" in caplog.text and "skewed.mp4" in caplog.text


def test_broken_metadata_is_no_obstacle(make_video, tmp_path):
    data = make_video("titled.mp4", metadata={"title": "a plain title"}).read_bytes()
    path = tmp_path / "latin1.mp4"
    path.write_bytes(data.replace(b"a plain title", b"\xe9t\xe9 \xff\xfe title"))
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path))
    with open_video(path) as reader:
        assert reader.frames_at(range(60)).frames_THWC.shape == (60, 48, 64, 3)


@pytest.mark.parametrize("name", ["concat:a|b.mp4", "http:x.mp4", "été 漢.mp4", "100%d.mp4"])
def test_any_file_name_is_a_file_name(make_video, tmp_path, name):
    path = tmp_path / name
    shutil.copy(make_video("named.mp4", num_frames=2), path)
    with open_video(str(path)) as reader:
        assert reader.num_frames == 2


def test_files_opened_by_relative_path(make_video, monkeypatch):
    path = make_video("named.mp4", num_frames=2)
    monkeypatch.chdir(path.parent)
    with open_video("named.mp4") as reader:
        assert reader.num_frames == 2


def ffmpeg_rgb(path: Path) -> np.ndarray:
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        path,
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    return np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.uint8)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["gop.mp4", "ten_bits.mp4", "odd.webm", "motion_jpeg.avi", "hevc.mp4", "xvid_b.avi"])
def test_pixels_are_those_of_the_ffmpeg_command(make_video, name):
    path = make_video(name, **KINDS.get(name, {"pix_fmt": "yuv420p10le"}))
    with open_video(path) as reader:
        ours = reader.frames_at(range(reader.num_frames)).frames_THWC.reshape(-1)
    theirs = ffmpeg_rgb(path)
    assert ours.shape == theirs.shape
    # MPEG-4 Part 2 and JPEG do not define pixels to the bit, so that versions of FFmpeg differ.
    tolerance = 2 if path.suffix == ".avi" else 0
    assert np.abs(ours.astype(np.int16) - theirs).max() <= tolerance


@needs_clips
@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.name)
def test_real_clips(path):
    times = []
    with av.open(str(path), metadata_errors="ignore") as container, open_video(path) as reader:
        rng = random.Random(path.name)
        wanted = sorted(rng.sample(range(reader.num_frames), 8))
        batch = reader.frames_at(wanted)
        row = 0
        for number, frame in enumerate(container.decode(video=0)):
            times.append(frame.pts)
            if row < len(wanted) and number == wanted[row]:
                np.testing.assert_array_equal(batch.frames_THWC[row], frame.to_ndarray(format="rgb24"))
                row += 1
        assert reader.num_frames == len(times)
        assert all(later > earlier for earlier, later in pairwise(reader.pts_seconds.tolist()))


@needs_clips
def test_real_clips_are_read_without_a_word(caplog, capfd, recwarn):
    for path in CLIPS:
        with open_video(path) as reader:
            reader.frames_at([reader.num_frames - 1, 0])
    output = capfd.readouterr()  # of the process, so that FFmpeg's own words count
    assert (output.out, output.err) == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert list(recwarn) == []


@pytest.mark.parametrize("indices", [[60], [-1], [0, 5, 99]])
def test_frames_outside_the_video_are_refused(make_video, indices):
    with open_video(make_video("gop.mp4", **KINDS["gop.mp4"])) as reader:
        with pytest.raises(VideoError, match=r"gop.mp4: no frame -?\d+; it has frames 0 to 59"):
            reader.frames_at(indices)
        with pytest.raises(VideoError, match="no frames asked for"):
            reader.frames_at([])
