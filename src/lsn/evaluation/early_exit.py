"""Stopping as soon as the model is sure enough: what a threshold gives, and which one to use.

A video is stopped at the first frame after which the confidence of the running answer reaches the threshold, or at
its last frame. A threshold fitted on some videos flatters itself on them, so it is also fitted on each half of the
videos and tested on the other.

Shapes: N videos, T frames, S thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lsn.errors import ConfigError

TOLERATED_LOSS = 0.01
"""Top-1 that may be lost where no accuracy is asked for: one point."""
NEVER = 2.0
"""The threshold that no confidence reaches: never stop early."""
NUM_CURVE_POINTS = 25
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Stopped:
    """What stopping early gave on some videos; shares lie in 0..1."""

    num_videos: int
    """Videos that were stopped."""
    top1: float
    """Share of them that are right where they stop."""
    mean_frames: float
    """Frames seen of a video."""
    frames_saved: float
    """Share of all their frames that was not needed."""


@dataclass(frozen=True)
class StopRule:
    """A threshold and what it gave."""

    threshold: float
    """Confidence at which to stop; above 1 it is never reached."""
    result: Stopped
    """On the videos that it was tried on."""

    @property
    def stops(self) -> bool:
        """Whether the threshold can be reached at all."""
        return self.threshold <= 1


@dataclass(frozen=True)
class EarlyExit:
    """A threshold for a wanted accuracy, and what to expect of it."""

    wanted_top1: float | None
    """What was asked for; None asks for at most one point less than all frames give on the same videos."""
    goal: float
    """The accuracy that this means on all videos."""
    fitted: StopRule
    """The threshold to use, fitted on all videos. Its figures are of the same videos, which flatters it."""
    halves: tuple[StopRule, ...]
    """Each half of the videos, stopped at the threshold that was fitted on the other; none for a single video."""
    tested: Stopped | None
    """Both halves together, every video once: what to expect of new videos."""
    curve: tuple[StopRule, ...]
    """Thresholds from the lowest to never stopping, each on all videos."""

    @property
    def reached(self) -> bool:
        """Whether some threshold gives the wanted accuracy on all videos; if not, the fitted one is the best."""
        return self.fitted.result.top1 >= self.goal - _ROUNDING


def fit_early_exit(
    confidences_NT: Tensor, right_NT: Tensor, labels_N: Tensor, *, wanted_top1: float | None = None
) -> EarlyExit:
    """Fits and tests the threshold that saves the most frames for a wanted accuracy.

    Starting from the highest threshold that gives the accuracy, it goes down for as long as the accuracy holds: a
    lower one that gives it again, past some that do not, is luck. Where none gives it, the most accurate is taken.

    Args:
        confidences_NT: probability of the running answer after each frame, N and T at least 1.
        right_NT: bool: whether that answer is right.
        labels_N: int64; the halves hold as many videos of each class, give or take one.
        wanted_top1: 0..1; None for at most one point less than all frames give on the videos that are fitted on.

    Raises:
        ConfigError: the wanted accuracy is outside 0..1.
    """
    check_wanted_top1(wanted_top1)
    thresholds_S, right_S, frames_S = _sweep(confidences_NT, right_NT)
    shown = torch.linspace(0, len(thresholds_S) - 1, NUM_CURVE_POINTS).round().long().unique().tolist()
    num_videos, num_frames = right_NT.shape

    def rule(index: int) -> StopRule:
        result = _stopped(int(right_S[index]), int(frames_S[index]), num_videos, num_frames)
        return StopRule(thresholds_S[index].item(), result)

    halves, tested = _test(confidences_NT, right_NT, labels_N, wanted_top1) if num_videos > 1 else ((), None)
    return EarlyExit(
        wanted_top1=wanted_top1,
        goal=_goal(right_NT, wanted_top1),
        fitted=rule(_choose(right_S, right_NT, wanted_top1)),
        halves=halves,
        tested=tested,
        curve=tuple(map(rule, shown)),
    )


def check_wanted_top1(wanted_top1: float | None) -> None:
    """Makes sure that an accuracy can be wanted.

    Raises:
        ConfigError: it is outside 0..1.
    """
    if wanted_top1 is not None and not 0 <= wanted_top1 <= 1:
        raise ConfigError(f"a wanted top-1 of {wanted_top1:g}; it must be between 0 and 1, such as 0.95")


def stop_frames(confidences_NT: Tensor, threshold: float) -> Tensor:
    """Frames seen of each video, int64 (N,) in 1..T, if it is stopped at a threshold."""
    return 1 + (_highest_so_far(confidences_NT) < threshold).sum(dim=1)


def split_in_half(labels_N: Tensor) -> Tensor:
    """0 or 1 for each video: the videos of each class in turn, so that the halves are alike. Nothing is random."""
    half_N = torch.empty_like(labels_N)
    half_N[labels_N.argsort(stable=True)] = torch.arange(len(labels_N)) % 2
    return half_N


def _test(
    confidences_NT: Tensor, right_NT: Tensor, labels_N: Tensor, wanted_top1: float | None
) -> tuple[tuple[StopRule, ...], Stopped]:
    """Fits on each half of the videos and stops the other half there; the halves, and both together."""
    half_N = split_in_half(labels_N)
    num_frames = right_NT.shape[1]
    halves, num_right, num_seen = [], 0, 0
    for number in (0, 1):
        fit_N, test_N = half_N != number, half_N == number
        thresholds_S, right_S, _ = _sweep(confidences_NT[fit_N], right_NT[fit_N])
        threshold = thresholds_S[_choose(right_S, right_NT[fit_N], wanted_top1)].item()
        frames_N = stop_frames(confidences_NT[test_N], threshold)
        right = int(right_NT[test_N].gather(1, frames_N[:, None] - 1).sum())
        seen = int(frames_N.sum())
        halves.append(StopRule(threshold, _stopped(right, seen, len(frames_N), num_frames)))
        num_right, num_seen = num_right + right, num_seen + seen
    return tuple(halves), _stopped(num_right, num_seen, len(labels_N), num_frames)


def _sweep(confidences_NT: Tensor, right_NT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All thresholds that differ in what they stop, rising to NEVER: with the right videos and the frames seen.

    A video goes on past frame t when the highest confidence so far is under the threshold. So over the rising
    thresholds, each pair of video and frame (but the last) comes in once: it adds a frame, and the answer's turning
    right or wrong at that frame.
    """
    highest, order = _highest_so_far(confidences_NT).flatten().sort()
    turns = right_NT[:, 1:].long() - right_NT[:, :-1].long()
    thresholds_S = torch.cat([highest.unique(), highest.new_tensor([NEVER])])
    passed_S = torch.searchsorted(highest, thresholds_S)
    turned = torch.cat([turns.new_zeros(1), turns.flatten()[order].cumsum(dim=0)])
    return thresholds_S, right_NT[:, 0].sum() + turned[passed_S], len(right_NT) + passed_S


def _choose(right_S: Tensor, right_NT: Tensor, wanted_top1: float | None) -> int:
    """Which of the rising thresholds of a sweep to use; see `fit_early_exit`."""
    needed = (_goal(right_NT, wanted_top1) - _ROUNDING) * len(right_NT)
    good_S = right_S >= min(needed, int(right_S.max()))
    last = int(good_S.nonzero()[-1])
    misses = (~good_S[:last]).nonzero()
    return int(misses[-1]) + 1 if len(misses) else 0


def _goal(right_NT: Tensor, wanted_top1: float | None) -> float:
    if wanted_top1 is not None:
        return wanted_top1
    return max(0.0, right_NT[:, -1].double().mean().item() - TOLERATED_LOSS)


def _highest_so_far(confidences_NT: Tensor) -> Tensor:
    """The highest confidence up to each frame but the last, where a video stops in any case."""
    return confidences_NT.cummax(dim=1).values[:, :-1]


def _stopped(num_right: int, num_seen: int, num_videos: int, num_frames: int) -> Stopped:
    return Stopped(
        num_videos=num_videos,
        top1=num_right / num_videos,
        mean_frames=num_seen / num_videos,
        frames_saved=1 - num_seen / (num_videos * num_frames),
    )
