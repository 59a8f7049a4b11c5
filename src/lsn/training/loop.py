"""Training, from top to bottom."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lsn.config import RunConfig
from lsn.data import Batch, Step, load_steps
from lsn.distributed import join_world
from lsn.errors import LSNError, TrainingStopped
from lsn.evaluation.evaluate import evaluate
from lsn.models.weights import save_weights
from lsn.training.batch_norm import enter_training
from lsn.training.checkpoint import Best, Position, Tally
from lsn.training.description import describe
from lsn.training.folder import claimed_folder, open_folder
from lsn.training.optim import set_learning_rate
from lsn.training.run import Run
from lsn.training.setup import build_run
from lsn.training.step import train_step
from lsn.training.tracking import Progress, StepReport

logger = logging.getLogger(__name__)

LINES_PER_EPOCH = 20
"""Lines of metrics an epoch, at most one a step."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    out: Path
    """The run's folder, which is a weights folder of the best weights."""
    best_top1: float
    """Top-1 accuracy on the validation set, 0 to 1."""
    best_epoch: int
    """Epochs done when it was reached."""
    seconds: float
    """Time spent, over all parts of a resumed run."""


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> TrainingResult:
    """Trains a network and leaves the run's folder behind.

    The folder holds `recipe.yaml`, the best weights (`config.json`, `model.safetensors`) with their evaluation on the
    validation set (`evaluation.json`, `predictions.csv`), `metrics.jsonl`, and `checkpoint.pt` to resume from. Under
    torchrun every process calls this; the first one writes. A run that was stopped anywhere and resumed ends with the
    same weights as one that was not, bit by bit on a CPU.

    Args:
        config: The experiment.
        out: The run's folder; it must not hold a run, unless `resume`.
        resume: Go on with the run in `out`.
        progress: Told of every step and validation.
        should_stop: Asked when the run is set up, before each step and during validations. Once it returns True in
            any process, all of them stop.

    Raises:
        ConfigError: the settings contradict each other, the folder, or the run that is resumed; or another process
            trains in the folder.
        DataError: the manifests are not sound.
        VideoError: a clip cannot be read, and `data.on_unreadable` is raise.
        TrainingStopped: `should_stop` asked for it; the checkpoint is of the last step.
        LSNError: the loss is no longer a number.
    """
    settings, should_stop = config.training, should_stop or _never
    with join_world(settings.device) as world, claimed_folder(Path(out), world, resume=resume):
        run = build_run(config, Path(out), world, resume=resume)
        open_folder(run, resumed=resume)
        should_stop()  # from now on it is asked, and nothing is lost by waiting for that
        position, clock = run.position, _Clock(run.position)
        if world.is_main:
            lines = describe(run, resumed=resume)
            logger.info("\n".join(lines))
            if progress is not None:
                progress.on_start(lines)

        for epoch in range(position.epoch, settings.epochs):
            enter_training(run.model, run.frozen_norms)
            with closing(_read_steps(run, epoch, should_stop)) as steps:
                for step, batches in steps:
                    # Move the weights.
                    rate = config.optim.learning_rate * run.schedule.factor(position.step)
                    set_learning_rate(run.context.optimizer, rate)
                    tally = _learn(run, step, batches)
                    position.step += 1
                    position.step_in_epoch += 1
                    if run.ema is not None:
                        run.ema.update(run.model, step=position.step)

                    # Tell how it goes.
                    tally.seconds = clock.lap()
                    position.tally.add(tally)
                    if world.is_main:
                        _report(run, rate, clock, progress)

                    # Be ready to be killed.
                    is_last = position.step_in_epoch == len(run.sampler)
                    if settings.checkpoint_every and position.step % settings.checkpoint_every == 0 and not is_last:
                        run.save()

            # Validate, and keep the weights if they are the best so far.
            if (epoch + 1) % settings.evaluate_every == 0 or epoch + 1 == settings.epochs:
                run.save()  # a long validation may be stopped too
                _validate(run, epoch + 1, progress, should_stop)
                clock.lap()
            position.epoch, position.step_in_epoch = epoch + 1, 0
            run.save()

        if run.tracker is not None:
            run.tracker.close()
        assert position.best is not None  # the last epoch is always validated
        return TrainingResult(run.out, position.best.top1, position.best.epoch, position.seconds)


def _read_steps(
    run: Run, epoch: int, should_stop: Callable[[], bool]
) -> Generator[tuple[Step, list[Batch]], None, None]:
    """The steps of an epoch from where the run stands, each with the batches that this process reads for it.

    What one process cannot read stops all, as does its wish to stop, after a checkpoint.
    """
    steps = run.sampler.steps(epoch)[run.position.step_in_epoch :]
    run.dataset.set_epoch(epoch)
    loaded = load_steps(run.dataset, steps, num_workers=run.config.data.num_workers, device=run.world.device)
    with closing(loaded):
        for step in steps:
            batches: list[Batch] = []
            error = None
            try:
                batches = next(loaded)
            except LSNError as caught:
                error = caught
            if run.world.raise_on_all_ranks(error, wish=should_stop()):
                run.save()
                raise _stopped(run)
            yield step, batches


