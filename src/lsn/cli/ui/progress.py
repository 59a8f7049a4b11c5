"""How long work shows on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lsn.cli.ui.console import percent, plain_console

if TYPE_CHECKING:
    from lsn.training import StepReport
    from lsn.training.task import Validation

SECONDS_BETWEEN_LINES = 10.0
BAR = (TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[status]}"))


@contextmanager
def training_progress() -> Iterator[BarProgress | LineProgress]:
    """Shows a training run; give what it yields to `lsn.training.train`."""
    console = progress_console()
    if not console.is_terminal:
        yield LineProgress(console)
        return
    with Progress(*BAR, console=console, transient=True) as bars:
        yield BarProgress(bars)


@contextmanager
def counting_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of something are done; call what it yields with the number done and the total."""
    console = progress_console()
    if not console.is_terminal:
        pace = Pace()

        def print_line(done: int, total: int) -> None:
            if pace.is_due(done == total):
                console.print(f"{what}: {done} of {total}")

        yield print_line
        return
    with Progress(*BAR, console=console, transient=True) as bars:
        task = bars.add_task(what, total=None, status="")
        yield lambda done, total: bars.update(task, completed=done, total=total, status=f"{done} of {total}")


class LineProgress:
    """Training as plain lines: one every ten seconds, and one a validation."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.pace = Pace()

    def on_start(self, lines: Sequence[str]) -> None:
        """Prints what is trained."""
        for line in lines:
            self.console.print(line)

    def on_step(self, report: StepReport) -> None:
        """Prints a line if the last one was a while ago."""
        if self.pace.is_due(report.step == report.num_steps):
            self.console.print(f"epoch {report.epoch:.2f}/{report.num_epochs}: {_status(report)}")

    def on_evaluation(self, done: int, total: int) -> None:
        """Prints a line if the last one was a while ago."""
        if self.pace.is_due():
            self.console.print(f"validating: {done} of {total} videos")

    def on_evaluated(self, epoch: int, validation: Validation, is_best: bool) -> None:
        """Prints the accuracy."""
        self.console.print(validation_line(epoch, validation, is_best))


class BarProgress:
    """Training as a bar over all steps, with a second bar during validations and a line for each."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.training = bars.add_task("training", total=None, status="reading the first clips")
        self.validation: TaskID | None = None

    def on_start(self, lines: Sequence[str]) -> None:
        """Prints what is trained."""
        for line in lines:
            self.bars.console.print(line)

    def on_step(self, report: StepReport) -> None:
        """Moves the bar."""
        self.bars.update(
            self.training,
            description=f"epoch {math.ceil(report.epoch)}/{report.num_epochs}",
            completed=report.step,
            total=report.num_steps,
            status=_status(report),
        )

    def on_evaluation(self, done: int, total: int) -> None:
        """Moves the second bar."""
        if self.validation is None:
            self.validation = self.bars.add_task("validating", total=total, status="")
        self.bars.update(self.validation, completed=done, total=total, status=f"{done} of {total} videos")

    def on_evaluated(self, epoch: int, validation: Validation, is_best: bool) -> None:
        """Prints the accuracy and takes the second bar away."""
        if self.validation is not None:
            self.bars.remove_task(self.validation)
            self.validation = None
        self.bars.console.print(validation_line(epoch, validation, is_best))


class Pace:
    """Says when the next line is due."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def is_due(self, is_end: bool = False) -> bool:
        """Whether the last line was a while ago, or the work is at its end; if so, a line now counts as printed."""
        now = time.monotonic()
        if not is_end and now - self.last < SECONDS_BETWEEN_LINES:
            return False
        self.last = now
        return True


def progress_console() -> Console:
    """Standard error, with long lines left whole where it is no terminal."""
    console = plain_console(stderr=True)
    if not console.is_terminal:
        console.soft_wrap = True
    return console


def _status(report: StepReport) -> str:
    return (
        f"{duration(report.seconds_left)} left, loss {report.loss:.3f}, top-1 {percent(report.top1)}, "
        f"{report.items_per_second:.1f} {report.unit}/s"
    )


def validation_line(epoch: int, validation: Validation, is_best: bool) -> str:
    """What a validation found."""
    best = ", the best so far" if is_best else ""
    return f"epoch {epoch}: validation {validation.describe()}{best}"


def duration(seconds: float) -> str:
    """A time span as 42 s, 3:05 or 2:03:05."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
