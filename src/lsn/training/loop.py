"""Training, from top to bottom."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from lsn.config import RunConfig
from lsn.distributed import join_world
from lsn.errors import LSNError, TrainingStopped
from lsn.training.batch_norm import enter_training
from lsn.training.description import describe
from lsn.training.folder import claimed_folder, open_folder
from lsn.training.optim import set_learning_rate
from lsn.training.position import Best, Tally
from lsn.training.reporting import Reporter
from lsn.training.run import Run
from lsn.training.setup import build_run
from lsn.training.step import train_step
from lsn.training.task import LoadedStep
from lsn.training.tracking import Progress

TEST_NAME = "test"
"""Folder of the evaluation on the test set, in that of the run."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    out: Path
    """The run's folder, which is a weights folder of the kept weights."""
    score: float
    """Of the kept weights on the validation set, 0 to 1: top-1 accuracy, or on timelines the F1 of events."""
    epoch: int
    """Epochs done when they were reached."""
    test_score: float | None
    """The same on the test set; None without one."""
    seconds: float
    """Time spent, over all parts of a resumed run."""


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool | Literal["auto"] = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    when_done: Callable[[], object] | None = None,
) -> TrainingResult:
    """Trains a network and leaves the run's folder behind.

    The folder holds `recipe.yaml`, the kept weights (`config.json`, `model.safetensors`) with their evaluation on the
    validation set (`evaluation.json` and `predictions.csv`, of timelines `timelines.json` and `events.csv`), in `test`
    that on the test set if there is one, `metrics.jsonl`, and `checkpoint.pt` to resume from. Under torchrun every
    process calls this; the first one writes. A run that was stopped anywhere and resumed ends with the same weights as
    one that was not, bit by bit on a CPU.

    Args:
        config: The experiment.
        out: The run's folder; it must not hold a run, unless `resume`.
        resume: Continue the run in `out`; "auto" starts it if the folder holds none that has made a step.
        progress: Called at every step and validation.
        should_stop: Asked when the run is set up, before each step and during validations. Once it returns True in
            any process, all of them stop.
        when_done: Called by the first process at the end, before any other run may have the folder.

    Raises:
        ConfigError: the settings contradict each other, the folder, or the run that is resumed; or another process
            trains in the folder.
        DataError: the manifests are not sound.
        VideoError: a video cannot be read, and `data.on_unreadable` is raise.
        TrainingStopped: `should_stop` asked for it; the checkpoint is of the last step.
        LSNError: the loss is no longer a number.
    """
    settings, should_stop = config.training, should_stop or _never
    with ExitStack() as stack:
        world = stack.enter_context(join_world(settings.device))
        resumed = stack.enter_context(claimed_folder(Path(out), world, resume=resume))
        run = stack.enter_context(closing(build_run(config, Path(out), world, resume=resumed)))
        open_folder(run, resumed=resumed)
        should_stop()  # from now on it is asked, and nothing is lost by waiting for that
        reporter, position = Reporter(run, progress), run.position
        reporter.start(describe(run, resumed=resumed))
        try:
            _train_epochs(run, reporter, should_stop)
            test_score = _test(run, should_stop) if run.task.has_test else None
        except TrainingStopped:  # in all processes
            run.finish_saving()
            raise
        with world.errors_on_all_ranks():
            if world.is_main and when_done is not None:
                when_done()
        assert position.best is not None  # the last epoch is always validated
        return TrainingResult(run.out, position.best.score, position.best.epoch, test_score, position.seconds)


