"""What a model costs, stage by stage: parameters, multiply-adds, activations, state.

Counted on the meta device, so nothing is computed; the multiply-adds are those of PyTorch's own flop counter.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lsn.errors import ModelError
from lsn.models.recognizer import Recognizer

BYTES_A_NUMBER = 4  # float32


@dataclass(frozen=True)
class StageCost:
    """Cost of one stage of the network for one clip."""

    name: str
    """Name of the stage: as in timm for the CNN, `memory 0` and so on for the blocks, `head` for the classifier."""
    parameters: int
    """Numbers that are learned."""
    macs: int
    """Multiply-adds of the convolutions and the classifier, for the whole clip."""
    activation_bytes: int
    """What the forward pass of a training step keeps for the backward pass, for the whole clip in float32."""
    state_bytes: int
    """What is carried from frame to frame, in float32."""
    output_shape: tuple[int, ...]
    """Channels, height and width of a frame's output; classes for the head."""


@dataclass(frozen=True)
class ModelCost:
    """Cost of the network for one clip."""

    stages: tuple[StageCost, ...]

    @property
    def parameters(self) -> int:
        """Numbers that are learned."""
        return sum(stage.parameters for stage in self.stages)

    @property
    def macs(self) -> int:
        """Multiply-adds for the whole clip."""
        return sum(stage.macs for stage in self.stages)

    @property
    def activation_bytes(self) -> int:
        """What the forward pass of a training step keeps for the backward pass, for the whole clip in float32."""
        return sum(stage.activation_bytes for stage in self.stages)

    @property
    def state_bytes(self) -> int:
        """What is carried from frame to frame, in float32."""
        return sum(stage.state_bytes for stage in self.stages)


def model_cost(model: Recognizer, *, height: int = 224, width: int = 224, num_frames: int | None = None) -> ModelCost:
    """Counts the cost of `model` for one clip of `num_frames` frames (its own number by default).

    Raises:
        ModelError: a size is under 1.
    """
    num_frames = model.num_frames if num_frames is None else num_frames
    for name, value in (("num_frames", num_frames), ("height", height), ("width", width)):
        if value < 1:
            raise ModelError(f"{name} is {value}; it must be at least 1")
    meta = copy.deepcopy(model).to("meta").eval()
    x_BTCHW = torch.empty(1, num_frames, model.in_channels, height, width, device="meta")
    costs = []
    for number, stage in enumerate(meta.stages):
        modules = [meta.cnn.get_submodule(name) for name in stage.modules]
        cost, x_BTCHW = _measure(stage.name, modules, partial(_run_stage, meta, stage.modules), x_BTCHW)
        costs.append(cost)
        if str(number) in meta.memory:
            block = meta.memory[str(number)]
            cost, x_BTCHW = _measure(f"memory {number}", [block], block, x_BTCHW)
            costs.append(cost)
    cost, _ = _measure("head", _head_modules(meta), partial(_run_head, meta), x_BTCHW)
    return ModelCost((*costs, cost))


def _run_stage(model: Recognizer, modules: tuple[str, ...], x_BTCHW: Tensor) -> tuple[Tensor, Iterable[Tensor]]:
    y_BTCHW, left = model.run_stage(modules, x_BTCHW)
    return y_BTCHW, left.values()


def _run_head(model: Recognizer, x_BTCHW: Tensor) -> tuple[Tensor, Iterable[Tensor]]:
    features_BTCHW, carried = _run_stage(model, model.tail, x_BTCHW)
    return model.forward_head(features_BTCHW), carried


def _head_modules(model: Recognizer) -> list[nn.Module]:
    """What of the CNN belongs to no stage: the tail, which may share a parent with stages, and other children."""
    names = [*(name for stage in model.stages for name in stage.modules), *model.tail]
    counted = {name.split(".")[0] for name in names}
    tail = [model.cnn.get_submodule(name) for name in model.tail]
    return tail + [child for name, child in model.cnn.named_children() if name not in counted]


def _measure(
    name: str, modules: list[nn.Module], run: Callable[[Tensor], tuple[Tensor, Iterable[Tensor]]], x_BTCHW: Tensor
) -> tuple[StageCost, Tensor]:
    """Runs modules under the counters; `run` gives their output and what they carry to the next frame."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    kept: dict[int, Tensor] = {}  # what autograd keeps for the backward pass, each storage once

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y_BTCHW, carried = run(x_BTCHW.requires_grad_())
    for parameter in parameters:
        kept.pop(parameter.untyped_storage()._cdata, None)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(x_BTCHW.detach())
    cost = StageCost(
        name=name,
        parameters=sum(parameter.numel() for parameter in parameters),
        macs=counter.get_total_flops() // 2,  # the counter counts a multiply-add as two
        activation_bytes=sum(tensor.untyped_storage().nbytes() for tensor in kept.values()),
        state_bytes=sum(tensor.numel() for tensor in carried) * BYTES_A_NUMBER,
        output_shape=tuple(y_BTCHW.shape[2:]),
    )
    return cost, y_BTCHW.detach()
