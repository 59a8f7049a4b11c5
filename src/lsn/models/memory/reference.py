"""The equations of the memory blocks written down frame by frame: the reference for tests and benchmarks.

Slow and plain where `lsn.models.memory.recurrence` is fast; both give the same numbers.

References: equation 3 of Shi et al., "Convolutional LSTM Network", NeurIPS 2015, without peepholes; equations 5-8 of
Su et al., "Convolutional Tensor-Train LSTM", NeurIPS 2020. The notation is that of docs/model.md.

Shapes: B clips, T frames, N = B * T, C channels, D hidden channels, G = 4 D gates, R recalled channels, H height,
W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lsn.models.memory.ats import AccumulatedTemporaryState, FixedAccumulation
from lsn.models.memory.blocks import ConvLSTM, HOConvLSTM


def memory_block(block: ConvLSTM, x_BTCHW: Tensor) -> Tensor:
    """The frames with the memory added (BTCHW), as `block` gives them from the state before the first frame.

    Args:
        block: as it is trained, without what `lsn.models.fuse` does to it.
        x_BTCHW: the frames.
    """
    B, T = x_BTCHW.shape[:2]
    x_NCHW = x_BTCHW.flatten(0, 1)
    z_BTDHW = block.reduce(x_NCHW).unflatten(0, (B, T))
    hidden_NDHW = hidden_states(block, z_BTDHW).flatten(0, 1)
    return (x_NCHW + block.expand(hidden_NDHW)).unflatten(0, (B, T))


def hidden_states(block: ConvLSTM, z_BTDHW: Tensor, input_gates_BTGHW: Tensor | None = None) -> Tensor:
    """The hidden states (BTDHW) of a block for its reduced input z.

    Args:
        block: as for `memory_block`.
        z_BTDHW: what `block.reduce` gives.
        input_gates_BTGHW: U * z + b of all frames; by default it is computed frame by frame too.
    """
    accumulate = block.accumulate if isinstance(block, HOConvLSTM) else None
    assert not isinstance(accumulate, FixedAccumulation), "the reference is that of a block before it is fused"
    steps = 1 if accumulate is None else accumulate.order + accumulate.window_length - 1
    U, W = block.input_gates, block.cell.recurrent_gates
    zero = torch.zeros_like(z_BTDHW[:, 0])
    cell, history, hidden_states = zero, [zero] * steps, []
    for t, z_BDHW in enumerate(z_BTDHW.unbind(1)):
        recalled = history[-1] if accumulate is None else accumulated_state(accumulate, history)
        from_z = _conv(z_BDHW, U.weight, U.bias) if input_gates_BTGHW is None else input_gates_BTGHW[:, t]
        i, f, o, g = (from_z + _conv(recalled, W.weight)).chunk(4, dim=1)
        cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
        hidden = o.sigmoid() * cell.tanh()
        history = [*history[1:], hidden]
        hidden_states.append(hidden)
    return torch.stack(hidden_states, dim=1)


def accumulated_state(accumulate: AccumulatedTemporaryState, history: Sequence[Tensor]) -> Tensor:
    """A_N (BRHW): P_l = K_l * window_l + b_l;  A_1 = P_1;  A_l = P_l + V_l * A_{l-1} + v_l.

    Args:
        accumulate: that of a high-order block.
        history: the last S hidden states (BDHW each), the oldest first.
    """
    N, L = accumulate.order, accumulate.window_length
    assert accumulate.windows.bias is not None
    kernels, biases = accumulate.windows.weight.chunk(N), accumulate.windows.bias.chunk(N)
    accumulated = _conv(torch.cat(list(history[:L]), dim=1), kernels[0], biases[0])
    for number in range(1, N):
        window = torch.cat(list(history[number : number + L]), dim=1)
        accumulated = _conv(window, kernels[number], biases[number]) + accumulate.carry[number - 1](accumulated)
    return accumulated


def _conv(x_NCHW: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x_NCHW, weight, bias, padding=weight.shape[-1] // 2)
