"""Memory blocks: a ConvLSTM or a high-order ConvLSTM between two 1x1 convolutions, added to what it reads.

Source: LSN (DOI 10.1007/978-981-19-5194-7_24), figure 1. The paper fixes neither the bottleneck's width, the order,
the rank nor the norms; the choices are marked below and described in docs/model.md.

Shapes: B clips, T frames, N = B * T, C channels, D hidden channels, G = 4 D gates, P channels of the past, H height,
W width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lsn.errors import ModelError
from lsn.models.layout import in_layout, layout_of
from lsn.models.memory.ats import AccumulatedTemporaryState, Accumulation, FixedAccumulation
from lsn.models.memory.conv_lstm import ConvLSTMCell, GateConv

MIN_HIDDEN_CHANNELS = 16  # our choice: a narrow stage still gets a memory worth having
MIN_RANK = 8  # our choice


class MemoryState(NamedTuple):
    """What a memory block carries from frame to frame."""

    past_BPHW: Tensor
    """What is kept of the hidden states: the last one, or the accumulated states; see `lsn.models.memory.ats`."""
    cell_BDHW: Tensor
    """The cell."""


class ConvLSTM(nn.Module):
    """Residual ConvLSTM block for the feature maps of a 2D CNN.

    `block(x_BTCHW, state=None) -> (y_BTCHW, state)`: a clip in one call, or frame by frame with the state handed on,
    gives the same numbers (in eval mode).

    Args:
        channels: channels C of the feature map.
        reduction: C over hidden channels D; D is never under 16.
        kernel_size: side of the recurrent kernels, odd.
        zero_init: start as the identity, so that a pretrained CNN around it stays pretrained. A CNN that is new
            itself learns from the order of frames sooner without.

    Raises:
        ModelError: an argument is out of range.
    """

    def __init__(self, channels: int, *, reduction: int = 16, kernel_size: int = 3, zero_init: bool = True) -> None:
        super().__init__()
        require_positive(channels=channels, reduction=reduction, kernel_size=kernel_size)
        if kernel_size % 2 == 0:
            raise ModelError(f"kernel_size is {kernel_size}; it must be odd, so that maps keep their size")
        hidden = max(MIN_HIDDEN_CHANNELS, channels // reduction)
        self.hidden_channels = hidden
        self.reduce = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(True))
        self.input_gates = GateConv(hidden, 4 * hidden, kernel_size, padding=kernel_size // 2)
        self.cell = ConvLSTMCell(hidden, hidden, kernel_size=kernel_size)
        self.expand = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self._init_parameters(zero_init)

    @torch.no_grad()
    def _init_parameters(self, zero_init: bool) -> None:
        assert self.input_gates.bias is not None
        self.input_gates.bias.zero_()
        self.input_gates.bias[self.hidden_channels : 2 * self.hidden_channels] = 1.0  # the forget gate: remember
        if zero_init:
            nn.init.zeros_(self.expand.get_submodule("1").get_parameter("weight"))

    @property
    def past_channels(self) -> int:
        """Channels of what is kept of the hidden states."""
        return self.hidden_channels

    @property
    def cell_channels(self) -> int:
        """Channels of the cell."""
        return self.hidden_channels

    def accumulation(self, height: int, width: int) -> Accumulation | None:
        """What stands between the hidden states and the cell, for maps of this size."""
        return None

    def init_state(self, batch_size: int, height: int, width: int) -> MemoryState:
        """The state before the first frame: zeros, of the weights' device and type (float32 under autocast too)."""
        weight = self.input_gates.weight
        past_BPHW = weight.new_zeros(batch_size, self.past_channels, height, width)
        return MemoryState(past_BPHW, weight.new_zeros(batch_size, self.hidden_channels, height, width))

    def forward(self, x_BTCHW: Tensor, state: MemoryState | None = None) -> tuple[Tensor, MemoryState]:
        """Reads the frames in order; returns the frames with the memory added, and the state after the last."""
        B, T, _, H, W = x_BTCHW.shape
        x_NCHW = x_BTCHW.flatten(0, 1)
        # What does not depend on the past runs once, over all frames. The convolutions and norms that meet all channels
        # stay in the layout of their input; the recurrence between them always has its few channels innermost.
        z_NCHW = self.reduce(x_NCHW)
        gates_BTGHW = self.input_gates(in_layout(z_NCHW, torch.channels_last)).unflatten(0, (B, T))
        past_BPHW, cell_BDHW = state if state is not None else self.init_state(B, H, W)
        hidden_BTDHW, *after = self.cell(gates_BTGHW, past_BPHW, cell_BDHW, self.accumulation(H, W))
        memory_NCHW = self.expand(in_layout(hidden_BTDHW.flatten(0, 1), layout_of(z_NCHW)))
        y_NCHW = x_NCHW + in_layout(memory_NCHW, layout_of(x_NCHW))
        return y_NCHW.unflatten(0, (B, T)), MemoryState(*after)


class HOConvLSTM(ConvLSTM):
    """Residual high-order ConvLSTM block: the cell sees the accumulated temporary state of the last S hidden states.

    Used like `ConvLSTM`, in anyone's network.

    Args:
        channels: channels C of the feature map.
        reduction: C over hidden channels D; D is never under 16.
        order: windows N of past hidden states.
        steps: past hidden states S that the windows cover, at least `order`.
        rank: channels R of the accumulated state; by default max(8, D // 4).
        kernel_size: side of the recurrent kernels, odd.
        zero_init: as in `ConvLSTM`.

    Raises:
        ModelError: an argument is out of range.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        order: int = 3,
        steps: int = 3,
        rank: int | None = None,
        kernel_size: int = 3,
        zero_init: bool = True,
    ) -> None:
        super().__init__(channels, reduction=reduction, kernel_size=kernel_size, zero_init=zero_init)
        rank = max(MIN_RANK, self.hidden_channels // 4) if rank is None else rank
        require_positive(order=order, steps=steps, rank=rank)
        if steps < order:
            raise ModelError(f"steps is {steps} and order {order}; {order} windows need at least {order} past states")
        self.accumulate: AccumulatedTemporaryState | FixedAccumulation = AccumulatedTemporaryState(
            self.hidden_channels, order=order, steps=steps, rank=rank, kernel_size=kernel_size
        )
        self.cell = ConvLSTMCell(rank, self.hidden_channels, kernel_size=kernel_size)

    @property
    def past_channels(self) -> int:
        """Channels of what is kept of the hidden states."""
        return self.accumulate.past_channels

    def accumulation(self, height: int, width: int) -> Accumulation:
        """The kernels and the state at rest of the accumulated temporary state, for maps of this size."""
        accumulate = self.accumulate
        return Accumulation(accumulate.window_kernel(), accumulate.at_rest(height, width), accumulate.carry_kernel())


def require_positive(**arguments: int) -> None:
    """Refuses arguments under 1.

    Raises:
        ModelError: names the first.
    """
    for name, value in arguments.items():
        if value < 1:
            raise ModelError(f"{name} is {value}; it must be at least 1")
