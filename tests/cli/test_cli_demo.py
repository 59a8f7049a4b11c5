"""`lsn demo` on few and small videos: what it leaves, shows and removes, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml

from lsn.cli.commands import demo as demo_module
from lsn.config import load_config
from lsn.files import held_lock


@pytest.fixture
def short_demo(monkeypatch, tiny_run):
    """The demo on few and small videos; what is trained and written is real."""
    for name, value in {"NUM_TRAIN": 20, "NUM_VAL": 10, "NUM_WORKERS": 0}.items():
        monkeypatch.setattr(demo_module, name, value)
    kept = [override for override in tiny_run if not override.startswith(("data.train", "data.val"))]
    monkeypatch.setattr(demo_module, "load_config", lambda path: load_config(path, kept))


def assert_complete(out: Path) -> None:
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in summary["models"]] == ["lsn_test_resnet", "tsn_test_resnet"]
    assert summary["seconds"] > 0
    for model, name in zip(summary["models"], ("lsn", "tsn"), strict=True):
        evaluation = json.loads((out / name / "evaluation.json").read_text(encoding="utf-8"))
        assert model["top1"] == evaluation["metrics"]["top1"]
        assert (out / name / "report.html").is_file()
        recipe = load_config(out / name / "recipe.yaml")
        assert recipe.model.name == model["name"]
    recipes = [yaml.safe_load((out / name / "recipe.yaml").read_text(encoding="utf-8")) for name in ("lsn", "tsn")]
    for recipe in recipes:
        recipe["model"].pop("name")
    assert recipes[0] == recipes[1]  # the same budget


DEMO = """
import os, signal, sys
for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_DFL)
from lsn.cli import main
from lsn.cli.commands import demo
from lsn.config import load_config
from lsn.files import held_lock
demo.NUM_TRAIN, demo.NUM_VAL, demo.NUM_WORKERS = 20, 10, 0
demo.load_config = lambda path: load_config(path, sys.argv[2:])
sys.exit(main(["demo", "--out", sys.argv[1]]))
"""


@contextmanager
def demo_in_training(tiny_run: tuple[str, ...], out: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo in a session of its own, both of whose models are being trained, and would be for hours."""
    kept = [override for override in tiny_run if not override.startswith(("data.train", "data.val", "training.epochs"))]
    process = subprocess.Popen(
        [sys.executable, "-c", DEMO, out, *kept, "training.epochs=1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not all((out / name / "metrics.jsonl").exists() for name in ("lsn", "tsn")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_stopped_demo_ends_the_training_beside_it(tiny_run, tmp_path):
    with demo_in_training(tiny_run, tmp_path / "demo") as process:
        process.send_signal(signal.SIGTERM)  # to the demo alone
        _, err = process.communicate(timeout=120)
        assert process.returncode == 128 + signal.SIGTERM
        assert err.splitlines()[-2:] == [
            f"lsn: {tmp_path / 'demo/lsn'}: the same command starts again from the beginning",
            "lsn: interrupted",
        ]
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # nobody is left of its session


@pytest.mark.slow
def test_the_training_beside_a_killed_demo_ends_too(tiny_run, tmp_path):
    with demo_in_training(tiny_run, tmp_path / "demo") as process:
        process.kill()
        process.communicate(timeout=120)  # which the training beside it does not hold open
        deadline = time.monotonic() + 120
        with pytest.raises(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(process.pid, 0)
                time.sleep(0.05)


def test_the_demo_does_not_remove_a_run_that_is_under_way(lsn, short_demo, tmp_path):
    folder = tmp_path / "demo/lsn"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").touch()
    with held_lock(folder) as is_held:
        assert is_held
        answer = lsn("demo", "--out", tmp_path / "demo")
    assert (answer.code, f"{folder}: another process trains in this folder" in answer.err) == (2, True)
    assert (folder / "recipe.yaml").exists()


@pytest.mark.slow
def test_the_demo_says_why_its_control_could_not_be_trained(lsn, short_demo, tmp_path):
    mine = tmp_path / "demo/tsn/checkpoint.pt"
    mine.parent.mkdir(parents=True)
    mine.write_text("of another run", encoding="utf-8")
    answer = lsn("demo", "--out", tmp_path / "demo")
    assert answer.code == 2
    log = tmp_path / "demo/tsn.log"
    assert answer.err.splitlines()[-1].endswith(f"{log} says why")
    assert str(mine.parent) in log.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_demo_tells_its_progress_leaves_what_it_promises_and_can_be_repeated(lsn, short_demo, tmp_path, monkeypatch):
    monkeypatch.setattr("lsn.cli.ui.progress.SECONDS_BETWEEN_LINES", 0.0)
    out = tmp_path / "demo"
    own, thesis = out / "own.txt", out / "lsn/thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work", encoding="utf-8")
    first = lsn("demo", "--out", out)
    assert thesis.read_text(encoding="utf-8") == "years of work"
    parts = [line.split(":")[0] for line in first.err.splitlines() if re.match(r"[a-z ]+: \d+%", line)]
    assert list(dict.fromkeys(parts)) == ["writing videos", "training", "predicting"]
    percents = [int(text) for text in re.findall(r"^[a-z ]+: (\d+)%", first.err, flags=re.MULTILINE)]
    assert percents == sorted(percents)
    assert 90 <= percents[-1] <= 100
    assert re.search(r"training: \d+%, .+ left, epoch 1/1, loss", first.err)
    assert "epoch 1: validation top-1" in first.err
    assert not re.search(r"\d+%,|epoch", first.out)
    assert "lsn_test_resnet" in first.out

    own.write_text("not the demo's", encoding="utf-8")
    video = next(out.glob("videos/val/*/*.mp4"))
    written = video.stat().st_mtime_ns
    second = lsn("demo", "--out", out)
    assert (first.code, second.code) == (0, 0)
    assert "are replaced" not in first.out
    assert "are replaced" in second.out
    assert own.is_file()
    assert video.stat().st_mtime_ns == written
    assert "writing videos" not in second.err
    assert "training: 0%, reading the first clips" in second.err
    assert_complete(out)
