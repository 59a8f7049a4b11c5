"""The convolutional LSTM over the frames of a clip, forward and backward.

Source: Shi et al., "Convolutional LSTM Network", NeurIPS 2015, equation 3, without peepholes; and, in front of the
gates, the high-order recurrence of `lsn.models.ats`.

Only what needs the frame before runs frame by frame, and in the fewest convolutions: one that meets the new hidden
state with every kernel that will ever need it, and one from what is recalled to the gates. The backward pass goes
through the frames the same way, and the gradient of each kernel is one convolution over all frames.

Shapes: B clips, T frames, D hidden channels, G = 4 D gates, P channels of the past, R recalled channels, J channels
that meet the kernel, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight


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
        self.recurrent_gates = nn.Conv2d(
            recurrent_channels, 4 * hidden_channels, kernel_size, padding=kernel_size // 2, bias=False
        )

    def forward(
        self,
        gates_BTGHW: Tensor,
        past_BPHW: Tensor,
        cell_BDHW: Tensor,
        accumulation: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Goes through the frames in order.

        Args:
            gates_BTGHW: what each frame's input gives to the gates, ordered i, f, o, g.
            past_BPHW: what stands for the past before the first frame: the last hidden state, or with an accumulation
                what its kernel gave.
            cell_BDHW: the cell before the first frame.
            accumulation: kernel and state at rest of an `AccumulatedTemporaryState`.

        Returns:
            The hidden states (BTDHW), and past and cell after the last frame.
        """
        dtype = gates_BTGHW.dtype
        kernel, rest_1RHW = (None, None) if accumulation is None else (part.to(dtype) for part in accumulation)
        hidden_BTDHW, past, cell_BDHW = _Recurrence.apply(
            gates_BTGHW, past_BPHW.to(dtype), cell_BDHW, self.recurrent_gates.weight.to(dtype), kernel, rest_1RHW
        )
        return hidden_BTDHW, past.to(past_BPHW.dtype), cell_BDHW


