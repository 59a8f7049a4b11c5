"""One step: forward and backward over its clips, then one update of the weights.

Shapes: B clips, T frames, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lsn.distributed import World, without_sync
from lsn.errors import TrainingError
from lsn.training.carry import CarriedState
from lsn.training.checkpoint import Tally

Precision = Literal["float32", "bf16", "fp16"]
_WAY_OUT = (
    "lower optim.learning_rate, lengthen optim.warmup_epochs, set optim.clip_grad_norm, or use precision float32; "
    "the last checkpoint is from before and sound"
)
_AUTOCAST_DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def train_step(
    model: nn.Module,
    passes: Sequence[tuple[Tensor, Tensor]],
    *,
    where: str,
    num_clips: int,
    world: World,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    precision: Precision,
    label_smoothing: float,
    clip_grad_norm: float,
    tbptt_frames: int = 0,
    carried: CarriedState | None = None,
) -> Tally:
    """Moves the weights by the gradient of the mean loss over all clips of the step.

    With `tbptt_frames` a clip is learned from in even parts of at most that many frames, each of which goes on from the
    state of the one before. Each has a loss of its own, weighted by its share of the frames, and no gradient flows
    between them, so the memory that a step takes does not depend on the length of the clips.

    Args:
        model: What `World.wrap` returns of the network, or of its `StatefulModel` for chunks and carried states.
        passes: What this process read: clip_BTCHW and labels_B of each forward pass, where B may be 0.
        where: What an error calls this step.
        num_clips: Clips planned for the step, over all passes and processes; fewer may have been readable.
        world: The processes that take the step together.
        optimizer: Moves the weights.
        scaler: Scales the loss under fp16; disabled otherwise.
        precision: Of the forward pass.
        label_smoothing: Share of the target spread over all classes.
        clip_grad_norm: Largest norm of the gradient; 0 is off.
        tbptt_frames: Most frames that a gradient goes back through; 0 is the whole clip.
        carried: Gives clips the state that they start from, and takes the one that they leave.

    Returns:
        Loss, correct clips and clips, summed over all processes. If no clip could be read the weights stay.

    Raises:
        TrainingError: the loss or the gradient is not finite; the weights stay.
    """
    streams = carried is not None or tbptt_frames > 0
    optimizer.zero_grad(set_to_none=True)
    sums = torch.zeros(3, device=world.device)  # read once a step, so that a GPU is not held up
    for number, (clip_BTCHW, labels_B) in enumerate(passes, start=1):
        labels_B = labels_B.to(world.device, non_blocking=True)
        num_frames = clip_BTCHW.shape[1]
        chunks = clip_BTCHW.tensor_split(math.ceil(num_frames / (tbptt_frames or num_frames)), dim=1)
        state = None if carried is None else carried.draw(len(labels_B))
        losses, scores_BK = [], []
        for place, chunk_BTCHW in enumerate(chunks, start=1):
            share = chunk_BTCHW.shape[1] / num_frames
            chunk_BTCHW = chunk_BTCHW.to(world.device, non_blocking=True)
            with nullcontext() if (number, place) == (len(passes), len(chunks)) else without_sync(model):
                with torch.autocast(world.device.type, _AUTOCAST_DTYPES[precision], enabled=precision != "float32"):
                    logits_BK, state = model(chunk_BTCHW, state) if streams else (model(chunk_BTCHW), None)
                loss = F.cross_entropy(logits_BK.float(), labels_B, label_smoothing=label_smoothing, reduction="sum")
                # Gradients are averaged over the processes: times their number, this is the mean over the step's clips.
                scaler.scale(loss * (share * world.size / num_clips)).backward()
            losses.append(share * loss.detach())
            scores_BK.append(share * logits_BK.detach())
        if carried is not None and state is not None:
            carried.keep(state)
        correct = (torch.stack(scores_BK).sum(0).argmax(1) == labels_B).sum()
        sums += torch.stack([torch.stack(losses).sum(), correct, torch.full_like(correct, len(labels_B))])
    loss_sum, num_correct, num_read = world.sum(sums.tolist())
    if not math.isfinite(loss_sum):
        raise TrainingError(f"{where}: the loss became {loss_sum}; {_WAY_OUT}")
    if num_read:
        scaler.unscale_(optimizer)
        norm = _mend_gradient(optimizer, num_clips / num_read, clip_grad_norm)
        if not math.isfinite(norm) and not scaler.is_enabled():  # the scaler skips a step that overflowed in fp16
            raise TrainingError(f"{where}: the norm of the gradient became {norm}; {_WAY_OUT}")
        scaler.step(optimizer)
        scaler.update()
    return Tally(loss=loss_sum, correct=num_correct, clips=num_read)


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
