import json
import shutil
import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_files import picture

from lsn.errors import VideoError
from lsn.video import VideoWriter, open_video, write_video


def smooth(num_frames=20, width=64, height=48):
    """Frames without fine colours, which yuv420p would blur."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack(
        [np.stack([x * 2 + t, y * 3, 255 - x - y], axis=-1).clip(0, 255).astype(np.uint8) for t in range(num_frames)]
    )


def test_what_is_written_is_read(tmp_path):
    frames = smooth()
    write_video(tmp_path / "new/folder/clip.mp4", frames, fps=12.5, crf=4)
    with open_video(tmp_path / "new/folder/clip.mp4") as reader:
        assert (reader.num_frames, reader.info.codec, reader.info.average_fps) == (20, "h264", 12.5)
        read = reader.frames_at(range(20)).frames_THWC
    difference = read.astype(int) - frames
    assert np.abs(difference).max() <= 8
    # No shift of colour or range but the one or two of 255 that FFmpeg's way from YUV to RGB rounds off.
    assert np.abs(difference.mean(axis=(0, 1, 2))).max() < 2


@pytest.mark.skipif(not shutil.which("ffprobe"), reason="no ffprobe command")
def test_the_file_tells_its_format(tmp_path):
    write_video(tmp_path / "clip.mp4", smooth(), fps=30000 / 1001)
    command = ["ffprobe", "-v", "error", "-show_streams", "-of", "json", tmp_path / "clip.mp4"]
    (stream,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["streams"]
    said = {key: stream[key] for key in ("codec_name", "pix_fmt", "color_range", "color_space", "r_frame_rate")}
    assert said == {
        "codec_name": "h264",
        "pix_fmt": "yuv420p",
        "color_range": "tv",
        "color_space": "bt470bg",
        "r_frame_rate": "30000/1001",
    }


@given(width=st.integers(1, 40), height=st.integers(1, 40))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_odd_sizes_grow_to_even_ones_by_repeating_the_edge(tmp_path, width, height):
    frames = smooth(2, width, height)
    write_video(tmp_path / "odd.mp4", frames, fps=10, crf=0)
    with open_video(tmp_path / "odd.mp4") as reader:
        assert (reader.info.width, reader.info.height) == (width + width % 2, height + height % 2)
        read = reader.frames_at([0, 1]).frames_THWC.astype(int)
    assert np.abs(read[:, :height, :width] - frames).max() <= 12
    assert np.abs(read[:, height:, :width] - frames[:, -1:]).max(initial=0) <= 12
    assert np.abs(read[:, :height, width:] - frames[:, :, -1:]).max(initial=0) <= 12


def test_the_same_frames_give_the_same_bytes(tmp_path):
    frames = np.stack([picture(number) for number in range(40)])
    for name in ("one.mp4", "two.mp4"):
        write_video(tmp_path / name, torch.from_numpy(frames), fps=30)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()


def test_crf_trades_size_for_quality(tmp_path):
    frames = np.stack([picture(number) for number in range(20)])
    for crf in (5, 40):
        write_video(tmp_path / f"{crf}.mp4", frames, fps=30, crf=crf)
    assert (tmp_path / "5.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


@pytest.mark.parametrize("fps", [1, 23.976, Fraction(30000, 1001), 29.97, 240, 0.1])
def test_times_follow_the_rate(tmp_path, fps):
    write_video(tmp_path / "clip.mp4", smooth(7), fps=fps)
    with open_video(tmp_path / "clip.mp4") as reader:
        assert reader.pts_seconds.tolist() == pytest.approx([number / fps for number in range(7)], abs=1e-4)


def test_nothing_appears_before_the_end_or_after_an_error(tmp_path):
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, fps=30, width=64, height=48) as writer:
        for frame in smooth(3):
            writer.write(frame)
        assert not path.exists()
    assert path.exists()
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="stop"), VideoWriter(path, fps=30, width=64, height=48) as writer:
        writer.write(picture(0))
        raise RuntimeError("stop")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf"), 1e-9])
def test_bad_rates_are_refused(tmp_path, fps):
    with pytest.raises(VideoError, match=r"clip.mp4: a rate of .* frames per second"):
        write_video(tmp_path / "clip.mp4", smooth(2), fps=fps)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "frames", "options", "words"),
    [
        ("clip.avi", smooth(2), {}, "end the name in .mp4"),
        ("clip.mp4", smooth(2), {"crf": 52}, "between 0"),
        ("clip.mp4", smooth(2).astype(float), {}, "frame 0 is float64"),
        ("clip.mp4", smooth(2)[..., :1], {}, r"expected uint8 of shape \(48, 64, 3\)"),
        ("clip.mp4", smooth(2)[0], {}, r"got \(48, 64, 3\)"),
        ("clip.mp4", smooth(2)[:0], {}, "no frames were written"),
        ("clip.mp4", smooth(2)[:, :0], {}, "64x0 pixels"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, frames, options, words):
    with pytest.raises(VideoError, match=words):
        write_video(tmp_path / name, frames, fps=30, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VideoError, match="cannot be written"):
        write_video(tmp_path / "file/clip.mp4", smooth(2), fps=30)


def test_the_luma_that_is_stored_is_that_of_the_standard(tmp_path):
    frames = smooth(1)
    write_video(tmp_path / "clip.mp4", frames, fps=30, crf=0)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:48]
    expected = 16 + 219 / 255 * (frames[0] @ [0.299, 0.587, 0.114])  # ITU-R BT.601, limited range
    assert np.abs(luma - expected).max() < 1


def test_plain_pyav_reads_it_too(tmp_path):
    write_video(tmp_path / "clip.mp4", smooth(9), fps=30)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 9
