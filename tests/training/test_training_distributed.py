"""Two real processes under torchrun against one process at double the batch size."""

import csv
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from lsn.config import InputConfig, OptimConfig, RunConfig, TrainingConfig, to_yaml
from lsn.models import create_model
from lsn.models.weights import save_weights
from lsn.training import train
from lsn.training.distributed import join_world

SCRIPT = """
import sys
from pathlib import Path
import torch
from lsn.config import load_config
from lsn.errors import LSNError
from lsn.training import train
from lsn.training.batch_norm import CPUSyncBatchNorm
from lsn.training.distributed import join_world


def sync_norm(folder):
    data = torch.load(folder / "norm.pt")
    with join_world("cpu") as world:
        norm = CPUSyncBatchNorm(torch.nn.BatchNorm2d(4))
        x = data["x"].split([5, 0])[world.rank].requires_grad_()
        y = norm(x)
        (y * data["probe"].split([5, 0])[world.rank]).sum().backward()
        weight_gradient = torch.tensor(world.sum(norm.weight.grad.tolist()))
        result = {"y": y, "x": x.grad, "weight": weight_gradient, "state": norm.state_dict()}
        torch.save(result, folder / f"norm{world.rank}.pt")


if __name__ == "__main__":
    sync_norm(Path(sys.argv[1]))
    for recipe in sorted(Path(sys.argv[1]).glob("*.yaml")):
        try:
            result = train(load_config(recipe), recipe.with_suffix(""))
            print(f"RESULT {recipe.stem} {result.best_top1} {result.best_epoch}")
        except LSNError as error:
            print(f"RESULT {recipe.stem} {error}")
"""


def change(config: RunConfig, **sections) -> RunConfig:
    return replace(config, **{name: replace(getattr(config, name), **values) for name, values in sections.items()})


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Weights whose statistics and memory are those of no fresh network."""
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(5)
    model = create_model("lsn_resnet10t", num_classes=3, num_frames=2, memory_stages=(3,))
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
        model={"name": "lsn_resnet10t", "num_frames": 2, "memory_stages": (3,), "dropout": 0.0},
        data={"train": str(colours / "train.csv"), "val": str(colours / "val.csv"), "num_workers": 0},
    )
    config = replace(
        config,
        input=InputConfig(size=32, short_side=32),
        optim=OptimConfig(learning_rate=0.01),
        training=TrainingConfig(epochs=2, batch_size=2, device="cpu", seed=3),
    )
    from_start = {"initial_weights": str(start)}
    configs = {
        "sync": change(config, training={"batch_norm": "sync", "ema_decay": 0.5}),
        "frozen": change(config, model=from_start, training={"batch_norm": "frozen", "accumulate": 2}),
        # Eight clips of which one cannot be read, at one clip a process: one process is left without any.
        "skip": change(
            config,
            model=from_start,
            data={"train": str(folder / "broken.csv"), "on_unreadable": "skip"},
            training={"batch_norm": "frozen", "batch_size": 1},
        ),
    }
    two, one = folder / "two", folder / "one"
    two.mkdir()
    for name, settings in configs.items():
        (two / f"{name}.yaml").write_text(to_yaml(settings))
        alone = "train" if settings.training.batch_norm == "sync" else settings.training.batch_norm
        doubled = {"batch_size": 2 * settings.training.batch_size, "batch_norm": alone}
        train(change(settings, training=doubled), one / name)
    raising = change(configs["skip"], data={"on_unreadable": "raise"})
    (two / "raise.yaml").write_text(to_yaml(raising))
    torch.manual_seed(0)
    torch.save({"x": torch.randn(5, 4, 3, 2) + 3, "probe": torch.randn(5, 4, 3, 2)}, two / "norm.pt")
    script = folder / "train.py"
    script.write_text(SCRIPT)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, script, two], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: (two / name, one / name) for name in configs} | {"output": done.stdout}


def lines_of(out, kind):
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.mark.parametrize("name", ["sync", "frozen", "skip"])
def test_two_processes_give_what_one_gives_at_double_the_batch(runs, name):
    two, one = (torch.load(out / "checkpoint.pt", weights_only=True)["states"] for out in runs[name])

    # Norms over a handful of values magnify the rounding of sums that are taken in another order.
    tolerance = {"rtol": 5e-3, "atol": 2e-3} if name == "sync" else {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(two["model"], one["model"], **tolerance)
    if name == "sync":
        torch.testing.assert_close(two["ema"], one["ema"], **tolerance)


def test_the_synchronized_norm_is_the_norm_of_all_clips_even_with_none_in_one_process(runs):
    folder = runs["sync"][0].parent
    data = torch.load(folder / "norm.pt")
    first, second = (torch.load(folder / f"norm{rank}.pt") for rank in (0, 1))
    norm, x = torch.nn.BatchNorm2d(4), data["x"].requires_grad_()
    y = norm(x)
    (y * data["probe"]).sum().backward()

    torch.testing.assert_close(torch.cat([first["y"], second["y"]]), y)
    torch.testing.assert_close(torch.cat([first["x"], second["x"]]), x.grad)
    torch.testing.assert_close(first["weight"], norm.weight.grad)
    for result in (first, second):
        torch.testing.assert_close(result["state"], norm.state_dict())


@pytest.mark.parametrize("name", ["sync", "frozen", "skip"])
def test_they_report_the_same(runs, name):
    for kind in ("train", "val", "unreadable"):
        ours, theirs = (lines_of(out, kind) for out in runs[name])
        assert len(ours) == len(theirs)
        for line, other in zip(ours, theirs, strict=True):
            assert line.keys() == other.keys()
            for key in line.keys() - {"clips_per_second", "seconds"}:
                expected = other[key] if isinstance(other[key], str) else pytest.approx(other[key], rel=1e-2, abs=1e-3)
                assert line[key] == expected, key
    assert len(lines_of(runs["skip"][0], "unreadable")) == 1


def test_every_video_is_evaluated_exactly_once(runs):
    two, one = ([row["path"] for row in csv.DictReader((out / "predictions.csv").open())] for out in runs["sync"])

    assert len(two) == len(set(two)) == 5
    assert sorted(two) == sorted(one)


def test_the_saved_weights_are_the_same(runs):
    two, one = (load_file(out / "model.safetensors") for out in runs["frozen"])
    torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-6)


def test_every_process_gets_the_result(runs):
    for name in ("sync", "frozen", "skip"):
        results = [line for line in runs["output"].splitlines() if line.startswith(f"RESULT {name} ")]
        assert len(results) == 2
        assert len(set(results)) == 1


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
