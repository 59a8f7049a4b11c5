"""Whether the settings of a run can fit a handful of clips: what people try before they spend hours on a training."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import torch

from lsn.config import EvaluationConfig, RunConfig
from lsn.data import ClipDataset, Manifest, load_splits, make_loader
from lsn.distributed import join_world
from lsn.errors import ConfigError
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.models import Recognizer
from lsn.models.forward import eval_mode
from lsn.training.batch_norm import enter_training
from lsn.training.health import loss_of_guessing
from lsn.training.optim import set_learning_rate
from lsn.training.position import Tally
from lsn.training.setup import peak_learning_rate, ready_to_train, step_context
from lsn.training.start import start_model
from lsn.training.step import ClipPass, train_step

MAX_STEPS = 200
"""Updates of the weights after which clips that are not fitted count as not to be fitted."""
WARMUP_STEPS = 10


@dataclass(frozen=True)
class OverfitResult:
    """What came of the trial."""

    num_clips: int
    """Clips that were to be fitted."""
    num_steps: int
    """Updates of the weights."""
    losses: tuple[float, ...]
    """Mean training loss of each pass over the clips, in nats."""
    guessing_loss: float
    """That of the best constant answer."""
    learning_rate: float
    """Rate of the updates after the first few."""
    batch_norm: str
    """How the norms behaved, as `training.batch_norm`."""
    num_right_in_training: int
    """Clips that were right in the last pass."""
    num_right: int
    """Clips that are right in eval mode, as the network would be used."""

    @property
    def fits(self) -> bool:
        """Whether all clips are right as the network would be used."""
        return self.num_right == self.num_clips

    def advice(self) -> str:
        """What to do about clips that are not fitted."""
        if self.num_right_in_training == self.num_clips:
            return (
                "they are right in training and not in evaluation, so the statistics of the batch norms are at fault: "
                "set training.batch_norm=partial, or a larger training.batch_size"
            )
        norms = "" if self.batch_norm == "train" else ", or set training.batch_norm=train"
        if max(self.losses) > 1.1 * max(self.losses[0], self.guessing_loss):
            return f"the loss rises above what it starts from: lower optim.learning_rate{norms}"
        if self.losses[-1] > 0.9 * self.losses[0]:
            return f"the loss stays where it is: raise or lower optim.learning_rate{norms}"
        return f"the loss falls, but too slowly: raise optim.learning_rate{norms}"


def overfit(config: RunConfig, num_clips: int, *, progress: Callable[[int, int], None] | None = None) -> OverfitResult:
    """Trains on a few fixed clips until all of them are right, with the settings of a run but for what hinders that.

    There is no augmentation, dropout, label smoothing or schedule, and every clip is seen as an evaluation sees it;
    network, start, optimiser, learning rate, batch norm, precision and clips per step are those of the run. Nothing is
    written.

    Args:
        config: The run.
        num_clips: Clips of its training set, of all classes in turn.
        progress: Called with the steps done and their greatest number.

    Raises:
        ConfigError: there are too few clips, several processes, or timelines to learn.
        LSNError: as of `lsn.training.train`.
    """
    config.require_clips("fitting a few clips (--overfit)")
    config = replace(
        config,
        model=replace(config.model, dropout=0.0),
        training=replace(config.training, label_smoothing=0.0, state_carry_prob=0.0),
    )
    train_set, _ = load_splits(config.data, config.training.seed)
    clips = _some(train_set, num_clips, seed=config.training.seed)
    with join_world(config.training.device) as world:
        if world.size > 1:
            raise ConfigError("fitting a few clips is for one process; run it without torchrun")
        model = start_model(config.model, clips.labels, seed=config.training.seed)
        frozen_norms = ready_to_train(model, config, world)
        context = step_context(model, config, world)
        steps = _fixed_steps(clips, model, config)
        rate = peak_learning_rate(config, sum(len(each.labels_B) for each in steps[0]))
        max_passes = math.ceil(MAX_STEPS / len(steps))
        losses: list[float] = []
        num_right = 0
        while num_right < num_clips and len(losses) < max_passes:
            # Pass over all clips once.
            total = Tally()
            for number, passes in enumerate(steps, start=len(losses) * len(steps) + 1):
                set_learning_rate(context.optimizer, rate * min(1.0, number / WARMUP_STEPS))
                enter_training(model, frozen_norms)
                num_in_step = sum(len(each.labels_B) for each in passes)
                total.add(train_step(context, passes, where=f"step {number}", num_items=num_in_step))
                if progress is not None:
                    progress(number, max_passes * len(steps))
            losses.append(total.loss / total.weight)

            # See whether that is enough.
            if total.correct == num_clips or len(losses) == max_passes:
                num_right = _num_right(model, chain.from_iterable(steps))
        return OverfitResult(
            num_clips=num_clips,
            num_steps=len(losses) * len(steps),
            losses=tuple(losses),
            guessing_loss=loss_of_guessing(clips, label_smoothing=0.0),
            learning_rate=rate,
            batch_norm=config.training.batch_norm,
            num_right_in_training=round(total.correct),
            num_right=num_right,
        )


def _some(train_set: Manifest, num_clips: int, *, seed: int) -> Manifest:
    """Clips of all classes in turn, by chance."""
    if not 2 <= num_clips <= len(train_set):
        raise ConfigError(
            f"--overfit is {num_clips}; it must be between 2 and the clips of {train_set.source}, {len(train_set)}"
        )
    shuffled = random.Random(f"overfit/{seed}").sample(train_set.clips, len(train_set))
    classes = [[clip for clip in shuffled if clip.label == label] for label in train_set.labels]
    in_turn = [clip for clips in zip_longest(*classes) for clip in clips if clip is not None]
    return replace(train_set, clips=tuple(in_turn[:num_clips]))


def _fixed_steps(clips: Manifest, model: Recognizer, config: RunConfig) -> list[list[ClipPass]]:
    """The forward passes of each step: clips as an evaluation sees them, and their labels."""
    protocol = EvaluationProtocol.of(model, config.input, EvaluationConfig())
    loader = make_loader(
        ClipDataset(clips, protocol, reader=config.data.reader),
        indices=range(len(clips)),
        batch_size=config.training.batch_size,
        num_workers=0,
    )
    passes = [ClipPass(batch.views_BVTCHW[:, 0], batch.labels_B) for batch in loader if batch.views_BVTCHW is not None]
    size = config.training.grad_accum_steps
    return [passes[start : start + size] for start in range(0, len(passes), size)]


def _num_right(model: Recognizer, passes: Iterable[ClipPass]) -> int:
    device = next(model.parameters()).device
    with eval_mode(model):
        right = [model(each.clip_BTCHW.to(device)).argmax(1).cpu() == each.labels_B for each in passes]
    return int(torch.cat(right).sum())