def _never() -> bool:
    return False


def _stopped(run: Run) -> TrainingStopped:
    if run.tracker is not None:
        run.tracker.close()
    return TrainingStopped(f"{run.out}: training was stopped after step {run.position.step}; resume it to continue")


def _learn(run: Run, step: Step, batches: Sequence[Batch]) -> Tally:
    """One update of the weights; clips that could not be read are counted and listed."""
    config, position = run.config, run.position
    # What is random in the network follows from the seed, the step and the process, so no state need be kept.
    torch.manual_seed(random.Random(f"step/{config.training.seed}/{position.step}/{run.world.rank}").getrandbits(63))
    nothing_BTCHW = torch.zeros(0, config.model.num_frames, 3, config.input.size, config.input.size, dtype=torch.uint8)
    tally = train_step(
        run.context,
        [
            (nothing_BTCHW if batch.views_BVTCHW is None else batch.views_BVTCHW[:, 0], batch.labels_B)
            for batch in batches
        ],
        where=f"step {position.step + 1} (epoch {position.epoch + 1})",
        num_clips=step.num_clips,
    )
    tally.unreadable = step.num_clips - tally.clips
    if tally.unreadable:
        for index, error in run.world.gather([failure for batch in batches for failure in batch.unreadable]):
            if run.tracker is not None:
                path, epoch = run.train_set.clips[index].path, (position.step + 1) / len(run.sampler)
                run.tracker.log_unreadable(path, error, epoch=epoch, step=position.step + 1)
    return tally


def _report(run: Run, rate: float, clock: _Clock, progress: Progress | None) -> None:
    """Tells of a step, and writes a line of metrics when one is due."""
    position, tally = run.position, run.position.tally
    if not tally.clips:
        return
    report = StepReport(
        step=position.step,
        num_steps=run.num_steps,
        epoch=position.step / len(run.sampler),
        num_epochs=run.config.training.epochs,
        loss=tally.loss / tally.clips,
        top1=tally.correct / tally.clips,
        learning_rate=rate,
        clips_per_second=tally.clips / tally.seconds,
        seconds_left=clock.seconds_a_step() * (run.num_steps - position.step),
    )
    if progress is not None:
        progress.on_step(report)
    lines_before, lines = (
        LINES_PER_EPOCH * steps // len(run.sampler) for steps in (position.step_in_epoch - 1, position.step_in_epoch)
    )
    if run.tracker is not None and lines > lines_before:
        run.tracker.log(
            "train",
            epoch=report.epoch,
            step=report.step,
            loss=report.loss,
            top1=report.top1,
            learning_rate=report.learning_rate,
            clips_per_second=report.clips_per_second,
            unreadable=int(tally.unreadable),
            seconds=round(position.seconds, 1),
        )
        position.tally = Tally()


def _validate(run: Run, epoch: int, progress: Progress | None, should_stop: Callable[[], bool]) -> None:
    """Evaluates on the validation set; the best weights so far are kept with their evaluation."""
    model, position = run.evaluated_model, run.position

    def on_batch(done: int, total: int) -> None:
        if should_stop():  # raised in all processes once they gather their answers; the checkpoint is there
            raise _stopped(run)
        if progress is not None and run.world.is_main:
            progress.on_evaluation(done, total)

    run.world.share_buffers(model)
    result = evaluate(
        model,
        run.val_set,
        run.protocol,
        device=run.world.device,
        reader=run.config.data.reader,
        on_unreadable=run.config.data.on_unreadable,
        num_workers=run.config.data.num_workers,
        progress=on_batch,
    )
    metrics = result.metrics
    best = position.best
    is_best = best is None or (metrics.top1, -metrics.loss) > (best.top1, -best.loss)
    if is_best:
        position.best = Best(top1=metrics.top1, loss=metrics.loss, epoch=epoch)
    if run.tracker is None:
        return
    numbers = asdict(metrics)
    if is_best:
        save_weights(
            run.out,
            model,
            labels=run.train_set.labels,
            input=run.config.input,
            metrics=numbers | {"epoch": epoch, "views": run.protocol.describe()},
            frame_rates=run.frame_rates,
        )
        result.save(run.out)
    run.tracker.log(
        "val",
        epoch=epoch,
        step=position.step,
        **numbers,
        unreadable=len(result.unreadable),
        seconds=round(position.seconds, 1),
    )
    if progress is not None:
        progress.on_evaluated(epoch, metrics, is_best)


class _Clock:
    """Adds the time that passes to a position, lap by lap."""

    def __init__(self, position: Position) -> None:
        self.position = position
        self.last = time.monotonic()
        self.step_before, self.seconds_before = position.step, position.seconds

    def lap(self) -> float:
        """Seconds since the lap before."""
        now = time.monotonic()
        seconds, self.last = now - self.last, now
        self.position.seconds += seconds
        return seconds

    def seconds_a_step(self) -> float:
        """Mean time of a step of this process, its share of the validations included."""
        return (self.position.seconds - self.seconds_before) / (self.position.step - self.step_before)
