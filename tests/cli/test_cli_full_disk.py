"""A disk that is full: every command says so in one line, keeps what was there, and completes once there is room."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from small_disk import FULL, Disk

from lsn.data import open_clip, read_manifest
from lsn.video import open_video, write_video


@pytest.fixture
def noise(tmp_path) -> Path:
    """A manifest of 24 videos that no codec makes small, 60 kB or so each."""
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(24):
        frames = rng.integers(0, 256, (10, 96, 96, 3), dtype=np.uint8)
        write_video(tmp_path / f"noise/{number}.mp4", frames, fps=10)
        rows.append(f"{number}.mp4,{'ab'[number % 2]}")
    (tmp_path / "noise/all.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "noise/all.csv"


def nothing_is_half_written(disk: Disk) -> bool:
    return not any(".partial" in name for name in disk.holds())


@pytest.mark.slow
def test_a_training_says_so_and_is_resumed_to_the_same_weights(lsn, disk, videos, tmp_path, tiny_run):
    command = ["train", "default", f"data.train={videos.train}", f"data.val={videos.val}", *tiny_run]
    command += [
        "training.epochs=3",
        "training.checkpoint_every=1",
        "model.pretrained=false",
        "training.batch_norm=train",
    ]
    assert lsn(*command, "--out", tmp_path / "whole").code == 0
    checkpoint = (tmp_path / "whole/checkpoint.pt").stat().st_size >> 10
    disk.leave(checkpoint * 3 // 2)

    answer = lsn(*command, "--out", disk.folder / "run")

    assert answer.code == 2 and FULL in answer.err and str(disk.folder) in answer.err
    assert disk.holds()["earlier.txt"] == b"kept"
    disk.resize(checkpoint * 10)
    assert lsn(*command, "--out", disk.folder / "run", "--auto-resume").code == 0
    folders = disk.folder / "run", tmp_path / "whole"
    weights, expected = (load_file(folder / "model.safetensors") for folder in folders)
    assert all((weights[name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("command", ["extract-frames", "shard"])
def test_packing_says_so_and_completes_when_there_is_room(lsn, disk, noise, tmp_path, command):
    full = ["data", command, noise, "--out"]
    options = ["--shard-mb", 1] if command == "shard" else ["--workers", 1]
    assert lsn(*full, tmp_path / "whole", *options).code == 0
    disk.leave(1200 if command == "shard" else 200)

    answer = lsn(*full, disk.folder / "out", *options)

    assert answer.code == 2 and FULL in answer.err + answer.out
    before = disk.holds()
    assert before["earlier.txt"] == b"kept" and nothing_is_half_written(disk)
    disk.resize(20_000)
    assert lsn(*full, disk.folder / "out", *options).code == 0
    assert all(disk.holds()[name] == content for name, content in before.items() if name.endswith((".tar", ".jpg")))
    found, expected = (read_manifest(folder / "all.csv") for folder in (disk.folder / "out", tmp_path / "whole"))
    for one, other in zip(found.clips, expected.clips, strict=True):
        with open_clip(one) as video, open_clip(other) as same:
            everything = range(video.num_frames)
            assert (video.frames_at(everything).frames_THWC == same.frames_at(everything).frames_THWC).all()


@pytest.mark.slow
def test_videos_of_predictions_and_of_streams_say_so_and_leave_the_earlier_one(lsn, disk, streaming, tmp_path):
    rng = np.random.default_rng(0)
    write_video(tmp_path / "long.mp4", rng.integers(0, 256, (90, 240, 320, 3), dtype=np.uint8), fps=15)
    disk.resize(20_000)
    for name in ("seen.mp4", "recorded.mp4"):
        shutil.copy(tmp_path / "long.mp4", disk.folder / name)
    earlier = disk.holds()
    disk.leave(40)

    for command in (
        ["predict", streaming, tmp_path / "long.mp4", "--annotate", disk.folder / "seen.mp4"],
        ["stream", streaming, tmp_path / "long.mp4", "--record", disk.folder / "recorded.mp4"],
    ):
        answer = lsn(*command)
        assert answer.code == 2 and FULL in answer.err, answer
        assert disk.holds() == earlier
    disk.resize(20_000)
    assert lsn(*command).code == 0
    with open_video(disk.folder / "recorded.mp4") as video:
        assert video.num_frames > 0


def test_tables_states_and_reports_say_so_and_leave_the_earlier_ones(lsn, disk, streaming, videos, clip):
    commands = {
        "evaluation": ["evaluate", streaming, videos.val, "--out", disk.folder / "evaluation"],
        "state": ["stream", streaming, clip, "--save-state", disk.folder / "state"],
        "check": ["data", "check", videos.val, "--decode", "--out", disk.folder / "check"],
    }
    disk.resize(20_000)
    for command in commands.values():
        assert lsn(*command).code == 0
    for name, command in commands.items():
        earlier = disk.holds()
        disk.leave(0)
        answer = lsn(*command)
        assert answer.code == 2 and FULL in answer.err, (name, answer)
        assert disk.holds() == earlier, name
        disk.resize(20_000)
        assert lsn(*command).code == 0
