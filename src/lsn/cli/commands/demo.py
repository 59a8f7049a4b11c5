"""`lsn demo`: everything once, on videos that it writes itself."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lsn.cli.commands.predict import print_prediction
from lsn.cli.runs import train_and_report
from lsn.cli.signals import first_signal_asks
from lsn.cli.ui.console import columns, output, percent
from lsn.cli.ui.progress import duration, validation_line
from lsn.cli.ui.whole_progress import WholeProgress, whole_progress
from lsn.config import RunConfig, load_config, to_yaml
from lsn.config.json_files import RECIPE_NAME
from lsn.config.recipes import find_recipe
from lsn.errors import ConfigError, LSNError
from lsn.files import held_lock, write_text

if TYPE_CHECKING:
    from lsn.data.synthetic import SyntheticSet
    from lsn.inference.predictor import Prediction
    from lsn.training import StepReport
    from lsn.training.task import Validation

NUM_TRAIN, NUM_VAL = 1000, 200
SIZE, NUM_FRAMES = 64, 12
"""Of the videos: small enough to be decoded quickly."""
NUM_WORKERS = 2
_VIDEOS = "videos"

_WAY_ON = "the same command starts again from the beginning"
_WRITING, _TRAINING, _PREDICTING = "writing videos", "training", "predicting"
_SHARES = {_WRITING: 0.10, _TRAINING: 0.85, _PREDICTING: 0.05}
"""Of the time of a demo, as measured on two cores."""


def demo(*, out: Path = Path("runs/demo")) -> None:
    """Train a small LSN on videos that it writes itself; takes minutes.

    Writes synthetic videos, trains an LSN and a TSN control on them, compares the two, and predicts one video. Needs
    neither data nor network. The ten classes are five pairs of motions that are exact time-reversals of each other:
    only a model that knows the order of frames can tell them apart, so the control cannot get above one half.

    Parameters
    ----------
    out
        Where everything goes. The models of an earlier demo there are replaced; its videos are used again.
    """
    start = time.monotonic()
    lsn_config, tsn_config = _configs(out)
    folders = {"lsn": out / "lsn", "tsn": out / "tsn"}
    _remove_earlier(out, folders.values())
    with whole_progress(_SHARES) as progress:
        videos = _write_videos(out / _VIDEOS, progress)
        names = lsn_config.model.name, tsn_config.model.name
        progress.log(f"Training {names[0]}, a CNN with a memory, and beside it {names[1]}, the same CNN without")
        with _trained_beside(tsn_config, folders["tsn"], log=out / "tsn.log") as control:
            shown = _DemoProgress(progress, control)
            train_and_report(lsn_config, folders["lsn"], way_on=_WAY_ON, progress=shown)
            control.wait(shown.update)
        progress.update(_PREDICTING, 0)
        video, prediction = _predict_one(folders["lsn"], videos)
    models = [
        {"name": config.model.name, "top1": _metrics(folder)["top1"]}
        for config, folder in zip((lsn_config, tsn_config), folders.values(), strict=True)
    ]
    seconds = round(time.monotonic() - start, 1)
    write_text(out / "summary.json", json.dumps({"models": models, "seconds": seconds}, indent=2) + "\n")
    output().print(Text("What the LSN sees in one of the videos that it was not trained on", style="bold"))
    print_prediction(prediction, video, top=5)
    _print_summary(models, out, seconds, video)


def _configs(out: Path) -> tuple[RunConfig, RunConfig]:
    """The demo's recipe on the demo's videos, with its LSN and with the TSN of the same CNN."""
    config = load_config(find_recipe("demo"))
    data = replace(config.data, train=str(out / _VIDEOS / "train.csv"), val=str(out / _VIDEOS / "val.csv"))
    config = replace(config, data=data)
    control = replace(config.model, name=f"tsn_{config.model.name.removeprefix('lsn_')}")
    return config, replace(config, model=control)


def _remove_earlier(out: Path, folders: Iterable[Path]) -> None:
    """Makes room for the demo's own runs; nothing is removed that does not look like a run."""
    earlier = [folder for folder in folders if (folder / RECIPE_NAME).is_file()]
    if earlier:
        output().print(f"The models of an earlier demo in {out} are replaced.")
    for folder in earlier:
        with held_lock(folder) as is_held:
            if not is_held:
                raise ConfigError(
                    f"{folder}: another process trains in this folder; wait until it has ended, or choose another --out"
                )
            shutil.rmtree(folder)


def _write_videos(folder: Path, progress: WholeProgress) -> SyntheticSet:
    """Writes the videos, unless an earlier demo has."""
    from lsn.data.synthetic import write_synthetic

    num_written = 0

    def on_written(done: int, total: int) -> None:
        nonlocal num_written
        num_written = done
        progress.update(_WRITING, done / total, f"{done} of {total}")

    videos = write_synthetic(
        folder,
        kind="motion",
        num_train=NUM_TRAIN,
        num_val=NUM_VAL,
        size=SIZE,
        num_frames=NUM_FRAMES,
        num_workers=NUM_WORKERS,
        progress=on_written,
    )
    if not num_written:
        progress.skip(_WRITING)
    progress.log(f"{NUM_TRAIN} videos to train on and {NUM_VAL} to test on, in {folder}")
    progress.log(f"Classes: {', '.join(videos.labels)}")
    return videos


