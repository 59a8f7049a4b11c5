"""The answers of a causal model after each frame: what it would say if it had to answer then.

Shapes: N videos, V views, T frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lsn.evaluation.metrics import rank_classes
from lsn.scores import running_clip_scores


@dataclass(frozen=True, eq=False)
class CumulativePredictions:
    """How the answers on N videos went from frame to frame."""

    answers_NT: Tensor
    """int64: the likeliest class after each frame."""
    confidences_NT: Tensor
    """float32: its probability."""
    seconds_NT: Tensor
    """float64: when each frame is shown, from the first frame of its video on."""

    @classmethod
    def of(cls, log_probabilities_NTK: Tensor, seconds_NT: Tensor) -> CumulativePredictions:
        """The answers that log-probabilities stand for; ties go to the class that comes first in label order."""
        num_frames = log_probabilities_NTK.shape[1]
        answers_NT = rank_classes(log_probabilities_NTK.flatten(0, 1))[:, 0].unflatten(0, (-1, num_frames))
        return cls(answers_NT, log_probabilities_NTK.amax(dim=-1).exp(), seconds_NT)

    @classmethod
    def join(cls, parts: Sequence[CumulativePredictions]) -> CumulativePredictions:
        """The videos of all parts, one part after the other."""
        return cls(
            torch.cat([part.answers_NT for part in parts]),
            torch.cat([part.confidences_NT for part in parts]),
            torch.cat([part.seconds_NT for part in parts]),
        )

    @classmethod
    def none(cls, num_frames: int) -> CumulativePredictions:
        """Of no video, to begin a join with."""
        nothing = torch.empty(0, num_frames)
        return cls(nothing.long(), nothing, nothing.double())

    def __getitem__(self, videos: Tensor) -> CumulativePredictions:
        """The videos at these indices, or under this mask, in that order."""
        return CumulativePredictions(self.answers_NT[videos], self.confidences_NT[videos], self.seconds_NT[videos])


def cumulative_scores(
    logits_NVTK: np.ndarray, combine: Callable[[np.ndarray], np.ndarray], readout_frames: int | None
) -> np.ndarray:
    """The scores NTK after each frame; the last are those of the whole clip.

    Args:
        logits_NVTK: scores of every frame of every view; the views of a video show the same moments.
        combine: puts the views together, from scores NVK to scores NK, as `EvaluationProtocol.scores`.
        readout_frames: as of the model.
    """
    mean_NTVK = running_clip_scores(logits_NVTK, readout_frames).swapaxes(1, 2)
    num_videos, num_frames, *views_and_classes = mean_NTVK.shape
    return combine(mean_NTVK.reshape(-1, *views_and_classes)).reshape(num_videos, num_frames, -1)
