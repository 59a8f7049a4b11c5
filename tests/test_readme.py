"""Every command and every Python example of the README runs, in the README's order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lsn.cli import main
from lsn.video import write_video

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SETUP = ("make demo", "make test", "source .venv/bin/activate")  # the slow test and .ci/run run them
# What is appended to a training, so that it takes seconds and needs no hub; everything else runs as it is written.
SHORT = [
    "training.epochs=2",
    "training.min_steps_per_epoch=1",
    "optim.learning_rate=0.003",  # so that few steps are felt in the memory, which `lsn verify` wants to see
    "optim.lr_base_size=0",
    "training.batch_size=2",
    "model.pretrained=false",
    "model.num_frames=2",
]
SHORT += ["input.size=32", "input.short_side=32", "data.num_workers=0", "training.batch_norm=train"]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip() and line not in SETUP]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a newcomer's videos: two classes, five each, and one more clip."""
    folder = tmp_path_factory.mktemp("desk")
    rng = np.random.default_rng(0)
    for label in ("opening", "closing"):
        for number in range(5):
            frames = rng.integers(0, 255, (6, 40, 48, 3), dtype=np.uint8)
            write_video(folder / "videos" / label / f"{number}.mp4", frames, fps=10)
    shutil.copy(folder / "videos/opening/0.mp4", folder / "clip.mp4")
    rows = ["path,label,start_seconds,end_seconds"]
    for number in range(4):
        frames = rng.integers(0, 255, (40, 40, 48, 3), dtype=np.uint8)
        write_video(folder / f"days/{number}.mp4", frames, fps=10)
        rows += [f"days/{number}.mp4,opening,0.5,1.5", f"days/{number}.mp4,closing,2,3"]
    (folder / "events.csv").write_text("\n".join(rows) + "\n")
    return folder


def run(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


@pytest.mark.slow
def test_commands_and_python_examples_run(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    lines = commands()
    assert {line.split()[1] for line in lines} >= {"data", "train", "predict", "evaluate", "recipes"}
    assert all(line.startswith("lsn ") for line in lines)
    for line in lines:
        extra = SHORT if line.startswith(("lsn train ", "lsn probe ")) else []
        if extra and "model.name=" not in line:
            extra = [*extra, "model.name=lsn_test_resnet"]
        if line.startswith("lsn train timeline "):
            extra = [*extra, "timelines.stretch_frames=32"]
        assert main([*line.split()[1:], *extra]) == 0, line
    for name in ("report.html", "predictions.csv", "model.safetensors"):
        assert (desk / "runs/mine" / name).is_file()
    assert (desk / "seen.mp4").is_file() and (desk / "measured/report.html").is_file()
    for example in blocks("python"):
        exec(example, {"__name__": "__main__"})


def test_every_command_named_in_the_text_exists() -> None:
    from lsn.cli.app import app

    for command in re.findall(r"`lsn ([a-z]+)", README):
        assert command in app, command


def test_every_linked_file_exists() -> None:
    for target in re.findall(r"\]\(((?!http)[^)#]+)", README):
        assert (ROOT / target).is_file(), target


@pytest.mark.slow
def test_make_demo_in_a_clean_clone(tmp_path: Path) -> None:
    """With the packages of this environment, which .ci/run has installed on a machine without any."""
    clone = tmp_path / "lsn"
    run(["git", "clone", "--quiet", str(ROOT), str(clone)], tmp_path)
    (clone / ".venv").symlink_to(sys.prefix)
    environment = os.environ | {"PYTHONPATH": str(clone / "src")}
    command = ["make", "--old-file", ".venv/.installed", "demo"]
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((clone / "runs/demo/summary.json").read_text())
    top1 = {model["name"].split("_")[0]: model["top1"] for model in summary["models"]}
    assert top1["lsn"] >= 0.9  # 94 to 98% have been seen, by the processor
    assert top1["tsn"] <= 0.60
