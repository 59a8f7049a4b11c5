"""What a model sees of a video when it is evaluated or used, and how the answers are put together.

Shapes: V views (clips x crops, the crops of a clip side by side), T frames per clip, C = 3 channels, K classes.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from lsn.config import EvaluationConfig, InputConfig
from lsn.errors import ConfigError
from lsn.scores import log_softmax
from lsn.video import ClipSampler, Sampling, VideoReader, clip_sampler
from lsn.video.eval_transform import EvalTransform

if TYPE_CHECKING:
    from torch import Tensor

MAX_VIEW_BYTES = 1 << 30
"""Most memory for the views of one video: those of every worker's next batches wait at the same time."""


class HasFrames(Protocol):
    """A network, or what runs one."""

    @property
    def num_frames(self) -> int:
        """Frames of its clips."""


@dataclass(frozen=True, eq=False)
class Views:
    """What is seen of one video."""

    views_VTCHW: np.ndarray
    """uint8."""
    pts_seconds: np.ndarray
    """float64, (clips x T,): when the frames of the clips are shown, one clip after the other, on the clock of the
    file."""
    transform_seconds: float
    """Time that it took to make the views of the decoded frames."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """Views of a video and their average: the one object behind validation, test and prediction."""

    num_frames: int
    """Frames T a clip."""
    size: int
    """Side of the square that the network sees, in pixels."""
    short_side: int
    """The frames' short side is brought to this before cropping."""
    sampling: Sampling
    """One frame a segment over the whole video, neighbours `frame_stride` apart, or `fps` frames per second."""
    frame_stride: int
    """Distance of neighbours under dense sampling, in frames."""
    num_clips: int
    """Clips per video, which differ in their frames."""
    num_crops: Literal[1, 3]
    """Crops a clip."""
    average: Literal["logits", "probabilities"]
    """What is averaged over the views."""
    batch_size: int
    """Views per forward pass, at most; it does not change the result."""
    fps: float = 8.0
    """Frames per second under timed sampling; evaluations of older versions do not record it."""

    def __post_init__(self) -> None:
        num_bytes = self.num_views * self.num_frames * 3 * self.size**2
        if num_bytes > MAX_VIEW_BYTES:
            raise ConfigError(
                f"{self.num_clips} clips of {self.num_frames} frames and {self.num_crops} crops of {self.size} pixels "
                f"take {num_bytes / 1e9:.1f} GB for each video; the limit is {MAX_VIEW_BYTES / 1e9:.1f} GB: ask for at "
                f"most {MAX_VIEW_BYTES * self.num_clips // num_bytes} clips"
            )

    @classmethod
    def of(cls, model: HasFrames, input: InputConfig, evaluation: EvaluationConfig) -> EvaluationProtocol:
        """The protocol of a model with its preprocessing and the chosen views.

        Raises:
            ConfigError: the views of one video would take too much memory.
        """
        return cls(
            num_frames=model.num_frames,
            size=input.size,
            short_side=input.short_side,
            sampling=input.sampling,
            frame_stride=input.frame_stride,
            num_clips=evaluation.num_clips,
            num_crops=evaluation.num_crops,
            average=evaluation.average,
            batch_size=evaluation.batch_size,
            fps=input.fps,
        )

    @property
    def num_views(self) -> int:
        """Views V of a video."""
        return self.num_clips * self.num_crops

    @property
    def sampler(self) -> ClipSampler:
        """Chooses the frames of the clips."""
        return clip_sampler(self.sampling, num_frames=self.num_frames, frame_stride=self.frame_stride, fps=self.fps)

    def __call__(self, reader: VideoReader, label: int, rng: random.Random) -> tuple[Tensor, int]:
        """The views of a video and its label, as `lsn.data.ClipDataset` asks for them; nothing is random."""
        import torch

        return torch.from_numpy(self.read(reader).views_VTCHW), label

    def read(self, reader: VideoReader) -> Views:
        """Decodes the frames of all clips and makes the views of them on the way."""
        indices, transform_seconds = self.indices(reader), 0.0

        def timed_crops(frames_THWC: np.ndarray) -> np.ndarray:
            nonlocal transform_seconds
            start = time.perf_counter()
            crops = self.crops(frames_THWC)
            transform_seconds += time.perf_counter() - start
            return crops

        crops = reader.transformed_at(indices, timed_crops)
        clips = crops.reshape(self.num_clips, self.num_frames, *crops.shape[1:])
        views_VTCHW = clips.swapaxes(1, 2).reshape(self.num_views, self.num_frames, *crops.shape[2:])
        return Views(views_VTCHW, reader.pts_seconds[indices], transform_seconds)

    def crops(self, frames_THWC: np.ndarray) -> np.ndarray:
        """The uint8 crops (T, num_crops, 3, size, size) of decoded frames."""
        transform = EvalTransform(size=self.size, short_side=self.short_side, num_crops=self.num_crops)
        return transform(frames_THWC).swapaxes(0, 1)

    def indices(self, reader: VideoReader) -> list[int]:
        """The frames of all clips, one clip after the other."""
        sampler, num_clips = self.sampler, self.num_clips
        return [i for clip in range(num_clips) for i in sampler.eval_indices(reader, clip=clip, num_clips=num_clips)]

    def seconds(self, reader: VideoReader) -> np.ndarray:
        """When the frames that `read` gives are shown, float64, from the first frame of the video on."""
        return reader.pts_seconds[self.indices(reader)] - reader.pts_seconds[0]

    def scores(self, logits_NVK: np.ndarray) -> np.ndarray:
        """The scores NK of each of N videos from the logits of its views: their mean, or the log of their mean softmax.

        Logarithms keep what a float32 probability loses near zero, which the loss and the ranking need.
        """
        if self.average == "logits":
            return logits_NVK.mean(axis=1, dtype=np.float64).astype(np.float32)
        log_probabilities_NVK = log_softmax(logits_NVK).astype(np.float64)
        return (np.logaddexp.reduce(log_probabilities_NVK, axis=1) - np.log(logits_NVK.shape[1])).astype(np.float32)

    def combine(self, logits_NVK: np.ndarray) -> np.ndarray:
        """The answer of each of N videos from the logits of its views, as log-probabilities NK."""
        return log_softmax(self.scores(logits_NVK))

    def describe(self) -> str:
        """One line for people, such as `16x2x3 frames x clips x crops, 224 px of 256, segments, mean of logits`."""
        mean = "" if self.num_views == 1 else f", mean of {self.average}"
        shape = f"{self.num_frames}x{self.num_clips}x{self.num_crops} frames x clips x crops"
        return f"{shape}, {self.size} px of {self.short_side}, {self.sampler.describe()}{mean}"
