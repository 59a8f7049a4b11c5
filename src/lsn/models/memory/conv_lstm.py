"""The cell of a convolutional LSTM.

Source: Shi et al., "Convolutional LSTM Network", NeurIPS 2015, equation 3, without peepholes; and, in front of the
gates, the high-order recurrence of `lsn.models.memory.ats`.

Shapes: B clips, T frames, D hidden channels, G = 4 D gates, P channels of the past, R recalled channels, H height,
W width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from lsn.models.memory.ats import Accumulation
from lsn.models.memory.recurrence import recurrence


class GateConv(nn.Conv2d):
    """A convolution to the gates i, f, o and g whose output for g is doubled.

    tanh(g) is 2 s(2 g) - 1, so all gates can go through one sigmoid. The weights are those of the equations.
    """

    def kernel(self) -> Tensor:
        """The weights with the rows of g doubled."""
        return _double_g(self.weight)

    def forward(self, x_NCHW: Tensor) -> Tensor:  # noqa: D102 - as every convolution
        bias = None if self.bias is None else _double_g(self.bias)
        return F.conv2d(x_NCHW, self.kernel(), bias, padding=self.padding)


class FixedGateConv(GateConv):
    """A `GateConv` whose weights no longer change: they are doubled once."""

    def __init__(self, gates: GateConv) -> None:
        super().__init__(
            gates.in_channels,
            gates.out_channels,
            gates.kernel_size,  # type: ignore[arg-type]
            padding=gates.padding,  # type: ignore[arg-type]
            bias=gates.bias is not None,
            device=gates.weight.device,
            dtype=gates.weight.dtype,
        )
        self.requires_grad_(False)
        self.weight.copy_(_double_g(gates.weight))
        if self.bias is not None and gates.bias is not None:
            self.bias.copy_(_double_g(gates.bias))

    def kernel(self) -> Tensor:
        """The weights, whose rows of g are doubled already."""
        return self.weight

    def forward(self, x_NCHW: Tensor) -> Tensor:  # noqa: D102
        return nn.Conv2d.forward(self, x_NCHW)


class ConvLSTMCell(nn.Module):
    """A ConvLSTM whose input-to-gate convolution was done beforehand, for all frames at once.

    Args:
        recurrent_channels: channels of what stands for the past: the last hidden state (D) in a plain
            ConvLSTM, the accumulated temporary state (R) in a high-order one.
        hidden_channels: channels D of hidden state and cell.
        kernel_size: side of the recurrent kernel, odd.
    """

    def __init__(self, recurrent_channels: int, hidden_channels: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        # The bias belongs to the input-to-gate convolution: b appears once in the equation.
        self.recurrent_gates = GateConv(
            recurrent_channels, 4 * hidden_channels, kernel_size, padding=kernel_size // 2, bias=False
        )

    def forward(
        self,
        gates_BTGHW: Tensor,
        past_BPHW: Tensor,
        cell_BDHW: Tensor,
        accumulation: Accumulation | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Goes through the frames in order.

        Args:
            gates_BTGHW: what each frame's input gives to the gates, as `GateConv` gives it.
            past_BPHW: what is kept of the hidden states before the first frame: the last one, or with an accumulation
                the accumulated states.
            cell_BDHW: the cell before the first frame.
            accumulation: of an `AccumulatedTemporaryState`; None in a plain ConvLSTM.

        Returns:
            The hidden states (BTDHW), and past and cell after the last frame.
        """
        dtype = gates_BTGHW.dtype
        gates_kernel = self.recurrent_gates.kernel().to(dtype)
        parts = (None if part is None else part.to(dtype) for part in accumulation or ())
        hidden_BTDHW, past, cell_BDHW = recurrence(gates_BTGHW, past_BPHW.to(dtype), cell_BDHW, gates_kernel, *parts)
        return hidden_BTDHW, past.to(past_BPHW.dtype), cell_BDHW


def _double_g(rows: Tensor) -> Tensor:
    """The last quarter of the rows doubled."""
    scale_4 = rows.new_ones(4)
    scale_4[3] = 2
    return (rows.unflatten(0, (4, -1)) * scale_4.view(4, *[1] * rows.ndim)).flatten(0, 1)
