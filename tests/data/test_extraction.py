"""Frames of whole manifests as folders of JPEGs."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from lsn.data import open_clip, read_manifest
from lsn.data.extraction import ExtractionSettings, estimate_extraction, extract_manifests
from lsn.errors import ConfigError, DataError
from lsn.video import open_video, write_video
from lsn.video.frames_reader import numbered_files


def clip_of(seed, num_frames=5, height=36, width=48):
    """Smooth pictures that change from frame to frame, so that JPEG keeps them and no two are alike."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(num_frames, 3, 3, 4, generator=generator)
    large = torch.nn.functional.interpolate(small, (height, width), mode="bilinear", align_corners=True)
    return (255 * large.permute(0, 2, 3, 1)).byte()


@pytest.fixture
def videos(tmp_path):
    """train.csv with three files, one of them in two windows, and val.csv with one that shares its name."""
    for seed, name in enumerate(("a/one.mp4", "a/two.mp4", "b/one.mp4", "b/three.mp4")):
        write_video(tmp_path / "videos" / name, clip_of(seed, num_frames=5 + seed), fps=10)
    (tmp_path / "videos/train.csv").write_text(
        "path,label,start_seconds,end_seconds,scene\n"
        "a/one.mp4,x,,,kitchen\na/two.mp4,x,0,0.3,hall\na/two.mp4,y,0.3,,hall\nb/one.mp4,y,,,\n"
    )
    (tmp_path / "videos/val.csv").write_text("path,label\nb/three.mp4,x\n")
    return tmp_path / "videos"


def extract(videos, out, **kwargs):
    manifests = [read_manifest(videos / f"{split}.csv") for split in ("train", "val")]
    return extract_manifests(manifests, out, settings=ExtractionSettings(**kwargs))


def test_the_clips_of_the_frames_are_those_of_the_videos(videos, tmp_path):
    done = extract(videos, tmp_path / "out", short_side=64, quality=95)

    assert (done.num_extracted, done.num_found, done.num_frames, done.failures) == (4, 0, 5 + 6 + 7 + 8, ())
    assert done.manifests == (tmp_path / "out/train.csv", tmp_path / "out/val.csv")
    for split in ("train", "val"):
        of_videos, of_frames = read_manifest(videos / f"{split}.csv"), read_manifest(tmp_path / f"out/{split}.csv")
        assert of_frames.labels == of_videos.labels
        for clip, extracted in zip(of_videos.clips, of_frames.clips, strict=True):
            with open_clip(clip) as expected, open_clip(extracted) as found:
                assert (extracted.label, found.num_frames) == (clip.label, expected.num_frames)
                everything = range(expected.num_frames)
                a, b = (reader.frames_at(everything).frames_THWC.float() for reader in (expected, found))
                assert (a - b).abs().mean() < 4  # what JPEG costs; neighbouring frames differ by 60


def test_manifests_in_other_folders_than_their_videos(videos, tmp_path):
    for split, name in (("train", "a/one.mp4"), ("val", "b/three.mp4")):
        (tmp_path / "lists" / split).mkdir(parents=True)
        (tmp_path / f"lists/{split}/{split}.csv").write_text(f"path,label\n../../videos/{name},x\n")
    manifests = [read_manifest(tmp_path / f"lists/{split}/{split}.csv") for split in ("train", "val")]

    extract_manifests(manifests, tmp_path / "out")

    found = sorted(
        path.relative_to(tmp_path / "out/frames").as_posix() for path in (tmp_path / "out").rglob("*_00001*")
    )
    assert found == ["a/one/img_00001.jpg", "b/three/img_00001.jpg"]


def test_a_group_column_is_kept(videos, tmp_path):
    extract_manifests([read_manifest(videos / "train.csv", group_column="scene")], tmp_path / "out")

    groups = [clip.group for clip in read_manifest(tmp_path / "out/train.csv", group_column="group").clips]
    assert groups == ["kitchen", "hall", "hall", ""]


@pytest.mark.parametrize(("height", "width", "size"), [(36, 48, (24, 18)), (48, 36, (18, 24)), (18, 24, (24, 18))])
def test_larger_frames_are_shrunk_to_the_short_side_and_smaller_ones_stay(tmp_path, height, width, size):
    frames_THWC = clip_of(1, height=height, width=width)
    write_video(tmp_path / "videos/x.mp4", frames_THWC, fps=10, crf=0)
    (tmp_path / "videos/train.csv").write_text("path,label\nx.mp4,x\n")

    extract_manifests(
        [read_manifest(tmp_path / "videos/train.csv")], tmp_path / "out", settings=ExtractionSettings(short_side=18)
    )

    with open_video(tmp_path / "out/frames/x") as found:
        assert (found.info.width, found.info.height) == size
        shrunk = torch.nn.functional.interpolate(
            frames_THWC.permute(0, 3, 1, 2).float(), (size[1], size[0]), mode="bilinear", antialias=True
        )
        seen = found.frames_at(range(5)).frames_THWC.permute(0, 3, 1, 2).float()
        assert (seen - shrunk).abs().mean() < 3


