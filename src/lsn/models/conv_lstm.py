"""The convolutional LSTM cell.

Source: Shi et al., "Convolutional LSTM Network", NeurIPS 2015, equation 3, without peepholes.

Shapes: B clips, D hidden channels, R channels of the recurrent input, H height, W width; G = 4 D gates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ConvLSTMCell(nn.Module):
    """One step of a ConvLSTM whose input-to-gate convolution was done beforehand, for all frames at once.

    Args:
        recurrent_channels: channels of what stands for the past: the last hidden state (D) in a plain
            ConvLSTM, the accumulated temporary state (R) in a high-order one.
        hidden_channels: channels D of hidden state and cell.
        kernel_size: side of the recurrent kernel, odd.
    """

    def __init__(self, recurrent_channels: int, hidden_channels: int, *, kernel_size: int = 3) -> None:
        super().__init__()
        # The bias belongs to the input-to-gate convolution: b appears once in the equation.
        self.recurrent_gates = nn.Conv2d(
            recurrent_channels, 4 * hidden_channels, kernel_size, padding=kernel_size // 2, bias=False
        )

    def forward(self, input_gates_BGHW: Tensor, past_BRHW: Tensor, cell_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the new hidden state and cell, both BDHW; gates are ordered i, f, o, g."""
        gates_BGHW = input_gates_BGHW + self.recurrent_gates(past_BRHW)
        i, f, o, g = gates_BGHW.chunk(4, dim=1)
        cell_BDHW = torch.sigmoid(f) * cell_BDHW + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell_BDHW), cell_BDHW
