"""The accumulated temporary state: several past hidden states, summarised from the oldest to the newest.

Source: the high-order recurrence of "Convolutional Tensor-Train LSTM" (Su et al., NeurIPS 2020, equations 5-8),
from the equations; LSN (DOI 10.1007/978-981-19-5194-7_24) names its result the accumulated temporary state.

Shapes: B clips, D hidden channels, R rank, H height, W width; S steps, N order, L = S - N + 1 states a window.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AccumulatedTemporaryState(nn.Module):
    """P_l = K_l * window_l + b_l;  A_1 = P_1;  A_l = P_l + V_l * A_{l-1} + v_l;  the result is A_N.

    Window l = 1..N holds the L neighbouring hidden states h_{t-S+l-1} ... h_{t-S+l+L-2}, the oldest window first.
    """

    def __init__(self, hidden_channels: int, *, order: int, steps: int, rank: int, kernel_size: int) -> None:
        super().__init__()
        self.order, self.window_length = order, steps - order + 1
        padding = kernel_size // 2
        # K_1 .. K_N side by side: one grouped convolution over the windows.
        self.windows = nn.Conv2d(
            order * self.window_length * hidden_channels, order * rank, kernel_size, padding=padding, groups=order
        )
        self.carry = nn.ModuleList(nn.Conv2d(rank, rank, kernel_size, padding=padding) for _ in range(order - 1))

    def forward(self, history: Sequence[Tensor]) -> Tensor:
        """Takes the S past hidden states (BDHW, oldest first) and returns A_N (BRHW)."""
        windows = [state for first in range(self.order) for state in history[first : first + self.window_length]]
        accumulated, *projections = self.windows(torch.cat(windows, dim=1)).chunk(self.order, dim=1)
        for projection, carry in zip(projections, self.carry, strict=True):
            accumulated = projection + carry(accumulated)
        return accumulated
