"""Frames of whole manifests as folders of JPEGs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from extraction_helpers import clip_of, extract

from lsn.data import open_clip, read_manifest
from lsn.data.frames.extraction import ExtractionSettings, estimate_extraction, extract_manifests
from lsn.data.loading.workers import map_in_processes
from lsn.errors import ConfigError, DataError
from lsn.video import open_video, write_video
from lsn.video.decoding.frames_reader import numbered_files


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
                a, b = (reader.frames_at(everything).frames_THWC.astype(int) for reader in (expected, found))
                assert abs(a - b).mean() < 4  # what JPEG costs; neighbouring frames differ by 60


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
            torch.from_numpy(frames_THWC).permute(0, 3, 1, 2).float(), size[::-1], mode="bilinear", antialias=True
        )
        seen = found.frames_at(range(5)).frames_THWC
        assert abs(seen - shrunk.permute(0, 2, 3, 1).numpy()).mean() < 3


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


@pytest.mark.slow
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


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("x/same.mp4", "x/same.mov"), r"same\.m\S+ and x/same\.m\S+ would both have their frames in x/same"),
        (("x.mp4", "x/a.mp4"), r"x/a\.mp4 would have its frames inside those of x\.mp4"),
    ],
)
@pytest.mark.parametrize("calls", [1, 2])
def test_no_two_videos_share_a_folder(tmp_path, names, said, calls):
    videos = tmp_path / "videos"
    write_video(videos / "one.mp4", clip_of(1), fps=10)
    for name in names:
        (videos / name).parent.mkdir(exist_ok=True)
        shutil.copy(videos / "one.mp4", videos / name)
    paths = ["one.mp4", *names]
    for call in range(calls):
        mine = paths if calls == 1 else [paths[0], paths[1 + call]]
        (videos / f"{call}.csv").write_text("path,label\n" + "".join(f"{path},y\n" for path in mine))
    for call in range(calls - 1):
        extract_manifests([read_manifest(videos / f"{call}.csv")], tmp_path / "out")

    with pytest.raises(DataError, match=said):
        extract_manifests([read_manifest(videos / f"{calls - 1}.csv")], tmp_path / "out")
    assert (tmp_path / "out/frames/one").exists() == (calls == 2)


def test_a_folder_belongs_to_the_videos_that_it_was_made_from(tmp_path):
    for split, seed in (("train", 1), ("val", 2)):
        write_video(tmp_path / f"{split}/a/01.mp4", clip_of(seed), fps=10)
        (tmp_path / f"{split}/{split}.csv").write_text("path,label\na/01.mp4,y\n")
    train, val = (read_manifest(tmp_path / f"{split}/{split}.csv") for split in ("train", "val"))
    extract_manifests([train], tmp_path / "out")

    with pytest.raises(DataError, match=r"val/a/01\.mp4: is not in .*train/a, whose videos' frames"):
        extract_manifests([val], tmp_path / "out")
    other = tmp_path / "train/more/train.csv"
    other.parent.mkdir()
    other.write_text("path,label\n../a/01.mp4,z\n")
    with pytest.raises(DataError, match=r"train\.csv: is the manifest of .* and would be replaced by that of"):
        extract_manifests([read_manifest(other)], tmp_path / "out")


def test_a_second_call_for_a_part_finds_the_frames_of_the_first(tmp_path):
    for split, seed in (("train", 1), ("val", 2)):
        write_video(tmp_path / f"videos/{split}/01.mp4", clip_of(seed), fps=10)
        (tmp_path / f"videos/{split}.csv").write_text(f"path,label\n{split}/01.mp4,y\n")
    both = [read_manifest(tmp_path / f"videos/{split}.csv") for split in ("train", "val")]
    extract_manifests(both, tmp_path / "out")
    again = extract_manifests(both[:1], tmp_path / "out")
    assert (again.num_found, again.num_extracted) == (1, 0)
    assert read_manifest(tmp_path / "out/val.csv").clips[0].path.endswith("frames/val/01")


def test_a_window_outside_its_video_costs_that_clip_alone(tmp_path):
    write_video(tmp_path / "a.mp4", clip_of(1, num_frames=8), fps=10)
    (tmp_path / "x.csv").write_text("path,label,first_frame,last_frame\na.mp4,y,0,4\na.mp4,y,4,8\na.mp4,y,8,20\n")

    done = extract_manifests([read_manifest(tmp_path / "x.csv")], tmp_path / "out")

    assert done.num_frames == 8
    assert [clip.window[2:] for clip in read_manifest(tmp_path / "out/x.csv").clips] == [(0, 4), (4, 8)]
    ((path, reason),) = done.failures
    assert path.endswith("a.mp4")
    assert re.search(r"x\.csv line 4: .*the window of frames 8 to 20 is outside its 8 frames", reason)


def test_two_promises_about_one_file_stay_two(tmp_path):
    write_video(tmp_path / "a.mp4", clip_of(1, num_frames=8), fps=10)
    manifests = []
    for name, promised in (("three", 3), ("five", 5)):
        (tmp_path / f"{name}.csv").write_text(f"path,label,num_frames\na.mp4,y,{promised}\n")
        manifests.append(read_manifest(tmp_path / f"{name}.csv"))

    extract_manifests(manifests, tmp_path / "out")

    ends = [read_manifest(tmp_path / f"out/{name}.csv").clips[0].last_frame for name in ("three", "five")]
    assert ends == [3, 5]


def test_failures_of_earlier_calls_stay_listed_until_they_are_mended(tmp_path):
    write_video(tmp_path / "good.mp4", clip_of(1), fps=10)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    for name in ("good", "bad"):
        (tmp_path / f"{name}.csv").write_text(f"path,label\n{name}.mp4,y\n")
    failures = tmp_path / "out/failures.csv"
    extract_manifests([read_manifest(tmp_path / "bad.csv")], tmp_path / "out")
    extract_manifests([read_manifest(tmp_path / "good.csv")], tmp_path / "out")
    assert "bad.mp4" in failures.read_text()
    shutil.copy(tmp_path / "good.mp4", tmp_path / "bad.mp4")
    extract_manifests([read_manifest(tmp_path / "bad.csv")], tmp_path / "out")
    assert not failures.exists()


def test_what_a_killed_call_left_is_removed(tmp_path):
    write_video(tmp_path / "videos/a.mp4", clip_of(1), fps=10)
    (tmp_path / "videos/x.csv").write_text("path,label\na.mp4,y\n")
    manifests = [read_manifest(tmp_path / "videos/x.csv")]
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.extraction.partial.json").touch()  # of a call killed before it noted anything
    assert extract_manifests(manifests, tmp_path / "out").num_extracted == 1
    shutil.rmtree(tmp_path / "out/frames/a")
    for leftover in ("frames/.a.partial", "frames/.a.2.partial", "frames/.b.partial"):
        (tmp_path / "out" / leftover).mkdir()
        (tmp_path / "out" / leftover / "img_00009.jpg").touch()
    (tmp_path / "out/.failures.partial.csv").touch()

    done = extract_manifests(manifests, tmp_path / "out")

    assert (done.num_extracted, done.failures) == (1, ())
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*"))
    frames = [f"frames/a/img_{number:05d}.jpg" for number in range(1, 6)]
    assert found == ["extraction.json", "frames", "frames/a", *frames, "x.csv"]


def test_one_file_by_two_names_is_extracted_once_for_both(videos, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/other.csv").write_text("path,label\n../videos/a/one.mp4,z\n")
    manifests = [read_manifest(path) for path in (videos / "train.csv", tmp_path / "lists/other.csv")]

    done = extract_manifests(manifests, tmp_path / "out")

    assert (done.num_extracted, len(read_manifest(tmp_path / "out/train.csv"))) == (3, 4)
    assert read_manifest(tmp_path / "out/other.csv").clips[0].path.endswith("frames/a/one")


def test_no_manifest_is_written_over(videos, tmp_path):
    extract(videos, tmp_path / "out")
    path = tmp_path / "out/more.csv"
    text = f"path,label\n{videos}/a/one.mp4,z\n"
    path.write_text(text)
    (videos / "failures.csv").write_text("path,label\na/one.mp4,z\n")

    with pytest.raises(ConfigError, match=r"more\.csv: would be written over"):
        extract_manifests([read_manifest(path)], tmp_path / "out")
    with pytest.raises(ConfigError, match="two outputs have this name"):
        extract_manifests([read_manifest(videos / "failures.csv")], tmp_path / "out")
    assert path.read_text() == text


def _die(_job: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_an_error_of_the_machine():
    with pytest.raises(DataError, match="a worker process died, most often for want of memory"):
        list(map_in_processes(_die, [1, 2], num_workers=1, jobs_a_turn=1))


def test_interrupted_workers_leave_no_thread():
    before = threading.active_count()
    results = map_in_processes(time.sleep, [0.0, *[0.2] * 20], num_workers=2, jobs_a_turn=1)
    next(results)
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())
    assert threading.active_count() == before


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
        {"pattern": "img_{:5d}.jpg"},
        {"pattern": "{:05x}.jpg"},
        {"pattern": "{:.1f}.jpg"},
        {"pattern": "{0:05d}.jpg"},
        {"pattern": "{:05d}{{.jpg"},
        {"pattern": "{:0999999999d}.jpg"},
        {"pattern": "{:05d}\0.jpg"},
        {"pattern": "{:05d}\ud800.jpg"},
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
    assert json.loads((tmp_path / "out/extraction.json").read_text())["settings"]["short_side"] == 256
