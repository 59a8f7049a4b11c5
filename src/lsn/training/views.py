"""What training sees of a video: one random clip of it, transformed at random."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

import torch

from lsn.video import VideoReader
from lsn.video.sampling import dense_indices_train, segment_indices_train, timed_indices_train
from lsn.video.transforms import TrainTransform


@dataclass(frozen=True)
class TrainingViews:
    """Samples frames as TSN trains, densely or by time, and applies the training transforms."""

    num_frames: int
    """Frames a clip."""
    sampling: Literal["segments", "dense", "timed"]
    """One random frame of each segment, or from a random start neighbours `frame_stride` apart or `fps` a second."""
    frame_stride: int
    """Distance of neighbours under dense sampling, in frames."""
    transform: TrainTransform
    """From decoded frames to those that the network sees."""
    fps: float = 8.0
    """Frames a second under timed sampling."""
    fps_jitter: float = 1.0
    """Each timed clip has a rate of its own, from fps / fps_jitter to fps * fps_jitter."""

    def __call__(self, reader: VideoReader, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
        """Returns one uint8 view (1, T, 3, size, size) and its label, which a mirrored clip may change."""
        crop = self.transform.one_crop(rng)
        cropped_TCHW = reader.transformed_at(
            self._indices(reader, rng),
            lambda frames_THWC: crop(torch.from_numpy(frames_THWC).permute(0, 3, 1, 2)).numpy(),
        )
        clip_TCHW, label = self.transform.augment(torch.from_numpy(cropped_TCHW), label, rng)
        return clip_TCHW.unsqueeze(0), label

    def _indices(self, reader: VideoReader, rng: random.Random) -> list[int]:
        if self.sampling == "segments":
            return segment_indices_train(reader.num_frames, self.num_frames, rng)
        if self.sampling == "dense":
            return dense_indices_train(reader.num_frames, self.num_frames, self.frame_stride, rng)
        fps = self.fps * self.fps_jitter ** rng.uniform(-1, 1)
        return timed_indices_train(reader.pts_seconds.tolist(), reader.end_seconds, self.num_frames, fps, rng)
