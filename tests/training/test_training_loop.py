import csv
import json
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

from lsn.config import FrameRates, load_config, to_yaml
from lsn.errors import ConfigError, LSNError, TrainingStopped, VideoError, WeightsError
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import load_evaluation
from lsn.models.weights import load_weights
from lsn.training import train


class Recorder:
    """Keeps what a run reports; `stop_at` ends it with an error after that step, or at the event that follows it."""

    def __init__(self, stop_at=None, event="step"):
        self.stop_at, self.event = stop_at, event
        self.lines, self.steps, self.counts, self.validations = [], [], [], []

    def on_start(self, lines):
        self.lines += lines

    def on_step(self, report):
        self.steps.append(report)
        self.stop_if("step")

    def on_evaluation(self, done, total):
        self.counts.append((done, total))
        self.stop_if("evaluation")

    def stop_if(self, event):
        if event == self.event and self.steps and self.steps[-1].step == self.stop_at:
            raise InterruptedError

    def on_evaluated(self, epoch, validation, is_best):
        self.validations.append((epoch, validation.score, is_best))
        self.stop_if("evaluated")


def change(config, section, **values):
    return replace(config, **{section: replace(getattr(config, section), **values)})


def metrics_of(out, kind=None):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if kind in (None, line["kind"])]


def results_of(out):
    """All tensors that a run leaves, and its metrics but for times."""
    states = torch.load(out / "checkpoint.pt", weights_only=True)["states"]
    times = ("clips_per_second", "seconds")
    lines = [{key: value for key, value in line.items() if key not in times} for line in metrics_of(out)]
    return load_file(out / "model.safetensors"), states, lines


def assert_same_results(out, expected):
    weights, states, lines = results_of(out)
    torch.testing.assert_close((weights, states), expected[:2], rtol=0, atol=0)
    assert lines == expected[2]


@pytest.fixture(scope="module")
def learned(tmp_path_factory, colours):
    """A run that is long enough to learn the colours."""
    out = tmp_path_factory.mktemp("runs") / "learned"
    config = load_config_of(colours)
    recorder = Recorder()
    return config, train(config, out, progress=recorder), recorder


def load_config_of(colours):
    path = colours / "recipe.yaml"
    path.write_text(
        f"""
model: {{name: tsn_resnet10t, num_frames: 2, pretrained: false, dropout: 0.0}}
data: {{train: {colours}/train.csv, val: {colours}/val.csv, num_workers: 0}}
input: {{size: 32, short_side: 32}}
optim: {{optimizer: sgd, learning_rate: 0.005, lr_base_size: 0, new_layer_lr_mult: 1.0, warmup_epochs: 0.0}}
training:
  {{epochs: 8, min_steps_per_epoch: 1, batch_size: 4, batch_norm: train, device: cpu, evaluate_every: 3,
    tensorboard: true}}
"""
    )
    return load_config(path)


def test_it_learns(learned):
    _, result, _ = learned
    assert result.score == 1.0
    train_lines = metrics_of(result.out, "train")
    assert train_lines[-1]["loss"] < train_lines[0]["loss"]


def test_the_folder_is_complete(learned):
    config, result, _ = learned
    names = {path.name for path in result.out.iterdir()}
    assert names >= {
        "recipe.yaml",
        "checkpoint.pt",
        "config.json",
        "model.safetensors",
        "metrics.jsonl",
        "evaluation.json",
        "predictions.csv",
        "tensorboard",
    }
    assert not [name for name in names if "partial" in name]
    assert load_config(result.out / "recipe.yaml") == config


def test_metrics_lines(learned):
    config, result, _ = learned
    train_lines, val_lines = metrics_of(result.out, "train"), metrics_of(result.out, "val")

    assert [line["step"] for line in train_lines] == list(range(1, 17))
    assert [line["epoch"] for line in train_lines] == pytest.approx([step / 2 for step in range(1, 17)])
    assert train_lines[0]["learning_rate"] == config.optim.learning_rate
    assert all(line["clips_per_second"] > 0 and 0 <= line["top1"] <= 1 for line in train_lines)
    assert [(line["epoch"], line["step"]) for line in val_lines] == [(3, 6), (6, 12), (8, 16)]
    assert all(line["num_videos"] == 5 for line in val_lines)
    assert {"loss", "top1", "top5", "mean_class_accuracy", "calibration_error"} <= val_lines[0].keys()


