"""The recurrence of a convolutional LSTM over the frames of a clip, forward and backward.

Only what depends on the previous frame runs frame by frame, and each convolution of it once a frame: one applies to
the new hidden state every kernel that will ever need it, one takes the accumulated states a step further, and one
leads from the recalled state to the gates. The backward pass runs through the frames in reverse, and the gradient of
each kernel is one convolution over all frames. The equations as the papers write them are in
`lsn.models.memory.reference`; both give the same numbers.

Forward and backward are custom operators, so torch.compile sees one node each, whatever the number of frames. Inside,
a frame of all clips is one block of memory with its channels innermost, which convolutions run fastest on.

Shapes: B clips, T frames, D hidden channels, G = 4 D gates, P channels of the past, R recalled channels, A channels of
the accumulated states, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_weight
from torch.utils.flop_counter import register_flop_formula

from lsn.models.layout import frames_channels_last


class _Parts(NamedTuple):
    """Channels of the parts of the past, in the order in which they lie."""

    accumulated: int
    """A_1 .. A_{N-1}, from which the next accumulated states are made."""
    recalled: int
    """A_N, which leads to the gates; in a plain ConvLSTM the last hidden state."""
    waiting: int
    """Sums that wait for later hidden states."""


def recurrence(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    window_kernel: Tensor | None = None,
    rest_1RHW: Tensor | None = None,
    carry_kernel: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs through the frames in order. Gradients of its gradients are not supported.

    Args:
        gates_BTGHW: what each frame's input contributes to the gates i, f, o and g, that to g doubled; in the type of
            the convolutions.
        past_BPHW: before the first frame, in that type; its parts are those of `_Parts`.
        cell_BDHW: before the first frame, in the type that it is kept in.
        gates_kernel: from the recalled state to the gates (GR, odd side), the rows of g doubled.
        window_kernel: from the hidden state to the past (PD); None in a plain ConvLSTM, whose past is the hidden state.
        rest_1RHW: added to what is recalled; given with the kernel of the windows.
        carry_kernel: from A_{l-1} to A_l, for all l, grouped (AR); None if there is only one accumulated state.

    Returns:
        The hidden states (BTDHW), and past and cell after the last frame.
    """
    inputs = (gates_BTGHW, past_BPHW, cell_BDHW, gates_kernel, window_kernel, rest_1RHW, carry_kernel)
    keep = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in inputs)
    hidden_TBDHW, past, cell, *_ = _forward(*inputs, keep)
    return frames_channels_last(hidden_TBDHW.transpose(0, 1)), past, cell


