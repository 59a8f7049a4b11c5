"""Runs on timelines: what they leave, that they learn, and that they can be interrupted anywhere."""

import json
import shutil
from dataclasses import replace

import av
import pytest
import torch
from colour_timelines import timeline_config, write_timelines_of_colours
from safetensors.torch import load_file
from video_files import encode_pictures

from lsn.cli import main
from lsn.config import ModelConfig, RunConfig
from lsn.data.timelines.reading import read_timelines
from lsn.errors import ConfigError, DataError, VideoError
from lsn.models.weights import load_weights
from lsn.streaming import StreamingPredictor
from lsn.streaming.timeline import make_timeline
from lsn.streaming.timeline_evaluation import evaluate_timelines
from lsn.training import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    for split in ("train", "val", "test"):
        write_timelines_of_colours(folder, split)
    return folder


@pytest.fixture
def config(folder):
    return timeline_config(folder)


def change(config, **sections):
    return replace(config, **{name: replace(getattr(config, name), **values) for name, values in sections.items()})


def metrics_of(out, kind):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def results_of(out):
    states = torch.load(out / "checkpoint.pt", weights_only=True)["states"]
    times = ("frames_per_second", "seconds")
    lines = [
        {k: v for k, v in line.items() if k not in times} for kind in ("train", "val") for line in metrics_of(out, kind)
    ]
    return load_file(out / "model.safetensors"), states, lines


def assert_same_results(one, other):
    torch.testing.assert_close(one[:2], other[:2], rtol=0, atol=0)
    assert one[2] == other[2]


@pytest.fixture(scope="module")
def learned(folder, tmp_path_factory):
    """A run that is long enough to learn the colours."""
    config = change(
        timeline_config(folder), training={"epochs": 12, "evaluate_every": 4}, data={"test": str(folder / "test.csv")}
    )
    out = tmp_path_factory.mktemp("runs") / "learned"
    return config, train(config, out)


@pytest.mark.slow
def test_it_learns_to_find_events(learned):
    _, result = learned
    assert result.score >= 0.9 and result.test_score >= 0.8
    losses = [line["loss"] for line in metrics_of(result.out, "train")]
    assert losses[-1] < 0.5 * losses[0]


