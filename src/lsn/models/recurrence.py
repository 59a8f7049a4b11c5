"""The way of a convolutional LSTM through the frames of a clip, forward and backward.

Only what needs the frame before runs frame by frame, and in the fewest convolutions: one that meets the new hidden
state with every kernel that will ever need it, and one from what is recalled to the gates. The backward pass goes
through the frames the same way, and the gradient of each kernel is one convolution over all frames.

Both are operators of PyTorch, which torch.compile takes as one piece each, whatever the number of frames.

Shapes: B clips, T frames, D hidden channels, G = 4 D gates, P channels of the past, R recalled channels, J channels
that meet the kernel, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight
from torch.utils.flop_counter import register_flop_formula


def recurrence(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    kernel: Tensor | None,
    rest_1RHW: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Goes through the frames in order; gradients of its gradients are not known.

    The past is [A_1 .. A_{N-1} | A_N | sums that wait for later hidden states]: the first part meets the kernel again
    beside the new hidden state, the second is recalled. Without a kernel it is the last hidden state.

    Args:
        gates_BTGHW: what each frame's input gives to the gates, that for g doubled; with the type of the convolutions.
        past_BPHW: before the first frame, of that type.
        cell_BDHW: before the first frame, of the type that it is kept in.
        gates_kernel: from what is recalled to the gates (GR, odd side), the rows of g doubled.
        kernel: from the hidden state and what was accumulated (J) to the next past, or None.
        rest_1RHW: added to what is recalled; goes with the kernel.

    Returns:
        The hidden states (BTDHW), and past and cell after the last frame.
    """
    given = (gates_BTGHW, past_BPHW, cell_BDHW, gates_kernel, kernel, rest_1RHW)
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in given)
    hidden_BTDHW, past, cell, *_ = _forward(*given, keep)
    return hidden_BTDHW, past, cell


