"""A network made ready for inference: what its weights alone decide is computed once."""

from __future__ import annotations

import copy
import logging

import torch
from torch import Tensor, nn

from lsn.models.memory.ats import AccumulatedTemporaryState, FixedAccumulation
from lsn.models.memory.blocks import ConvLSTM, HOConvLSTM
from lsn.models.memory.conv_lstm import FixedGateConv
from lsn.models.recognizer import Recognizer

logger = logging.getLogger(__name__)

_LARGEST_DIFFERENCE = 1e-3  # of the scores on noise, relative to their size; rounding is far below, a wrong pair above


@torch.no_grad()
def fuse(model: Recognizer) -> Recognizer:
    """A copy for inference that gives the same scores, to rounding, with fewer passes over the feature maps.

    The kernels of its memories are put together beforehand, and batch norms become part of the convolutions before
    them: in eval mode a norm is a scale and a shift for each channel, which a convolution can do. Which convolution
    that is shows in a run: the norm reads the very tensor that the convolution has made. The copy is then compared with
    the model on noise; should a CNN use a convolution's output in a second place, its norms stay.

    Args:
        model: is not changed.

    Returns:
        A model in eval mode without gradients. Its state dict has other names: weights are saved from `model`.
    """
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    clip_BTCHW = torch.randn(1, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0), device="cpu")
    clip_BTCHW = clip_BTCHW.to(next(model.parameters()))
    expected = fused(clip_BTCHW)
    for conv, norm in _pairs(fused, clip_BTCHW):
        _fold(conv, norm)
        _replace(fused, norm, getattr(norm, "act", nn.Identity()))  # timm's norms hold the activation too
    for block in (block for block in fused.memory.values() if isinstance(block, ConvLSTM)):
        block.input_gates = FixedGateConv(block.input_gates)
        block.cell.recurrent_gates = FixedGateConv(block.cell.recurrent_gates)
        if isinstance(block, HOConvLSTM) and isinstance(block.accumulate, AccumulatedTemporaryState):
            block.accumulate = FixedAccumulation(block.accumulate)
    if (fused(clip_BTCHW) - expected).abs().max() <= _LARGEST_DIFFERENCE * expected.abs().max().clamp(min=1e-3):
        return fused
    logger.info("%s: batch norms are not folded, since the scores would change", model.name)
    return copy.deepcopy(model).eval().requires_grad_(False)


def _pairs(model: Recognizer, clip_BTCHW: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the norms that read what they make, each of which runs once."""
    outputs: list[tuple[Tensor, nn.Conv2d]] = []
    inputs: list[tuple[Tensor, nn.BatchNorm2d]] = []

    def watch_conv(module: nn.Conv2d, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        outputs.append((output, module))

    def watch_norm(module: nn.BatchNorm2d, args: tuple[Tensor, ...]) -> None:
        inputs.append((args[0], module))

    handles = [
        module.register_forward_hook(watch_conv)
        if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(watch_norm)
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        model(clip_BTCHW)
    finally:
        for handle in handles:
            handle.remove()
    makers = {id(output): conv for output, conv in outputs}
    pairs = [(makers[id(tensor)], norm) for tensor, norm in inputs if id(tensor) in makers]
    used = [*(id(conv) for _, conv in outputs), *(id(norm) for _, norm in inputs)]
    return [(conv, norm) for conv, norm in pairs if used.count(id(conv)) == used.count(id(norm)) == 1]


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
    shift = (0 if norm.bias is None else norm.bias) - norm.running_mean * scale
    bias = shift if conv.bias is None else shift + conv.bias * scale
    conv.weight.mul_(scale.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter(bias, requires_grad=False)


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for parent in model.modules():
        for name, child in parent.named_children():
            if child is old:
                setattr(parent, name, new)
