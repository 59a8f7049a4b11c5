"""Clips of two splits that show the same."""

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_recognizer import noisy_frames

from lsn.data import Clip, Manifest
from lsn.data.clips.near_duplicates import (
    MAX_BITS,
    difference_hash,
    near_duplicate_problems,
    near_duplicates,
    same_pictures,
)
from lsn.video import write_video


def manifest(name: str, *paths) -> Manifest:
    return Manifest(name, ("a",), tuple(Clip(str(path), "a") for path in paths))


def smooth_frames(seed: int) -> np.ndarray:
    """uint8 THWC of hills and valleys, as photographs have them."""
    coarse = noisy_frames(seed, num_frames=12, height=4, width=4).numpy()
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((128, 96), Image.Resampling.BICUBIC)) for frame in coarse]
    )


@pytest.fixture
def clips(tmp_path):
    for seed in range(6):
        write_video(tmp_path / f"{seed}.mp4", smooth_frames(seed), fps=10)
    return [tmp_path / f"{seed}.mp4" for seed in range(6)]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
def test_a_clip_that_was_scaled_and_compressed_again_is_found(clips, tmp_path):
    again = tmp_path / "again.mp4"
    command = ["ffmpeg", "-v", "error", "-i", clips[2], "-vf", "scale=96:72", "-crf", "26", again]
    subprocess.run(command, check=True)
    val = manifest("val.csv", *clips[4:], again)
    found = near_duplicates(manifest("train.csv", *clips[:4]), val)
    assert [(each.clip.path, each.twin.path) for each in found] == [(str(again), str(clips[2]))]
    problems = near_duplicate_problems(found, val)
    assert [(problem.severity, problem.message.partition(",")[0]) for problem in problems] == [
        ("warning", f"{again} looks like {clips[2]}")
    ]


def test_different_clips_windows_of_one_file_flat_pictures_and_broken_files_are_not(clips, tmp_path):
    train = manifest("train.csv", *clips[:3])
    assert near_duplicates(train, manifest("val.csv", *clips[3:])) == []
    window = replace(train, clips=(replace(train.clips[0], last_frame=6),))
    assert near_duplicates(window, window) == []
    for name in ("grey.mp4", "grey2.mp4"):
        write_video(tmp_path / name, np.full((6, 96, 128, 3), 128, np.uint8), fps=10)
    assert near_duplicates(manifest("t", tmp_path / "grey.mp4"), manifest("v", tmp_path / "grey2.mp4")) == []
    (tmp_path / "broken.mp4").write_text("no video")
    assert near_duplicates(train, manifest("v", tmp_path / "broken.mp4")) == []


@given(st.integers(0, 2**32), st.integers(0, 12))
def test_pairs_are_those_within_a_few_bits(seed, num_flipped):
    rng = np.random.default_rng(seed)
    ours = rng.integers(0, 256, (20, 3, 8), dtype=np.uint8)
    theirs = rng.integers(0, 256, (300, 3, 8), dtype=np.uint8)
    bits = np.unpackbits(ours[7, 1])
    bits[rng.choice(64, num_flipped, replace=False)] ^= 1
    theirs[280] = ours[7]
    theirs[280, 1] = np.packbits(bits)
    assert same_pictures(ours, theirs) == ([(7, 280)] if num_flipped <= MAX_BITS else [])


def test_the_hash_says_where_it_becomes_brighter():
    ramp = np.repeat(np.linspace(0, 255, 90, dtype=np.uint8)[None, :], 80, axis=0)
    steps = np.where(np.arange(80)[:, None] < 40, ramp, ramp[:, ::-1])
    found = difference_hash(np.repeat(steps[..., None], 3, axis=2))
    assert found is not None
    assert np.unpackbits(found).reshape(8, 8).tolist() == [[1] * 8] * 4 + [[0] * 8] * 4
