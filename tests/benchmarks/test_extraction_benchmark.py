"""The extraction benchmark runs and compares like with like."""

import shutil

import numpy as np
import pytest
from PIL import Image

from lsn.errors import DataError
from lsn.video import write_video


@pytest.fixture(scope="module")
def benchmark(import_script):
    return import_script("extraction")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="compares with ffmpeg")
def test_both_write_the_same_frames(tmp_path, benchmark, capsys):
    for number, (height, width) in enumerate([(48, 64), (64, 48), (20, 30)]):
        frames = np.random.default_rng(number).integers(0, 255, (5, height, width, 3), dtype=np.uint8)
        write_video(tmp_path / f"x/{number}.mp4", frames, fps=9)

    assert benchmark.main([str(tmp_path), "--short-side", "32"]) == 0
    said = capsys.readouterr().out
    assert "3 clips, 15 frames, short side 32" in said
    assert "ratio" in said


def test_different_frames_are_an_error(tmp_path, benchmark):
    for side, count, size in (("a", 2, (4, 4)), ("b", 2, (4, 6))):
        (tmp_path / side).mkdir()
        for number in range(1, count + 1):
            Image.new("RGB", size).save(tmp_path / side / f"img_{number:05d}.jpg")
    with pytest.raises(DataError, match="2 frames of \\(4, 4\\) here, 2 of \\(4, 6\\) by ffmpeg"):
        benchmark.check_same(tmp_path / "a", tmp_path / "b", "x.mp4")
