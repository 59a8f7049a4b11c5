"""The benchmark of reading takes the same clips from videos and from their frames."""

import re

import numpy as np
import pytest

from lsn.video import open_video, write_video


@pytest.fixture(scope="module")
def benchmark(import_script):
    return import_script("reading")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for number, size in enumerate([(48, 64, 3), (64, 48, 3), (20, 30, 3)]):
        write_video(folder / f"x/{number}.mp4", rng.integers(0, 255, (20, *size), dtype=np.uint8), fps=9)
    return folder


@pytest.mark.parametrize("joined", [[], ["--seconds", "2", "--height", "30"]])
def test_figures_of_both_sides(benchmark, videos, capsys, joined):
    assert benchmark.main([str(videos), "--most", "2", *joined]) == 0
    said = capsys.readouterr().out
    assert f"2 videos of {50 if joined else 20} frames" in said
    assert len(re.findall(r"\d\.\d ms a training clip", said)) == 2


def test_joined_videos_are_of_the_length_and_height_asked_for(benchmark, videos, tmp_path):
    (path,) = benchmark.join(sorted(videos.rglob("*.mp4")), tmp_path, 1, 47, 36)
    with open_video(path) as video:
        assert video.num_frames == 47
        assert next(iter(video))[1].shape == (36, 48, 3)


def test_one_video_is_too_few(benchmark, videos, capsys):
    assert benchmark.main([str(videos), "--most", "1"]) == 2
    assert "at least 2" in capsys.readouterr().err
