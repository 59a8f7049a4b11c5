"""The recurrence in PyTorch's own operators, for graphs that run where there is no LSN.

It replaces the custom operator of `lsn.models.memory.recurrence` when a network is exported, and gives the same numbers
to rounding; a loop over frames becomes so many copies of a frame in the graph.

Shapes: B clips, T frames, D hidden channels, G = 4 D gates, P channels of the past, R recalled channels, A channels of
the accumulated states, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def plain_recurrence(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    window_kernel: Tensor | None,
    rest_1RHW: Tensor | None,
    carry_kernel: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    """Hidden states, past and cell, as the custom operator gives them; then nothing in place of what training keeps."""
    if keep:
        raise NotImplementedError("a graph for training; export a network that was made ready for inference")
    hidden_T: list[Tensor] = []
    for gates_BGHW in gates_BTGHW.unbind(1):
        recalled_channels = gates_kernel.shape[1]
        accumulated_channels = 0 if carry_kernel is None else carry_kernel.shape[0]
        waiting_channels = past_BPHW.shape[1] - accumulated_channels - recalled_channels
        to_carry, recalled, waiting = past_BPHW.split(
            [accumulated_channels, recalled_channels, waiting_channels], dim=1
        )
        if rest_1RHW is not None:
            recalled = recalled + rest_1RHW
        i, f, o, g = torch.sigmoid(gates_BGHW + _conv(recalled, gates_kernel)).chunk(4, dim=1)
        cell_BDHW = f * cell_BDHW + i * (2 * g - 1)  # the gates hold 2 g, so this is i tanh(g)
        hidden_BDHW = o * torch.tanh(cell_BDHW)
        hidden_T.append(hidden_BDHW)
        if window_kernel is None:
            past_BPHW = hidden_BDHW
            continue
        past_BPHW = _conv(hidden_BDHW, window_kernel)
        if waiting_channels:
            past_BPHW = past_BPHW + F.pad(waiting, (0, 0, 0, 0, 0, past_BPHW.shape[1] - waiting_channels))
        if carry_kernel is not None:
            carried = _conv(to_carry, carry_kernel)
            past_BPHW = past_BPHW + F.pad(carried, (0, 0, 0, 0, recalled_channels, waiting_channels))
    return [torch.stack(hidden_T), past_BPHW, cell_BDHW, *(gates_BTGHW.new_empty(0) for _ in range(4))]


def _conv(x_BCHW: Tensor, kernel: Tensor) -> Tensor:
    """A convolution that keeps the size of the maps; grouped if the kernel has fewer input channels than the maps."""
    return F.conv2d(x_BCHW, kernel, padding=kernel.shape[-1] // 2, groups=x_BCHW.shape[1] // kernel.shape[1])
