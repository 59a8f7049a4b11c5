"""The settings of sampling become indices in one place, for training and evaluation."""

import itertools
import pickle
import random

import numpy as np
import pytest

from lsn.video import array_reader, clip_sampler
from lsn.video.sampling import (
    dense_indices_eval,
    dense_indices_train,
    segment_indices_eval,
    segment_indices_train,
    timed_indices_eval,
    timed_indices_train,
)

SAMPLINGS = ("segments", "dense", "timed")


@pytest.fixture
def video():
    """Six seconds at 10 frames per second."""
    return array_reader(np.zeros((60, 4, 4, 3), np.uint8), fps=10)


def sampler(sampling, **changes):
    return clip_sampler(sampling, **{"num_frames": 4, "frame_stride": 3, "fps": 5.0} | changes)


def test_indices_are_those_of_the_setting(video):
    pts, end = video.pts_seconds.tolist(), video.end_seconds
    for clip in range(2):
        of_clip = {"clip": clip, "num_clips": 2}
        assert [sampler(sampling).eval_indices(video, **of_clip) for sampling in SAMPLINGS] == [
            segment_indices_eval(60, 4, **of_clip),
            dense_indices_eval(60, 4, 3, **of_clip),
            timed_indices_eval(pts, end, 4, 5.0, **of_clip),
        ]
    assert sampler("segments").train_indices(video, random.Random(3)) == segment_indices_train(60, 4, random.Random(3))
    assert sampler("dense").train_indices(video, random.Random(3)) == dense_indices_train(60, 4, 3, random.Random(3))


def test_a_timed_training_clip_has_a_rate_of_its_own(video):
    rng = random.Random(3)
    fps = 5.0 * 2.0 ** rng.uniform(-1, 1)  # drawn before the start of the clip
    expected = timed_indices_train(video.pts_seconds.tolist(), video.end_seconds, 4, fps, rng)
    assert sampler("timed", fps_jitter=2.0).train_indices(video, random.Random(3)) == expected


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_rate_of_a_clip_is_that_of_its_frames(video, sampling):
    found = sampler(sampling)
    seconds = video.pts_seconds[found.eval_indices(video)].tolist()
    gaps = [later - earlier for earlier, later in itertools.pairwise(seconds)]
    assert gaps == pytest.approx([1 / found.clip_fps(video.info)] * 3)


def test_a_dense_clip_of_a_short_video_is_spread_over_it():
    video = array_reader(np.zeros((9, 4, 4, 3), np.uint8), fps=10)
    assert sampler("dense").clip_fps(video.info) == sampler("segments").clip_fps(video.info) == 4 / 0.9


def test_only_timed_rates_are_known_without_a_video():
    assert sampler("timed", fps_jitter=2.0).fps_range == (2.5, 5.0, 10.0)
    assert sampler("segments").fps_range is sampler("dense").fps_range is None


def test_workers_get_the_same_sampler():
    for sampling in SAMPLINGS:
        assert pickle.loads(pickle.dumps(sampler(sampling))) == sampler(sampling)
