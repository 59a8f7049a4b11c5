"""Training, from top to bottom."""

from __future__ import annotations

import random
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
from lsn.evaluation.result import EvaluationResult
from lsn.models.weights import save_weights
from lsn.training.batch_norm import enter_training
from lsn.training.description import describe
from lsn.training.folder import claimed_folder, open_folder
from lsn.training.optim import set_learning_rate
from lsn.training.position import Best, Tally
from lsn.training.reporting import Reporter
from lsn.training.run import Run
from lsn.training.setup import build_run
from lsn.training.step import train_step
from lsn.training.tracking import Progress


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
        progress: Called at every step and validation.
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
        reporter, position = Reporter(run, progress), run.position
        reporter.start(describe(run, resumed=resume))
        for epoch in range(position.epoch, settings.epochs):
            _train_epoch(run, epoch, reporter, should_stop)
            if (epoch + 1) % settings.evaluate_every == 0 or epoch + 1 == settings.epochs:
                run.save()  # a long validation may be stopped too
                _validate(run, epoch + 1, reporter, should_stop)
            position.epoch, position.step_in_epoch = epoch + 1, 0
            run.save()
        run.close()
        assert position.best is not None  # the last epoch is always validated
        return TrainingResult(run.out, position.best.top1, position.best.epoch, position.seconds)


def _train_epoch(run: Run, epoch: int, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """The steps of an epoch, from where the run stands."""
    settings, position = run.config.training, run.position
    enter_training(run.model, run.frozen_norms)
    with closing(_read_steps(run, epoch, should_stop)) as steps:
        for step, batches in steps:
            # Move the weights.
            rate = run.config.optim.learning_rate * run.schedule.factor(position.step)
            set_learning_rate(run.context.optimizer, rate)
            tally = _learn(run, step, batches)
            position.step += 1
            position.step_in_epoch += 1
            if run.ema is not None:
                run.ema.update(run.model, step=position.step)

            # Report, and be ready to be killed.
            reporter.step(tally, learning_rate=rate)
            is_last = position.step_in_epoch == len(run.sampler)
            if settings.checkpoint_every and position.step % settings.checkpoint_every == 0 and not is_last:
                run.save()


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
    run.close()
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


def _validate(run: Run, epoch: int, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Evaluates on the validation set; the best weights so far are kept with their evaluation."""
    model, position = run.evaluated_model, run.position

    def on_batch(done: int, total: int) -> None:
        if should_stop():  # raised in all processes once they gather their answers; the checkpoint is there
            raise _stopped(run)
        reporter.evaluation(done, total)

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
    metrics, best = result.metrics, position.best
    is_best = best is None or (metrics.top1, -metrics.loss) > (best.top1, -best.loss)
    if is_best:
        position.best = Best(top1=metrics.top1, loss=metrics.loss, epoch=epoch)
        if run.world.is_main:
            _save_best(run, result, epoch)
    reporter.evaluated(epoch, result, is_best=is_best)


def _save_best(run: Run, result: EvaluationResult, epoch: int) -> None:
    save_weights(
        run.out,
        run.evaluated_model,
        labels=run.train_set.labels,
        input=run.config.input,
        metrics=asdict(result.metrics) | {"epoch": epoch, "views": run.protocol.describe()},
        frame_rates=run.frame_rates,
    )
    result.save(run.out)
