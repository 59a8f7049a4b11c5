"""Which frames of a video become a clip: one class for each way to choose them, in training and in evaluation."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from lsn.video.decoding.reader import VideoInfo, VideoReader
from lsn.video.sampling import (
    dense_indices_eval,
    dense_indices_train,
    segment_indices_eval,
    segment_indices_train,
    timed_indices_eval,
    timed_indices_train,
)

Sampling = Literal["segments", "dense", "timed"]


def clip_sampler(
    sampling: Sampling,
    *,
    num_frames: int,
    frame_stride: int,
    fps: float,
    fps_jitter: float = 1.0,
    min_span: float = 1.0,
) -> ClipSampler:
    """The sampler of a setting.

    Args:
        sampling: One frame per segment over the whole video, neighbours `frame_stride` apart, or `fps` per second.
        num_frames: Frames per clip.
        frame_stride: Distance of neighbours under dense sampling, in frames.
        fps: Frames per second under timed sampling.
        fps_jitter: Each timed clip of training has a rate of its own, from fps / fps_jitter to fps * fps_jitter.
        min_span: Shortest share of a video whose segments make a clip of training.
    """
    if sampling == "segments":
        return SegmentSampler(num_frames, min_span)
    if sampling == "dense":
        return DenseSampler(num_frames, frame_stride)
    return TimedSampler(num_frames, fps, fps_jitter)


class ClipSampler(ABC):
    """Chooses the frames of a clip; see `lsn.video.sampling` for the indices that each way gives."""

    num_frames: int
    """Frames per clip."""

    @abstractmethod
    def train_indices(self, video: VideoReader, rng: random.Random) -> list[int]:
        """The frames of a random clip.

        Raises:
            ConfigError: the settings allow no clip.
        """

    @abstractmethod
    def eval_indices(self, video: VideoReader, *, clip: int = 0, num_clips: int = 1) -> list[int]:
        """The frames of one of `num_clips` clips; nothing is random.

        Raises:
            ConfigError: the settings allow no clip, or it is not one of them.
        """

    @abstractmethod
    def clip_fps(self, info: VideoInfo) -> float:
        """Frames per second that a clip of this video has, of which the duration must be known."""

    @property
    def fps_range(self) -> tuple[float, float, float] | None:
        """Lowest, middle and highest frames per second of training clips; None where they depend on the videos."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """A few words for people."""


@dataclass(frozen=True)
class SegmentSampler(ClipSampler):
    """One frame of each of `num_frames` segments that together cover the video."""

    num_frames: int
    min_span: float = 1.0
    """A clip of training covers from this share of the video to the whole of it."""

    def train_indices(self, video: VideoReader, rng: random.Random) -> list[int]:
        """A random frame of each segment."""
        if self.min_span == 1:
            return segment_indices_train(video.num_frames, self.num_frames, rng)
        span = max(1, round(rng.uniform(self.min_span, 1) * video.num_frames))
        start = rng.randint(0, video.num_frames - span)
        return [start + index for index in segment_indices_train(span, self.num_frames, rng)]

    def eval_indices(self, video: VideoReader, *, clip: int = 0, num_clips: int = 1) -> list[int]:
        """The same place in each segment, another one for each clip."""
        return segment_indices_eval(video.num_frames, self.num_frames, clip=clip, num_clips=num_clips)

    def clip_fps(self, info: VideoInfo) -> float:
        """The clip is spread over the whole video."""
        return self.num_frames / info.duration_seconds

    def describe(self) -> str:
        """Such as `segments`."""
        return "segments"


@dataclass(frozen=True)
class DenseSampler(ClipSampler):
    """Frames that are a fixed number of frames apart."""

    num_frames: int
    frame_stride: int
    """Distance of neighbours."""

    def train_indices(self, video: VideoReader, rng: random.Random) -> list[int]:
        """From a random start."""
        return dense_indices_train(video.num_frames, self.num_frames, self.frame_stride, rng)

    def eval_indices(self, video: VideoReader, *, clip: int = 0, num_clips: int = 1) -> list[int]:
        """In the middle, or clips spread from start to end."""
        return dense_indices_eval(video.num_frames, self.num_frames, self.frame_stride, clip=clip, num_clips=num_clips)

    def clip_fps(self, info: VideoInfo) -> float:
        """Videos too short for the stride are spread over the clip."""
        if info.num_frames > (self.num_frames - 1) * self.frame_stride:
            return info.average_fps / self.frame_stride
        return self.num_frames / info.duration_seconds

    def describe(self) -> str:
        """Such as `dense, stride 4`."""
        return f"dense, stride {self.frame_stride}"


@dataclass(frozen=True)
class TimedSampler(ClipSampler):
    """The frames on screen at moments that are a fixed time apart, whatever the video's own rate."""

    num_frames: int
    fps: float
    """Moments per second."""
    fps_jitter: float = 1.0
    """Each training clip has a rate of its own, from fps / fps_jitter to fps * fps_jitter."""

    def train_indices(self, video: VideoReader, rng: random.Random) -> list[int]:
        """From a random start, at a random rate near `fps`."""
        fps = self.fps * self.fps_jitter ** rng.uniform(-1, 1)
        return timed_indices_train(video.pts_seconds.tolist(), video.end_seconds, self.num_frames, fps, rng)

    def eval_indices(self, video: VideoReader, *, clip: int = 0, num_clips: int = 1) -> list[int]:
        """In the middle, or clips spread from start to end."""
        pts_seconds, end_seconds = video.pts_seconds.tolist(), video.end_seconds
        return timed_indices_eval(pts_seconds, end_seconds, self.num_frames, self.fps, clip=clip, num_clips=num_clips)

    def clip_fps(self, info: VideoInfo) -> float:
        """The same for every video."""
        return self.fps

    @property
    def fps_range(self) -> tuple[float, float, float]:
        """From the slowest clip to the fastest."""
        return self.fps / self.fps_jitter, self.fps, self.fps * self.fps_jitter

    def describe(self) -> str:
        """Such as `timed, 8 fps`."""
        return f"timed, {self.fps:g} fps"