@torch.library.custom_op("lsn::recurrence", mutates_args=())
def _forward(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    kernel: Tensor | None,
    rest_1RHW: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    """Hidden states, past and cell; and, of all frames only with `keep`, what the backward pass needs."""
    T, D, R = gates_BTGHW.shape[1], cell_BDHW.shape[1], gates_kernel.shape[1]
    outputs = _outputs(gates_BTGHW, past_BPHW, cell_BDHW, gates_kernel, kernel, rest_1RHW, keep)
    hidden_BTDHW, last_past, last_cell, activations, cells, recalled, joint = outputs
    J = joint.shape[2]
    parts = J - D, R, past_BPHW.shape[1] - (J - D) - R

    def by_frame(x_TBCHW: Tensor) -> Sequence[Tensor]:
        return x_TBCHW.unbind(0) if keep else x_TBCHW.unbind(0) * T

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
    last_past.copy_(past)
    last_cell.copy_(cell)
    return outputs


@_forward.register_fake
def _outputs(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    kernel: Tensor | None,
    rest_1RHW: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    """What `_forward` fills."""
    B, T, G, H, W = gates_BTGHW.shape
    J = G // 4 if kernel is None else kernel.shape[1]
    frames = (T if keep else 1, B, H, W)
    return [
        _channels_last(gates_BTGHW, B, T, H, W, G // 4),
        _channels_last(past_BPHW, B, H, W, past_BPHW.shape[1]),
        _channels_last(cell_BDHW, B, H, W, G // 4),
        _channels_last(cell_BDHW, *frames, G),
        _channels_last(cell_BDHW, *frames, G // 4),
        _channels_last(gates_BTGHW, *frames, gates_kernel.shape[1]),
        _channels_last(gates_BTGHW, *frames, J),
    ]


@torch.library.custom_op("lsn::recurrence_backward", mutates_args=())
def _backward(
    d_hidden: Tensor,
    d_past: Tensor,
    d_cell: Tensor,
    first_cell: Tensor,
    gates_kernel: Tensor,
    kernel: Tensor | None,
    activations: Tensor,
    cells: Tensor,
    recalled: Tensor,
    joint: Tensor,
) -> list[Tensor]:
    """The gradients of what goes in, from those of what comes out."""
    T, B, G, H, W = activations.shape
    D, R, J, P = G // 4, gates_kernel.shape[1], joint.shape[2], d_past.shape[1]
    parts = J - D, R, P - (J - D) - R
    back_to_recalled = _transposed(gates_kernel)
    back_to_joint = None if kernel is None else _transposed(kernel)
    d_gates = _channels_last(recalled, T, B, H, W, G)
    d_pasts = _channels_last(recalled, T + 1, B, H, W, P)  # [t] before frame t, [t + 1] after it
    d_pasts[T].copy_(d_past)
    d_activations = torch.empty_like(activations[0])
    d_i, d_f, d_o, d_g = d_activations.split(D, dim=1)
    d_cell = _channels_last(d_cell, B, H, W, D).copy_(d_cell)
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
    gradients = [d_gates, d_pasts[0].clone(), d_cell, _kernel_gradient(recalled, gates_kernel, d_gates)]
    if kernel is not None:
        gradients.append(_kernel_gradient(joint, kernel, d_pasts[1:]))
        gradients.append(d_pasts[:T].split(parts, dim=2)[1].sum((0, 1)).unsqueeze(0))
    return gradients


@_backward.register_fake
def _gradients(
    d_hidden: Tensor,
    d_past: Tensor,
    d_cell: Tensor,
    first_cell: Tensor,
    gates_kernel: Tensor,
    kernel: Tensor | None,
    activations: Tensor,
    cells: Tensor,
    recalled: Tensor,
    joint: Tensor,
) -> list[Tensor]:
    """What `_backward` returns, not yet filled."""
    T, B, G, H, W = activations.shape
    P, R = d_past.shape[1], gates_kernel.shape[1]
    gradients = [
        _channels_last(recalled, T, B, H, W, G),
        _channels_last(recalled, B, H, W, P),
        _channels_last(d_cell, B, H, W, G // 4),
        torch.empty_like(gates_kernel, memory_format=torch.channels_last),
    ]
    if kernel is not None:
        gradients.append(torch.empty_like(kernel, memory_format=torch.channels_last))
        gradients.append(recalled.new_empty(1, R, H, W))
    return gradients


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, _, first_cell, gates_kernel, kernel, _, _ = inputs
    ctx.save_for_backward(first_cell, gates_kernel, kernel, *output[3:])
    ctx.set_materialize_grads(False)  # no zeros for what was only kept


def _differentiate(ctx: Any, d_outputs: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # asked for once: checkpointing computes them anew
    _, gates_kernel, kernel, activations, cells, recalled, _ = saved
    T, B, G, H, W = activations.shape
    P = gates_kernel.shape[1] if kernel is None else kernel.shape[0]
    shapes = (recalled, (B, T, G // 4, H, W)), (recalled, (B, P, H, W)), (cells, (B, G // 4, H, W))
    given = [like.new_zeros(shape) if d is None else d for d, (like, shape) in zip(d_outputs, shapes, strict=False)]
    d_gates, *d_others = _backward(*given, *saved)
    return d_gates.transpose(0, 1), *d_others, *[None] * (6 - len(d_others))


_forward.register_autograd(_differentiate, setup_context=_keep)


@register_flop_formula(torch.ops.lsn.recurrence)
def _flops(gates: Sequence[int], past: Any, cell: Any, *kernels: Any, **_: Any) -> int:
    B, T, _G, H, W = gates
    return 2 * B * T * H * W * sum(math.prod(kernel) for kernel in kernels[:2] if kernel is not None)


@register_flop_formula(torch.ops.lsn.recurrence_backward)
def _backward_flops(d_hidden: Sequence[int], d_past: Any, d_cell: Any, first_cell: Any, *kernels: Any, **_: Any) -> int:
    return 2 * _flops(d_hidden, d_past, d_cell, *kernels)  # for what went in, and for the kernels


def _channels_last(like: Tensor, *sizes: int) -> Tensor:
    """An empty tensor of the sizes (..., H, W, C), seen as (..., C, H, W)."""
    return like.new_empty(sizes).movedim(-1, -3)


def _conv(x_NCHW: Tensor, kernel: Tensor) -> Tensor:
    return F.conv2d(x_NCHW, kernel, padding=kernel.shape[-1] // 2)


def _transposed(kernel: Tensor) -> Tensor:
    """The kernel that takes gradients back through a convolution of odd side that keeps the size of maps."""
    return kernel.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _kernel_gradient(x_TBCHW: Tensor, kernel: Tensor, gradient_TBCHW: Tensor) -> Tensor:
    x_NCHW, gradient_NCHW = x_TBCHW.flatten(0, 1), gradient_TBCHW.flatten(0, 1)
    gradient = conv2d_weight(x_NCHW, kernel.shape, gradient_NCHW, padding=kernel.shape[-1] // 2)
    return gradient.contiguous(memory_format=torch.channels_last)
