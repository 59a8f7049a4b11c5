"""`lsn train` in a real process under real signals: what is promised is there, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lsn.config import to_yaml

COMMAND = """
import runpy, signal
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(signum, signal.SIG_DFL)  # a shell that runs the tests in the background ignores SIGINT
runpy.run_module("lsn", run_name="__main__")
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lsn"]
STEPS = 24


class Training:
    """`lsn train` of 3 epochs of 8 steps, in a session of its own which is killed in the end."""

    def __init__(self, recipe: Path, out: Path, *flags: str, start: list[str] | None = None) -> None:
        self.metrics = out / "metrics.jsonl"
        self.earlier = self.metrics.stat().st_ino if self.metrics.exists() else None
        self.process = subprocess.Popen(
            [sys.executable, *(start or ["-c", COMMAND]), "train", str(recipe), "--out", str(out), *flags],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=60)

    def wait_for(self, number: int) -> None:
        """Waits until so many lines of metrics are written, or the end."""
        deadline = time.monotonic() + 200
        while number > 0 and self.process.poll() is None and self.num_lines() < number:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def num_lines(self) -> int:
        """Lines of metrics; 0 as long as the file is that of an earlier part, which a resumed run replaces."""
        if not self.metrics.exists() or self.metrics.stat().st_ino == self.earlier:
            return 0
        return len(self.metrics.read_text().splitlines())

    def end(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=200)
        return self.process.returncode, out, err


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, colours):
    """A recipe and what a run of it that nobody stops leaves."""
    from lsn.config import DataConfig, InputConfig, ModelConfig, OptimConfig, RunConfig, TrainingConfig
    from lsn.training import train

    folder = tmp_path_factory.mktemp("experiment")
    rows = [f"{colours}/{row}" for row in (colours / "train.csv").read_text().split()[1:]]
    copies = []
    for number in range(8):
        path, label = rows[number % len(rows)].split(",")
        os.link(path, folder / f"{number}.mp4")
        copies.append(f"{folder}/{number}.mp4,{label}")
    (folder / "train.csv").write_text("\n".join(["path,label", *copies]) + "\n")
    config = RunConfig(
        model=ModelConfig(name="lsn_test_resnet", num_frames=2, pretrained=False, memory_stages=(3,), dropout=0.5),
        data=DataConfig(train=str(folder / "train.csv"), val=str(colours / "val.csv"), num_workers=1),
        input=InputConfig(size=32, short_side=32, color_jitter=0.1),
        optim=OptimConfig(
            optimizer="sgd",
            learning_rate=0.02,
            lr_base_size=0,
            weight_decay=5e-4,
            new_layer_lr_mult=1.0,
            warmup_epochs=0.0,
        ),
        training=TrainingConfig(
            epochs=3, min_steps_per_epoch=1, batch_size=1, batch_norm="train", device="cpu", seed=3, checkpoint_every=3
        ),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(replace(config, data=replace(config.data, num_workers=0)), folder / "whole")
    torch.set_num_threads(threads)
    (folder / "recipe.yaml").write_text(to_yaml(config))
    return folder, config


@pytest.fixture(scope="module")
def by_two(experiment, tmp_path_factory):
    """What the run of two processes leaves that nobody stops."""
    folder = tmp_path_factory.mktemp("two")
    with Training(experiment[0] / "recipe.yaml", folder / "whole", start=TORCHRUN) as training:
        assert training.end()[0] == 0
    return folder / "whole"


def metrics_of(out):
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def assert_same_run(out, expected):
    """The same tensors bit by bit, the same metrics but for times, and no file too many."""
    for name in ("model.safetensors", "checkpoint.pt"):
        tensors, theirs = (
            load_file(folder / name)
            if name.startswith("model")
            else torch.load(folder / name, weights_only=True)["states"]
            for folder in (out, expected)
        )
        torch.testing.assert_close(tensors, theirs, rtol=0, atol=0)
    lines, theirs = (
        [{k: v for k, v in line.items() if k not in ("clips_per_second", "seconds")} for line in metrics_of(folder)]
        for folder in (out, expected)
    )
    assert lines == theirs
    assert not [path.name for path in out.iterdir() if "partial" in path.name]


def step_of(out):
    return torch.load(out / "checkpoint.pt", weights_only=True)["position"]["step"]


@pytest.mark.slow
def test_sigterm_ends_a_run_after_its_step_and_it_resumes(experiment, tmp_path):
    folder, _ = experiment
    with Training(folder / "recipe.yaml", tmp_path / "run") as training:
        training.wait_for(5)
        os.killpg(training.process.pid, signal.SIGTERM)
        code, out, err = training.end()
    assert (code, out) == (75, ""), err  # the scheduler that sent it may start the run again
    assert err.splitlines()[-2:] == [
        f"lsn: {tmp_path / 'run'}: the same command with --resume continues it",
        "lsn: interrupted",
    ]
    assert step_of(tmp_path / "run") == max(line["step"] for line in metrics_of(tmp_path / "run"))
    with Training(folder / "recipe.yaml", tmp_path / "run", "--resume") as training:
        assert training.end()[0] == 0
    assert_same_run(tmp_path / "run", folder / "whole")


@pytest.mark.slow
def test_processes_of_torchrun_stop_at_the_same_step_though_one_alone_is_asked(experiment, tmp_path):
    config = experiment[1]
    config = replace(
        config,
        data=replace(config.data, num_workers=0),
        training=replace(config.training, checkpoint_every=0),
    )
    (tmp_path / "two.yaml").write_text(to_yaml(config))
    with Training(tmp_path / "two.yaml", tmp_path / "run", start=TORCHRUN) as training:
        training.wait_for(2)
        ranks = ranks_of(training)
        assert len(ranks) == 2
        os.kill(ranks[1], signal.SIGTERM)
        _, _, err = training.end()
    assert f"{tmp_path / 'run'}: the same command with --resume continues it" in err
    done = step_of(tmp_path / "run")
    assert done == max(line["step"] for line in metrics_of(tmp_path / "run"))
    assert done % 4 > 0, "stopped where there is a checkpoint in any case"


@pytest.mark.slow
def test_torchrun_replaces_a_worker_that_was_killed(experiment, by_two, tmp_path):
    recipe = experiment[0] / "recipe.yaml"
    elastic = [*TORCHRUN[:2], "--max-restarts", "2", *TORCHRUN[2:]]
    with Training(recipe, tmp_path / "run", "--auto-resume", start=elastic) as training:
        training.wait_for(5)
        os.kill(ranks_of(training)[0], signal.SIGKILL)  # the one that writes
        code, _, err = training.end()
    assert code == 0, err
    assert_same_run(tmp_path / "run", by_two)


def ranks_of(training: Training) -> list[int]:
    """The processes that train under torchrun, in the order of their ranks."""
    found = {}
    for pid in children_of(training.process.pid):
        with suppress(OSError):
            environment = dict(
                line.partition("=")[::2] for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in line
            )
            if "RANK" in environment:
                found[int(environment["RANK"])] = pid
    return [pid for _, pid in sorted(found.items())]


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("moment", [0.3, 2.5])
@pytest.mark.slow
def test_a_signal_while_a_run_is_set_up_leaves_no_folder(experiment, tmp_path, moment):
    folder, _ = experiment
    with Training(folder / "recipe.yaml", tmp_path / "run") as training:
        time.sleep(moment)
        training.process.send_signal(signal.SIGTERM)
        code, _, err = training.end()
    assert code in (75, 143, -signal.SIGTERM), err
    if (tmp_path / "run").exists():
        assert "--resume continues it" in err  # it was set up by then
        assert step_of(tmp_path / "run") >= 0
    else:
        assert err in ("lsn: interrupted\n", "")
