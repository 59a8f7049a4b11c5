"""What training sees of a video: one random clip of it, transformed at random."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch

from lsn.video import ClipSampler, VideoReader
from lsn.video.transforms import TrainTransform


@dataclass(frozen=True)
class TrainingViews:
    """Samples the frames of a clip and applies the training transforms."""

    sampler: ClipSampler
    """Which frames."""
    transform: TrainTransform
    """From decoded frames to those that the network sees."""

    def __call__(self, reader: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
        """Returns one uint8 view (1, T, 3, size, size) and its label, which a mirrored clip may change."""
        crop = self.transform.one_crop(rng)
        cropped_TCHW = reader.transformed_at(
            self.sampler.train_indices(reader, rng),
            lambda frames_THWC: crop(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)).numpy(),
        )
        clip_TCHW, (label,) = self.transform.augment(torch.from_numpy(cropped_TCHW), [label], rng)
        return clip_TCHW.unsqueeze(0), label
