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

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_weight


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
        channels = gates.in_channels, gates.out_channels
        super().__init__(*channels, gates.kernel_size, padding=gates.padding, bias=gates.bias is not None)  # type: ignore[arg-type]
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
        accumulation: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Goes through the frames in order.

        Args:
            gates_BTGHW: what each frame's input gives to the gates, as `GateConv` gives it.
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
            gates_BTGHW, past_BPHW.to(dtype), cell_BDHW, self.recurrent_gates.kernel().to(dtype), kernel, rest_1RHW
        )
        return hidden_BTDHW, past.to(past_BPHW.dtype), cell_BDHW


class _Recurrence(torch.autograd.Function):
    """See `ConvLSTMCell.forward`.

    The past is [A_1 .. A_{N-1} | A_N | sums that wait for later hidden states]: the first part meets the kernel again
    beside the new hidden state, the second is recalled.
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
        parts = J - D, R, past_BPHW.shape[1] - (J - D) - R
        keep = any(ctx.needs_input_grad)

        def frames_of(channels: int, like: Tensor) -> Tensor:
            return like.new_empty(T if keep else 1, B, H, W, channels).permute(0, 1, 4, 2, 3)

        def by_frame(x_TBCHW: Tensor) -> Sequence[Tensor]:
            return x_TBCHW.unbind(0) if keep else x_TBCHW.unbind(0) * T

        cells, activations = frames_of(D, cell_BDHW), frames_of(G, cell_BDHW)
        recalled, joint = frames_of(R, gates_BTGHW), frames_of(J, gates_BTGHW)
        hidden_BTDHW = gates_BTGHW.new_empty(B, T, H, W, D).permute(0, 1, 4, 2, 3)
        past, cell = past_BPHW, cell_BDHW
        for from_input, recall, gates, (i, f, o, g), new_cell, mix, (new, again), hidden in zip(
            gates_BTGHW.unbind(1),
            by_frame(recalled),
            by_frame(activations),
            zip(*map(by_frame, activations.split(D, dim=2)), strict=True),
            by_frame(cells),
            by_frame(joint),
            zip(*map(by_frame, joint.split((D, J - D), dim=2)), strict=True),
            hidden_BTDHW.unbind(1),
            strict=True,
        ):
            accumulated, last, waiting = past.split(parts, dim=1)
            if rest_1RHW is None:
                recall.copy_(last)
            else:
                torch.add(last, rest_1RHW, out=recall)
                again.copy_(accumulated)
            torch.add(from_input, _conv(recall, gates_kernel), out=gates).sigmoid_()
            cell = torch.mul(f, cell, out=new_cell).addcmul_(i, g, value=2).sub_(i)
            torch.mul(o, cell.tanh(), out=new)
            hidden.copy_(new)
            past = new if kernel is None else _conv(mix, kernel)
            if parts[2]:
                past[:, : parts[2]] += waiting
        if keep:
            ctx.save_for_backward(activations, cells, cell_BDHW, recalled, joint, gates_kernel, kernel)
        return hidden_BTDHW, past.clone(), cell.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor, d_past: Tensor, d_cell: Tensor) -> tuple[Tensor | None, ...]:
        activations, cells, first_cell, recalled, joint, gates_kernel, kernel = ctx.saved_tensors
        T, B, G, H, W = activations.shape
        D, R, J, P = G // 4, gates_kernel.shape[1], joint.shape[2], d_past.shape[1]
        parts = J - D, R, P - (J - D) - R
        back_to_recalled = _transposed(gates_kernel)
        back_to_joint = None if kernel is None else _transposed(kernel)
        d_gates = recalled.new_empty(T, B, H, W, G).permute(0, 1, 4, 2, 3)
        d_pasts = recalled.new_empty(T + 1, B, H, W, P).permute(0, 1, 4, 2, 3)  # [t] before frame t, [t + 1] after it
        d_pasts[T].copy_(d_past)
        d_activations = torch.empty_like(activations[0])
        d_i, d_f, d_o, d_g = d_activations.split(D, dim=1)
        d_cell = d_cell.clone()
        after = d_pasts[T]
        for before, d_gate, d_out, gates, (i, f, o, g), cell, cell_before in zip(
            reversed(d_pasts.unbind(0)[:T]),
            reversed(d_gates.unbind(0)),
            reversed(d_hidden.unbind(1)),
            reversed(activations.unbind(0)),
            zip(*(reversed(part.unbind(0)) for part in activations.split(D, dim=2)), strict=True),
            reversed(cells.unbind(0)),
            reversed([first_cell, *cells.unbind(0)[: T - 1]]),
            strict=True,
        ):
            d_joint = after if back_to_joint is None else _conv(after, back_to_joint)
            d_new, d_accumulated = d_joint.split((D, J - D), dim=1)
            d_new = d_out + d_new
            tanh_cell = cell.tanh()
            d_cell += torch.ops.aten.tanh_backward(d_new * o, tanh_cell)
            torch.mul(d_cell, g, out=d_i).mul_(2).sub_(d_cell)
            torch.mul(d_cell, cell_before, out=d_f)
            torch.mul(d_new, tanh_cell, out=d_o)
            torch.mul(d_cell, i, out=d_g).mul_(2)
            d_cell *= f
            d_gate.copy_(torch.ops.aten.sigmoid_backward(d_activations, gates))
            to_accumulated, to_last, to_waiting = before.split(parts, dim=1)
            to_last.copy_(_conv(d_gate, back_to_recalled))
            if kernel is not None:
                to_accumulated.copy_(d_accumulated)
                to_waiting.copy_(after[:, : parts[2]])
            after = before
        d_kernel = d_rest = None
        if kernel is not None:
            d_kernel = _kernel_gradient(joint, kernel, d_pasts[1:])
            d_rest = d_pasts[:T].split(parts, dim=2)[1].sum((0, 1)).unsqueeze(0)
        d_gates_kernel = _kernel_gradient(recalled, gates_kernel, d_gates)
        return d_gates.transpose(0, 1), d_pasts[0], d_cell, d_gates_kernel, d_kernel, d_rest


def _double_g(rows: Tensor) -> Tensor:
    """The last quarter of the rows doubled."""
    scale_4 = rows.new_ones(4)
    scale_4[3] = 2
    return (rows.unflatten(0, (4, -1)) * scale_4.view(4, *[1] * rows.ndim)).flatten(0, 1)


def _conv(x_NCHW: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x_NCHW, kernel, padding=kernel.shape[-1] // 2)


def _transposed(kernel: Tensor) -> Tensor:
    """The kernel that takes gradients back through a convolution of odd side that keeps the size of maps."""
    return kernel.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _kernel_gradient(x_TBCHW: Tensor, kernel: Tensor, gradient_TBCHW: Tensor) -> Tensor:
    x_NCHW, gradient_NCHW = x_TBCHW.flatten(0, 1), gradient_TBCHW.flatten(0, 1)
    return conv2d_weight(x_NCHW, kernel.shape, gradient_NCHW, padding=kernel.shape[-1] // 2)
