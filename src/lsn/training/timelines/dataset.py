"""Stretches of long videos as samples.

Shapes: B streams, T frames, C channels, H height, W width.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from lsn.data.timelines.stretches import Piece, Stretch, StretchSource
from lsn.data.timelines.table import TimelineManifest
from lsn.data.timelines.targets import TargetRules, frame_targets
from lsn.errors import LSNError, VideoError
from lsn.video import VideoReader, open_video
from lsn.video.frame_sampler import on_screen
from lsn.video.transforms import TrainTransform

MAX_OPEN_VIDEOS = 8
"""Kept open by each process, since finding the frames of a long file takes a while."""


@dataclass
class StretchTargets:
    """The right answers for the frames of stretches, one row for each."""

    classes_BT: Tensor
    """int64; 0 is the background."""
    weights_BT: Tensor
    """float32: how much each frame counts."""
    videos_BT: Tensor
    """int64: the number of the video that each frame is of."""
    classes_BTK: Tensor | None = None
    """float32, of events that may overlap: 1 for each label that goes on, in place of `classes_BT`."""

    def map(self, convert: Callable[[Tensor], Tensor]) -> StretchTargets:
        """The targets with each tensor converted."""
        overlapping = None if self.classes_BTK is None else convert(self.classes_BTK)
        return StretchTargets(convert(self.classes_BT), convert(self.weights_BT), convert(self.videos_BT), overlapping)

    def frames(self, part: slice) -> StretchTargets:
        """Those of some of the frames."""
        return self.map(lambda tensor: tensor[:, part])

    @classmethod
    def joined(cls, parts: Sequence[StretchTargets], dim: int) -> StretchTargets:
        """Rows (0) or frames (1) one after the other."""
        overlapping = [part.classes_BTK for part in parts if part.classes_BTK is not None]
        return cls(
            torch.cat([part.classes_BT for part in parts], dim),
            torch.cat([part.weights_BT for part in parts], dim),
            torch.cat([part.videos_BT for part in parts], dim),
            torch.cat(overlapping, dim) if overlapping else None,
        )

    def relabelled(self, before: Sequence[int], after: Sequence[int]) -> StretchTargets:
        """With the classes of `after` in place of those of `before`, as in a mirrored stretch."""
        classes_BT = self.classes_BT.clone()
        for one, other in zip(before, after, strict=True):
            classes_BT[self.classes_BT == one] = other
        if self.classes_BTK is None:
            return replace(self, classes_BT=classes_BT)
        classes_BTK = torch.zeros_like(self.classes_BTK)
        for one, other in zip(before, after, strict=True):
            classes_BTK[..., other - 1] = self.classes_BTK[..., one - 1]
        return replace(self, classes_BT=classes_BT, classes_BTK=classes_BTK)

    def shown(self) -> list[int]:
        """Numbers of all classes that occur, background (0) included unless events may overlap."""
        if self.classes_BTK is None:
            return self.classes_BT.unique().tolist()
        return (1 + self.classes_BTK.amax(dim=(0, 1)).nonzero().flatten()).tolist()


@dataclass
class StretchSample:
    """One stretch, or why there is none."""

    frames_TCHW: Tensor | None
    targets: StretchTargets | None = None
    """Of one row."""
    number: int = 0
    """Of the video that could not be read."""
    error: LSNError | None = None


@dataclass
class StretchBatch:
    """The stretches of a batch that could be read, and the videos that could not."""

    frames_BTCHW: Tensor | None
    """uint8; None if no stretch could be read."""
    targets: StretchTargets | None
    unreadable: list[tuple[int, str]]
    """Number and error of the videos that could not be read."""
    failure: LSNError | None = None
    """An error that is not the video's fault."""

    def pin_memory(self) -> StretchBatch:
        """The batch in memory that a GPU copies from by itself; PyTorch's loader calls it."""
        if self.frames_BTCHW is None or self.targets is None:
            return self
        targets = self.targets.map(Tensor.pin_memory)
        return replace(self, frames_BTCHW=self.frames_BTCHW.pin_memory(), targets=targets)


@dataclass(frozen=True)
class StretchRates:
    """How fast the frames of a stretch follow each other."""

    fps: float
    """Frames per second."""
    jitter: float = 1.0
    """Each stretch has a rate of its own, from fps / jitter to fps * jitter."""

    def draw(self, rng: random.Random) -> float:
        """The rate of a stretch."""
        return self.fps * self.jitter ** rng.uniform(-1, 1)


