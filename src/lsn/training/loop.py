"""Training, from top to bottom."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from lsn.config import RunConfig
from lsn.data import Batch, Manifest, Step, load_steps
from lsn.distributed import join_world
from lsn.errors import LSNError, TrainingStopped
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.result import EvaluationResult
from lsn.evaluation.temperature import state_at_temperature
from lsn.models import Recognizer
from lsn.models.weights import load_weights, save_weights
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

TEST_NAME = "test"
"""Folder of the evaluation on the test set, in that of the run."""


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended."""

    out: Path
    """The run's folder, which is a weights folder of the kept weights."""
    top1: float
    """Top-1 accuracy of the kept weights on the validation set, 0 to 1."""
    epoch: int
    """Epochs done when they were reached."""
    test_top1: float | None
    """Their top-1 accuracy on the test set; None without one."""
    seconds: float
    """Time spent, over all parts of a resumed run."""


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    when_done: Callable[[], object] | None = None,
) -> TrainingResult:
    """Trains a network and leaves the run's folder behind.

    The folder holds `recipe.yaml`, the kept weights (`config.json`, `model.safetensors`) with their evaluation on the
    validation set (`evaluation.json`, `predictions.csv`), in `test` that on the test set if there is one,
    `metrics.jsonl`, and `checkpoint.pt` to resume from. Under
    torchrun every process calls this; the first one writes. A run that was stopped anywhere and resumed ends with the
    same weights as one that was not, bit by bit on a CPU.

    Args:
        config: The experiment.
        out: The run's folder; it must not hold a run, unless `resume`.
        resume: Go on with the run in `out`.
        progress: Called at every step and validation.
        should_stop: Asked when the run is set up, before each step and during validations. Once it returns True in
            any process, all of them stop.
        when_done: Called by the first process at the end, before any other run may have the folder.

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
        test_top1 = None if run.test_set is None else _test(run, run.test_set, should_stop)
        run.close()
        with world.errors_on_all_ranks():
            if world.is_main and when_done is not None:
                when_done()
        assert position.best is not None  # the last epoch is always validated
        return TrainingResult(run.out, position.best.top1, position.best.epoch, test_top1, position.seconds)


def _train_epoch(run: Run, epoch: int, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """The steps of an epoch, from where the run stands."""
    settings, position = run.config.training, run.position
    enter_training(run.model, run.frozen_norms)
    with closing(_read_steps(run, epoch, should_stop)) as steps:
        for step, batches in steps:
            # Move the weights.
            rate = run.learning_rate * run.schedule.factor(position.step)
            set_learning_rate(run.context.optimizer, rate)
            tally = _learn(run, step, batches)
            position.step += 1
            position.step_in_epoch += 1
            if run.ema is not None:
                run.ema.update(run.model, step=position.step)

            # Report, and be ready to be killed.
            reporter.step(tally, learning_rate=rate)
            if run.world.is_main:
                for finding in run.watch.step(position.step, tally, run.model, _clip(batches[-1], run.config)):
                    reporter.warn(finding)
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
    tally = train_step(
        run.context,
        [(_clip(batch, config), batch.labels_B) for batch in batches],
        where=f"step {position.step + 1} (epoch {position.epoch + 1})",
        num_clips=step.num_clips,
    )
    tally.unreadable = step.num_clips - tally.clips
    if tally.unreadable:
        for index, error in run.world.gather([failure for batch in batches for failure in batch.unreadable]):
            if run.tracker is not None:
                path, epoch = run.dataset.manifest.clips[index].path, (position.step + 1) / len(run.sampler)
                run.tracker.log_unreadable(path, error, epoch=epoch, step=position.step + 1)
    return tally


def _clip(batch: Batch, config: RunConfig) -> Tensor:
    """The clips of a batch, BTCHW; B is 0 if none could be read."""
    if batch.views_BVTCHW is not None:
        return batch.views_BVTCHW[:, 0]
    return torch.zeros(0, config.model.num_frames, 3, config.input.size, config.input.size, dtype=torch.uint8)


def _validate(run: Run, epoch: int, reporter: Reporter, should_stop: Callable[[], bool]) -> None:
    """Evaluates on the validation set; the best weights so far, or the last, are kept with their evaluation."""
    model, position = run.evaluated_model, run.position

    def on_batch(done: int, total: int) -> None:
        if should_stop():  # raised in all processes once they gather their answers; the checkpoint is there
            raise _stopped(run)
        reporter.evaluation(done, total)

    run.world.share_buffers(model)
    result = _evaluate(run, model, run.val_set, on_batch)
    metrics, best, keeps_last = result.metrics, position.best, run.config.training.keep == "last"
    is_best = best is None or (metrics.top1, -metrics.loss) > (best.top1, -best.loss)
    if is_best or keeps_last:
        position.best = Best(top1=metrics.top1, loss=metrics.loss, epoch=epoch)
        if run.world.is_main:
            _save_weights(run, result, epoch)
    reporter.evaluated(epoch, result, is_best=is_best and not keeps_last)


def _test(run: Run, test_set: Manifest, should_stop: Callable[[], bool]) -> float:
    """Evaluates the weights that were kept on the test set; returns the top-1 accuracy."""

    def on_batch(done: int, total: int) -> None:
        if should_stop():
            raise _stopped(run)

    result = _evaluate(run, load_weights(run.out).model, test_set, on_batch)
    if run.world.is_main:
        result.save(run.out / TEST_NAME)
    return result.metrics.top1


def _evaluate(
    run: Run, model: Recognizer, manifest: Manifest, progress: Callable[[int, int], None]
) -> EvaluationResult:
    data = run.config.data
    return evaluate(
        model,
        manifest,
        run.protocol,
        device=run.world.device,
        reader=data.reader,
        on_unreadable=data.on_unreadable,
        num_workers=data.num_workers,
        progress=progress,
    )


def _save_weights(run: Run, result: EvaluationResult, epoch: int) -> None:
    """Keeps the network with its evaluation, both at the temperature that makes its probabilities right."""
    temperature = result.helpful_temperature() if run.config.training.calibrate else 1.0
    result = result.at_temperature(temperature)
    save_weights(
        run.out,
        run.evaluated_model,
        labels=run.train_set.labels,
        input=run.config.input,
        metrics=asdict(result.metrics) | {"epoch": epoch, "views": run.protocol.describe(), "temperature": temperature},
        state=state_at_temperature(run.evaluated_model, temperature),
        frame_rates=run.frame_rates,
    )
    result.save(run.out)
