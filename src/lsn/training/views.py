"""What training sees of a video: one random clip of it, transformed at random."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

import torch

from lsn.video import VideoReader
from lsn.video.sampling import dense_indices_train, segment_indices_train
from lsn.video.transforms import TrainTransform


@dataclass(frozen=True)
class TrainingViews:
    """Samples frames as TSN trains, or densely, and applies the training transforms."""

    num_frames: int
    """Frames a clip."""
    sampling: Literal["segments", "dense"]
    """One random frame of each segment, or neighbours `frame_stride` apart from a random start."""
    frame_stride: int
    """Distance of neighbours under dense sampling, in frames."""
    transform: TrainTransform
    """From frames to the tensor that the network sees."""

    def __call__(self, reader: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
        """Returns one float32 view (1, T, 3, size, size) and its label, which a mirrored clip may change."""
        if self.sampling == "segments":
            indices = segment_indices_train(reader.num_frames, self.num_frames, rng)
        else:
            indices = dense_indices_train(reader.num_frames, self.num_frames, self.frame_stride, rng)
        frames_TCHW = reader.frames_at(indices).frames_THWC.permute(0, 3, 1, 2)
        clip_TCHW, label = self.transform(frames_TCHW, label, rng)
        return clip_TCHW.unsqueeze(0), label
