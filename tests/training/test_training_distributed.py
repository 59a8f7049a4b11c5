"""Two real processes under torchrun against one process at double the batch size."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torchrun_worker
from colour_timelines import write_timelines_of_colours
from safetensors.torch import load_file

from lsn.config import InputConfig, OptimConfig, RunConfig, TimelineConfig, TrainingConfig, load_config, to_yaml
from lsn.distributed import World, join_world
from lsn.errors import ConfigError
from lsn.models import create_model
from lsn.models.weights import save_weights
from lsn.training import train


def change(config: RunConfig, **sections) -> RunConfig:
    return replace(config, **{name: replace(getattr(config, name), **values) for name, values in sections.items()})


pytestmark = pytest.mark.slow  # two processes train several runs, which the tests share


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Weights whose statistics and memory are those of no fresh network."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(5)
    model = create_model("lsn_test_resnet", num_classes=3, num_frames=2, memory_stages=(3,))
    torch.nn.init.normal_(model.memory["3"].expand[1].weight, std=0.1)
    with torch.no_grad():
        for _ in range(20):
            model(torch.randn(4, 2, 3, 32, 32))
    save_weights(folder, model, labels=["blue", "grey", "red"], input=InputConfig(), metrics={})
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory, colours, start):
    """The same runs by two processes and by one: {name: (folder of two, folder of one)}."""
    folder = tmp_path_factory.mktemp("runs")
    broken = folder / "broken.mp4"
    broken.write_text("not a video")
    rows = [f"{colours}/{row}" for row in (colours / "train.csv").read_text().split()[1:]]
    (folder / "broken.csv").write_text("\n".join(["path,label", *rows, f"{broken},red"]) + "\n")
    config = change(
        RunConfig(),
        model={"name": "lsn_test_resnet", "num_frames": 2, "pretrained": False, "memory_stages": (3,), "dropout": 0.0},
        data={"train": str(colours / "train.csv"), "val": str(colours / "val.csv"), "num_workers": 0},
    )
    config = replace(
        config,
        input=InputConfig(size=32, short_side=32),
        optim=OptimConfig(
            optimizer="sgd",
            learning_rate=0.01,
            lr_base_size=0,
            weight_decay=5e-4,
            new_layer_lr_mult=1.0,
            warmup_epochs=0.0,
        ),
        training=TrainingConfig(
            epochs=2, min_steps_per_epoch=1, batch_size=2, batch_norm="train", device="cpu", seed=3
        ),
    )
    from_start = {"initial_weights": str(start)}
    configs = {
        "sync": change(config, training={"batch_norm": "sync", "ema_decay": 0.5}),
        "frozen": change(config, model=from_start, training={"batch_norm": "frozen", "grad_accum_steps": 2}),
        # Eight clips of which one cannot be read, at one clip a process: one process is left without any.
        "skip": change(
            config,
            model=from_start,
            data={"train": str(folder / "broken.csv"), "on_unreadable": "skip"},
            training={"batch_norm": "frozen", "batch_size": 1},
        ),
    }
    configs["chunks"] = change(configs["frozen"], training={"tbptt_frames": 1})
    configs["streams"] = streams_of(configs["frozen"], folder)
    two, one = folder / "two", folder / "one"
    two.mkdir()
    for name, settings in configs.items():
        (two / f"{name}.yaml").write_text(to_yaml(settings))
        alone = "train" if settings.training.batch_norm == "sync" else settings.training.batch_norm
        doubled = {"batch_size": 2 * settings.training.batch_size, "batch_norm": alone}
        train(change(settings, training=doubled), one / name)
    # What each process carries is its own, so there is no run of one process that is the same.
    carried = change(
        configs["frozen"], training={"state_carry_prob": 0.8, "checkpoint_every": 1, "grad_accum_steps": 1}
    )
    (two / "carried.yaml").write_text(to_yaml(carried))
    # Which is resumed by one process in the middle.
    fewer = change(configs["frozen"], training={"checkpoint_every": 1, "grad_accum_steps": 1})
    (two / "fewer.yaml").write_text(to_yaml(fewer))
    raising = change(configs["skip"], data={"on_unreadable": "raise"})
    (two / "raise.yaml").write_text(to_yaml(raising))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, torchrun_worker.__file__, two], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: (two / name, one / name) for name in configs} | {"output": done.stdout}


def streams_of(config: RunConfig, folder) -> RunConfig:
    """The same network on long videos: two streams a process, whose state goes on from chunk to chunk."""
    data = {split: str(write_timelines_of_colours(folder, split)) for split in ("train", "val")}
    return replace(
        config,
        data=replace(config.data, kind="timelines", **data),
        input=replace(config.input, sampling="timed", fps=3.0),
        training=replace(config.training, grad_accum_steps=1, tbptt_frames=4),
        timelines=TimelineConfig(stretch_frames=8, splice_prob=0.5),
    )


def lines_of(out, kind):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_steps_of_two_processes_with_synchronized_norms_are_those_of_one(runs):
    weights, losses = torchrun_worker.take_steps(World(0, 1, torch.device("cpu")), shares=[(4,), (3,)])

    for rank in (0, 1):
        its_weights, its_losses = torch.load(runs["sync"][0].parent / f"steps{rank}.pt")
        torch.testing.assert_close(its_weights, weights, rtol=1e-9, atol=1e-9)
        assert its_losses == pytest.approx(losses, rel=1e-6)


@pytest.mark.parametrize("name", ["frozen", "skip", "chunks", "streams"])
def test_runs_of_two_processes_are_those_of_one_at_double_the_batch(runs, name):
    two, one = (torch.load(out / "checkpoint.pt", weights_only=True)["states"] for out in runs[name])
    torch.testing.assert_close(two["model"], one["model"], rtol=1e-5, atol=1e-5)
    two, one = (load_file(out / "model.safetensors") for out in runs[name])
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["frozen", "skip", "chunks"])
def test_they_report_the_same(runs, name):
    for kind in ("train", "val", "unreadable"):
        ours, theirs = (lines_of(out, kind) for out in runs[name])
        assert len(ours) == len(theirs)
        for line, other in zip(ours, theirs, strict=True):
            assert line.keys() == other.keys()
            for key in line.keys() - {"clips_per_second", "seconds"}:
                expected = other[key] if isinstance(other[key], str) else pytest.approx(other[key], rel=1e-4, abs=1e-5)
                assert line[key] == expected, key
    assert len(lines_of(runs["skip"][0], "unreadable")) == 1


def test_a_run_with_synchronized_norms_starts_as_that_of_one_process(runs):
    # Later steps drift apart: norms over a handful of values magnify the rounding.
    two, one = (lines_of(out, "train")[0] for out in runs["sync"])
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)


def test_every_video_is_evaluated_exactly_once(runs):
    two, one = ([row["path"] for row in csv.DictReader((out / "predictions.csv").open())] for out in runs["sync"])

    assert len(two) == len(set(two)) == 5
    assert sorted(two) == sorted(one)


def test_every_process_gets_the_result(runs):
    for name in ("sync", "frozen", "skip", "streams"):
        results = [line for line in runs["output"].splitlines() if line.startswith(f"RESULT {name} ")]
        assert len(results) == 2
        assert len(set(results)) == 1


def test_one_process_resumes_what_two_have_begun_with_the_same_steps(runs):
    folder = runs["sync"][0].parent
    train(load_config(folder / "fewer.yaml"), folder / "fewer_parts", resume=True)
    whole, parts = (torch.load(folder / name / "checkpoint.pt", weights_only=True) for name in ("fewer", "fewer_parts"))
    torch.testing.assert_close(parts["states"]["model"], whole["states"]["model"], rtol=1e-5, atol=1e-5)
    assert [line["step"] for line in lines_of(folder / "fewer_parts", "train")] == [1, 2, 3, 4]
    assert parts["num_processes"] == whole["num_processes"] == 2
    with pytest.raises(ConfigError, match="began with 2 processes, each of which continues streams of its own"):
        train(load_config(folder / "carried.yaml"), folder / "carried_parts", resume=True)


def test_each_process_goes_on_with_the_state_that_it_carried(runs):
    folder = runs["sync"][0].parent
    whole, parts = (
        torch.load(folder / name / "checkpoint.pt", weights_only=True) for name in ("carried", "carried_parts")
    )

    torch.testing.assert_close(parts["states"], whole["states"], rtol=0, atol=0)
    assert (parts["position"]["step"], len(lines_of(folder / "carried_parts", "train"))) == (4, 4)
    first, second = (carried["tensors"] for carried in whole["states"]["carried"]["states"])
    assert not torch.equal(first["memory.3.cell_BDHW"], second["memory.3.cell_BDHW"])


def test_a_clip_that_one_process_cannot_read_stops_both_with_its_name(runs):
    results = [line for line in runs["output"].splitlines() if line.startswith("RESULT raise ")]
    assert len(results) == 2
    assert len(set(results)) == 1
    assert "broken.mp4" in results[0]


def test_alone_without_torchrun():
    with join_world("cpu") as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        assert world.sum([1.5, 2.0]) == [1.5, 2.0]
        assert world.gather(["a"]) == ["a"]
