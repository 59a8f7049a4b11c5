import statistics
from dataclasses import replace

import pytest

from lsn.config import FrameRates
from lsn.data import Clip, Manifest, read_manifest
from lsn.training.clips import rates
from lsn.training.clips.rates import measure_frame_rates
from lsn.video.clip_sampler import DenseSampler, SegmentSampler, TimedSampler

SEGMENTS = SegmentSampler(2)


@pytest.fixture
def windows(colours):
    """Parts of 1 to 6 frames of a video of 10 frames per second."""
    path = str(colours / "train" / "0.mp4")
    return Manifest("windows", ("a",), tuple(Clip(path, "a", first_frame=0, last_frame=last) for last in range(1, 7)))


def test_segments_spread_the_frames_over_each_clip(windows):
    expected = [2 / (num_frames / 10) for num_frames in range(1, 7)]
    twentieths = statistics.quantiles(expected, n=20, method="inclusive")

    found = measure_frame_rates(windows, SEGMENTS)

    assert (found.low, found.median, found.high) == pytest.approx((twentieths[0], twentieths[9], twentieths[18]))
    assert measure_frame_rates(windows, SEGMENTS) == found


@pytest.mark.parametrize(("stride", "rate"), [(1, 10.0), (2, 5.0), (5, 2.0), (6, 2 / 0.6)])
def test_dense_frames_are_a_stride_apart_where_the_clip_is_long_enough(colours, stride, rate):
    found = measure_frame_rates(read_manifest(colours / "train.csv"), DenseSampler(2, stride))
    assert (found.low, found.median, found.high) == pytest.approx((rate, rate, rate))


def test_timed_rates_are_known_without_a_video():
    missing = Manifest("missing", ("a",), (Clip("none.mp4", "a"),))
    assert measure_frame_rates(missing, TimedSampler(2, 6.0)) == FrameRates(6.0, 6.0, 6.0)
    assert measure_frame_rates(missing, TimedSampler(2, 6.0, 1.5)) == FrameRates(4.0, 6.0, 9.0)


def test_clips_that_cannot_be_read_are_left_out(windows):
    broken = replace(windows, clips=(Clip("none.mp4", "a"), *windows.clips))
    assert measure_frame_rates(broken, SEGMENTS) == measure_frame_rates(windows, SEGMENTS)
    assert measure_frame_rates(replace(windows, clips=broken.clips[:1]), SEGMENTS) is None


def test_a_large_manifest_is_sampled(windows, monkeypatch):
    opened = []
    probe = rates.probe
    monkeypatch.setattr(
        rates, "probe", lambda manifest, **options: opened.append(manifest) or probe(manifest, **options)
    )
    many = replace(windows, clips=tuple(Clip(f"{number}.mp4", "a") for number in range(1001)))

    assert measure_frame_rates(many, SEGMENTS) is None

    numbers = [int(clip.path.removesuffix(".mp4")) for clip in opened[0].clips]
    assert 100 < len(numbers) <= rates.MAX_CLIPS
    assert numbers[0] == 0 and numbers[-1] > 990