class _Control:
    """The training of the control, in a process of its own.

    Args:
        process: runs the training.
        name: of its model.
        folder: of its run.
        log: what it prints.
    """

    def __init__(self, process: subprocess.Popen[bytes], name: str, folder: Path, log: Path) -> None:
        self._process, self._name, self._log = process, name, log
        self._metrics = folder / "metrics.jsonl"

    def num_steps(self) -> int:
        """Steps done, by its file of metrics."""
        try:
            *_, last, _ = self._metrics.read_text(encoding="utf-8").split("\n")  # the last line is not yet whole
        except (OSError, ValueError):
            return 0
        return int(json.loads(last)["step"])

    def wait(self, is_waiting: Callable[[], None]) -> None:
        """Waits for its end.

        Raises:
            LSNError: it failed.
        """
        while self._process.poll() is None:
            is_waiting()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.5)
        if self._process.returncode != 0:
            raise LSNError(f"{self._name} could not be trained; {self._log} says why")


class _DemoProgress:
    """Two trainings as one part of the demo, which has come as far as the slower of the two."""

    def __init__(self, progress: WholeProgress, control: _Control) -> None:
        self._progress, self._control = progress, control
        self._step, self._num_steps = 0, 1

    def update(self, status: str = "") -> None:
        """Moves the bar."""
        step = min(self._step, self._control.num_steps())
        self._progress.update(_TRAINING, step / self._num_steps, status)

    def on_start(self, lines: Sequence[str]) -> None:
        """Logs what is trained."""
        for line in lines:
            self._progress.log(line)
        self.update("reading the first clips")

    def on_step(self, report: StepReport) -> None:
        """Moves the bar, with the loss and accuracy of the LSN."""
        self._step, self._num_steps = report.step, report.num_steps
        epoch = f"epoch {math.ceil(report.epoch)}/{report.num_epochs}"
        self.update(f"{epoch}, loss {report.loss:.3f}, top-1 {percent(report.top1)}")

    def on_evaluation(self, done: int, total: int) -> None:
        """Says that the bar stands because of a validation."""
        self.update(f"validating: {done} of {total} videos")

    def on_evaluated(self, epoch: int, validation: Validation, is_best: bool) -> None:
        """Logs the accuracy."""
        self._progress.log(validation_line(epoch, validation, is_best))


@contextmanager
def _trained_beside(config: RunConfig, folder: Path, *, log: Path) -> Iterator[_Control]:
    """Trains in a process of its own while the block runs; a training that has not ended by then is stopped.

    Both trainings have one thread: a second one brings so small a network next to nothing.
    """
    import torch

    num_threads = torch.get_num_threads()
    recipe = log.with_suffix(".yaml")
    write_text(recipe, to_yaml(config))
    command = [sys.executable, "-m", "lsn.cli.beside", "train", str(recipe), "--out", str(folder)]
    torch.set_num_threads(1)
    with log.open("w", encoding="utf-8") as lines, first_signal_asks(lambda: None) as raise_if_stopped:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # which closes with this process, and so ends that one
            stdout=lines,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    try:
        raise_if_stopped()  # not before there is somebody to end the process
        yield _Control(process, config.model.name, folder, log)
    finally:
        process.terminate()
        process.communicate()
        torch.set_num_threads(num_threads)


def _predict_one(weights: Path, videos: SyntheticSet) -> tuple[str, Prediction]:
    """The path of the first test video, and what the model sees in it."""
    from lsn.data import read_manifest
    from lsn.inference.predictor import Predictor

    clip = read_manifest(videos.val).clips[0]
    return clip.path, Predictor(weights)(clip.path)


def _metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"]


def _print_summary(models: list[dict[str, Any]], out: Path, seconds: float, video: str) -> None:
    console = output()
    table = columns("Model", "Top-1 on the test videos", right=("Top-1 on the test videos",))
    for model in models:
        table.add_row(model["name"], percent(model["top1"]))
    console.print(table)
    console.print(
        f"\nDone in {duration(seconds)}. Everything is in {out}; open {out / 'lsn/report.html'} in a browser."
        "\n\nNext, with your own videos, one folder per class (videos/jump/a.mp4, videos/run/b.mp4, ...):"
        "\n  lsn data check videos"
        "\n  lsn train data.train=videos --out runs/mine"
        "\n  lsn predict runs/mine VIDEO"
        f"\n\nOr watch the demo's model at work:"
        f"\n  lsn predict {out / 'lsn'} {video} --annotate seen.mp4"
    )