def test_the_best_weights_are_those_that_were_measured(learned):
    config, result, _ = learned
    best = max(metrics_of(result.out, "val"), key=lambda line: (line["top1"], -line["loss"]))
    loaded = load_weights(result.out)
    assert result.epoch == best["epoch"]
    rate = 2 / 0.6  # two frames, one of each half of a video of six tenths of a second
    assert asdict(loaded.frame_rates) == pytest.approx({"low": rate, "median": rate, "high": rate})
    assert (loaded.labels, loaded.input) == (("blue", "grey", "red"), config.input)

    from lsn.data import load_splits

    _, val = load_splits(config.data, config.training.seed)
    protocol = EvaluationProtocol.of(loaded.model, loaded.input, config.evaluation)
    again = evaluate(loaded.model, val, protocol, device=torch.device("cpu"))

    saved = json.loads((result.out / "evaluation.json").read_text())["metrics"]
    assert again.metrics.top1 == saved["top1"] == best["top1"]
    assert again.metrics.loss == pytest.approx(saved["loss"], rel=1e-5)
    with (result.out / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 5


def test_progress_is_told_everything(learned):
    _, _, recorder = learned
    assert any("tsn_resnet10t" in line for line in recorder.lines)
    assert any("3 classes; 7 clips" in line for line in recorder.lines)
    assert [report.step for report in recorder.steps] == list(range(1, 17))
    assert recorder.steps[-1].seconds_left == 0
    assert recorder.steps[-1].epoch == recorder.steps[-1].num_epochs == 8
    assert (5, 5) in recorder.counts
    assert [epoch for epoch, _, _ in recorder.validations] == [3, 6, 8]
    assert recorder.validations[0][2]


def test_a_folder_with_a_run_is_never_overwritten(learned, config):
    out = learned[1].out
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run"):
        train(config, out)
    assert (out / "model.safetensors").read_bytes() == before


def test_a_finished_run_resumes_to_its_result(learned):
    config, result, _ = learned
    recorder = Recorder()
    expected = results_of(result.out)

    again = train(config, result.out, resume=True, progress=recorder)

    assert (again.score, again.epoch) == (result.score, result.epoch)
    assert recorder.steps == recorder.validations == []
    assert_same_results(result.out, expected)


RESUMED_CONFIGS = {
    "plain": {"training": {"checkpoint_every": 1}},
    "everything": {
        "optim": {"optimizer": "adamw", "learning_rate": 1e-3, "new_layer_lr_mult": 3.0},
        "training": {
            "checkpoint_every": 2,
            "ema_decay": 0.9,
            "grad_accum_steps": 2,
            "batch_size": 1,
            "label_smoothing": 0.1,
            "precision": "bf16",
            "grad_checkpointing": True,
        },
    },
    "stream": {
        "model": {"name": "lsn_ss_test_resnet", "shift": "causal", "num_frames": 4},
        "input": {"sampling": "timed", "fps": 5.0, "fps_jitter": 1.5},
        "training": {
            "checkpoint_every": 1,
            "state_carry_prob": 0.7,
            "tbptt_frames": 2,
            "precision": "bf16",
            "grad_checkpointing": True,
        },
    },
}


@pytest.mark.parametrize(
    "name", [name if name == "plain" else pytest.param(name, marks=pytest.mark.slow) for name in RESUMED_CONFIGS]
)
def test_a_run_stopped_anywhere_and_resumed_equals_one_that_was_not(tmp_path, config, name):
    for section, values in RESUMED_CONFIGS[name].items():
        config = change(config, section, **values)
    train(config, tmp_path / "whole")

    for stop, event in ((1, "step"), (3, "step"), (4, "evaluation"), (6, "step"), (8, "evaluated")):
        with pytest.raises(InterruptedError):
            train(config, tmp_path / "parts", resume=stop > 1, progress=Recorder(stop, event))
    result = train(config, tmp_path / "parts", resume=True)

    assert_same_results(tmp_path / "parts", results_of(tmp_path / "whole"))
    assert result.seconds > 0


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_is_asked_to_stop_leaves_a_checkpoint_of_its_last_step(tmp_path, config, num_workers):
    config = change(config, "data", num_workers=num_workers)
    train(config, tmp_path / "whole")

    for number, (after, event) in enumerate(((0, "step"), (1, "step"), (3, "step"), (4, "evaluation"), (6, "step"))):
        recorder = Recorder()

        def should_stop(recorder=recorder, after=after, event=event):
            done = recorder.steps[-1].step if recorder.steps else 0
            return done >= after and (event == "step" or bool(recorder.counts))

        with pytest.raises(TrainingStopped, match=rf"parts: training was stopped after step {after}; resume"):
            train(config, tmp_path / "parts", resume=number > 0, progress=recorder, should_stop=should_stop)
        saved = torch.load(tmp_path / "parts/checkpoint.pt", weights_only=True)
        assert saved["position"]["step"] == after
    train(config, tmp_path / "parts", resume=True)

    assert_same_results(tmp_path / "parts", results_of(tmp_path / "whole"))


@pytest.mark.parametrize(
    "forge",
    [
        lambda states: states.pop("model"),
        lambda states: states["model"].popitem(),
        lambda states: states["model"].update({next(iter(states["model"])): torch.zeros(3)}),
        lambda states: states["model"].update({next(iter(states["model"])): "weights"}),
        lambda states: states["optimizer"].pop("param_groups"),
        lambda states: states["optimizer"]["param_groups"].pop(),
        lambda states: states["optimizer"]["param_groups"][0].update(momentum="much"),
        lambda states: states["optimizer"]["state"].update({0: {"momentum_buffer": torch.zeros(3)}}),
        lambda states: states["optimizer"]["state"].update({10**6: {"momentum_buffer": torch.zeros(3)}}),
        lambda states: states["optimizer"].update(state=[1, 2]),
    ],
)
def test_states_that_are_not_those_of_the_run_are_named(tmp_path, config, forge):
    with pytest.raises(InterruptedError):
        train(change(config, "training", checkpoint_every=1), tmp_path / "run", progress=Recorder(2))
    path = tmp_path / "run/checkpoint.pt"
    saved = torch.load(path, weights_only=True) | {"format_version": 1}
    forge(saved["states"])
    torch.save(saved, path)

    with pytest.raises(WeightsError, match=r"checkpoint\.pt: not a checkpoint of LSN, or damaged: .* from a copy"):
        train(config, tmp_path / "run", resume=True)


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_weights(tmp_path, config):
    config = change(config, "training", checkpoint_every=1)
    train(config, tmp_path / "whole")
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    (tmp_path / "killed.py").write_text(
        """
import os, signal, sys
from pathlib import Path
from lsn.config import load_config
from lsn.training import train

class Killer:
    on_start = on_evaluation = on_evaluated = lambda self, *arguments: None
    def on_step(self, report):
        if report.step == 3:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    train(load_config(sys.argv[1]), Path(sys.argv[2]), progress=Killer())
"""
    )
    command = [sys.executable, tmp_path / "killed.py", tmp_path / "recipe.yaml", tmp_path / "killed"]
    assert subprocess.run(command, capture_output=True, timeout=120).returncode == -signal.SIGKILL

    train(config, tmp_path / "killed", resume=True)

    assert_same_results(tmp_path / "killed", results_of(tmp_path / "whole"))


def test_resuming_with_other_settings_is_refused(tmp_path, config):
    with pytest.raises(InterruptedError):
        train(config, tmp_path / "run", progress=Recorder(stop_at=1))
    with pytest.raises(ConfigError, match=r"optim.weight_decay was 0.0005, now 0.1"):
        train(change(config, "optim", weight_decay=0.1), tmp_path / "run", resume=True)


def test_the_moving_average_is_what_is_saved(tmp_path, config):
    train(change(config, "training", ema_decay=0.9, evaluate_every=2), tmp_path / "run")

    saved, states, _ = results_of(tmp_path / "run")

    torch.testing.assert_close(saved, dict(states["ema"]), rtol=0, atol=0)
    assert any(not torch.equal(saved[name], states["model"][name]) for name in saved)


@pytest.mark.parametrize("name", ["lsn_ss_test_resnet", "tsm_test_resnet"])
def test_a_causal_network_is_trained_to_stream(tmp_path, config, name):
    config = change(config, "model", name=name, shift="causal", num_frames=4)
    config = change(config, "model", memory_stages=(3,) if name.startswith("lsn") else None)
    config = change(config, "input", sampling="timed", fps=4.0, fps_jitter=2.0)
    config = change(config, "training", state_carry_prob=0.5, tbptt_frames=2)

    train(config, tmp_path / "run")

    loaded = load_weights(tmp_path / "run")
    assert loaded.model.is_causal
    assert loaded.frame_rates == FrameRates(2.0, 4.0, 8.0)
    assert load_evaluation(tmp_path / "run").protocol.describe().endswith("timed, 4 fps")
    logits, state = loaded.model.step(torch.randn(1, 3, 32, 32))
    assert logits.shape == (1, 3)
    assert state.num_frames_B.tolist() == [1]


@pytest.mark.parametrize(("key", "value"), [("state_carry_prob", 0.5), ("tbptt_frames", 1)])
def test_what_needs_a_causal_network_is_refused_for_others(tmp_path, config, key, value):
    config = change(change(config, "model", name="lsn_ss_test_resnet"), "training", **{key: value})
    with pytest.raises(ConfigError, match=f"training.{key} is {value}, .* one frame ahead; set model.shift=causal"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_frozen_norms_of_a_started_network_stay_over_a_whole_run(tmp_path, config, learned):
    start = learned[1].out
    config = change(config, "model", name="tsn_resnet10t", initial_weights=str(start), memory_stages=None)
    train(change(config, "training", batch_norm="frozen", evaluate_every=2), tmp_path / "run")

    before, after = load_file(start / "model.safetensors"), load_file(tmp_path / "run" / "model.safetensors")

    norms = [name.removesuffix(".running_mean") for name in before if name.endswith(".running_mean")]
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert norms
    assert same == {name for name in before if name.rpartition(".")[0] in norms}


def test_unreadable_clips_stop_the_run_or_are_counted_and_listed(tmp_path, config, colours):
    (tmp_path / "broken.mp4").write_text("not a video")
    manifest = tmp_path / "train.csv"
    rows = [f"{colours}/{row}" for row in (colours / "train.csv").read_text().split()[1:]]
    manifest.write_text("\n".join(["path,label", *rows, f"{tmp_path}/broken.mp4,red"]) + "\n")
    config = change(change(config, "data", train=str(manifest)), "training", batch_size=1)

    with pytest.raises(VideoError, match=r"broken\.mp4"):
        train(config, tmp_path / "raised")
    train(change(config, "data", on_unreadable="skip"), tmp_path / "skipped")

    (listed,) = metrics_of(tmp_path / "skipped", "unreadable")
    assert listed["path"].endswith("broken.mp4")
    assert sum(line["unreadable"] for line in metrics_of(tmp_path / "skipped", "train")) == 2  # one an epoch


def test_divergence_is_said_and_the_last_checkpoint_is_sound(tmp_path, config):
    config = change(change(config, "optim", learning_rate=1e30, clip_grad_norm=0.0), "training", checkpoint_every=1)
    with pytest.raises(LSNError, match=r"step \d+ \(epoch \d\): the .* became (nan|inf).*lower optim.learning_rate"):
        train(config, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").exists()
