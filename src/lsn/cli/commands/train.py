"""`lsn train`: from a recipe to a run folder with weights and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsn.cli.signals import first_signal_asks
from lsn.cli.ui.console import columns, error_line, is_main_process, output, percent
from lsn.cli.ui.progress import duration, training_progress
from lsn.config import RunConfig, load_config
from lsn.config.recipes import find_recipe
from lsn.errors import TrainingStopped
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.training import Progress, TrainingResult


def train(recipe: str = "default", /, *overrides: str, out: Path | None = None, resume: bool = False) -> None:
    """Train a model by a recipe, or by the defaults.

    Writes weights, evaluation and report.html into one folder. Ctrl-C and SIGTERM stop it after the step under way,
    with a checkpoint. Under torchrun it trains with several processes:
    torchrun --nproc-per-node 2 -m lsn train ...

    Parameters
    ----------
    recipe
        A name of `lsn recipes`, or your own YAML file; without one, or where an override comes first, the defaults.
    overrides
        Changes to the recipe, such as data.train=videos/train.csv training.epochs=10.
    out
        Folder of the run; by default runs/ and the recipe's name.
    resume
        Continue the run in that folder where it was stopped.
    """
    path, config = read_run(recipe, overrides)
    folder = out or Path("runs", path.stem)
    result = train_and_report(config, folder, resume=resume)
    if is_main_process():
        print_metrics(json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"])
        output().print(
            f"\nBest after epoch {result.best_epoch} of {config.training.epochs}; {duration(result.seconds)} in all."
            f"\nWeights  {folder}\nReport   {folder / 'report.html'}"
            f"\nTry it   lsn predict {folder} VIDEO"
        )


def read_run(recipe: str, overrides: Sequence[str]) -> tuple[Path, RunConfig]:
    """The file and the settings of a recipe; an override in its place means the defaults.

    Raises:
        ConfigError: there is no such recipe, or it or an override has a wrong key or value.
    """
    key, equals, _ = recipe.partition("=")
    if equals and key == Path(key).name:  # a folder may have = in its name, but no key has a slash
        recipe, overrides = "default", (recipe, *overrides)
    path = find_recipe(recipe)
    return path, load_config(path, overrides)


def train_and_report(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    way_on: str = "the same command with --resume continues it",
    progress: Progress | None = None,
) -> TrainingResult:
    """Trains with progress shown, by default that of this training alone, then writes the report.

    The first signal that asks to stop lets the step under way finish and leaves a checkpoint, the second interrupts at
    once; both say which way is on.

    Raises:
        Stopped: there was such a signal.
        TrainingStopped: another process that trains the same network had one.
    """
    from lsn.report import write_report
    from lsn.training import train as run_training

    given = [path for path in (config.data.train, config.data.val, config.data.labels) if path and Path(path).is_file()]
    check_outputs([folder / "predictions.csv"], given)  # the rest of a run that is there is never overwritten
    request = _StopRequest()
    with first_signal_asks(request.ask) as raise_if_stopped:
        try:
            with nullcontext(progress) if progress is not None else training_progress() as shown:
                result = run_training(config, folder, resume=resume, progress=shown, should_stop=request)
        except (KeyboardInterrupt, TrainingStopped):
            if is_main_process() and (folder / "checkpoint.pt").is_file():
                error_line(f"{folder}: {way_on}", style="yellow")
            raise_if_stopped()
            raise
        if is_main_process():
            write_report(folder)
        raise_if_stopped()
    return result


class _StopRequest:
    """Passes a signal on to a training that looks for it; while the training is set up, it does not."""

    def __init__(self) -> None:
        self.is_looked_for = self.is_made = False

    def ask(self) -> bool:
        """Makes the request; returns whether it will be seen."""
        self.is_made = True
        return self.is_looked_for

    def __call__(self) -> bool:
        """Whether the training should stop."""
        self.is_looked_for = True
        return self.is_made


def print_metrics(metrics: Mapping[str, Any]) -> None:
    """Prints what an evaluation measured, as a table."""
    numbers = ("Videos", "Top-1", "Top-5", "Mean class", "Calibration error", "Loss")
    table = columns(*numbers, right=numbers)
    table.add_row(
        str(metrics["num_videos"]),
        percent(metrics["top1"]),
        percent(metrics["top5"]),
        percent(metrics["mean_class_accuracy"]),
        percent(metrics["calibration_error"]),
        f"{metrics['loss']:.3f}",
    )
    console = output()
    console.print(table)
    if without := metrics["classes_without_samples"]:
        console.print(f"{len(without)} classes have no video and are left out of the mean: {', '.join(without)}")
