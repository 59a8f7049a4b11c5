"""Runs that a command needs: trained once, resumed where they were stopped, and left alone once they are finished."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lsn.cli.signals import first_signal_asks
from lsn.cli.ui.console import error_line, is_main_process, output
from lsn.cli.ui.progress import counting_progress, training_progress
from lsn.config import RunConfig, load_config
from lsn.config.json_files import RECIPE_NAME
from lsn.errors import ConfigError, FolderInUseError, TrainingStopped
from lsn.files import check_outputs

if TYPE_CHECKING:
    from lsn.training import Progress, TrainingResult
    from lsn.training.linear_probe import LinearProbe

SECONDS_BETWEEN_LOOKS = 2.0
EVALUATION_NAMES = (
    "evaluation.json",
    "predictions.csv",
    "timelines.json",
    "events.csv",
    "frames.safetensors",
    "report.html",
)
"""What evaluations write, of clips or of long videos."""


def train_and_report(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool | Literal["auto"] = False,
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
    from lsn.training import train as run_training

    data = config.data
    given = [path for path in (data.train, data.val, data.test, data.labels) if path and Path(path).is_file()]
    check_outputs([folder / name for name in EVALUATION_NAMES], given)  # a run that is there is never overwritten
    request = _StopRequest()
    with first_signal_asks(request.ask) as raise_if_stopped:
        try:
            with nullcontext(progress) if progress is not None else training_progress() as shown:
                result = run_training(
                    config,
                    folder,
                    resume=resume,
                    progress=shown,
                    should_stop=request,
                    when_done=lambda: _report(config, folder),
                )
        except (KeyboardInterrupt, TrainingStopped):
            if is_main_process() and (folder / "checkpoint.pt").is_file():
                error_line(f"{folder}: {way_on}", style="yellow")
            raise_if_stopped()
            raise
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


def probe_and_report(config: RunConfig, folder: Path, *, resume: bool = False) -> LinearProbe:
    """Fits a linear probe with progress shown, then writes the report."""
    from lsn.training.linear_probe import linear_probe

    with counting_progress("clips") as progress:
        return linear_probe(config, folder, resume=resume, progress=progress, when_done=lambda: _report(config, folder))


def _report(config: RunConfig, folder: Path) -> None:
    """Writes the report of a run last, since it says that the run is finished, and before it that of its test."""
    from lsn.report.write import write_report
    from lsn.training.loop import TEST_NAME

    if config.data.test is not None:
        write_report(folder / TEST_NAME, weights=folder)
    write_report(folder)


@dataclass(frozen=True)
class PlannedRun:
    """One training, and what it starts from."""

    name: str
    """What it is called while it is trained."""
    config: RunConfig
    folder: Path
    start: PlannedRun | None = None
    is_probe: bool = False
    """A linear classifier on the frozen CNN instead of a training."""

    def is_done(self) -> bool:
        """Whether it is finished, with these settings."""
        return self._state() == "done"

    def run(self) -> None:
        """Trains what it starts from and then the run itself, unless it is finished.

        Raises:
            FolderInUseError: another process trains one of them.
            ConfigError: the folder has a run with other settings.
        """
        from lsn.distributed import join_world

        what = f"{self.name}, seed {self.config.training.seed}"
        with join_world("cpu") as world:  # all processes do what the first one sees
            state = world.gather([self._state()])[0]
        if state == "done":
            output().print(f"{what}: done already, in {self.folder}")
            return
        if state == "other":
            raise ConfigError(f"{self.folder}: holds a run with other settings; delete it, or choose another --out")
        if self.start:
            self.start.run()
        output().print(f"{what}: {self.config.model.name}, in {self.folder}")
        if self.is_probe:
            probe_and_report(self.config, self.folder, resume=state == "begun")
        else:
            way_on = "the same command continues it"
            train_and_report(self.config, self.folder, resume=state == "begun", way_on=way_on)

    def _state(self) -> Literal["new", "begun", "done", "other"]:
        """What the folder holds: nothing to keep, this run as far as it came, all of it, or another run."""
        from lsn.training.folder import is_unstarted

        recipe = self.folder / RECIPE_NAME
        if (self.folder / "report.html").is_file():  # what a run writes last
            return "done" if load_config(recipe) == self.config else "other"
        if self.is_probe and recipe.is_file():
            return "begun" if load_config(recipe) == self.config else "other"
        return "begun" if (self.folder / "checkpoint.pt").is_file() and not is_unstarted(self.folder) else "new"


def run_all(runs: Sequence[PlannedRun]) -> None:
    """Makes sure that all runs are finished.

    Those that another process trains are left to it, and waited for, so that the same command may be started several
    times side by side.
    """
    pending = list(runs)
    while pending:
        in_use = []
        for run in pending:
            try:
                run.run()
            except FolderInUseError:
                in_use.append(run)
        if len(in_use) == len(pending):
            time.sleep(SECONDS_BETWEEN_LOOKS)
        pending = in_use
