"""Long videos and the events in them, as what a run learns."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from lsn.config import EventRules, FrameRates, RunConfig
from lsn.data import BatchLoader
from lsn.data.timelines.splits import load_timelines
from lsn.data.timelines.stretches import StretchRules, StretchSource, TimedVideo
from lsn.data.timelines.table import TimelineManifest, TimelineVideo
from lsn.data.timelines.targets import TargetRules
from lsn.distributed import World
from lsn.errors import DataError, VideoError
from lsn.hardware import usable_cores
from lsn.models import Recognizer
from lsn.models.weights import LoadedModel, load_weights
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.timeline_evaluation import evaluate_timelines
from lsn.training.health import guessing_loss
from lsn.training.inputs import train_transform
from lsn.training.task import LoadedStep
from lsn.training.timelines.dataset import (
    StretchBatch,
    StretchDataset,
    StretchRates,
    StretchTargets,
    class_shares,
)
from lsn.training.timelines.stream_pass import BackgroundLosses, StreamPass
from lsn.training.timelines.validation import TimelineValidation
from lsn.video import open_video

STRETCHES_LOOKED_AT = 512
"""From which the shares of the classes are estimated."""


class TimelineTask:
    """To say of every frame of a stream which event goes on.

    An epoch sees as many frames as the training videos have, in batches of stretches that are walked through chunk by
    chunk, with an update of the weights for each chunk.

    Args:
        config: The run.
        world: Its processes.

    Raises:
        DataError: the timelines are not sound.
        VideoError: a video cannot be opened, and such videos are not skipped.
    """

    unit = "frames"

    dataset: StretchDataset

    def __init__(self, config: RunConfig, world: World) -> None:
        self.config, self.world = config, world
        timelines, settings = config.timelines, config.training
        self.train_set, self.val_set, self.test_set = load_timelines(
            config.data, timelines, settings.seed, multi_label=config.model.multi_label
        )
        for name, manifest in (("validate", self.val_set), ("test", self.test_set)):
            if manifest is not None and not any(label != timelines.background for label in manifest.num_events()):
                raise DataError(f"{manifest.source}: has no event to {name} on; give videos with some")
        self.source = StretchSource(
            _timed(self.train_set),
            StretchRules(
                timelines.stretch_frames,
                background_share=timelines.background_share,
                splice_prob=timelines.splice_prob,
            ),
        )
        self.chunk_frames = settings.tbptt_frames or timelines.stretch_frames
        self.chunks_per_stretch = timelines.stretch_frames // self.chunk_frames
        seconds = sum(video.duration_seconds for video in self.source.videos)
        frames_per_batch = timelines.stretch_frames * self.clips_per_step
        self.num_batches = max(
            math.ceil(seconds * config.input.fps / frames_per_batch),
            math.ceil(settings.min_steps_per_epoch / self.chunks_per_stretch),
        )
        self.background = BackgroundLosses(len(self.train_set), power=timelines.hard_background, world=world)

    @property
    def labels(self) -> tuple[str, ...]:  # noqa: D102 - as in Task, like all below
        return self._all_labels[1:] if self.config.model.multi_label else self._all_labels

    @property
    def _all_labels(self) -> tuple[str, ...]:
        """The background and the labels of events."""
        background = self.config.timelines.background
        return (background, *(label for label in self.train_set.labels if label != background))

    @property
    def fingerprint(self) -> str:  # noqa: D102
        videos = [
            (Path(video.path).name, [(e.label, e.start_seconds, e.end_seconds) for e in video.events])
            for video in self.train_set.videos
        ]
        return hashlib.sha256(json.dumps([self.labels, videos]).encode()).hexdigest()

    @property
    def guessing_loss(self) -> float:  # noqa: D102
        shares = class_shares(self.dataset, STRETCHES_LOOKED_AT).tolist()
        smoothing = self.config.training.label_smoothing
        if self.config.model.multi_label:
            return sum(guessing_loss([share, 1 - share], smoothing) for share in shares)
        return guessing_loss(shares, smoothing)

    @property
    def steps_per_epoch(self) -> int:  # noqa: D102
        return self.num_batches * self.chunks_per_stretch

    @property
    def clips_per_step(self) -> int:  # noqa: D102
        return self.config.training.batch_size * self.world.size

    @property
    def has_test(self) -> bool:  # noqa: D102
        return self.test_set is not None

    def prepare(self, model: Recognizer) -> None:  # noqa: D102
        config, timelines = self.config, self.config.timelines
        self.dataset = StretchDataset(
            self.train_set,
            self.source,
            StretchRates(config.input.fps, config.input.fps_jitter),
            TargetRules(
                multi_label=config.model.multi_label,
                foreground_weight=timelines.foreground_weight,
                boundary_seconds=timelines.boundary_seconds,
                boundary_weight=timelines.boundary_weight,
                point_seconds=timelines.point_seconds,
            ),
            background=timelines.background,
            transform=train_transform(config.input, self._all_labels, model),
            reader=config.data.reader,
            on_unreadable=config.data.on_unreadable,
            seed=config.training.seed,
        )

    def describe(self) -> list[str]:  # noqa: D102
        minutes = sum(video.duration_seconds for video in self.source.videos) / 60
        num_events = sum(self.train_set.num_events().values())
        chunks = f" in {self.chunks_per_stretch} chunks" if self.chunks_per_stretch > 1 else ""
        return [
            f"{len(self._all_labels) - 1} labels and {self._all_labels[0]}; {len(self.train_set)} videos of "
            f"{minutes:.1f} minutes with {num_events} events to train on from {self.train_set.source}, "
            f"{len(self.val_set)} to validate on from {self.val_set.source}",
            f"{self.config.training.epochs} epochs of {self.steps_per_epoch} steps of {self.clips_per_step} streams, "
            f"each through stretches of {self.config.timelines.stretch_frames} frames{chunks}, at "
            f"{self.config.input.fps:g} frames per second",
        ]

    def read(self, epoch: int, first_step: int) -> Generator[LoadedStep, None, None]:  # noqa: D102
        self.dataset.set_epoch(epoch, self.background.difficulty())
        first_batch, first_chunk = divmod(first_step, self.chunks_per_stretch)
        loader = BatchLoader(
            self.dataset,
            [self._indices(number) for number in range(first_batch, self.num_batches)],
            num_workers=self.config.data.num_workers,
            device=self.world.device,
        )
        with closing(iter(loader)) as batches:
            for batch in batches:
                yield from self._steps(batch, first_chunk)
                first_chunk = 0

    def _indices(self, batch: int) -> Sequence[int]:
        """The stretches of this process; two processes see what one sees with twice as many streams."""
        size = self.config.training.batch_size
        first = batch * self.clips_per_step + self.world.rank * size
        return range(first, first + size)

    def _steps(self, batch: StretchBatch, first_chunk: int) -> Iterator[LoadedStep]:
        """The steps through the stretches of a batch, from a chunk on."""
        frames_BTCHW, targets = batch.frames_BTCHW, batch.targets
        if frames_BTCHW is None or targets is None:
            size, num_frames = self.config.input.size, self.config.timelines.stretch_frames
            frames_BTCHW = torch.zeros(0, num_frames, 3, size, size, dtype=torch.uint8)
            nothing_BT = torch.zeros(0, num_frames, dtype=torch.int64)
            overlapping = torch.zeros(0, num_frames, len(self.labels)) if self.config.model.multi_label else None
            targets = StretchTargets(nothing_BT, nothing_BT.float(), nothing_BT, overlapping)
        frames_BTCHW = frames_BTCHW.to(self.world.device, non_blocking=True)  # whole, as its memory is one piece
        unreadable = [(self.train_set.videos[number].path, error) for number, error in batch.unreadable]
        for chunk in range(first_chunk, self.chunks_per_stretch):
            frames = slice(chunk * self.chunk_frames, (chunk + 1) * self.chunk_frames)
            chunk_BTCHW = frames_BTCHW[:, frames]
            in_chunk = targets.frames(frames)
            yield LoadedStep(
                [StreamPass(chunk_BTCHW, in_chunk, is_start=chunk == 0, background=self.background)],
                num_items=self.clips_per_step * self.chunk_frames,
                frames_BTCHW=chunk_BTCHW,
                unreadable=unreadable if chunk == first_chunk else (),
            )

    def end_epoch(self) -> None:  # noqa: D102
        self.background.end_epoch()

    def parts(self) -> Mapping[str, Any]:  # noqa: D102
        return {"background": self.background}

    def validate(self, model: Recognizer, progress: Callable[[int, int], None]) -> TimelineValidation:  # noqa: D102
        fps, jitter = self.config.input.fps, self.config.input.fps_jitter
        loaded = LoadedModel(
            model,
            self.labels,
            self.config.input,
            metrics={},
            frame_rates=FrameRates(fps / jitter, fps, fps * jitter),
            events=EventRules(background=None if model.multi_label else self.labels[0], multi_label=model.multi_label),
        )
        return self._evaluate(loaded, self.val_set, progress, fits=True)

    def test(self, folder: Path, progress: Callable[[int, int], None]) -> TimelineValidation:  # noqa: D102
        assert self.test_set is not None
        return self._evaluate(load_weights(folder), self.test_set, progress, fits=False)

    def _evaluate(
        self, loaded: LoadedModel, manifest: TimelineManifest, progress: Callable[[int, int], None], *, fits: bool
    ) -> TimelineValidation:
        evaluation = evaluate_timelines(
            StreamingPredictor(loaded, device=self.world.device),
            manifest,
            background=self.config.timelines.background,
            fit=fits,
            max_false_per_hour=self.config.timelines.max_false_per_hour,
            on_unreadable=self.config.data.on_unreadable,
            progress=progress,
        )
        return TimelineValidation(evaluation, loaded)


def _timed(manifest: TimelineManifest) -> list[TimedVideo]:
    """The videos with their lengths; the files were checked before."""

    def timed(entry: tuple[int, TimelineVideo]) -> TimedVideo:
        number, video = entry
        try:
            with open_video(video.path) as reader:
                return TimedVideo(number, video, reader.info.duration_seconds)
        except VideoError as error:
            raise VideoError(f"{video.where}: {error}") from error

    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:  # decoders release the interpreter's lock
        return list(pool.map(timed, enumerate(manifest.videos)))
