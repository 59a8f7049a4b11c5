"""The parts of a run, and how they are saved and restored."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from lsn.config import RunConfig
from lsn.distributed import World
from lsn.models import Recognizer
from lsn.training.checkpoints.file import CHECKPOINT_NAME, damaged, save_checkpoint
from lsn.training.checkpoints.writer import BackgroundWriter, snapshot
from lsn.training.health import TrainingWatch
from lsn.training.optim import Schedule, restore_optimizer
from lsn.training.position import Position
from lsn.training.step import StepContext
from lsn.training.task import Task
from lsn.training.tracking import Tracker


@dataclass
class Run:
    """What a run consists of; what its parts do with each other is in `loop`."""

    config: RunConfig
    out: Path
    world: World
    task: Task
    """What is learned."""
    model: Recognizer
    frozen_norms: list[nn.Module]
    context: StepContext
    """What moves the weights, the model as it is trained among it."""
    learning_rate: float
    """Peak of the schedule, for the clips per step of this run."""
    schedule: Schedule
    watch: TrainingWatch
    ema: ModelEmaV3 | None
    position: Position
    num_processes: int
    """That the run began with: its batches stay those of so many, whatever number of them trains now."""
    writer: BackgroundWriter = field(default_factory=BackgroundWriter)
    tracker: Tracker | None = None
    """In the main process only."""

    @property
    def evaluated_model(self) -> Recognizer:
        """The network that is validated and saved: the moving average if there is one."""
        return self.model if self.ema is None else self.ema.module

    @property
    def num_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.training.epochs * self.task.steps_per_epoch

    def save(self) -> None:
        """Has a checkpoint written while the training goes on, in the main process; all processes must call it.

        Raises:
            TrainingError: in all processes: the one before could not be written.
        """
        states = {name: part.state_dict() for name, part in self._parts().items()}
        with self.world.errors_on_all_ranks():
            if self.world.is_main:
                self.writer.finish()  # before there is another copy in memory
                new_names = self.model.new_parameter_names()
                write = partial(
                    save_checkpoint,
                    self.out,
                    config=self.config,
                    num_processes=self.num_processes,
                    fingerprint=self.task.fingerprint,
                    position=copy.deepcopy(self.position),
                    trained_names=[name for name, _ in self.model.named_parameters() if name not in new_names],
                    states=snapshot(states),
                    num_kept=self.config.training.keep_checkpoints if self.position.step else 1,  # others': of no use
                )
                self.writer.start(write)

    def finish_saving(self) -> None:
        """Waits until the checkpoint is written; all processes must call it.

        Raises:
            TrainingError: in all processes: it could not be.
        """
        with self.world.errors_on_all_ranks():
            self.writer.finish()

    def restore(self, states: dict[str, Any]) -> None:
        """Takes over the states of a checkpoint.

        Raises:
            WeightsError: they are not those of this run's parts.
        """
        try:
            for name, part in self._parts().items():
                if name == "watch" and name not in states:
                    continue  # checkpoints of older versions lack it
                if isinstance(part, torch.optim.Optimizer):
                    restore_optimizer(part, states[name])
                else:
                    part.load_state_dict(states[name])
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise damaged(self.out / CHECKPOINT_NAME, error) from error

    def close(self) -> None:
        """Flushes what is reported, and waits for what is written."""
        self.writer.close()
        if self.tracker is not None:
            self.tracker.close()

    def _parts(self) -> dict[str, Any]:
        context = self.context
        parts = {
            "model": self.model,
            "optimizer": context.optimizer,
            "scaler": context.scaler,
            "watch": self.watch,
            **self.task.parts(),
        }
        if self.ema is not None:
            parts["ema"] = self.ema.module
        return parts if context.carried is None else parts | {"carried": context.carried}
