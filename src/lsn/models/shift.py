"""Temporal shift: channels that look one frame back or ahead, at no cost.

Source: Lin, Gan, Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, sections 3-4.
The paper of LSN writes "SS" without defining it; we read it as this short-term shift.

Shapes: N = B * T frames folded into the batch, B clips, T frames, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lsn.errors import ModelError

Direction = Literal["bidirectional", "causal"]
SHIFTED_FRACTION = 8  # one channel in eight a direction, as in TSM


def temporal_shift(x_BTCHW: Tensor, direction: Direction, *, past_BCHW: Tensor | None = None) -> Tensor:
    """Moves channels along time, with zeros where there is no neighbour.

    bidirectional: the first eighth of the channels comes from frame t+1, the next eighth from t-1.
    causal: the first eighth comes from t-1, so that no frame sees its future; for the first frame it is `past_BCHW`,
    the first eighth of the channels of the frame before the clip.
    """
    fold = x_BTCHW.shape[2] // SHIFTED_FRACTION
    y_BTCHW = torch.zeros_like(x_BTCHW)
    if direction == "causal":
        if past_BCHW is not None:
            y_BTCHW[:, 0, :fold] = past_BCHW
        y_BTCHW[:, 1:, :fold] = x_BTCHW[:, :-1, :fold]
        y_BTCHW[:, :, fold:] = x_BTCHW[:, :, fold:]
    else:
        y_BTCHW[:, :-1, :fold] = x_BTCHW[:, 1:, :fold]
        y_BTCHW[:, 1:, fold : 2 * fold] = x_BTCHW[:, :-1, fold : 2 * fold]
        y_BTCHW[:, :, 2 * fold :] = x_BTCHW[:, :, 2 * fold :]
    return y_BTCHW


@dataclass
class ShiftCall:
    """What the shifts need to know during one call of the network, and what they leave for the next."""

    num_frames: int
    """Frames T of the clips of this call."""
    past: Mapping[str, Tensor] = field(default_factory=dict)
    """What the frame before the clip left (BCHW), by name of the convolution; empty before the first frame."""
    left: dict[str, Tensor] = field(default_factory=dict)
    """What the last frame of this clip leaves; filled by a causal shift."""


@dataclass
class ResidualShift:
    """Shifts what enters the first convolution of each residual block, as forward pre-hooks.

    Hooks and not wrappers, so that the CNN keeps timm's parameter names with and without the shift. Nothing is kept
    from call to call: `Recognizer` sets `call` before each stage.
    """

    direction: Direction
    names: tuple[str, ...]
    """The convolutions, as the CNN names them."""
    call: ShiftCall = field(default_factory=lambda: ShiftCall(1))

    def shift_input(self, name: str, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Replaces the input of the convolution `name` (NCHW) by its shifted frames."""
        x_NCHW, *rest = inputs
        num_frames, fold = self.call.num_frames, x_NCHW.shape[1] // SHIFTED_FRACTION
        y_BTCHW = temporal_shift(
            x_NCHW.unflatten(0, (-1, num_frames)), self.direction, past_BCHW=self.call.past.get(name)
        )
        if self.direction == "causal":
            # A copy, since a view would keep the whole clip in memory. It is taken from the very tensor that the
            # shortcut is: the compiler, which copies late, does not see through a view that the shortcut is still read,
            # and adds the residual branch into its memory.
            self.call.left[name] = x_NCHW[num_frames - 1 :: num_frames, :fold].clone()
        return (y_BTCHW.flatten(0, 1), *rest)


def install_shift(cnn: nn.Module, direction: Direction) -> ResidualShift:
    """Shifts the input of the first convolution of every residual block.

    Raises:
        ModelError: the CNN has no residual block that is known here.
    """
    convs = residual_convs(cnn)
    if not convs:
        raise ModelError(f"{type(cnn).__name__} has no residual blocks to shift; use shift='none' or a residual CNN")
    shift = ResidualShift(direction, tuple(convs))
    for name, conv in convs.items():
        conv.register_forward_pre_hook(partial(shift.shift_input, name))
    return shift


def residual_convs(cnn: nn.Module) -> dict[str, nn.Module]:
    """The first convolution of every residual block, by name: where the shift goes."""
    found = {id(conv) for module in cnn.modules() if (conv := _first_residual_conv(module)) is not None}
    return {name: module for name, module in cnn.named_modules() if id(module) in found}


def _first_residual_conv(module: nn.Module) -> nn.Module | None:
    """The convolution that opens the residual branch of one of timm's blocks, None for other modules."""
    children = dict(module.named_children())
    if "drop_path" not in children and "drop_block" not in children:  # what marks timm's residual blocks
        return None
    if getattr(module, "has_skip", True) is False:  # an inverted residual that changes size has no shortcut
        return None
    return next((child for name, child in children.items() if name.startswith("conv")), None)
