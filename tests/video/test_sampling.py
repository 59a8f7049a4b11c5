import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsn.errors import ConfigError, VideoError
from lsn.video.sampling import (
    dense_indices_eval,
    dense_indices_train,
    segment_indices_eval,
    segment_indices_train,
    timed_indices_eval,
    timed_indices_train,
)

ALL = [(num_total, num_frames) for num_total in range(1, 65) for num_frames in range(1, 65)]


def assert_lawful(indices: list[int], num_total: int, num_frames: int) -> None:
    assert len(indices) == num_frames
    assert indices == sorted(indices)
    assert indices[0] >= 0 and indices[-1] < num_total
    assert all(type(index) is int for index in indices)
    if num_total <= num_frames:  # a short video is spread evenly: every frame is there, equally often
        counts = Counter(indices)
        assert len(counts) == num_total
        assert max(counts.values()) - min(counts.values()) <= 1


def test_every_sampler_obeys_the_laws_for_all_small_videos():
    rng = random.Random(0)
    for num_total, num_frames in ALL:
        assert_lawful(segment_indices_train(num_total, num_frames, rng), num_total, num_frames)
        for num_clips in (1, 2, 3):
            for clip in range(num_clips):
                indices = segment_indices_eval(num_total, num_frames, clip=clip, num_clips=num_clips)
                assert_lawful(indices, num_total, num_frames)
        for stride in (1, 5):
            assert_lawful(dense_indices_train(num_total, num_frames, stride, rng), num_total, num_frames)
            for clip in range(2):
                indices = dense_indices_eval(num_total, num_frames, stride, clip=clip, num_clips=2)
                assert_lawful(indices, num_total, num_frames)


def test_training_samples_never_repeat_a_frame_of_a_long_enough_video():
    rng = random.Random(1)
    for num_total, num_frames in ALL:
        if num_total >= num_frames:
            assert len(set(segment_indices_train(num_total, num_frames, rng))) == num_frames


