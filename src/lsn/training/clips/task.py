"""Trimmed clips, each with one label, as what a run learns."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lsn.config import FrameRates, RunConfig
from lsn.data import Batch, ClipDataset, Manifest, StepSampler, load_splits, load_steps, load_test_set
from lsn.data.clips.windows import shard_of
from lsn.distributed import World
from lsn.evaluation.evaluate import evaluate
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.result import EvaluationResult
from lsn.evaluation.temperature import state_at_temperature
from lsn.models import Recognizer
from lsn.models.weights import load_weights, save_weights
from lsn.training.clips.rates import measure_frame_rates
from lsn.training.clips.views import TrainingViews
from lsn.training.health import loss_of_guessing
from lsn.training.inputs import train_transform
from lsn.training.step import ClipPass
from lsn.training.task import LoadedStep
from lsn.video import ClipSampler, clip_sampler

CLIPS_OF_A_STEP = 8
"""Of smaller steps a small set needs more: with AdamW's rate by the square root, what is learned follows the clips."""


class ClipTask:
    """To name clips.

    Args:
        config: The run.
        world: Its processes.
        num_processes: Those that it began with, whose batches it keeps; None for those that it has.

    Raises:
        DataError: the manifests are not sound.
    """

    unit = "clips"

    dataset: ClipDataset
    """The clips of an epoch: the training set, once or more."""
    protocol: EvaluationProtocol
    frame_rates: FrameRates | None = None
    """Of the training clips, for the weights that are saved; in the main process only."""

    def __init__(self, config: RunConfig, world: World, *, num_processes: int | None = None) -> None:
        self.config, self.world = config, world
        self.train_set, self.val_set = load_splits(config.data, config.training.seed)
        self.test_set = load_test_set(config.data, self.train_set, self.val_set)
        num_planned = num_processes or world.size
        self.clips = _clips_of_an_epoch(self.train_set, config, num_planned)
        self.sampler = StepSampler(
            len(self.clips),
            batch_size=config.training.batch_size,
            grad_accum_steps=config.training.grad_accum_steps,
            seed=config.training.seed,
            rank=world.rank,
            num_processes=world.size,
            num_planned=num_planned,
            shards=[shard_of(clip) for clip in self.clips.clips],
            shuffle_buffer=config.data.shuffle_buffer,
        )

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102 - as in Task, like all below
        return self.train_set.labels

    @property
    def fingerprint(self) -> str:  # noqa: D102
        return clips_fingerprint(self.train_set)

    @property
    def guessing_loss(self) -> float:  # noqa: D102
        return loss_of_guessing(self.train_set, self.config.training.label_smoothing)

    @property
    def steps_per_epoch(self) -> int:  # noqa: D102
        return len(self.sampler)

    @property
    def clips_per_step(self) -> int:  # noqa: D102
        return self.sampler.clips_per_step

    @property
    def has_test(self) -> bool:  # noqa: D102
        return self.test_set is not None

    def prepare(self, model: Recognizer) -> None:  # noqa: D102
        config = self.config
        self.dataset = clip_dataset(config, self.clips, model)
        self.protocol = EvaluationProtocol.of(model, config.input, config.evaluation)
        with self.world.errors_on_all_ranks():
            if self.world.is_main:
                sampler = _clip_sampler(config)
                self.frame_rates = measure_frame_rates(self.train_set, sampler, reader=config.data.reader)

    def describe(self) -> list[str]:  # noqa: D102
        passes = len(self.clips) // len(self.train_set)
        return [
            f"{len(self.labels)} classes; {len(self.train_set)} clips to train on from {self.train_set.source}, "
            f"{len(self.val_set)} to validate on from {self.val_set.source}",
            f"{self.config.training.epochs} epochs of {self.steps_per_epoch} steps of up to {self.clips_per_step} clips"
            + (f", {passes} passes over the training set each" if passes > 1 else ""),
        ]

    def read(self, epoch: int, first_step: int) -> Generator[LoadedStep, None, None]:  # noqa: D102
        steps = self.sampler.steps(epoch)[first_step:]
        self.dataset.set_epoch(epoch)
        num_workers = self.config.data.num_workers
        with closing(load_steps(self.dataset, steps, num_workers=num_workers, device=self.world.device)) as loaded:
            for step, batches in zip(steps, loaded, strict=True):
                passes = [ClipPass(self._clip(batch), batch.labels_B) for batch in batches]
                yield LoadedStep(
                    passes,
                    num_items=step.num_clips,
                    frames_BTCHW=passes[-1].clip_BTCHW,
                    unreadable=[
                        (self.clips.clips[index].path, error) for batch in batches for index, error in batch.unreadable
                    ],
                )

    def end_epoch(self) -> None:  # noqa: D102
        pass

    def parts(self) -> Mapping[str, Any]:  # noqa: D102
        return {}

    def validate(self, model: Recognizer, progress: Callable[[int, int], None]) -> ClipValidation:  # noqa: D102
        result = self._evaluate(model, self.val_set, progress)
        return ClipValidation(result, self.config, self.frame_rates)

    def test(self, folder: Path, progress: Callable[[int, int], None]) -> ClipValidation:  # noqa: D102
        assert self.test_set is not None
        result = self._evaluate(load_weights(folder).model, self.test_set, progress)
        return ClipValidation(result, self.config, self.frame_rates)

    def _evaluate(
        self, model: Recognizer, manifest: Manifest, progress: Callable[[int, int], None]
    ) -> EvaluationResult:
        data = self.config.data
        return evaluate(
            model,
            manifest,
            self.protocol,
            device=self.world.device,
            reader=data.reader,
            on_unreadable=data.on_unreadable,
            num_workers=data.num_workers,
            progress=progress,
        )

    def _clip(self, batch: Batch) -> Tensor:
        """The clips of a batch, BTCHW; B is 0 if none could be read."""
        if batch.views_BVTCHW is not None:
            return batch.views_BVTCHW[:, 0]
        size = self.config.input.size
        return torch.zeros(0, self.config.model.num_frames, 3, size, size, dtype=torch.uint8)


