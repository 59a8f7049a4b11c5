"""One step: forward and backward over what was read for it, then one update of the weights.

Shapes: B clips or streams, T frames, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lsn.distributed import World, without_sync
from lsn.errors import TrainingError
from lsn.models import StreamState
from lsn.training.carry import CarriedState
from lsn.training.health import AnswerSpread
from lsn.training.position import Tally

Precision = Literal["float32", "bf16", "fp16"]
_REMEDY = (
    "lower optim.learning_rate, lengthen optim.warmup_epochs, set optim.clip_grad_norm, or use precision float32; "
    "a checkpoint that was written before is sound"
)
_AUTOCAST_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class StepContext:
    """What all steps of a run have in common."""

    model: nn.Module
    """What `World.wrap` returns of the network, or of its `StatefulModel` if `learns_from_states`."""
    optimizer: torch.optim.Optimizer
    """Moves the weights."""
    scaler: torch.amp.GradScaler
    """Scales the loss under fp16; disabled otherwise."""
    world: World
    """The processes that take each step together."""
    precision: Precision = "float32"
    """Of the forward pass."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes."""
    clip_grad_norm: float = 0.0
    """Largest norm of the gradient; 0 is off."""
    tbptt_frames: int = 0
    """Most frames that a gradient goes back through; 0 is the whole clip."""
    carried: CarriedState | None = None
    """Gives clips the state that they start from, and takes the one that they leave."""
    spread: AnswerSpread | None = None
    """Takes in the answers of this process."""

    @property
    def learns_from_states(self) -> bool:
        """Whether clips, or parts of them, start from the state that others left."""
        return self.carried is not None or self.tbptt_frames > 0


def train_step(context: StepContext, passes: Sequence[Pass], *, where: str, num_items: int) -> Tally:
    """Moves the weights by the gradient of the mean loss over all that counts in the step.

    Args:
        context: What stays the same from step to step.
        passes: The forward passes of this process.
        where: What an error calls this step.
        num_items: Clips, or frames of streams, that were planned for the step, over all passes and processes; fewer may
            have been readable.

    Returns:
        Sums over all processes. If nothing that counts could be read the weights stay.

    Raises:
        TrainingError: the loss or the gradient is not finite; the weights stay.
    """
    optimizer, scaler, world = context.optimizer, context.scaler, context.world
    optimizer.zero_grad(set_to_none=True)
    sums = torch.zeros(4, device=world.device)  # read once a step, so that a GPU is not held up
    for number, each in enumerate(passes, start=1):
        sums += each.add_gradient(context, share=world.size / num_items, is_last=number == len(passes))
    loss, correct, weight, items = world.sum(sums.tolist())
    if not math.isfinite(loss):
        raise TrainingError(f"{where}: the loss became {loss}; {_REMEDY}")
    if weight:
        scaler.unscale_(optimizer)
        norm = _mend_gradient(optimizer, num_items / weight, context.clip_grad_norm)
        if not math.isfinite(norm) and not scaler.is_enabled():  # the scaler skips a step that overflowed in fp16
            raise TrainingError(f"{where}: the norm of the gradient became {norm}; {_REMEDY}")
        scaler.step(optimizer)
        scaler.update()
    return Tally(loss=loss, correct=correct, weight=weight, items=items, unreadable=num_items - items)


class Pass(Protocol):
    """What goes through the network at once."""

    def add_gradient(self, context: StepContext, *, share: float, is_last: bool) -> Tensor:
        """Goes forward and backward, and adds to the gradient that of the summed loss.

        Args:
            context: What stays the same from step to step.
            share: Factor on the loss. Gradients are averaged over the processes: with this factor their sum is that of
                a mean.
            is_last: Whether this is the last pass of the step, in which the processes exchange their gradients.

        Returns:
            The sums of the losses, of what is right, of what counts, and the number of items, without gradient.
        """


@dataclass(frozen=True)
class ClipPass:
    """Whole clips, each with one label.

    With `tbptt_frames` a clip is learned from in even parts of at most that many frames, each of which goes on from the
    state of the one before. Each has a loss of its own, weighted by its share of the frames, and no gradient flows
    between them, so the memory that a step takes does not depend on the length of the clips.
    """

    clip_BTCHW: Tensor
    """B may be 0."""
    labels_B: Tensor

    def add_gradient(self, context: StepContext, *, share: float, is_last: bool) -> Tensor:
        """As of `Pass`."""
        device, carried = context.world.device, context.carried
        labels_B = self.labels_B.to(device, non_blocking=True)
        num_frames = self.clip_BTCHW.shape[1]
        chunks = self.clip_BTCHW.tensor_split(math.ceil(num_frames / (context.tbptt_frames or num_frames)), dim=1)
        state = None if carried is None else carried.draw(len(labels_B))
        losses, scores_BK = [], []
        for place, chunk_BTCHW in enumerate(chunks, start=1):
            part = chunk_BTCHW.shape[1] / num_frames
            with nullcontext() if is_last and place == len(chunks) else without_sync(context.model):
                logits_BK, state = forward(context, chunk_BTCHW.to(device, non_blocking=True), state)
                loss = F.cross_entropy(
                    logits_BK.float(), labels_B, label_smoothing=context.label_smoothing, reduction="sum"
                )
                context.scaler.scale(loss * (part * share)).backward()
            losses.append(part * loss.detach())
            scores_BK.append(part * logits_BK.detach())
        if carried is not None and state is not None:
            carried.keep(state)
        answers_BK = torch.stack(scores_BK).sum(0)
        if context.spread is not None:
            context.spread.add(answers_BK)
        correct = (answers_BK.argmax(1) == labels_B).sum()
        num_clips = torch.full_like(correct, len(labels_B))
        return torch.stack([torch.stack(losses).sum(), correct, num_clips, num_clips])


def forward(context: StepContext, chunk_BTCHW: Tensor, state: StreamState | None) -> tuple[Tensor, StreamState | None]:
    """Class scores in the precision of the run, and the state after the last frame if states are learned from."""
    precision = context.precision
    with torch.autocast(chunk_BTCHW.device.type, _AUTOCAST_DTYPES[precision], enabled=precision != "float32"):
        return context.model(chunk_BTCHW, state) if context.learns_from_states else (context.model(chunk_BTCHW), None)


def _mend_gradient(optimizer: torch.optim.Optimizer, factor: float, clip_grad_norm: float) -> float:
    """Makes the gradient the mean over the clips that were read, clips its norm, and returns the norm before."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if factor != 1:
        for gradient in gradients:
            gradient.mul_(factor)
    norm = nn.utils.get_total_norm(gradients)
    if clip_grad_norm:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grads_with_norm_(parameters, clip_grad_norm, norm)
    return norm.item()
