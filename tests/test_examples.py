"""Every script of examples/ runs as it is, on what it makes itself, and says what it promises."""

import os
import re
import runpy
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from lsn import create_model

FOLDER = Path(__file__).parents[1] / "examples"
SAYS = {
    "evaluate_weights": r"top-1 \d+\.\d% on 8 videos",
    "export_features": r"8 frames, 96 features each",
    "live_loop": r"at the end: walking_\w+, since 0\.00 s",
    "many_streams": r"(?s)door: ended.*yard: ended.*desk: ended at 2\.88 s",
    "memory_in_your_network": r"right on (9\d|100)\.\d% of new clips",
    "own_frames": r"(?s)as a clip: walking_.*as a stream, at 2\.\d+ s: walking_",
    "own_manifest": r"12 clips to train on, 6 to validate on",
    "predict_a_batch": r"2\.mp4: walking_\w+ \(\d+\.\d%\)",
    "save_and_resume_a_stream": r"all 32 predictions are those of the stream that was not interrupted",
    "train_on_a_folder": r"top-1 (9\d|100)\.\d% after epoch",
    "without_torch": r"(?s)lsn_test_resnet at 8 frames per second .*0\.00 to 4\.00 s: walking_.*without PyTorch",
}


def test_every_example_is_listed():
    assert {path.stem for path in FOLDER.glob("*.py")} == {"toy", *SAYS}


IN_PROCESS = [name for name in SAYS if name != "without_torch"]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "train_on_a_folder" else name for name in IN_PROCESS]
)
def test_an_example_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    monkeypatch.syspath_prepend(FOLDER)
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    assert re.search(SAYS[name], capsys.readouterr().out)


def make_export(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the example's other process makes, with fewer memories and a shorter proof."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr("toy.create_model", partial(create_model, memory_stages=(3,)))
    monkeypatch.setattr("lsn.export.proof.MANY_STEPS", 10)
    with monkeypatch.context() as here:
        here.chdir(folder)
        exec(runpy.run_path(str(FOLDER / "without_torch.py"))["TOY"], {})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["export_features", "without_torch"])
def test_an_example_is_a_program(name, tmp_path, monkeypatch):
    if name == "without_torch":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        make_export(tmp_path, monkeypatch)
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(SAYS[name], done.stdout)