def test_names_and_numbers_follow_the_pattern(videos, tmp_path):
    extract(videos, tmp_path / "out", pattern="{:06d}.jpg")

    names = [path.name for path in numbered_files(tmp_path / "out/frames/a/one", "{:06d}.jpg")]
    assert names == [f"{number:06d}.jpg" for number in range(1, 6)]


def test_the_same_call_again_keeps_what_is_whole_and_mends_the_rest(videos, tmp_path):
    extract(videos, tmp_path / "out")
    kept, torn = tmp_path / "out/frames/a/one", tmp_path / "out/frames/b/one"
    before = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    (torn / "img_00003.jpg").unlink()

    done = extract(videos, tmp_path / "out")

    assert (done.num_extracted, done.num_found) == (1, 3)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == before
    assert len(numbered_files(torn, None)) == 7


def test_an_extraction_that_was_killed_is_finished_by_the_next(tmp_path):
    for number in range(60):
        write_video(tmp_path / f"videos/x/{number:02d}.mp4", clip_of(number, num_frames=30), fps=10)
    command = [sys.executable, "-m", "lsn", "data", "extract-frames", str(tmp_path / "videos")]
    command += ["--out", str(tmp_path / "out"), "--workers", "1"]
    frames = tmp_path / "out/frames"

    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not (frames.is_dir() and any(frames.glob("[!.]*"))):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    begun = len(list(frames.glob("[!.]*")))
    done = extract_manifests([read_manifest(tmp_path / "videos")], tmp_path / "out")

    assert 0 < begun <= 60
    assert done.num_found >= begun
    assert done.num_extracted + done.num_found == 60
    assert all(len(list((frames / f"{number:02d}").iterdir())) == 30 for number in range(60))


def test_videos_that_cannot_be_read_are_listed_and_left_out(videos, tmp_path):
    (videos / "b/one.mp4").write_bytes(b"no video")

    done = extract(videos, tmp_path / "out")

    ((path, reason),) = done.failures
    assert path.endswith("b/one.mp4")
    assert "not a video file" in reason
    assert "b/one.mp4" in (tmp_path / "out/failures.csv").read_text()
    assert len(read_manifest(tmp_path / "out/train.csv").clips) == 3

    write_video(videos / "b/one.mp4", clip_of(2, num_frames=7), fps=10)
    assert extract(videos, tmp_path / "out").failures == ()
    assert not (tmp_path / "out/failures.csv").exists()
    assert len(read_manifest(tmp_path / "out/train.csv").clips) == 4


def test_files_that_differ_in_their_ending_get_folders_of_their_own(tmp_path):
    write_video(tmp_path / "videos/x/same.mp4", clip_of(1), fps=10)
    write_video(tmp_path / "videos/x/same2.mp4", clip_of(2, num_frames=6), fps=10)
    (tmp_path / "videos/x/same2.mp4").rename(tmp_path / "videos/x/same.mov")

    extract_manifests([read_manifest(tmp_path / "videos")], tmp_path / "out")

    assert sorted(path.name for path in (tmp_path / "out/frames").iterdir()) == ["same", "same.mp4"]


def test_other_settings_other_folders_and_frames_are_refused(videos, tmp_path):
    extract(videos, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/note.txt").write_text("mine")

    with pytest.raises(DataError, match=r"holds frames with .*'quality': 95.* asked: .*'quality': 80"):
        extract(videos, tmp_path / "out", quality=80)
    with pytest.raises(DataError, match="holds no extracted frames"):
        extract(videos, tmp_path / "mine")
    with pytest.raises(DataError, match="is a folder of frames already"):
        extract_manifests([read_manifest(tmp_path / "out/train.csv")], tmp_path / "again")
    with pytest.raises(DataError, match="manifests of the same name"):
        extract_manifests([read_manifest(videos / "val.csv")] * 2, tmp_path / "again")


@pytest.mark.parametrize(
    "settings",
    [
        {"short_side": 0},
        {"quality": 101},
        {"pattern": "img.jpg"},
        {"pattern": "img_{:05d}.png"},
        {"pattern": "a/{:05d}.jpg"},
        {"pattern": "{x}.jpg"},
        {"pattern": "{:05d}_{:05d}.jpg"},
    ],
)
def test_settings_out_of_range_are_refused(videos, tmp_path, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        extract(videos, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_the_estimate_is_of_the_files_that_would_be_written(videos, tmp_path):
    estimate = estimate_extraction(read_manifest(videos / "val.csv"))

    extract(videos, tmp_path / "out")
    written = sum(path.stat().st_size for path in Path(tmp_path / "out/frames/b/three").iterdir())
    assert estimate.bytes_per_video == written
    assert json.loads((tmp_path / "out/extraction.json").read_text())["short_side"] == 256