class _Recurrence(torch.autograd.Function):
    """See `ConvLSTMCell.forward`. The past is [A_1 .. A_N | sums that wait], and all but A_N meets the kernel again.

    tanh(g) is 2 s(2 g) - 1, so that all gates go through one sigmoid: `_gate_scale` doubles what enters g.
    """

    @staticmethod
    def forward(
        ctx: Any,
        gates_BTGHW: Tensor,
        past_BPHW: Tensor,
        cell_BDHW: Tensor,
        gates_kernel: Tensor,
        kernel: Tensor | None,
        rest_1RHW: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        B, T, G, H, W = gates_BTGHW.shape
        D, R = G // 4, gates_kernel.shape[1]
        J = D if kernel is None else kernel.shape[1]
        num_done = J - D + R  # channels of the past that are A_1 .. A_N; those after them wait
        keep = any(ctx.needs_input_grad)

        def frames_of(channels: int, like: Tensor) -> Tensor:
            return like.new_empty(T if keep else 1, B, H, W, channels).permute(0, 1, 4, 2, 3)

        cells, activations = frames_of(D, cell_BDHW), frames_of(G, cell_BDHW)
        recalled, joint = frames_of(R, gates_BTGHW), frames_of(J, gates_BTGHW)
        hidden_BTDHW = gates_BTGHW.new_empty(B, T, H, W, D).permute(0, 1, 4, 2, 3)
        scale_G11 = _gate_scale(gates_BTGHW)
        gates_kernel = gates_kernel * scale_G11.unsqueeze(-1)
        past, cell = past_BPHW, cell_BDHW
        for t in range(T):
            slot = t if keep else 0
            if kernel is None or rest_1RHW is None:
                recalled[slot].copy_(past)
            else:
                torch.add(past[:, J - D : num_done], rest_1RHW, out=recalled[slot])
                joint[slot, :, D:].copy_(past[:, : J - D])
            gates = _conv(recalled[slot], gates_kernel)
            gates = torch.addcmul(gates, gates_BTGHW[:, t], scale_G11, out=activations[slot])
            i, f, o, g = gates.sigmoid_().split(D, dim=1)
            cell = torch.mul(f, cell, out=cells[slot]).addcmul_(i, g, value=2).sub_(i)
            hidden = torch.mul(o, cell.tanh(), out=joint[slot, :, :D])
            hidden_BTDHW[:, t].copy_(hidden)
            if kernel is None:
                past = hidden
            else:
                waiting = past[:, num_done:]
                past = _conv(joint[slot], kernel)
                past[:, : waiting.shape[1]] += waiting
        if keep:
            ctx.save_for_backward(activations, cells, cell_BDHW, recalled, joint, gates_kernel, kernel, scale_G11)
        return hidden_BTDHW, past.clone(), cell.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor, d_past: Tensor, d_cell: Tensor) -> tuple[Tensor | None, ...]:
        activations, cells, first_cell, recalled, joint, gates_kernel, kernel, scale_G11 = ctx.saved_tensors
        T, B, G, H, W = activations.shape
        D, R, J, P = G // 4, gates_kernel.shape[1], joint.shape[2], d_past.shape[1]
        num_done = J - D + R
        back_to_recalled = _transposed(gates_kernel)
        back_to_joint = None if kernel is None else _transposed(kernel)
        d_gates = recalled.new_empty(T, B, H, W, G).permute(0, 1, 4, 2, 3)
        d_pasts = recalled.new_empty(T + 1, B, H, W, P).permute(0, 1, 4, 2, 3)  # [t] before frame t, [t + 1] after it
        d_pasts[T].copy_(d_past)
        d_cell = d_cell.clone()
        for t in reversed(range(T)):
            i, f, o, g = activations[t].split(D, dim=1)
            before, after = d_pasts[t], d_pasts[t + 1]
            d_joint = after if back_to_joint is None else _conv(after, back_to_joint)
            d_hidden_t = d_hidden[:, t] + d_joint[:, :D]
            tanh_cell = cells[t].tanh()
            d_cell += torch.ops.aten.tanh_backward(d_hidden_t * o, tanh_cell)
            d_activations = torch.empty_like(activations[t])
            d_i, d_f, d_o, d_g = d_activations.split(D, dim=1)
            torch.mul(d_cell, g, out=d_i).mul_(2).sub_(d_cell)
            torch.mul(d_cell, cells[t - 1] if t else first_cell, out=d_f)
            torch.mul(d_hidden_t, tanh_cell, out=d_o)
            torch.mul(d_cell, i, out=d_g).mul_(2)
            d_cell *= f
            d_gates[t] = torch.ops.aten.sigmoid_backward(d_activations, activations[t])
            before[:, J - D : num_done] = _conv(d_gates[t], back_to_recalled)
            if kernel is not None:
                before[:, : J - D] = d_joint[:, D:]
                before[:, num_done:] = after[:, : P - num_done]
        d_kernel = d_rest = None
        if kernel is not None:
            d_kernel = _kernel_gradient(joint, kernel, d_pasts[1:])
            d_rest = d_pasts[:T, :, J - D : num_done].sum((0, 1)).unsqueeze(0)
        d_gates_kernel = _kernel_gradient(recalled, gates_kernel, d_gates) * scale_G11.unsqueeze(-1)
        return d_gates.transpose(0, 1) * scale_G11, d_pasts[0], d_cell, d_gates_kernel, d_kernel, d_rest


def _gate_scale(gates_BTGHW: Tensor) -> Tensor:
    """G11: 1 for i, f and o, 2 for g."""
    scale_4D = gates_BTGHW.new_ones(4, gates_BTGHW.shape[2] // 4)
    scale_4D[3] = 2
    return scale_4D.view(-1, 1, 1)


def _conv(x_NCHW: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x_NCHW, kernel, padding=kernel.shape[-1] // 2)


def _transposed(kernel: Tensor) -> Tensor:
    """The kernel that takes gradients back through a convolution of odd side that keeps the size of maps."""
    return kernel.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _kernel_gradient(x_TBCHW: Tensor, kernel: Tensor, gradient_TBCHW: Tensor) -> Tensor:
    x_NCHW, gradient_NCHW = x_TBCHW.flatten(0, 1), gradient_TBCHW.flatten(0, 1)
    return conv2d_weight(x_NCHW, kernel.shape, gradient_NCHW, padding=kernel.shape[-1] // 2)
