"""The accumulated temporary state: several past hidden states, summarised from the oldest to the newest.

Source: the high-order recurrence of "Convolutional Tensor-Train LSTM" (Su et al., NeurIPS 2020, equations 5-8),
from the equations; LSN (DOI 10.1007/978-981-19-5194-7_24) names its result the accumulated temporary state.

Shapes: D hidden channels, R rank, H height, W width; S steps, N order, L = S - N + 1 states a window.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Accumulation(NamedTuple):
    """What the recurrence needs to know of an accumulated temporary state, for maps of one size."""

    window_kernel: Tensor
    rest_1RHW: Tensor
    carry_kernel: Tensor | None


class AccumulatedTemporaryState(nn.Module):
    """P_l = K_l * window_l + b_l;  A_1 = P_1;  A_l = P_l + V_l * A_{l-1} + v_l;  the result is A_N.

    Window l = 1..N holds the L neighbouring hidden states h_{t-S+l-1} ... h_{t-S+l+L-2}, the oldest window first.

    The A_l of a frame need not wait for each other. The newest state that A_l sees is h_{t-N+l-1}, so once h_t is known
    A_N of the next frame can be finished, A_{N-1} of the one after that, and so on, each from the A_{l-1} that was
    finished one frame before. So a frame needs one convolution over h_t, the `window_kernel`, and one over
    [A_1; ..; A_{N-1}], the `carry_kernel`.

    Biases are left out of both: what they alone make of a map is the state `at_rest`, and the recurrence carries the
    difference from it, which is zero before the first frame.
    """

    def __init__(self, hidden_channels: int, *, order: int, steps: int, rank: int, kernel_size: int) -> None:
        super().__init__()
        self.order, self.window_length = order, steps - order + 1
        padding = kernel_size // 2
        # K_1 .. K_N side by side, as of a grouped convolution over the windows.
        self.windows = nn.Conv2d(
            order * self.window_length * hidden_channels, order * rank, kernel_size, padding=padding, groups=order
        )
        self.carry: Any = nn.ModuleList(nn.Conv2d(rank, rank, kernel_size, padding=padding) for _ in range(order - 1))

    @property
    def past_channels(self) -> int:
        """Channels of A_1 .. A_N, and L - 1 times as many of sums that wait for later states."""
        return self.window_length * self.windows.out_channels

    def window_kernel(self) -> Tensor:
        """All kernels K as one (L N R, D, k, k), the rows of the newest state of each window first."""
        N, L = self.order, self.window_length
        K = self.windows.weight.unflatten(0, (N, -1)).unflatten(2, (L, -1))  # N, R, L, D, k, k
        return K.permute(2, 0, 1, 3, 4, 5).flip(0).flatten(0, 2)

    def carry_kernel(self) -> Tensor | None:
        """All kernels V as one of a grouped convolution ((N - 1) R, R, k, k); None if there are none."""
        return torch.cat([V.weight for V in self.carry]) if self.carry else None

    def at_rest(self, height: int, width: int) -> Tensor:
        """A_N (1RHW) of a past of zeros."""
        assert self.windows.bias is not None
        bias_NR11 = self.windows.bias.view(self.order, -1, 1, 1)
        accumulated = bias_NR11[0] + bias_NR11.new_zeros(1, 1, height, width)
        for number, carry in enumerate(self.carry, start=1):
            accumulated = bias_NR11[number] + carry(accumulated)
        return accumulated


class FixedAccumulation(nn.Module):
    """An `AccumulatedTemporaryState` whose weights no longer change: kernels and state at rest are computed once."""

    _window_kernel: Tensor
    _carry_kernel: Tensor | None

    def __init__(self, accumulate: AccumulatedTemporaryState) -> None:
        super().__init__()
        self.past_channels = accumulate.past_channels
        self.accumulate = accumulate
        carry_kernel = accumulate.carry_kernel()
        self.register_buffer("_window_kernel", _channels_last(accumulate.window_kernel()))
        self.register_buffer("_carry_kernel", None if carry_kernel is None else _channels_last(carry_kernel))
        self._at_rest: dict[tuple[int, int, torch.device], Tensor] = {}

    def window_kernel(self) -> Tensor:
        """As of the original."""
        return self._window_kernel

    def carry_kernel(self) -> Tensor | None:
        """As of the original."""
        return self._carry_kernel

    def at_rest(self, height: int, width: int) -> Tensor:
        """As of the original; kept for each size of maps."""
        key = (height, width, self._window_kernel.device)
        if key not in self._at_rest:
            self._at_rest[key] = self.accumulate.at_rest(height, width)
        return self._at_rest[key]


def _channels_last(kernel: Tensor) -> Tensor:
    return kernel.contiguous(memory_format=torch.channels_last)
