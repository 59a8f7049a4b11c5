"""The answers of a causal model after each frame: what it would say if it had to answer then.

Shapes: N videos, V views, T frames, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lsn.evaluation.metrics import rank_classes


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


def cumulative_scores(logits_NVTK: Tensor, combine: Callable[[Tensor], Tensor], readout_frames: int | None) -> Tensor:
    """The scores NTK after each frame; the last are those of the whole clip.

    Args:
        logits_NVTK: scores of every frame of every view; the views of a video show the same moments.
        combine: puts the views together, from scores NVK to scores NK, as `EvaluationProtocol.scores`.
        readout_frames: as of the model.
    """
    mean_NVTK = running_mean(logits_NVTK, readout_frames).float()
    return combine(mean_NVTK.transpose(1, 2).flatten(0, 1)).unflatten(0, (-1, logits_NVTK.shape[2]))


def running_mean(scores_TK: Tensor, readout_frames: int | None) -> Tensor:
    """The mean of the frames up to each one, or of the last `readout_frames` of them, as float64 (..., T, K).

    In float64, so that the last mean is as exact as the one that `Recognizer.answer` takes.
    """
    num_frames = scores_TK.shape[-2]
    width = min(readout_frames or num_frames, num_frames)
    total_TK = scores_TK.double().cumsum(dim=-2)
    before_TK = F.pad(total_TK, (0, 0, width, 0))[..., :num_frames, :]
    seen_T1 = torch.arange(1, num_frames + 1)[:, None].clamp(max=width)
    return (total_TK - before_TK) / seen_T1