@dataclass(frozen=True)
class ClipValidation:
    """How good a network is at naming clips."""

    result: EvaluationResult
    config: RunConfig
    frame_rates: FrameRates | None

    @property
    def score(self) -> float:
        """Top-1 accuracy."""
        return self.result.metrics.top1

    @property
    def tie_break(self) -> float:
        """The loss, negated."""
        return -self.result.metrics.loss

    def describe(self) -> str:  # noqa: D102 - as in Validation, like all below
        return f"top-1 {100 * self.score:.1f}%, loss {self.result.metrics.loss:.3f}"

    def record(self) -> dict[str, Any]:  # noqa: D102
        return {**asdict(self.result.metrics), "unreadable": len(self.result.unreadable)}

    def save(self, folder: Path) -> None:  # noqa: D102
        self.result.save(folder)

    def keep(self, folder: Path, model: Recognizer, *, epoch: int) -> None:
        """Keeps the network and its evaluation, both at the temperature that makes its probabilities right."""
        temperature = self.result.helpful_temperature() if self.config.training.calibrate else 1.0
        result = self.result.at_temperature(temperature)
        measured = {"epoch": epoch, "views": result.protocol.describe(), "temperature": temperature}
        save_weights(
            folder,
            model,
            labels=result.labels,
            input=self.config.input,
            metrics=asdict(result.metrics) | measured,
            state=state_at_temperature(model, temperature),
            frame_rates=self.frame_rates,
        )
        result.save(folder)


def clips_fingerprint(manifest: Manifest) -> str:
    """A digest of the labels and of the clips in their order, by file name."""
    clips = [
        (Path(c.path).name, c.label, c.start_seconds, c.end_seconds, c.first_frame, c.last_frame)
        for c in manifest.clips
    ]
    return hashlib.sha256(json.dumps([manifest.labels, clips]).encode()).hexdigest()


def clip_dataset(config: RunConfig, manifest: Manifest, model: Recognizer) -> ClipDataset:
    """Clips as a training of the network reads them."""
    return ClipDataset(
        manifest,
        TrainingViews(_clip_sampler(config), train_transform(config.input, manifest.labels, model)),
        reader=config.data.reader,
        on_unreadable=config.data.on_unreadable,
        seed=config.training.seed,
    )


def _clip_sampler(config: RunConfig) -> ClipSampler:
    return clip_sampler(
        config.input.sampling,
        num_frames=config.model.num_frames,
        frame_stride=config.input.frame_stride,
        fps=config.input.fps,
        fps_jitter=config.input.fps_jitter,
        min_span=config.input.min_span,
    )


def _clips_of_an_epoch(train_set: Manifest, config: RunConfig, num_processes: int) -> Manifest:
    """The training clips, several times if once would be fewer steps than an epoch must have."""
    settings = config.training
    clips_per_step = settings.batch_size * settings.grad_accum_steps * num_processes
    num_passes = 1
    if settings.min_steps_per_epoch * clips_per_step > len(train_set):
        num_needed = settings.min_steps_per_epoch * max(clips_per_step, CLIPS_OF_A_STEP)
        num_passes = math.ceil(num_needed / len(train_set))
    return replace(train_set, clips=train_set.clips * num_passes)