def _train_epochs(run: Run, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """The epochs that are left, with their validations."""
    settings, position = run.config.training, run.position
    for epoch in range(position.epoch, settings.epochs):
        _train_epoch(run, epoch, reporter, should_stop)
        run.task.end_epoch()
        if (epoch + 1) % settings.evaluate_every == 0 or epoch + 1 == settings.epochs:
            run.save()  # a long validation may be stopped too
            _validate(run, epoch + 1, reporter, should_stop)
        position.epoch, position.step_in_epoch = epoch + 1, 0
        run.save()
    run.finish_saving()


def _train_epoch(run: Run, epoch: int, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """The steps of an epoch, from where the run stands."""
    settings, position = run.config.training, run.position
    enter_training(run.model, run.frozen_norms)
    with closing(_read_steps(run, epoch, should_stop)) as steps:
        for step in steps:
            # Move the weights.
            rate = run.learning_rate * run.schedule.factor(position.step)
            set_learning_rate(run.context.optimizer, rate)
            tally = _learn(run, step)
            position.step += 1
            position.step_in_epoch += 1
            if run.ema is not None:
                run.ema.update(run.model, step=position.step)

            # Report, and be ready to be killed.
            reporter.step(tally, learning_rate=rate)
            if run.world.is_main:
                for finding in run.watch.step(position.step, tally, run.model, step.frames_BTCHW):
                    reporter.warn(finding)
            is_last = position.step_in_epoch == run.task.steps_per_epoch
            if settings.checkpoint_every and position.step % settings.checkpoint_every == 0 and not is_last:
                run.save()


def _read_steps(run: Run, epoch: int, should_stop: Callable[[], bool]) -> Generator[LoadedStep, None, None]:
    """What this process reads for the steps of an epoch from where the run stands.

    What one process cannot read stops all, as does its wish to stop, after a checkpoint.
    """
    with closing(run.task.read(epoch, run.position.step_in_epoch)) as loaded:
        for _ in range(run.position.step_in_epoch, run.task.steps_per_epoch):
            step, error = None, None
            try:
                step = next(loaded)
            except LSNError as caught:
                error = caught
            if run.world.raise_on_all_ranks(error, wish=should_stop()):
                run.save()
                raise _stopped(run)
            assert step is not None
            yield step


def _never() -> bool:
    return False


def _stopped(run: Run) -> TrainingStopped:
    return TrainingStopped(f"{run.out}: training was stopped after step {run.position.step}; resume it to continue")


def _learn(run: Run, step: LoadedStep) -> Tally:
    """One update of the weights; what could not be read is counted and listed."""
    position = run.position
    # What is random in the network follows from the seed, the step and the process, so no state need be kept.
    seed = f"step/{run.config.training.seed}/{position.step}/{run.world.rank}"
    torch.manual_seed(random.Random(seed).getrandbits(63))
    where = f"step {position.step + 1} (epoch {position.epoch + 1})"
    tally = train_step(run.context, step.passes, where=where, num_items=step.num_items)
    if tally.unreadable:
        for path, error in run.world.gather(list(step.unreadable)):
            if run.tracker is not None:
                epoch = (position.step + 1) / run.task.steps_per_epoch
                run.tracker.log_unreadable(path, error, epoch=epoch, step=position.step + 1)
    return tally


def _validate(run: Run, epoch: int, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Evaluates on the validation set; the best weights so far, or the last, are kept with their evaluation."""
    model, position = run.evaluated_model, run.position

    def on_video(done: int, total: int) -> None:
        if should_stop():  # raised in all processes once they gather their answers; the checkpoint is there
            raise _stopped(run)
        reporter.evaluation(done, total)

    run.world.share_buffers(model)
    found = run.task.validate(model, on_video)
    run.finish_saving()  # no weights are kept that are younger than the checkpoint
    best, keeps_last = position.best, run.config.training.keep == "last"
    is_best = best is None or (found.score, found.tie_break) > (best.score, best.tie_break)
    if is_best or keeps_last:
        position.best = Best(score=found.score, tie_break=found.tie_break, epoch=epoch)
        if run.world.is_main:
            found.keep(run.out, model, epoch=epoch)
    reporter.evaluated(epoch, found, is_best=is_best and not keeps_last)


def _test(run: Run, should_stop: Callable[[], bool]) -> float:
    """Evaluates the weights that were kept on the test set; returns their score."""

    def on_video(done: int, total: int) -> None:
        if should_stop():
            raise _stopped(run)

    found = run.task.test(run.out, on_video)
    if run.world.is_main:
        found.save(run.out / TEST_NAME)
    return found.score
