"""Clips as windows of files: which frames they hold, and which windows are refused."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from lsn.data import Clip, Manifest, check_manifest, describe, open_clip, probe
from lsn.data.clips.decoding import damaged_clips
from lsn.errors import VideoError
from lsn.video import write_video

FPS, NUM_FRAMES = 10, 30


def gray_ramp(num_frames: int, size: int = 32) -> np.ndarray:
    """Frames that tell their number: frame i is gray of value 8 i."""
    values = (8 * np.arange(num_frames)).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (num_frames, size, size, 3)).copy()


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    path = tmp_path_factory.mktemp("ramp") / "ramp.mp4"
    write_video(path, gray_ramp(NUM_FRAMES), fps=Fraction(FPS))
    return path


def numbers_of(clip: Clip) -> list[int]:
    with open_clip(clip) as video:
        return [round(frame_HWC.mean() / 8) for _, frame_HWC in video]


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({}, range(30)),
        ({"first_frame": 4, "last_frame": 9}, range(4, 9)),
        ({"first_frame": 25}, range(25, 30)),
        ({"last_frame": 30}, range(30)),
        ({"num_frames": 12}, range(12)),
        ({"num_frames": 12, "first_frame": 8}, range(8, 12)),
        ({"num_frames": 12, "start_seconds": 1.0}, range(10, 12)),
        ({"start_seconds": 1.0, "end_seconds": 2.0}, range(10, 20)),
        ({"start_seconds": 0.9501, "end_seconds": 1.05}, range(10, 11)),
        ({"start_seconds": 0.2004}, range(2, 30)),
        ({"end_seconds": 0.5}, range(5)),
        ({"end_seconds": 3.4}, range(30)),
    ],
)
def test_window(ramp, window, expected):
    assert numbers_of(Clip(str(ramp), "a", **window)) == list(expected)


def test_neighbouring_windows_share_no_frame_and_lose_none(ramp):
    cuts = [0.0, 0.33, 0.7, 1.234, 2.0, 3.0]
    numbers = [
        number
        for start, end in itertools.pairwise(cuts)
        for number in numbers_of(Clip(str(ramp), "a", start_seconds=start, end_seconds=end))
    ]
    assert numbers == list(range(NUM_FRAMES))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ({"last_frame": 31}, "the window of frames 0 to 31 is outside its 30 frames"),
        ({"first_frame": 30}, "the window of frames 30 to 30 is outside its 30 frames"),
        ({"num_frames": 31}, "has 30 frames, but the manifest promises 31"),
        ({"start_seconds": 3.0}, "is outside its 3.00 s"),
        ({"end_seconds": 3.6}, "the window 0 to 3.6 s is outside its 3.00 s"),
        ({"start_seconds": 1.01, "end_seconds": 1.05}, "no frame is shown in the window 1.01 to 1.05 s"),
        ({"start_seconds": 2.0, "num_frames": 10}, "no frame is shown in the window"),
    ],
)
def test_window_outside(ramp, window, expected):
    with pytest.raises(VideoError) as caught:
        open_clip(Clip(str(ramp), "a", **window))
    assert str(caught.value).startswith(f"{ramp}: ")
    assert expected in str(caught.value)


class TestProbe:
    @pytest.fixture
    def manifest(self, ramp, tmp_path):
        write_video(tmp_path / "other.mp4", gray_ramp(8, size=48), fps=Fraction(20))
        (tmp_path / "text.mp4").write_text("not a video")
        half = ramp.read_bytes()
        (tmp_path / "half.mp4").write_bytes(half[: len(half) // 2])
        return Manifest(
            "m.csv",
            ("a", "b", "c"),
            (
                Clip(str(ramp), "a", group="s1", line=2),
                Clip(str(tmp_path / "other.mp4"), "b", group="s1", line=3),
                Clip(str(tmp_path / "text.mp4"), "b", line=4),
                Clip(str(ramp), "a", start_seconds=1.0, end_seconds=2.0, group="s2", line=5),
                Clip(str(tmp_path / "half.mp4"), "a", line=6),
            ),
        )

    def test_description(self, manifest):
        calls = []
        probes = probe(manifest, progress=lambda done, total: calls.append((done, total)))
        assert calls == [(i, 5) for i in range(1, 6)]
        assert [found.clip for found in probes] == list(manifest.clips)
        text = describe(manifest, probes)
        assert text.clips_of_class == {"a": 3, "b": 2, "c": 0}
        assert (text.num_clips, text.num_groups) == (5, 2)
        assert [place for place, _ in text.unreadable] == ["m.csv line 4", "m.csv line 6"]
        opened = text.opened
        assert (opened.num_frames.minimum, opened.num_frames.median, opened.num_frames.maximum) == (8, 10, 30)
        assert opened.duration_seconds.maximum == pytest.approx(3.0)
        assert (opened.fps.minimum, opened.fps.maximum) == (pytest.approx(10), pytest.approx(20))
        assert opened.clips_of_size == {"32x32": 2, "48x48": 1}
        assert opened.clips_of_codec == {"h264": 3}

    def test_without_opening_files(self, manifest):
        text = describe(manifest)
        assert text.opened is None
        assert text.unreadable == ()

    def test_file_damaged_in_the_middle_is_found_by_decoding_only(self, ramp, tmp_path):
        rng = np.random.default_rng(0)
        path = tmp_path / "noise.mp4"
        write_video(path, rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8), fps=Fraction(FPS))
        data = bytearray(path.read_bytes())
        start = data.index(b"mdat") + 4 if data.index(b"mdat") < len(data) // 2 else len(data) // 4
        for place in range(start + 2000, min(start + 60_000, len(data) - 5000)):
            data[place] = 0
        path.write_bytes(bytes(data))
        manifest = Manifest("m.csv", ("a",), (Clip(str(path), "a", line=2),))
        assert check_manifest(manifest) == []
        assert [found.clip.line for found in damaged_clips(manifest)] == [2]
