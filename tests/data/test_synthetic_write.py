"""Writing a synthetic set: files, manifests, determinism, and folders that hold something else."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from lsn.data import read_manifest
from lsn.data.synthetic import write_synthetic
from lsn.errors import ConfigError, DataError
from lsn.video import open_video

SMALL = {"num_train": 20, "num_val": 10, "size": 32, "num_frames": 8, "seed": 3}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def frames_of(path):
    with open_video(path) as reader:
        return reader.frames_at(range(reader.num_frames)).frames_THWC


@pytest.fixture(scope="module")
def motion_set(tmp_path_factory):
    return write_synthetic(tmp_path_factory.mktemp("motion") / "set", kind="motion", fps=10, **SMALL)


def test_manifests_list_real_videos_of_every_class(motion_set):
    for path, per_class in ((motion_set.train, 2), (motion_set.val, 1)):
        manifest = read_manifest(path)
        assert Counter(clip.label for clip in manifest.clips) == dict.fromkeys(motion_set.labels, per_class)
        with open_video(manifest.clips[0].path) as reader:
            assert (reader.info.width, reader.info.height, reader.num_frames) == (32, 32, 8)
            assert reader.info.average_fps == pytest.approx(10)
            assert reader.info.codec == "h264"


def test_coding_keeps_reversed_clips_exact_reversals(motion_set):
    """No artefact of the codec may tell which end of a clip was written first."""
    videos = {}
    for clip in read_manifest(motion_set.train).clips:
        videos.setdefault(clip.path.rsplit("/", 1)[-1], []).append(frames_of(clip.path))
    assert len(videos) == 10
    for one, other in videos.values():
        np.testing.assert_array_equal(one, other[::-1])


def test_splits_share_no_rendering(motion_set):
    train, val = (
        {frames_of(c.path).tobytes() for c in read_manifest(p).clips} for p in (motion_set.train, motion_set.val)
    )
    assert len(train) == 20 and len(val) == 10 and not train & val


def test_pixels_depend_on_the_seed_and_not_on_workers(tmp_path, motion_set):
    write_synthetic(tmp_path / "workers", kind="motion", fps=10, num_workers=2, **SMALL)
    assert contents(tmp_path / "workers") == contents(motion_set.train.parent)
    other = write_synthetic(tmp_path / "other", kind="motion", fps=10, **(SMALL | {"seed": 4}))
    first, second = (frames_of(read_manifest(data.train).clips[0].path) for data in (motion_set, other))
    assert first.shape == second.shape and not np.array_equal(first, second)


@pytest.mark.slow
def test_no_worker_outlives_a_main_process_that_is_killed(tmp_path):
    command = ["data", "synthesize", "set", "--num-train", "20000", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lsn", *command], cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while not list(tmp_path.rglob("*.mp4")) and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        process.communicate(timeout=60)  # ends with the last process that can write to the pipe
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def test_gestures_are_wider_than_high(tmp_path):
    data = write_synthetic(tmp_path / "set", kind="gestures", **SMALL)
    frames = [frames_of(clip.path) for clip in read_manifest(data.val).clips]
    assert {clip.shape for clip in frames} == {(8, 32, 42, 3)}
    assert len({clip.tobytes() for clip in frames}) == 10


def test_progress_counts_videos(tmp_path):
    seen = []
    write_synthetic(tmp_path / "set", kind="motion", progress=lambda *counts: seen.append(counts), **SMALL)
    assert seen == [(done, 30) for done in range(2, 31, 2)]


def test_the_same_set_is_not_written_again(tmp_path):
    first = write_synthetic(tmp_path / "set", kind="motion", **SMALL)
    before = first.train.stat().st_mtime_ns
    again = write_synthetic(tmp_path / "set", kind="motion", progress=lambda *_: pytest.fail("wrote again"), **SMALL)
    assert again == first and again.train.stat().st_mtime_ns == before


def test_a_folder_with_another_set_is_refused(tmp_path):
    data = write_synthetic(tmp_path / "set", kind="motion", **SMALL)
    before = contents(data.train.parent)
    with pytest.raises(DataError, match=r"set: holds .* seed 3 \(asked: 5\); delete it or choose"):
        write_synthetic(tmp_path / "set", kind="motion", **(SMALL | {"seed": 5}))
    assert contents(data.train.parent) == before


@pytest.mark.parametrize("record", [None, "[]", "{", '"text"'])
def test_a_folder_with_something_else_is_refused(tmp_path, record):
    (tmp_path / "thesis.txt").write_text("years of work")
    if record is not None:
        (tmp_path / "synthetic.json").write_text(record)
    with pytest.raises(DataError, match="no synthetic data set; choose a new or an empty folder"):
        write_synthetic(tmp_path, kind="motion", **SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "set").write_text("")
    with pytest.raises(DataError, match="no synthetic data set"):
        write_synthetic(tmp_path / "set", kind="motion", **SMALL)


def test_an_interrupted_call_leaves_nothing_and_can_be_repeated(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    folder = tmp_path / "set"
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(folder, kind="motion", progress=interrupt, **SMALL)
    assert list(tmp_path.iterdir()) == []

    leftover = tmp_path / ".set.partial" / "train"  # of a call that was killed
    leftover.mkdir(parents=True)
    (leftover / "half.mp4").write_bytes(b"half")
    folder.mkdir()
    write_synthetic(folder, kind="motion", **SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    assert not list(folder.rglob("half.mp4"))
    assert json.loads((folder / "synthetic.json").read_text())["seed"] == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "motions"}, "did you mean 'motion'"),
        ({"num_train": 0}, "num_train is 0; it must be a multiple of the 10 classes"),
        ({"num_val": 15}, "num_val is 15; it must be a multiple of the 10 classes"),
        ({"size": 33}, "size is 33"),
        ({"size": 16}, "size is 16"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"kind": "long", "num_frames": 43}, "num_frames is 43; it must be at least 44"),
        ({"fps": 0}, "fps is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"num_workers": -1}, "the number of workers is -1"),
    ],
)
def test_bad_parameters(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        write_synthetic(tmp_path / "set", **({"kind": "motion"} | SMALL | changes))
    assert list(tmp_path.iterdir()) == []
