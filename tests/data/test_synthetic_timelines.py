"""Long synthetic videos: what their labels promise."""

import numpy as np
import pytest

from lsn.data.synthetic import gesture_timeline, timeline, write_synthetic
from lsn.data.synthetic.motion import OPPOSITE
from lsn.data.timelines.checks import check_timelines
from lsn.data.timelines.reading import read_timelines
from lsn.errors import ConfigError
from lsn.video import open_video

FPS = 10.0


def rendered(module, seed, num_frames=300, height=32):
    rng = np.random.default_rng(seed)
    return module.render(rng, seed, num_frames=num_frames, height=height, width=height, fps=FPS)


@pytest.mark.parametrize("seed", range(6))
def test_a_video_and_its_reverse_have_the_same_frames_and_opposite_events(seed):
    (events, frames), (mirrored, reverse) = rendered(timeline, seed)
    np.testing.assert_array_equal(reverse, frames[::-1])
    assert mirrored == [(OPPOSITE[label], 300 - end, 300 - start) for label, start, end in events[::-1]]


@pytest.mark.parametrize("module", [timeline, gesture_timeline])
def test_events_follow_each_other_with_time_between_them_and_some_videos_have_none(module):
    numbers = []
    for seed in range(40):
        events = rendered(module, seed, num_frames=200, height=16)[0][0]
        ends = [0, *(end for _, _, end in events)]
        assert all(start - before >= 2 for (_, start, _), before in zip(events, ends, strict=False))
        assert all(start + 0.9 * FPS <= end <= 200 for _, start, end in events)
        numbers.append(len(events))
    assert 0 < numbers.count(0) < 15
    assert np.mean(numbers) > 2


def test_a_moving_shape_moves_as_its_label_says():
    """The centre of what changes between the first and the last frame of an event, against still surroundings."""
    seen = 0
    for seed in range(12):
        for events, frames in rendered(timeline, seed, height=48)[:1]:
            for label, start, end in events:
                if label in ("moving left", "moving right"):
                    still = np.median(frames.astype(float), axis=0)
                    first, last = (np.abs(frames[t] - still).mean(-1) > 20 for t in (start, end - 1))
                    if min(first.sum(), last.sum()) > 30:  # the camera may shake, and the shape may look like the wall
                        moved = np.nonzero(last)[1].mean() - np.nonzero(first)[1].mean()
                        seen += (moved > 5) if label == "moving right" else (moved < -5)
                        seen -= (moved < -5) if label == "moving right" else (moved > 5)
    assert seen >= 4


@pytest.mark.parametrize("seed", range(8))
def test_the_finger_follows_the_path_of_its_label_during_an_event(seed):
    events, tip_T2 = gesture_timeline._hand_path(np.random.default_rng(seed), 400, 4 / 3, FPS)
    ways = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for label, start, end in events:
        if label in ways:
            moved = tip_T2[end - 1] - tip_T2[start]
            assert moved @ ways[label] > 0.15
            assert abs(moved @ ways[label][::-1]) < 0.6 * (moved @ ways[label])


@pytest.mark.parametrize("kind", ["timeline", "gesture_timeline"])
def test_a_written_set_is_read_as_sound_timelines(kind, tmp_path):
    written = write_synthetic(tmp_path / "set", kind=kind, num_train=4, num_val=2, size=32, num_frames=150, fps=FPS)
    for path, number in ((written.train, 4), (written.val, 2)):
        manifest = read_timelines(path, labels=written.labels)
        assert len(manifest) == number
        assert [problem for problem in check_timelines(manifest) if problem.severity == "error"] == []
    with open_video(read_timelines(written.train).videos[0].path) as reader:
        assert (reader.num_frames, reader.info.average_fps) == (150, pytest.approx(FPS))
    assert (
        write_synthetic(tmp_path / "set", kind=kind, num_train=4, num_val=2, size=32, num_frames=150, fps=FPS)
        == written
    )


def test_a_video_and_its_reverse_belong_together(tmp_path):
    with pytest.raises(ConfigError, match="num_val is 3; it must be a multiple of 2, and not 0"):
        write_synthetic(tmp_path / "set", kind="timeline", num_train=2, num_val=3)
