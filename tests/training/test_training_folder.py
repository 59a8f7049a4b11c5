"""One process trains in a folder, and a run that was not set up leaves nothing in the way of the corrected one."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lsn.config import to_yaml
from lsn.distributed import World
from lsn.errors import ConfigError, LSNError, VideoError
from lsn.files import held_lock
from lsn.training import train
from lsn.training.folder import claimed_folder, is_unstarted, refuse_to_overwrite
from lsn.training.position import Position

ALONE = World(0, 1, torch.device("cpu"))


def change(config, section, **values):
    return replace(config, **{section: replace(getattr(config, section), **values)})


def test_a_folder_with_a_run_is_refused(tmp_path):
    refuse_to_overwrite(tmp_path / "new")
    (tmp_path / "notes.txt").touch()
    refuse_to_overwrite(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    with pytest.raises(ConfigError, match=r"already holds a run \(recipe.yaml\); .* --out, or .* --resume"):
        refuse_to_overwrite(tmp_path)
    with pytest.raises(ConfigError, match="is a file"), claimed_folder(tmp_path / "notes.txt", ALONE, resume=False):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_one_run_at_a_time(tmp_path, config, resume):
    class Intruder:
        on_start = on_evaluation = on_evaluated = lambda self, *arguments: None

        def on_step(self, report):
            with pytest.raises(ConfigError, match=r"run: another process trains in this folder; wait .* --out"):
                train(config, tmp_path / "run", resume=resume)
            self.was_refused = True

    intruder = Intruder()
    train(config, tmp_path / "run", progress=intruder)
    assert intruder.was_refused
    train(config, tmp_path / "run", resume=True)


TRAINS_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
from lsn.config import load_config
from lsn.training import train

class Reporter:
    on_start = on_evaluation = on_evaluated = lambda self, *arguments: None
    def on_step(self, report):
        print("step", flush=True)
        sys.stdin.readline()

if __name__ == "__main__":
    train(load_config(sys.argv[1]), Path(sys.argv[2]), progress=Reporter())
"""


@pytest.mark.slow
def test_a_killed_run_does_not_hold_its_folder_even_if_its_workers_do_not_know_yet(tmp_path, config):
    config = change(change(config, "data", num_workers=2), "training", checkpoint_every=1)
    (tmp_path / "recipe.yaml").write_text(to_yaml(config))
    (tmp_path / "trains.py").write_text(TRAINS_UNTIL_KILLED)
    process = subprocess.Popen(
        [sys.executable, tmp_path / "trains.py", tmp_path / "recipe.yaml", tmp_path / "run"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout.readline() == "step\n"
        with pytest.raises(ConfigError, match="another process trains in this folder"):
            train(config, tmp_path / "run", resume=True)
        workers = [pid for pid in processes_of(process.pid) if pid != process.pid]
        assert len(workers) > 2
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)  # they cannot end before the run is resumed
        process.kill()
        process.wait(60)
        train(config, tmp_path / "run", resume=True)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def processes_of(session: int) -> list[int]:
    found = []
    for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
        with suppress(ProcessLookupError):
            found += [pid] if os.getsid(pid) == session else []
    return found


@pytest.fixture
def unreadable(tmp_path, colours):
    """Manifests whose clips are there, and cannot be decoded."""
    (tmp_path / "broken.mp4").write_text("not a video")
    rows = [f"{colours}/{row}" for row in (colours / "train.csv").read_text().split()[1:]]
    (tmp_path / "some.csv").write_text("\n".join(["path,label", *rows[1:], f"{tmp_path}/broken.mp4,red"]) + "\n")
    return tmp_path / "some.csv"


WRONG = {
    "frozen stages": ("training", {"frozen_stages": 2}),
    "weights": ("model", {"initial_weights": "none"}),
    "manifest": ("data", {"train": "none.csv"}),
    "warm-up": ("optim", {"warmup_epochs": 5.0}),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_run_that_cannot_be_set_up_leaves_the_folder_as_it_was(tmp_path, config, name, is_there):
    section, values = WRONG[name]
    out = tmp_path / "runs/mine"
    if is_there:
        out.mkdir(parents=True)

    with pytest.raises(LSNError):
        train(change(config, section, **values), out)

    assert list(tmp_path.rglob("*")) == ([out.parent, out] if is_there else [])
    train(config, out)


def test_a_run_that_fails_while_its_first_files_are_written_leaves_none(tmp_path, config, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device", "metrics.jsonl")

    with monkeypatch.context() as context:
        context.setattr("lsn.training.folder.Tracker", fail)
        with pytest.raises(OSError, match="No space left"):
            train(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_failed_before_its_first_step_is_replaced_by_the_corrected_one(tmp_path, config, unreadable, caplog):
    wrong = change(change(config, "data", train=str(unreadable)), "training", batch_size=7)
    with pytest.raises(VideoError, match="broken"):
        train(wrong, tmp_path / "run")
    assert is_unstarted(tmp_path / "run")

    train(config, tmp_path / "run")

    assert "holds a run that ended before its first step; it is replaced" in caplog.text
    assert not is_unstarted(tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds a run"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize("what", ["a step", "a line of metrics", "weights", "another's checkpoint"])
def test_whatever_a_run_has_made_is_never_replaced(tmp_path, config, colours, what):
    from lsn.training.checkpoints.file import save_checkpoint

    save_checkpoint(
        tmp_path,
        config=config,
        num_processes=1,
        fingerprint="abc",
        position=Position(step=1 if what == "a step" else 0),
        trained_names=[],
        states={},
    )
    if what == "a line of metrics":
        (tmp_path / "metrics.jsonl").write_text("{}\n")
    elif what == "weights":
        (tmp_path / "model.safetensors").touch()
    elif what == "another's checkpoint":
        (tmp_path / "checkpoint.pt").write_bytes(b"of a program of mine")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}

    with pytest.raises(ConfigError, match="already holds a run"):
        train(config, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_done_at_the_end_is_done_before_another_run_may_have_the_folder(config, tmp_path):
    config = replace(config, training=replace(config.training, epochs=1))
    seen = []

    def look() -> None:
        with held_lock(tmp_path / "run") as is_held:
            seen.append((is_held, (tmp_path / "run/evaluation.json").is_file()))

    train(config, tmp_path / "run", when_done=look)
    assert seen == [(False, True)]
