import statistics
from dataclasses import replace

import pytest

from lsn.data import Clip, Manifest, read_manifest
from lsn.models.weights import FrameRates
from lsn.training import rates
from lsn.training.rates import measure_frame_rates


def with_input(config, **values):
    return replace(config, input=replace(config.input, **values))


@pytest.fixture
def windows(colours):
    """Parts of 1 to 6 frames of a video of 10 frames a second."""
    path = str(colours / "train" / "0.mp4")
    return Manifest("windows", ("a",), tuple(Clip(path, "a", first_frame=0, last_frame=last) for last in range(1, 7)))


def test_segments_spread_the_frames_over_each_clip(config, windows):
    expected = [config.model.num_frames / (num_frames / 10) for num_frames in range(1, 7)]
    twentieths = statistics.quantiles(expected, n=20, method="inclusive")

    found = measure_frame_rates(windows, config)

    assert (found.low, found.median, found.high) == pytest.approx((twentieths[0], twentieths[9], twentieths[18]))
    assert measure_frame_rates(windows, config) == found


@pytest.mark.parametrize(("stride", "rate"), [(1, 10.0), (2, 5.0), (5, 2.0), (6, 2 / 0.6)])
def test_dense_frames_are_a_stride_apart_where_the_clip_is_long_enough(config, colours, stride, rate):
    found = measure_frame_rates(
        read_manifest(colours / "train.csv"), with_input(config, sampling="dense", frame_stride=stride)
    )
    assert (found.low, found.median, found.high) == pytest.approx((rate, rate, rate))


def test_timed_rates_are_known_without_a_video(config):
    missing = Manifest("missing", ("a",), (Clip("none.mp4", "a"),))
    assert measure_frame_rates(missing, with_input(config, sampling="timed", fps=6.0)) == FrameRates(6.0, 6.0, 6.0)
    jittered = with_input(config, sampling="timed", fps=6.0, fps_jitter=1.5)
    assert measure_frame_rates(missing, jittered) == FrameRates(4.0, 6.0, 9.0)


def test_clips_that_cannot_be_read_are_left_out(config, windows):
    broken = replace(windows, clips=(Clip("none.mp4", "a"), *windows.clips))
    assert measure_frame_rates(broken, config) == measure_frame_rates(windows, config)
    assert measure_frame_rates(replace(windows, clips=broken.clips[:1]), config) is None


def test_a_large_manifest_is_sampled(config, windows, monkeypatch):
    opened = []
    probe = rates.probe
    monkeypatch.setattr(
        rates, "probe", lambda manifest, **options: opened.append(manifest) or probe(manifest, **options)
    )
    many = replace(windows, clips=tuple(Clip(f"{number}.mp4", "a") for number in range(1001)))

    assert measure_frame_rates(many, config) is None

    numbers = [int(clip.path.removesuffix(".mp4")) for clip in opened[0].clips]
    assert 100 < len(numbers) <= rates.MAX_CLIPS
    assert numbers[0] == 0 and numbers[-1] > 990
