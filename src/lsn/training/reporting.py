"""How a run goes, for its metrics and for whoever watches it."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from lsn.training.health import Finding, remedy
from lsn.training.position import Tally
from lsn.training.run import Run
from lsn.training.task import Validation
from lsn.training.tracking import Progress, StepReport

logger = logging.getLogger(__name__)

LINES_PER_EPOCH = 20
"""Lines of metrics per epoch, at most one per step."""


class Reporter:
    """Reports the steps and validations of a run, in the main process, and adds up the time that they take.

    Args:
        run: What is reported on; its `position` gets the time.
        progress: Watches the run.
    """

    def __init__(self, run: Run, progress: Progress | None) -> None:
        self.run = run
        self.progress = progress if run.world.is_main else None
        self._last = time.monotonic()
        self._step_before, self._seconds_before = run.position.step, run.position.seconds

    def start(self, lines: Sequence[str]) -> None:
        """The run begins."""
        if self.run.world.is_main:
            logger.info("\n".join(lines))
        if self.progress is not None:
            self.progress.on_start(lines)

    def step(self, tally: Tally, *, learning_rate: float) -> None:
        """A step is done: its sums join those since the last line of metrics, which is followed by one if it is due."""
        run, position = self.run, self.run.position
        tally.seconds = self._lap()
        position.tally.add(tally)
        if not run.world.is_main or not position.tally.weight:
            return
        report = self._report(learning_rate)
        if self.progress is not None:
            self.progress.on_step(report)
        steps_per_epoch, done = run.task.steps_per_epoch, position.step_in_epoch
        is_due = LINES_PER_EPOCH * done // steps_per_epoch > LINES_PER_EPOCH * (done - 1) // steps_per_epoch
        if run.tracker is not None and is_due:
            run.tracker.log(
                "train",
                epoch=report.epoch,
                step=report.step,
                loss=report.loss,
                top1=report.top1,
                learning_rate=report.learning_rate,
                **{f"{report.unit}_per_second": report.items_per_second},
                unreadable=int(position.tally.unreadable),
                seconds=round(position.seconds, 1),
            )
            position.tally = Tally()

    def warn(self, finding: Finding) -> None:
        """Something is wrong with the training."""
        run, position = self.run, self.run.position
        epoch = position.step / run.task.steps_per_epoch
        settings = run.config.training
        advice = remedy(
            finding.kind, learning_rate=run.learning_rate, batch_norm=settings.batch_norm, unit=run.task.unit
        )
        logger.warning("epoch %.3g of %d: %s; %s", epoch, settings.epochs, finding.text, advice)
        if run.tracker is not None:
            run.tracker.log("warning", epoch=epoch, step=position.step, what=finding.kind, text=finding.text)

    def evaluation(self, done: int, total: int) -> None:
        """So many validation videos of all are evaluated."""
        if self.progress is not None:
            self.progress.on_evaluation(done, total)

    def evaluated(self, epoch: int, validation: Validation, *, is_best: bool) -> None:
        """The validation after `epoch` epochs is done."""
        run, position = self.run, self.run.position
        if run.tracker is not None:
            run.tracker.log(
                "val",
                epoch=epoch,
                step=position.step,
                **validation.record(),
                seconds=round(position.seconds, 1),
            )
        if self.progress is not None:
            self.progress.on_evaluated(epoch, validation, is_best)
        self._lap()

    def _report(self, learning_rate: float) -> StepReport:
        run, position, tally = self.run, self.run.position, self.run.position.tally
        # The mean time of a step of this process, its share of the validations included.
        seconds_per_step = (position.seconds - self._seconds_before) / (position.step - self._step_before)
        return StepReport(
            step=position.step,
            num_steps=run.num_steps,
            epoch=position.step / run.task.steps_per_epoch,
            num_epochs=run.config.training.epochs,
            loss=tally.loss / tally.weight,
            top1=tally.correct / tally.weight,
            learning_rate=learning_rate,
            items_per_second=tally.items / tally.seconds,
            unit=run.task.unit,
            seconds_left=seconds_per_step * (run.num_steps - position.step),
        )

    def _lap(self) -> float:
        """Seconds since the lap before, which are added to the time that the run took."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self.run.position.seconds += seconds
        return seconds
