import itertools
import random

import numpy as np
import pytest
import torch

import lsn.video.decoding.reader as reader_module
from lsn.training.clips.views import TrainingViews
from lsn.video import array_reader, clip_sampler
from lsn.video.transforms import TrainTransform

LABELS = ("left", "right")


def views(sampling, *, fps_jitter=1.0, **options):
    transform = TrainTransform(size=8, scales=(1.0,), labels=LABELS, **options)
    return TrainingViews(
        clip_sampler(sampling, num_frames=4, frame_stride=3, fps=5.0, fps_jitter=fps_jitter), transform
    )


@pytest.fixture
def video():
    """Forty frames whose grey value is their number; the left half of each is brighter by 100."""
    frames = np.arange(40, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(16, 1).repeat(16, 2).repeat(3, 3)
    frames[:, :, :8] += 100
    return array_reader(frames, fps=10)


def numbers(views_VTCHW):
    """Which frames were taken, by their darkest pixel."""
    return views_VTCHW[0].amin(dim=(1, 2, 3)).tolist()


def test_segments_give_one_frame_each(video):
    seen = {tuple(numbers(views("segments")(video, 0, random.Random(seed))[0])) for seed in range(20)}

    assert len(seen) > 1
    assert all(10 * i <= number < 10 * (i + 1) for frames in seen for i, number in enumerate(frames))


def test_dense_frames_are_neighbours_a_stride_apart(video):
    seen = {tuple(numbers(views("dense")(video, 0, random.Random(seed))[0])) for seed in range(20)}

    assert len(seen) > 1
    assert all(later - earlier == 3 for frames in seen for earlier, later in itertools.pairwise(frames))


def test_timed_frames_follow_each_other_at_their_rate(video):
    seen = {tuple(numbers(views("timed")(video, 0, random.Random(seed))[0])) for seed in range(20)}

    assert len(seen) > 1
    assert all(later - earlier == 2 for frames in seen for earlier, later in itertools.pairwise(frames))


def test_jittered_rates_lie_around_the_rate_on_both_sides_alike(video):
    clips = [numbers(views("timed", fps_jitter=2.0)(video, 0, random.Random(seed))[0]) for seed in range(300)]

    spans = [frames[-1] - frames[0] for frames in clips]  # six frames at the rate itself
    assert (min(spans), max(spans)) == (3, 12)
    slower, faster = sum(span > 6 for span in spans), sum(span < 6 for span in spans)
    assert 0.7 < slower / faster < 1.4


def test_one_view_of_the_networks_size_and_the_same_for_the_same_randomness(video):
    first, label = views("segments")(video, 1, random.Random(5))
    again, label_again = views("segments")(video, 1, random.Random(5))

    assert first.shape == (1, 4, 3, 8, 8)
    assert first.dtype == torch.uint8
    assert label == label_again
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_a_mirrored_clip_has_the_mirrored_label(video):
    seen = set()
    for seed in range(20):
        clip, label = views("segments")(video, 0, random.Random(seed))
        bright_on_the_left = bool(clip[..., :2].float().mean() > clip[..., -2:].float().mean())
        seen.add((bright_on_the_left, LABELS[label]))
    assert seen == {(True, "left"), (False, "right")}


@pytest.mark.parametrize("stack_bytes", [1, 2 * 37 * 50 * 3, 1 << 30])
@pytest.mark.parametrize("sampling", ["segments", "dense", "timed"])
def test_clips_are_those_of_the_stacked_frames(monkeypatch, stack_bytes, sampling):
    """Bit for bit, and with the same draws: indices, then the crop, then flip and augmentation."""
    monkeypatch.setattr(reader_module, "STACK_BYTES", stack_bytes)
    noise = np.random.default_rng(0)
    for num_frames in (3, 25):
        reader = array_reader(noise.integers(0, 256, (num_frames, 37, 50, 3), dtype=np.uint8), fps=10)
        transform = TrainTransform(
            size=16, scales=(1.0, 0.8, 0.6), labels=LABELS, color_jitter=0.4, rand_augment_layers=2
        )
        sampler = clip_sampler(sampling, num_frames=4, frame_stride=3, fps=8.0, fps_jitter=1.5)
        views = TrainingViews(sampler, transform)
        for seed in range(8):
            rng = random.Random(seed)
            frames_THWC = torch.from_numpy(reader.frames_at(sampler.train_indices(reader, rng)).frames_THWC)
            expected, expected_label = transform(frames_THWC.permute(0, 3, 1, 2), 1, rng)
            clip, label = views(reader, 1, random.Random(seed))
            assert torch.equal(clip[0], expected)
            assert label == expected_label