def test_the_weights_know_how_they_are_to_be_streamed(learned, folder):
    config, result = learned
    loaded = load_weights(result.out)
    assert loaded.labels == ("background", "blue", "red")
    assert loaded.events.background == "background"
    assert loaded.model.readout_frames == 1, "each frame has an answer of its own"
    assert loaded.frame_rates.median == config.input.fps
    saved = json.loads((result.out / "timelines.json").read_text())["metrics"]
    again = evaluate_timelines(StreamingPredictor(result.out, device="cpu"), read_timelines(config.data.val))
    assert again.metrics.to_dict() == saved
    best = max(metrics_of(result.out, "val"), key=lambda line: (line["f1"]["25"], line["frame_map"]))
    assert (best["epoch"], best["f1"]) == (result.epoch, saved["f1"])
    assert (result.out / "test/timelines.json").is_file() and (result.out / "events.csv").is_file()


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """A short run that nothing interrupts."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(change(timeline_config(folder), training={"checkpoint_every": 1}), out)
    return results_of(out)


class Killed:
    """Ends a run after a step, and keeps the checkpoint from before it."""

    on_start = on_evaluation = on_evaluated = lambda self, *arguments: None

    def __init__(self, step):
        self.last = step

    def on_step(self, report):
        if report.step == self.last:
            raise InterruptedError


@pytest.mark.parametrize("step", [4, *(pytest.param(step, marks=pytest.mark.slow) for step in (3, 11))])
def test_a_run_resumes_in_the_middle_of_stretches_bit_by_bit(config, whole, tmp_path, step):
    config = change(config, training={"checkpoint_every": 1})
    with pytest.raises(InterruptedError):
        train(config, tmp_path / "run", progress=Killed(step))
    train(config, tmp_path / "run", resume=True)
    assert_same_results(results_of(tmp_path / "run"), whole)


@pytest.mark.slow
def test_workers_change_nothing(config, whole, tmp_path):
    train(change(config, training={"checkpoint_every": 1}, data={"num_workers": 2}), tmp_path / "run")
    assert_same_results(results_of(tmp_path / "run"), whole)


def test_other_events_are_not_the_run_that_is_resumed(config, folder, tmp_path):
    train(change(config, training={"epochs": 1}), tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    table = other / "train.csv"
    table.write_text(table.read_text().replace("red,1.0,2.5", "red,1.0,2.4"))
    with pytest.raises(ConfigError, match="the training set is not that which the run started with"):
        train(change(config, training={"epochs": 1}, data={"train": str(table)}), tmp_path / "run", resume=True)


def test_a_video_that_breaks_off_is_named_with_its_line(config, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "data")
    video = tmp_path / "data/train/1.mp4"
    encode_pictures(video, num_frames=80, rate=10, g="10", bf="0")
    content = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][20]
    content[packet.pos : packet.pos + packet.size] = bytes(packet.size)  # the file opens, and breaks off in its middle
    video.write_bytes(content)
    config = change(config, data={"train": str(tmp_path / "data/train.csv")})
    with pytest.raises(
        VideoError, match=r"train\.csv line 4: .*1\.mp4.*mend or remove it, or set data\.on_unreadable=skip"
    ):
        train(config, tmp_path / "run")
    result = train(change(config, data={"on_unreadable": "skip"}), tmp_path / "skipped")
    (line,) = metrics_of(result.out, "unreadable")
    assert line["path"].endswith("1.mp4") and "line 4" in line["error"]
    assert sum(line["unreadable"] for line in metrics_of(result.out, "train")) % 24 == 0, "whole stretches are left out"


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (
            ["train/0.mp4,red,1,3", "train/0.mp4,blue,2,4"],
            r"train\.csv line 3: .*'red' at 1 to 3 s and 'blue' at 2 to 4 s overlap",
        ),
        (["train/0.mp4,red,3,1"], r"line 2: 'red' ends at 1 s, before it starts at 3 s"),
        (["train/0.mp4,red,1,99"], r"line 2: 'red' at 1 to 99 s lies beyond .*0\.mp4, which ends at 8"),
        (["train/none.mp4,red,1,2"], r"line 2: no such video: .*none\.mp4"),
        (
            ["train/0.mp4,background,1,2", "train/0.mp4,red,3,4"],
            r"'background' is the name of the background and of an event",
        ),
        (["train/0.mp4,,,"], r"there is no event to learn"),
        (["train/0.mp4,red,1,2", "train/1.mp4,green,1,2"], r"no event in val of 'green'|unknown label"),
    ],
)
def test_timelines_that_are_not_sound_train_nothing(config, folder, tmp_path, rows, complaint):
    table = folder / "train.csv"
    kept = table.read_text()
    table.write_text("\n".join(["path,label,start_seconds,end_seconds", *rows]) + "\n")
    try:
        with pytest.raises(DataError, match=complaint):
            train(config, tmp_path / "run")
    finally:
        table.write_text(kept)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        (
            {"timelines": {"stretch_frames": 20}},
            r"timelines\.stretch_frames is 20, which is no multiple of .* \(8\); set it to 16",
        ),
        ({"input": {"sampling": "segments"}}, r"input\.sampling is segments.*set input\.sampling=timed"),
        ({"training": {"grad_accum_steps": 2}}, r"training\.grad_accum_steps is 2.*one batch"),
        ({"data": {"clips_per_class": 2}}, r"data\.clips_per_class draws clips"),
        ({"model": {"name": "tsm_test_resnet"}}, r"data\.kind is timelines, .*set model\.shift=causal"),
    ],
)
def test_settings_that_no_stream_can_have_are_refused(config, tmp_path, sections, complaint):
    with pytest.raises(ConfigError, match=complaint):
        train(change(config, **sections), tmp_path / "run")


def test_validation_videos_are_set_aside_so_that_train_keeps_every_label(config, folder, tmp_path):
    result = train(change(config, data={"val": None, "val_fraction": 0.3}, training={"epochs": 1}), tmp_path / "run")
    (line,) = metrics_of(result.out, "val")
    assert line["num_videos"] in (1, 2)


@pytest.mark.slow
def test_events_that_overlap_are_learned_with_multi_label(config, folder, tmp_path):
    for split in ("train", "val"):
        rows = (folder / f"{split}.csv").read_text().splitlines()
        bright = [row.replace(",blue,", ",any colour,").replace(",red,", ",any colour,") for row in rows[1:]]
        both = [row.replace(f"{split}/", f"{folder}/{split}/") for row in (*rows[1:], *bright)]
        (tmp_path / f"{split}.csv").write_text("\n".join([rows[0], *dict.fromkeys(both)]) + "\n")
    data = {split: str(tmp_path / f"{split}.csv") for split in ("train", "val")}
    with pytest.raises(DataError, match=r"overlap; end one before, or allow it"):
        train(change(config, data=data), tmp_path / "refused")
    config = change(
        config, data=data, model={"multi_label": True}, training={"epochs": 14, "evaluate_every": 14, "keep": "last"}
    )
    result = train(config, tmp_path / "run")
    assert result.score >= 0.8
    assert main(["evaluate", str(result.out), "--out", str(tmp_path / "seen")]) == 0, "on what it was validated on"
    loaded = load_weights(result.out)
    assert loaded.labels == ("any colour", "blue", "red") and loaded.model.multi_label and loaded.events.multi_label
    found = make_timeline(StreamingPredictor(result.out, device="cpu"), folder / "val/2.mp4")
    assert {"any colour", "red"} <= {event.label for event in found.events}


def test_multi_label_is_not_for_clips():
    with pytest.raises(
        ConfigError, match=r"model\.multi_label is for events that may overlap; set data\.kind=timelines"
    ):
        RunConfig(model=ModelConfig(multi_label=True))


@pytest.mark.slow
def test_evaluate_reads_files_as_the_run_did(learned, folder, tmp_path, capsys):
    _, result = learned
    assert main(["evaluate", str(result.out)]) == 0
    of_run = capsys.readouterr().out
    assert main(["evaluate", str(result.out), str(folder / "val.csv"), "--out", str(tmp_path / "seen")]) == 0
    assert of_run.split("Mean")[0] in capsys.readouterr().out
    assert (tmp_path / "seen/report.html").is_file()
    assert main(["evaluate", str(result.out), "--fps", "25"]) == 2
    assert "say how to read a file; add the file" in capsys.readouterr().err
    assert main(["evaluate", str(result.out), "--out", str(result.out)]) == 2
    assert "holds weights and their own validation" in capsys.readouterr().err


def test_settings_of_timelines_are_not_for_clips(config):
    with pytest.raises(ConfigError, match=r"settings of timelines are set, but data\.kind is clips"):
        change(config, data={"kind": "clips"}, training={"state_carry_prob": 0.0})


def test_points_must_last_for_a_frame(config):
    with pytest.raises(ConfigError, match=r"timelines\.point_seconds is 0\.1; it must be at least a frame .*0\.333"):
        change(config, timelines={"point_seconds": 0.1})


def test_what_is_for_clips_is_refused(config, tmp_path):
    from lsn.training.cross_validation import plan_folds
    from lsn.training.linear_probe import linear_probe
    from lsn.training.overfit import overfit

    with pytest.raises(ConfigError, match=r"cross-validation \(--folds\) is for clips, but data\.kind is timelines"):
        plan_folds(config, tmp_path, num_folds=2, seeds=[0])
    with pytest.raises(ConfigError, match="a linear probe is for clips"):
        linear_probe(config, tmp_path / "probe")
    with pytest.raises(ConfigError, match=r"fitting a few clips \(--overfit\) is for clips"):
        overfit(config, 2)


def test_findings_never_replace_what_is_read(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "data")
    table = tmp_path / "data/events.csv"
    shutil.copy(tmp_path / "data/train.csv", table)
    before = table.read_bytes()
    assert main(["train", "timeline", f"data.train={table}", "--out", str(tmp_path / "data")]) == 2
    assert "events.csv: would be written over" in capsys.readouterr().err
    assert table.read_bytes() == before


@pytest.mark.slow
def test_points_in_unknown_time_are_found(config, folder, tmp_path):
    """Spans of background are listed, and the events are points: known time is the spans and around the points."""
    data = {}
    for split in ("train", "val"):
        rows = ["path,label,start_seconds,end_seconds"]
        for name, points in (("0", [1.0]), ("1", [3.0]), ("2", [2.0])):
            rows += [f"{folder}/{split}/{name}.mp4,hit,{at},{at}" for at in points]
            rows += [f"{folder}/{split}/{name}.mp4,background,0,0.5", f"{folder}/{split}/{name}.mp4,background,4.1,8"]
        data[split] = str(tmp_path / f"{split}.csv")
        (tmp_path / f"{split}.csv").write_text("\n".join(rows) + "\n")
    training = {"epochs": 10, "evaluate_every": 10, "keep": "last"}
    timelines = {"unlabelled": "unknown", "point_seconds": 1.0, "splice_prob": 0.0}
    result = train(change(config, data=data, training=training, timelines=timelines), tmp_path / "run")
    assert result.score > 0.5
