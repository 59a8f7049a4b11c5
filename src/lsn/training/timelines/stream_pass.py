"""A chunk of streams goes through the network: a loss at every frame, and a state that goes on.

Shapes: B streams, T frames, C channels, H height, W width, K classes, N = B * T, V videos.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lsn.data.timelines.targets import BACKGROUND
from lsn.distributed import World, without_sync
from lsn.training.step import StepContext, forward
from lsn.training.timelines.dataset import StretchTargets

LEAST_SHARE = 0.2
"""How often background of the easiest videos is drawn, beside that of the mean."""


class BackgroundLosses:
    """How hard the background of each video is: the mean loss of its frames, in the epochs before this one.

    Args:
        num_videos: Videos V.
        power: Of the loss, by which background is drawn more often; 0 is off.
        world: The processes of the run; each adds up its own frames.
    """

    def __init__(self, num_videos: int, *, power: float, world: World) -> None:
        self.power, self.world = power, world
        dtype = torch.float32 if world.device.type == "mps" else torch.float64  # which knows no other
        self.sums_2V = torch.zeros(2, num_videos, dtype=dtype, device=world.device)
        """Losses and frames in this epoch."""
        self.means_V = torch.full((num_videos,), torch.nan, dtype=torch.float64)
        """Of the epochs before, not a number for videos of which none was seen."""

    def add(self, losses_N: Tensor, videos_N: Tensor, counts_N: Tensor) -> None:
        """Takes in frames, those that `counts_N` is true for."""
        values_2N = torch.stack([losses_N, torch.ones_like(losses_N)]).to(self.sums_2V.dtype) * counts_N
        self.sums_2V.index_add_(1, videos_N, values_2N)

    def end_epoch(self) -> None:
        """From now on the frames of this epoch count as seen before; called by all processes."""
        losses_V, frames_V = torch.tensor(
            [self.world.sum(self.sums_2V[row].tolist()) for row in range(2)], dtype=torch.float64
        )
        self.means_V = torch.where(frames_V > 0, losses_V / frames_V, self.means_V)
        self.sums_2V.zero_()

    def difficulty(self) -> Sequence[float] | None:
        """How often background of each video is drawn beside that of others; None if as often."""
        mean = self.means_V.nanmean()
        if not self.power or not mean > 0:
            return None
        relative_V = (self.means_V / mean).nan_to_num(nan=1.0)
        return (relative_V**self.power).clamp(min=LEAST_SHARE).tolist()

    def state_dict(self) -> dict[str, Any]:
        """What every process has added up, as plain data; all of them must call it."""
        return {"sums": self.world.gather([self.sums_2V.cpu().clone()]), "means_V": self.means_V}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Takes over what this process had added up."""
        sums_2V, means_V = saved["sums"][self.world.rank], saved["means_V"]
        if sums_2V.shape != self.sums_2V.shape or means_V.shape != self.means_V.shape:
            raise ValueError(f"the losses of {tuple(means_V.shape)} videos")
        self.sums_2V, self.means_V = sums_2V.to(self.world.device), means_V


@dataclass(frozen=True)
class StreamPass:
    """A chunk of each of B streams, which goes on from the state that the chunk before has left."""

    chunk_BTCHW: Tensor
    """B may be 0."""
    targets: StretchTargets
    is_start: bool
    """Whether new stretches start here: from zeros, or from the state of a stream that has ended."""
    background: BackgroundLosses
    """Takes in the losses of background frames."""

    def add_gradient(self, context: StepContext, *, share: float, is_last: bool) -> Tensor:
        """As of `lsn.training.step.Pass`."""
        device, carried = context.world.device, context.carried
        assert carried is not None  # which is how streams are set up
        targets = self.targets.map(lambda tensor: tensor.to(device, non_blocking=True))
        num_streams = len(self.chunk_BTCHW)
        state = None
        if self.is_start:
            state = carried.draw(num_streams)
        elif num_streams:
            state = carried.state
        with nullcontext() if is_last else without_sync(context.model):
            logits_BTK, state = forward(context, self.chunk_BTCHW.to(device, non_blocking=True), state)
            logits_NK, weights_N = logits_BTK.flatten(0, 1).float(), targets.weights_BT.flatten()
            losses_N, is_right_N, is_background_N = _compare(logits_NK, targets, context.label_smoothing)
            loss = (losses_N * weights_N).sum()
            context.scaler.scale(loss * share).backward()
        assert state is not None
        carried.keep(state)
        self.background.add(losses_N.detach(), targets.videos_BT.flatten(), is_background_N & (weights_N > 0))
        if context.spread is not None:
            context.spread.add(logits_NK.detach())
        correct = (is_right_N * weights_N).sum()
        return torch.stack([loss.detach(), correct, weights_N.sum(), torch.full_like(correct, len(weights_N))])


def _compare(logits_NK: Tensor, targets: StretchTargets, label_smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each frame, whether its answer is right, and whether it is background."""
    if targets.classes_BTK is None:
        classes_N = targets.classes_BT.flatten()
        losses_N = F.cross_entropy(logits_NK, classes_N, label_smoothing=label_smoothing, reduction="none")
        return losses_N, logits_NK.detach().argmax(1) == classes_N, classes_N == BACKGROUND
    classes_NK = targets.classes_BTK.flatten(0, 1)
    smoothed_NK = (1 - label_smoothing) * classes_NK + label_smoothing / 2
    losses_N = F.binary_cross_entropy_with_logits(logits_NK, smoothed_NK, reduction="none").sum(dim=1)
    return losses_N, ((logits_NK.detach() > 0) == (classes_NK > 0)).all(dim=1), classes_NK.amax(dim=1) == 0
