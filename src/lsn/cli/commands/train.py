"""`lsn train`: from a recipe to a run folder with weights and a report."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lsn.cli.commands.evaluate_timelines import print_timeline_metrics
from lsn.cli.commands.folds import cross_validate
from lsn.cli.runs import train_and_report
from lsn.cli.signals import Stopped
from lsn.cli.ui.console import columns, is_main_process, output, percent
from lsn.cli.ui.progress import counting_progress, duration
from lsn.config import RunConfig, load_config
from lsn.config.recipes import find_recipe
from lsn.errors import ConfigError, TrainingError, TrainingStopped

if TYPE_CHECKING:
    from lsn.training import TrainingResult


def train(
    recipe: str = "default",
    /,
    *overrides: str,
    out: Path | None = None,
    resume: bool = False,
    auto_resume: bool = False,
    folds: int | None = None,
    seeds: int = 1,
    overfit: int | None = None,
) -> None:
    """Train a model by a recipe, or by the defaults.

    Writes weights, evaluation and report.html into one folder. Ctrl-C, SIGTERM and SIGUSR1 stop it after the step under
    way, with a checkpoint; the exit code is 75 after the latter two, which schedulers send. Under torchrun it trains
    with several processes:
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
    auto_resume
        Start the run, or continue it if the folder holds one: for schedulers and torchrun, which repeat a command.
    folds
        Cross-validate instead: split all clips, by data.group_column if it is given, into so many folds, and test each
        with a model that was trained on the others. The same command again continues it, or works beside it.
    seeds
        With folds: trainings per fold, with seeds 0, 1, ...
    overfit
        Instead, see whether these settings can fit so many of the training clips, as one should before a long
        training; takes a minute or two and writes nothing.
    """
    path, config = read_run(recipe, overrides)
    if overfit is not None:
        if out is not None or resume or auto_resume or folds is not None:
            raise ConfigError(
                "--overfit trains on a few clips and writes nothing; leave out --out, --resume and --folds"
            )
        _overfit(config, overfit)
        return
    if folds is None and seeds != 1:
        raise ConfigError("--seeds is for --folds; for a single training give training.seed=N")
    if folds is not None:
        cross_validate(config, out or Path("runs", f"{path.stem}_folds"), num_folds=folds, num_seeds=seeds)
        return
    folder = out or Path("runs", path.stem)
    result = _train(config, folder, resume="auto" if auto_resume else resume)
    if is_main_process():
        _print_result(config, folder, result)


def _train(config: RunConfig, folder: Path, *, resume: bool | Literal["auto"]) -> TrainingResult:
    """Trains; a scheduler's signal leaves with the code that asks it to start the command again."""
    try:
        return train_and_report(config, folder, resume=resume)
    except Stopped as stopped:
        raise Stopped(stopped.signum, can_resume=True) from None
    except TrainingStopped:  # by a signal to another process that trains the same network
        raise Stopped(signal.SIGTERM, can_resume=True) from None


def _print_result(config: RunConfig, folder: Path, result: TrainingResult) -> None:
    has_events = config.data.kind == "timelines"
    if has_events:
        print_timeline_metrics(json.loads((folder / "timelines.json").read_text(encoding="utf-8"))["metrics"])
    else:
        print_metrics(json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["metrics"])
    if result.test_score is not None:
        name = "F1@25" if has_events else "Top-1"
        output().print(f"\n{name} on {config.data.test}, which chose nothing: {percent(result.test_score)}")
    kept = "Best" if config.training.keep == "best" else "Kept"
    output().print(
        f"\n{kept} after epoch {result.epoch} of {config.training.epochs}; {duration(result.seconds)} in all."
        f"\nWeights  {folder}\nReport   {folder / 'report.html'}"
        f"\nTry it   lsn {'timeline' if has_events else 'predict'} {folder} VIDEO"
    )


def _overfit(config: RunConfig, num_clips: int) -> None:
    from lsn.training.overfit import overfit

    with counting_progress("steps") as progress:
        found = overfit(config, num_clips, progress=progress)
    course = " -> ".join(f"{found.losses[number]:.3g}" for number in _spread(len(found.losses), 6))
    output().print(
        f"{config.model.name}, {config.optim.optimizer} with a learning rate of {found.learning_rate:.3g}, "
        f"batch norm {config.training.batch_norm}, no augmentation or dropout"
        f"\nTraining loss {course} (guessing has {found.guessing_loss:.3g}) in {found.num_steps} steps"
    )
    if not found.fits:
        raise TrainingError(
            f"these settings do not fit {num_clips} clips: {found.num_right} are right after {found.num_steps} "
            f"steps; {found.advice()}"
        )
    output().print(f"These settings fit {num_clips} clips: all are right.", style="green")


def _spread(number: int, most: int) -> list[int]:
    """At most so many indices of a sequence, from its first to its last."""
    return sorted({round(i * (number - 1) / (most - 1)) for i in range(most)})


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
