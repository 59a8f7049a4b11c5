"""Clips as samples: open, take views, close."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from lsn.data.clips.table import Manifest
from lsn.data.clips.windows import open_clip
from lsn.errors import LSNError, VideoError
from lsn.video import VideoReader

MakeViews = Callable[[VideoReader, int, random.Random], tuple[torch.Tensor, int]]
"""From an open clip, its label and the sample's own randomness to views (V, T, C, H, W) and the label."""
MakeTimes = Callable[[VideoReader], np.ndarray]
"""From an open clip to the times of the frames that its views show, float64 (T,) in seconds."""


@dataclass
class Sample:
    """The views of one clip, or why there are none."""

    views_VTCHW: torch.Tensor | None
    label: int
    index: int
    """Of the clip in the manifest."""
    error: LSNError | None = None
    """Names the clip and its line in the manifest. As data, because torch turns what a worker raises into text."""
    seconds_T: np.ndarray | None = None
    """Times of its frames, where the dataset was asked for them."""


@dataclass
class Batch:
    """The samples of a batch that could be read, and those that could not."""

    views_BVTCHW: torch.Tensor | None
    """None if no clip of the batch could be read."""
    labels_B: torch.Tensor
    """int64."""
    indices_B: torch.Tensor
    """int64; of the clips in the manifest."""
    unreadable: list[tuple[int, str]]
    """Index and error of the clips that could not be read."""
    failure: LSNError | None = None
    """An error that is not the clip's fault, such as an unknown decoder; loaders always raise it."""
    seconds_BT: torch.Tensor | None = None
    """float64: times of the frames; None if no clip could be read, or the dataset was not asked for them."""

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from by itself; PyTorch's loader calls it."""
        if self.views_BVTCHW is None:
            return self
        return replace(self, views_BVTCHW=self.views_BVTCHW.pin_memory(), labels_B=self.labels_B.pin_memory())


class ClipDataset(Dataset[Sample]):
    """The clips of a manifest as samples, for `make_loader`.

    The randomness of a sample depends on the seed, the epoch and its index alone: not on the order in which
    samples are read, nor on the number of workers.

    A clip that cannot be read comes back as a sample with an error. `make_loader` raises it in the main process,
    or with `on_unreadable="skip"` leaves the clip out and adds it to `unreadable`.

    Args:
        manifest: the clips.
        make_views: the views of an open clip; with workers it must be picklable.
        make_times: the times of the frames in these views, likewise; by default samples have none.
        reader: the decoder.
        on_unreadable: stop at a clip that cannot be read, or leave it out.
        seed: another seed gives other views.

    Raises:
        DataError: a clip has a label that is not among those of the manifest.
    """

    def __init__(
        self,
        manifest: Manifest,
        make_views: MakeViews,
        *,
        make_times: MakeTimes | None = None,
        reader: Literal["pyav", "torchcodec"] = "pyav",
        on_unreadable: Literal["raise", "skip"] = "raise",
        seed: int = 0,
    ) -> None:
        self.manifest = manifest
        self.make_views = make_views
        self.make_times = make_times
        self.reader: Literal["pyav", "torchcodec"] = reader
        self.on_unreadable = on_unreadable
        self.seed = seed
        self.epoch = 0
        self._label_numbers = [manifest.label_index(clip.label) for clip in manifest.clips]
        self.unreadable: dict[int, str] = {}
        """Error of each clip that a loader has left out so far, by index."""

    def set_epoch(self, epoch: int) -> None:
        """Changes the randomness of all samples; takes effect when a loader is next iterated."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.manifest)

    def __getitem__(self, index: int) -> Sample:
        """The sample of one clip; with `views_VTCHW` None and an error if it cannot be read."""
        clip = self.manifest.clips[index]
        label = self._label_numbers[index]
        try:
            with open_clip(clip, reader=self.reader) as video:
                rng = random.Random(f"{self.seed}/{self.epoch}/{index}")
                views_VTCHW, label = self.make_views(video, label, rng)
                seconds_T = None if self.make_times is None else self.make_times(video)
        except LSNError as error:
            return Sample(None, label, index, type(error)(f"{self.manifest.where(clip)}: {error}"))
        return Sample(views_VTCHW, label, index, seconds_T=seconds_T)

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """Stacks the samples that could be read; runs in the workers."""
        readable = [(sample, sample.views_VTCHW) for sample in samples if sample.views_VTCHW is not None]
        times = [sample.seconds_T for sample, _ in readable if sample.seconds_T is not None]
        errors = [(sample.index, sample.error) for sample in samples if sample.error is not None]
        return Batch(
            views_BVTCHW=torch.stack([views_VTCHW for _, views_VTCHW in readable]) if readable else None,
            labels_B=torch.tensor([sample.label for sample, _ in readable], dtype=torch.int64),
            indices_B=torch.tensor([sample.index for sample, _ in readable], dtype=torch.int64),
            unreadable=[(index, str(error)) for index, error in errors if isinstance(error, VideoError)],
            failure=next((error for _, error in errors if not isinstance(error, VideoError)), None),
            seconds_BT=torch.from_numpy(np.stack(times)) if times else None,
        )
