"""How soon a causal model knows: its accuracy after each frame, when it settles, and when it may stop.

Shapes: N videos, T frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from lsn.errors import ConfigError, ModelError
from lsn.evaluation.early_exit import EarlyExit, check_wanted_top1, fit_early_exit
from lsn.evaluation.protocol import EvaluationProtocol
from lsn.evaluation.running import CumulativePredictions
from lsn.inference.runtimes.contract import Network

MILESTONES = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1.0)
"""Shares of the frames that a short table reports."""


@dataclass(frozen=True)
class DecisionTime:
    """After how much of a video the running answer is the last one and stays, over the videos it is right on."""

    median_fraction: float
    """Share of the frames after which half of the videos are decided."""
    p90_fraction: float
    """Likewise for nine of ten."""
    median_seconds: float
    """Seconds from the first frame of the video after which half of the videos are decided."""
    p90_seconds: float
    """Likewise for nine of ten."""


@dataclass(frozen=True)
class Anytime:
    """What an evaluation measured after each of the T frames; shares lie in 0..1."""

    top1: tuple[float, ...]
    """Top-1 after each frame; the last is that of the evaluation."""
    decided: tuple[int, ...]
    """Of the videos that are right at the end, how many are decided with each frame and not before."""
    decision: DecisionTime | None
    """When they are decided; None if no video is right at the end."""
    early_exit: EarlyExit
    """When to stop looking."""

    @property
    def num_frames(self) -> int:
        """Frames T of a video."""
        return len(self.top1)

    def milestones(self) -> list[int]:
        """Numbers of frames near an eighth, a quarter, a half and three quarters of them, and all; none twice."""
        return sorted({max(1, math.floor(share * self.num_frames + 0.5)) for share in MILESTONES})


def measure_anytime(running: CumulativePredictions, labels_N: Tensor, *, wanted_top1: float | None = None) -> Anytime:
    """All that follows from the running answers on N >= 1 videos.

    Args:
        running: the answers after each frame.
        labels_N: int64, the true classes.
        wanted_top1: accuracy for which the early stop is fitted, 0..1; None for at most one point less than all
            frames give.

    Raises:
        ConfigError: the wanted accuracy is outside 0..1.
    """
    right_NT = running.answers_NT == labels_N[:, None]
    right_at_end_N = right_NT[:, -1]
    frames_N = decision_frames(running.answers_NT)[right_at_end_N]
    seconds_N = running.seconds_NT[right_at_end_N].gather(1, frames_N[:, None] - 1)[:, 0]
    num_frames = right_NT.shape[1]
    decision = None
    if len(frames_N):
        frames, seconds = frames_N.tolist(), seconds_N.tolist()
        decision = DecisionTime(
            median_fraction=_reached_by(frames, 0.5) / num_frames,
            p90_fraction=_reached_by(frames, 0.9) / num_frames,
            median_seconds=_reached_by(seconds, 0.5),
            p90_seconds=_reached_by(seconds, 0.9),
        )
    return Anytime(
        top1=tuple(right_NT.double().mean(dim=0).tolist()),
        decided=tuple(frames_N.bincount(minlength=num_frames + 1)[1:].tolist()),
        decision=decision,
        early_exit=fit_early_exit(running.confidences_NT, right_NT, labels_N, wanted_top1=wanted_top1),
    )


def decision_frames(answers_NT: Tensor) -> Tensor:
    """Frames of each video, int64 (N,) in 1..T, after which the answer is the last one and stays."""
    differs_NT = answers_NT != answers_NT[:, -1:]
    # Counted from the end, the answers before the first that differs are the ones that stayed.
    stayed_N = (differs_NT.flip(1).cumsum(dim=1) == 0).sum(dim=1)
    return answers_NT.shape[1] - stayed_N + 1


def check_anytime(model: Network, protocol: EvaluationProtocol, wanted_top1: float | None) -> None:
    """Makes sure that a model has answers on the way, before anything is read.

    Raises:
        ModelError: frames of the model depend on later ones.
        ConfigError: the protocol has several clips, or the wanted accuracy is outside 0..1.
    """
    if not model.is_causal:
        raise ModelError(
            f"{model.name} has no answers on the way: its bidirectional shift looks one frame ahead; train the causal "
            "one, with model.shift=causal, or evaluate without anytime"
        )
    if protocol.num_clips > 1:
        raise ConfigError(
            f"answers on the way are those of one clip, but the protocol has {protocol.num_clips} clips per video; "
            "use one (--clips 1)"
        )
    check_wanted_top1(wanted_top1)


def _reached_by(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return sorted(values)[math.ceil(share * len(values) - 1e-9) - 1]