@pytest.mark.parametrize(("num_total", "num_frames"), [(7, 3), (10, 4), (64, 16), (65, 16), (79, 8)])
def test_training_draws_every_frame_and_each_from_one_segment(num_total, num_frames):
    rng = random.Random(2)
    chosen = [set() for _ in range(num_frames)]
    for _ in range(3000):
        for indices, index in zip(chosen, segment_indices_train(num_total, num_frames, rng), strict=True):
            indices.add(index)
    # The segments are disjoint, in order, nearly equal, and leave nothing out: not the tail either.
    assert [index for indices in chosen for index in sorted(indices)] == list(range(num_total))
    assert {len(indices) for indices in chosen} <= {num_total // num_frames, num_total // num_frames + 1}


@given(num_total=st.integers(1, 100_000), num_frames=st.integers(1, 300))
def test_one_clip_takes_the_centres_and_two_take_centres_and_starts(num_total, num_frames):
    """The formula of TSM's test code for videos, with its floats: `int(tick / 2 + tick * x)`, `int(tick * x)`."""
    if num_total < num_frames:
        return
    centres = [int((2 * x + 1) * num_total / (2 * num_frames)) for x in range(num_frames)]
    starts = [int(num_total * x / num_frames) for x in range(num_frames)]
    assert segment_indices_eval(num_total, num_frames) == centres
    assert segment_indices_eval(num_total, num_frames, clip=0, num_clips=2) == centres
    assert segment_indices_eval(num_total, num_frames, clip=1, num_clips=2) == starts


def test_many_clips_are_shifted_evenly():
    clips = [segment_indices_eval(1000, 4, clip=clip, num_clips=5) for clip in range(5)]
    together = sorted(index for clip in clips for index in clip)
    assert {later - earlier for earlier, later in itertools.pairwise(together)} == {50}
    assert clips[0] == segment_indices_eval(1000, 4)


def test_dense_clips_keep_their_stride_and_reach_both_ends():
    first, middle, last = (dense_indices_eval(100, 8, 4, clip=clip, num_clips=3) for clip in range(3))
    assert first == list(range(0, 29, 4))
    assert last == list(range(71, 100, 4))
    assert middle[0] == 35
    assert dense_indices_eval(100, 8, 4) == middle


def test_dense_training_reaches_every_start():
    rng = random.Random(3)
    starts = {dense_indices_train(20, 4, 3, rng)[0] for _ in range(500)}
    assert starts == set(range(11))


def test_the_same_seed_draws_the_same_frames():
    for draw in (segment_indices_train, lambda total, frames, rng: dense_indices_train(total, frames, 2, rng)):
        assert draw(300, 16, random.Random(7)) == draw(300, 16, random.Random(7))
        assert draw(300, 16, random.Random(7)) != draw(300, 16, random.Random(8))


class At(random.Random):
    """Draws the same place of every range."""

    def __init__(self, place: float) -> None:
        super().__init__()
        self.place = place

    def uniform(self, a: float, b: float) -> float:
        return a + self.place * (b - a)


def shown_at(pts_seconds: list[float], start: float, num_frames: int, fps: float) -> list[int]:
    """The literal rule, moment by moment: the last frame that has come on screen; times are the same to 1 us."""
    indices = []
    for number in range(num_frames):
        shown = 0
        for index, seconds in enumerate(pts_seconds):
            if seconds <= start + number / fps + 1e-6:
                shown = index
        indices.append(shown)
    return indices


@st.composite
def timed_videos(draw) -> tuple[list[float], float]:
    """When the frames of a video are shown, at any rhythm and from any start, and when the last one ends."""
    gaps = draw(st.lists(st.sampled_from([0.0, 0.01, 0.04, 0.1, 1 / 3, 2.0]), min_size=1, max_size=30))
    pts_seconds = list(itertools.accumulate(gaps, initial=draw(st.sampled_from([0.0, -1.5, 3600.0]))))
    return pts_seconds, pts_seconds[-1] + draw(st.sampled_from([0.0, 0.04, 1.0]))


rates = st.sampled_from([0.5, 3.0, 8.0, 29.97])


@given(video=timed_videos(), num_frames=st.integers(1, 20), fps=rates, place=st.floats(0, 1))
def test_timed_training_clips_lie_in_the_video_or_hold_its_last_frame(video, num_frames, fps, place):
    pts_seconds, end_seconds = video
    indices = timed_indices_train(pts_seconds, end_seconds, num_frames, fps, At(place))

    assert len(indices) == num_frames
    assert indices == sorted(indices)
    assert indices[0] >= 0 and indices[-1] < len(pts_seconds)
    latest_start = end_seconds - (num_frames - 1) / fps
    if latest_start <= pts_seconds[0]:
        assert indices == shown_at(pts_seconds, pts_seconds[0], num_frames, fps)
    else:
        start = pts_seconds[0] + place * (latest_start - pts_seconds[0])
        assert indices == shown_at(pts_seconds, start, num_frames, fps)


@given(video=timed_videos(), num_frames=st.integers(1, 20), fps=rates, num_clips=st.integers(1, 4))
def test_timed_clips_lie_in_the_middle_or_are_spread_from_start_to_end(video, num_frames, fps, num_clips):
    pts_seconds, end_seconds = video
    spare = max(0.0, end_seconds - pts_seconds[0] - (num_frames - 1) / fps)
    offsets = {1: [spare / 2], 2: [0.0, spare], 3: [0.0, spare / 2, spare], 4: [0.0, spare / 3, spare * 2 / 3, spare]}
    for clip, offset in enumerate(offsets[num_clips]):
        indices = timed_indices_eval(pts_seconds, end_seconds, num_frames, fps, clip=clip, num_clips=num_clips)
        assert indices == shown_at(pts_seconds, pts_seconds[0] + offset, num_frames, fps)


def test_a_timed_clip_shows_the_same_moments_at_any_rate_of_the_video():
    slow, fast = ([number / fps for number in range(6 * fps)] for fps in (24, 60))
    for clip in range(3):
        at_slow = [slow[i] for i in timed_indices_eval(slow, 6.0, 16, 8.0, clip=clip, num_clips=3)]
        at_fast = [fast[i] for i in timed_indices_eval(fast, 6.0, 16, 8.0, clip=clip, num_clips=3)]
        assert at_slow == pytest.approx(at_fast, abs=1 / 24)
        gaps = [later - earlier for earlier, later in itertools.pairwise(at_fast)]
        assert gaps == pytest.approx([1 / 8] * 15, abs=1 / 60 + 1e-9)


def test_a_video_of_its_own_rate_and_length_is_seen_frame_by_frame():
    assert timed_indices_eval([number / 8 for number in range(16)], 2.0, 16, 8.0) == list(range(16))


def test_timed_training_reaches_every_start():
    rng = random.Random(4)
    starts = {timed_indices_train([i / 10 for i in range(20)], 2.0, 4, 10.0, rng)[0] for _ in range(500)}
    assert starts == set(range(17))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: segment_indices_eval(0, 16), VideoError, "0 frames cannot be sampled"),
        (lambda: segment_indices_train(0, 16, random.Random()), VideoError, "0 frames cannot be sampled"),
        (lambda: dense_indices_eval(-1, 16, 1), VideoError, "-1 frames cannot be sampled"),
        (lambda: segment_indices_eval(10, 0), ConfigError, "0 frames per clip; it must be at least 1"),
        (lambda: segment_indices_train(10, -2, random.Random()), ConfigError, "-2 frames per clip"),
        (lambda: segment_indices_eval(10, 4, num_clips=0), ConfigError, "0 clips per video"),
        (lambda: segment_indices_eval(10, 4, clip=2, num_clips=2), ConfigError, "clip 2 of 2"),
        (lambda: dense_indices_train(10, 4, 0, random.Random()), ConfigError, "stride of 0"),
        (lambda: timed_indices_eval([], 0.0, 4, 8.0), VideoError, "0 frames cannot be sampled"),
        (lambda: timed_indices_eval([0.0], 1.0, 0, 8.0), ConfigError, "0 frames per clip"),
        (lambda: timed_indices_eval([0.0], 1.0, 4, 8.0, clip=3, num_clips=3), ConfigError, "clip 3 of 3"),
        (lambda: timed_indices_eval([0.0], 1.0, 4, 0.0), ConfigError, "rate of 0.0 frames per second"),
        (lambda: timed_indices_train([0.0], 1.0, 4, float("nan"), random.Random()), ConfigError, "rate of nan"),
    ],
)
def test_impossible_requests_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