@torch.library.custom_op("lsn::recurrence", mutates_args=())
def _forward(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    window_kernel: Tensor | None,
    rest_1RHW: Tensor | None,
    carry_kernel: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    """Hidden states, past and cell; then what the backward pass needs, of all frames only if `keep`."""
    outputs = _empty_outputs(
        gates_BTGHW, past_BPHW, cell_BDHW, gates_kernel, window_kernel, rest_1RHW, carry_kernel, keep
    )
    hidden_TBDHW, last_past, last_cell, activations_TBGHW, cells_TBDHW, recalled_TBRHW, accumulated_TBAHW = outputs
    T, _, D = hidden_TBDHW.shape[:3]
    parts = _parts(past_BPHW, gates_kernel, carry_kernel)
    past, cell = past_BPHW, cell_BDHW
    for t in range(T):
        slot = t if keep else 0
        activations, recalled, accumulated = activations_TBGHW[slot], recalled_TBRHW[slot], accumulated_TBAHW[slot]
        to_carry, to_recall, waiting = past.split(parts, dim=1)
        if rest_1RHW is None:
            recalled.copy_(to_recall)
        else:
            torch.add(to_recall, rest_1RHW, out=recalled)

        torch.add(gates_BTGHW[:, t], _conv(recalled, gates_kernel), out=activations).sigmoid_()
        i, f, o, g = activations.split(D, dim=1)
        # c_t = f c_{t-1} + i tanh(g), as f c_{t-1} + 2 i s(2 g) - i: the gates hold 2 g
        cell = torch.mul(f, cell, out=cells_TBDHW[slot]).addcmul_(i, g, value=2).sub_(i)
        hidden = torch.mul(o, _tanh(cell), out=hidden_TBDHW[t])

        past = hidden if window_kernel is None else _conv(hidden, window_kernel)
        if parts.waiting:
            past[:, : parts.waiting] += waiting
        if carry_kernel is not None:
            accumulated.copy_(to_carry)
            _next_accumulated(past, parts).add_(_conv(accumulated, carry_kernel))
    last_past.copy_(past)
    last_cell.copy_(cell)
    return outputs


@_forward.register_fake
def _empty_outputs(
    gates_BTGHW: Tensor,
    past_BPHW: Tensor,
    cell_BDHW: Tensor,
    gates_kernel: Tensor,
    window_kernel: Tensor | None,
    rest_1RHW: Tensor | None,
    carry_kernel: Tensor | None,
    keep: bool,
) -> list[Tensor]:
    """What `_forward` fills."""
    B, T, G, H, W = gates_BTGHW.shape
    D, slots = G // 4, T if keep else 1
    parts = _parts(past_BPHW, gates_kernel, carry_kernel)
    return [
        _empty(gates_BTGHW, T, B, D, H, W),
        _empty(past_BPHW, B, past_BPHW.shape[1], H, W),
        _empty(cell_BDHW, B, D, H, W),
        _empty(cell_BDHW, slots, B, G, H, W),
        _empty(cell_BDHW, slots, B, D, H, W),
        _empty(gates_BTGHW, slots, B, parts.recalled, H, W),
        _empty(gates_BTGHW, slots, B, parts.accumulated, H, W),
    ]


@torch.library.custom_op("lsn::recurrence_backward", mutates_args=())
def _backward(
    d_hidden_TBDHW: Tensor,
    d_past_BPHW: Tensor,
    d_cell_BDHW: Tensor,
    first_cell_BDHW: Tensor,
    gates_kernel: Tensor,
    window_kernel: Tensor | None,
    carry_kernel: Tensor | None,
    hidden_TBDHW: Tensor,
    activations_TBGHW: Tensor,
    cells_TBDHW: Tensor,
    recalled_TBRHW: Tensor,
    accumulated_TBAHW: Tensor,
) -> list[Tensor]:
    """The gradients of the inputs, in their order, without those that are None."""
    T, B, D, H, W = hidden_TBDHW.shape
    parts = _parts(d_past_BPHW, gates_kernel, carry_kernel)
    gates_back = _transposed(gates_kernel)
    window_back = None if window_kernel is None else _transposed(window_kernel)
    carry_back = None if carry_kernel is None else _transposed(carry_kernel, groups=parts.accumulated // parts.recalled)
    d_hidden_TBDHW, tanh_cells_TBDHW = frames_channels_last(d_hidden_TBDHW), _tanh(cells_TBDHW)
    d_gates_TBGHW = _empty(hidden_TBDHW, T, B, 4 * D, H, W)
    d_activations = torch.empty_like(activations_TBGHW[0])
    d_i, d_f, d_o, d_g = d_activations.split(D, dim=1)
    d_cell = _empty(d_cell_BDHW, B, D, H, W).copy_(d_cell_BDHW)
    d_past_TBPHW = _empty(hidden_TBDHW, T + 1, B, sum(parts), H, W)  # [t] before frame t, [t + 1] after it
    d_past_TBPHW[T].copy_(d_past_BPHW)
    for t in reversed(range(T)):
        d_after = d_past_TBPHW[t + 1]
        d_hidden = d_hidden_TBDHW[t] + (d_after if window_back is None else _conv(d_after, window_back))

        activations, tanh_cell = activations_TBGHW[t], tanh_cells_TBDHW[t]
        i, f, o, g = activations.split(D, dim=1)
        d_cell += torch.ops.aten.tanh_backward(d_hidden * o, tanh_cell)
        torch.mul(d_cell, g, out=d_i).mul_(2).sub_(d_cell)  # tanh(g) = 2 s(2 g) - 1
        torch.mul(d_cell, cells_TBDHW[t - 1] if t > 0 else first_cell_BDHW, out=d_f)
        torch.mul(d_hidden, tanh_cell, out=d_o)
        torch.mul(d_cell, i, out=d_g).mul_(2)
        d_cell *= f
        d_gates = d_gates_TBGHW[t]
        torch.ops.aten.sigmoid_backward(d_activations, activations, grad_input=d_gates)

        d_to_carry, d_to_recall, d_waiting = d_past_TBPHW[t].split(parts, dim=1)
        d_to_recall.copy_(_conv(d_gates, gates_back))
        d_waiting.copy_(d_after[:, : parts.waiting])
        if carry_back is not None:
            d_to_carry.copy_(_conv(_next_accumulated(d_after, parts), carry_back))
    d_past_after = d_past_TBPHW[1:]
    gradients = [d_gates_TBGHW, d_past_TBPHW[0].clone(), d_cell]
    gradients.append(_kernel_gradient(recalled_TBRHW, gates_kernel, d_gates_TBGHW))
    if window_kernel is not None:
        _, d_recalled_TBRHW, _ = d_past_TBPHW[:T].split(parts, dim=2)
        gradients.append(_kernel_gradient(hidden_TBDHW, window_kernel, d_past_after))
        gradients.append(d_recalled_TBRHW.sum((0, 1)).unsqueeze(0))
    if carry_kernel is not None:
        gradients.append(_kernel_gradient(accumulated_TBAHW, carry_kernel, _next_accumulated(d_past_after, parts)))
    return gradients


@_backward.register_fake
def _empty_gradients(
    d_hidden_TBDHW: Tensor,
    d_past_BPHW: Tensor,
    d_cell_BDHW: Tensor,
    first_cell_BDHW: Tensor,
    gates_kernel: Tensor,
    window_kernel: Tensor | None,
    carry_kernel: Tensor | None,
    hidden_TBDHW: Tensor,
    activations_TBGHW: Tensor,
    cells_TBDHW: Tensor,
    recalled_TBRHW: Tensor,
    accumulated_TBAHW: Tensor,
) -> list[Tensor]:
    """Tensors like those that `_backward` returns."""
    T, B, D, H, W = hidden_TBDHW.shape
    gradients = [
        _empty(hidden_TBDHW, T, B, 4 * D, H, W),
        _empty(hidden_TBDHW, B, d_past_BPHW.shape[1], H, W),
        _empty(d_cell_BDHW, B, D, H, W),
        torch.empty_like(gates_kernel, memory_format=torch.channels_last),
    ]
    if window_kernel is not None:
        gradients.append(torch.empty_like(window_kernel, memory_format=torch.channels_last))
        gradients.append(hidden_TBDHW.new_empty(1, gates_kernel.shape[1], H, W))
    if carry_kernel is not None:
        gradients.append(torch.empty_like(carry_kernel, memory_format=torch.channels_last))
    return gradients


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    _, _, first_cell, gates_kernel, window_kernel, _, carry_kernel, _ = inputs
    hidden, _, _, *kept = output
    ctx.save_for_backward(first_cell, gates_kernel, window_kernel, carry_kernel, hidden, *kept)
    ctx.set_materialize_grads(False)  # no zeros for what is only kept for the backward pass


def _differentiate(ctx: Any, d_outputs: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # read once: with checkpointing each read recomputes them
    first_cell, gates_kernel, window_kernel, _, hidden_TBDHW, *_ = saved
    _, B, _, H, W = hidden_TBDHW.shape
    P = gates_kernel.shape[1] if window_kernel is None else window_kernel.shape[0]
    d_hidden, d_past, d_cell, *_ = d_outputs
    d_gates_TBGHW, *gradients = _backward(
        torch.zeros_like(hidden_TBDHW) if d_hidden is None else d_hidden,
        hidden_TBDHW.new_zeros(B, P, H, W) if d_past is None else d_past,
        torch.zeros_like(first_cell) if d_cell is None else d_cell,
        *saved,
    )
    d_gates_BTGHW = frames_channels_last(d_gates_TBGHW.transpose(0, 1))
    return d_gates_BTGHW, *gradients, *[None] * (7 - len(gradients))  # none for `keep`, nor for what was None


_forward.register_autograd(_differentiate, setup_context=_keep)


@register_flop_formula(torch.ops.lsn.recurrence)
def _flops(
    gates: Any, past: Any, cell: Any, gates_kernel: Any, window: Any, rest: Any, carry: Any, keep: bool, **_: Any
) -> int:
    return _conv_flops(gates, gates_kernel, window, carry)


@register_flop_formula(torch.ops.lsn.recurrence_backward)
def _backward_flops(d_hidden: Any, d_past: Any, d_cell: Any, first_cell: Any, *others: Any, **_: Any) -> int:
    return 2 * _conv_flops(d_hidden, *others[:3])  # the gradients of what the convolutions read, and of their kernels


def _conv_flops(shape: Sequence[int], *kernel_shapes: Sequence[int] | None) -> int:
    """Of convolutions that keep the size of maps (frames and clips, channels, H, W)."""
    frames, clips, _, height, width = shape
    weights = sum(math.prod(kernel) for kernel in kernel_shapes if kernel is not None)
    return 2 * frames * clips * height * width * weights


def _parts(past_BPHW: Tensor, gates_kernel: Tensor, carry_kernel: Tensor | None) -> _Parts:
    R = gates_kernel.shape[1]
    A = 0 if carry_kernel is None else carry_kernel.shape[0]
    return _Parts(A, R, past_BPHW.shape[1] - A - R)


def _next_accumulated(past: Tensor, parts: _Parts) -> Tensor:
    """A_2 .. A_N of a past (.., P, H, W)."""
    return past.narrow(-3, parts.recalled, parts.accumulated)


def _empty(like: Tensor, *sizes: int) -> Tensor:
    """An empty tensor (.., C, H, W) that has its channels innermost in memory."""
    *outer, C, H, W = sizes
    return like.new_empty(*outer, H, W, C).movedim(-1, -3)


def _tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent; on a CPU as 2 s(2 x) - 1, since PyTorch's sigmoid is about eight times as fast there.

    That form is exact to the rounding of numbers near 1, which is too coarse in types of 16 bits.
    """
    if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
        return (2 * x).sigmoid_().mul_(2).sub_(1)
    return x.tanh()


def _conv(x_NCHW: Tensor, kernel: Tensor) -> Tensor:
    """A convolution that keeps the size of the maps; grouped if the kernel has fewer input channels than the maps."""
    return F.conv2d(x_NCHW, kernel, padding=kernel.shape[-1] // 2, groups=x_NCHW.shape[1] // kernel.shape[1])


def _transposed(kernel: Tensor, groups: int = 1) -> Tensor:
    """The kernel that takes gradients back through `_conv`."""
    rows_and_columns = kernel.flip(2, 3).unflatten(0, (groups, -1)).transpose(1, 2)
    return rows_and_columns.flatten(0, 1).contiguous(memory_format=torch.channels_last)


def _kernel_gradient(x_TBCHW: Tensor, kernel: Tensor, gradient_TBCHW: Tensor) -> Tensor:
    """The gradient of a kernel of `_conv` over all frames."""
    x_NCHW, gradient_NCHW = x_TBCHW.flatten(0, 1), gradient_TBCHW.flatten(0, 1)
    padding, groups = kernel.shape[-1] // 2, x_NCHW.shape[1] // kernel.shape[1]
    d_kernel = conv2d_weight(x_NCHW, kernel.shape, gradient_NCHW, padding=padding, groups=groups)
    return d_kernel.contiguous(memory_format=torch.channels_last)
