"""What `lsn data bench` calls the bottleneck is what takes the time."""

import json
import time
from dataclasses import replace

import pytest

import lsn.profiling.data as module
from lsn.cli import main
from lsn.config import DataConfig, InputConfig, ModelConfig, RunConfig, TrainingConfig
from lsn.data.clips.windows import open_clip
from lsn.data.synthetic import write_synthetic
from lsn.errors import VideoError
from lsn.profiling.data import DataFigures, measure_data
from lsn.video.transforms import TrainTransform


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_synthetic(
        tmp_path_factory.mktemp("videos"), kind="motion", num_train=20, num_val=10, size=32, num_workers=0
    )


@pytest.fixture
def config(videos) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name="lsn_test_resnet", num_frames=2),
        data=DataConfig(train=str(videos.train), val=str(videos.val), num_workers=0),
        input=InputConfig(size=32, short_side=32),
        training=TrainingConfig(batch_size=2, device="cpu"),
    )


def slowed(function):
    def slow(*args, **kwargs):
        time.sleep(0.1)
        return function(*args, **kwargs)

    return slow


@pytest.mark.parametrize("part", ["disk", "decode", "transform", "model"])
def test_the_part_that_is_slow_is_named(config, monkeypatch, part):
    if part == "model":
        monkeypatch.setattr(module, "training_step", lambda *args, **options: lambda: time.sleep(1.0))
    elif part == "disk":
        monkeypatch.setattr(module, "_read_bytes", slowed(module._read_bytes))
    elif part == "decode":
        monkeypatch.setattr("lsn.data.loading.dataset.open_clip", slowed(open_clip))
    else:
        monkeypatch.setattr(TrainTransform, "augment", slowed(TrainTransform.augment))
    if part != "model":
        monkeypatch.setattr(module, "training_step", lambda *args, **options: lambda: None)
    figures = measure_data(config, num_clips=3, seconds=0.01)
    assert figures.bottleneck == part
    assert figures.num_clips == 3
    if part == "model":
        assert figures.trained_per_second == pytest.approx(2.0, rel=0.1)
    else:
        assert figures.ms_a_clip[part] >= 100
        assert part in figures.advice()[-2]


def figures_of(**changes) -> DataFigures:
    known = DataFigures(
        num_clips=9,
        ms_a_clip={"disk": 1.0, "decode": 30.0, "transform": 9.0},
        num_workers=1,
        read_per_second=25.0,
        trained_per_second=100.0,
        device="cuda",
    )
    return replace(known, **changes)


def test_workers_are_counted_from_the_time_of_a_clip(monkeypatch):
    """40 ms a clip and 100 clips per second: four would do without a tenth of room, so five."""
    monkeypatch.setattr("lsn.profiling.data.usable_cores", lambda: 16)
    figures = figures_of()
    assert figures.workers_needed == 5
    assert figures.bottleneck == "decode"
    assert "data.num_workers=5" in figures.advice()[0]
    assert "extract-frames" in figures.advice()[1]
    monkeypatch.setattr("lsn.profiling.data.usable_cores", lambda: 2)
    assert "data.num_workers=2" in figures.advice()[0]
    fast = figures_of(num_workers=8, read_per_second=200.0)
    assert fast.bottleneck == "model"
    assert len(fast.advice()) == 1 and "bf16" in fast.advice()[0]


def test_no_worker_is_said_even_if_the_model_is_slow(monkeypatch):
    monkeypatch.setattr("lsn.profiling.data.usable_cores", lambda: 2)
    figures = figures_of(num_workers=0, trained_per_second=1.0)
    assert figures.bottleneck == "model"
    assert "the model waits for every clip" in figures.advice()[0]


def test_a_clip_that_cannot_be_read_is_an_error_or_left_out(config, monkeypatch):
    def broken(clip, **options):
        raise VideoError(f"{clip.path}: broken")

    monkeypatch.setattr("lsn.data.loading.dataset.open_clip", broken)
    with pytest.raises(VideoError, match="broken"):
        measure_data(config, num_clips=2, seconds=0.01)
    skipping = replace(config, data=replace(config.data, on_unreadable="skip"))
    assert measure_data(skipping, num_clips=2, seconds=0.01).num_clips == 2


def test_the_command(videos, capsys):
    settings = (
        "model.name=lsn_test_resnet",
        "model.num_frames=2",
        "input.size=32",
        "input.short_side=32",
        "training.batch_size=2",
        "data.num_workers=1",
    )
    command = ("data", "bench", str(videos.train), *settings, "--num-clips", "4", "--seconds", "0.01")
    assert main([*command, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert results["bottleneck"] in ("disk", "decode", "transform", "model")
    assert results["num_workers"] == 1 and results["advice"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "reading, data.num_workers=1" in out and "Bottleneck: " in out


@pytest.mark.parametrize("seconds", ["nan", "-1", "0", "inf"])
def test_a_time_that_nothing_is_measured_in_is_refused(videos, capsys, seconds):
    assert main(["data", "bench", str(videos.train), "--seconds", seconds]) == 2
    assert "must be above 0 and at most 3600" in capsys.readouterr().err