class StretchDataset(Dataset[StretchSample]):
    """Stretches as samples, for `BatchLoader`.

    What a sample is follows from the seed, the epoch, its index and how hard the videos are, not from the order of
    reading. A stretch of which anything cannot be read is left out whole.

    Args:
        manifest: the videos and their events.
        source: draws stretches of them.
        rates: how fast their frames follow each other.
        rules: how events become answers for frames.
        background: name of the background.
        transform: crop, flip and augmentation, the same in a whole stretch; its labels are the background and those of
            the manifest.
        reader: the decoder.
        on_unreadable: stop at a video that cannot be read, or leave it out.
        seed: another seed draws other stretches.
    """

    def __init__(
        self,
        manifest: TimelineManifest,
        source: StretchSource,
        rates: StretchRates,
        rules: TargetRules,
        *,
        background: str,
        transform: TrainTransform,
        reader: Literal["pyav", "torchcodec"] = "pyav",
        on_unreadable: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        self.manifest, self.source, self.rates, self.rules = manifest, source, rates, rules
        self.background, self.transform, self.seed = background, transform, seed
        self.reader: Literal["pyav", "torchcodec"] = reader
        self.on_unreadable: Literal["raise", "skip"] = on_unreadable
        self.unreadable: dict[int, str] = {}
        self.epoch = 0
        self.difficulty: Sequence[float] | None = None
        self._videos = _OpenVideos(reader)

    def set_epoch(self, epoch: int, difficulty: Sequence[float] | None) -> None:
        """Changes the randomness of all samples, and how often background of each video is drawn."""
        self.epoch, self.difficulty = epoch, difficulty

    def draw(self, index: int) -> tuple[Stretch, float, random.Random]:
        """The stretch of a sample, its rate, and the randomness that is left for its frames."""
        rng = random.Random(f"stretch/{self.seed}/{self.epoch}/{index}")
        fps = self.rates.draw(rng)
        return self.source.draw(rng, fps, difficulty=self.difficulty), fps, rng

    def __getitem__(self, index: int) -> StretchSample:
        """The sample of an index, of which there is no last one."""
        stretch, fps, rng = self.draw(index)
        crop_seed = rng.getrandbits(63)
        parts = []
        for piece in stretch:
            video = self.manifest.videos[piece.number]
            try:
                parts.append(self._frames(piece, fps, random.Random(crop_seed)))
            except LSNError as error:
                self._videos.close(video.path)
                return StretchSample(None, number=piece.number, error=type(error)(f"{video.where}: {error}"))
        targets = self.targets(stretch, fps)
        classes = targets.shown()
        frames_TCHW, mirrored = self.transform.augment(torch.from_numpy(np.concatenate(parts)), classes, rng)
        return StretchSample(frames_TCHW, targets.relabelled(classes, mirrored))

    def targets(self, stretch: Stretch, fps: float) -> StretchTargets:
        """The right answers for a stretch, which nothing need be read for."""
        return StretchTargets.joined([self._targets(piece, fps) for piece in stretch], dim=1)

    def _targets(self, piece: Piece, fps: float) -> StretchTargets:
        video, seconds_T = self.manifest.videos[piece.number], _seconds(piece, fps)
        found = frame_targets(video, seconds_T, self.manifest, self.rules, background=self.background)
        return StretchTargets(
            classes_BT=torch.from_numpy(found.classes_T)[None],
            weights_BT=torch.from_numpy(found.weights_T)[None],
            videos_BT=torch.full((1, piece.num_ticks), piece.number),
            classes_BTK=None if found.classes_TK is None else torch.from_numpy(found.classes_TK)[None],
        )

    def _frames(self, piece: Piece, fps: float, rng: random.Random) -> np.ndarray:
        """The cropped frames of a piece, uint8 TCHW."""
        video = self._videos.open(self.manifest.videos[piece.number].path)
        crop = self.transform.one_crop(rng)
        moments = video.pts_seconds[0] + _seconds(piece, fps)
        return video.transformed_at(
            on_screen(video.pts_seconds.tolist(), moments.tolist()),
            lambda frames_THWC: crop(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)).numpy(),
        )

    @staticmethod
    def collate(samples: Sequence[StretchSample]) -> StretchBatch:
        """Stacks the stretches that could be read; runs in the workers."""
        frames = [sample.frames_TCHW for sample in samples if sample.frames_TCHW is not None]
        targets = [sample.targets for sample in samples if sample.targets is not None]
        errors = [(sample.number, sample.error) for sample in samples if sample.error is not None]
        return StretchBatch(
            frames_BTCHW=torch.stack(frames) if frames else None,
            targets=StretchTargets.joined(targets, dim=0) if targets else None,
            unreadable=[(number, str(error)) for number, error in errors if isinstance(error, VideoError)],
            failure=next((error for _, error in errors if not isinstance(error, VideoError)), None),
        )


def class_shares(dataset: StretchDataset, num_stretches: int) -> Tensor:
    """How much each class counts in the first stretches, beside all that counts, float64 (K,).

    Args:
        dataset: of the stretches.
        num_stretches: how many are looked at; none is read.
    """
    drawn = [dataset.draw(index) for index in range(num_stretches)]
    targets = StretchTargets.joined([dataset.targets(stretch, fps) for stretch, fps, _ in drawn], dim=0)
    weights_N = targets.weights_BT.flatten().double()
    if targets.classes_BTK is None:
        num_classes = 1 + len([label for label in dataset.manifest.labels if label != dataset.background])
        classes_NK = F.one_hot(targets.classes_BT.flatten(), num_classes).double()
    else:
        classes_NK = targets.classes_BTK.flatten(0, 1).double()
    return (weights_N @ classes_NK) / weights_N.sum()


def _seconds(piece: Piece, fps: float) -> np.ndarray:
    """The moments of a piece, counted from the first frame of its video."""
    return (piece.first + np.arange(piece.num_ticks)) / fps


class _OpenVideos:
    """The videos that were read last, kept open."""

    def __init__(self, reader: Literal["pyav", "torchcodec"]) -> None:
        self.reader: Literal["pyav", "torchcodec"] = reader
        self._open: OrderedDict[str, VideoReader] = OrderedDict()

    def open(self, path: str) -> VideoReader:
        """The video, opened if it is not."""
        if path not in self._open:
            self._open[path] = open_video(path, reader=self.reader)
            while len(self._open) > MAX_OPEN_VIDEOS:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path]

    def close(self, path: str) -> None:
        """Closes a video, if it is open."""
        if (video := self._open.pop(path, None)) is not None:
            video.close()

    def __getstate__(self) -> dict[str, Any]:  # a worker opens its own
        return {"reader": self.reader, "_open": OrderedDict()}
