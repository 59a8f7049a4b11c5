"""How the values of a clip lie in memory, what range they have, and what a network sees of them.

Shapes: B clips, T frames, N = B * T, C channels, H height, W width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def frames_channels_last(clip_BTCHW: Tensor) -> Tensor:
    """The same values, each frame stored with its channels innermost, as convolutions run fastest on.

    It is torch's `channels_last`, which knows no time, for clips: flattened to B*T frames, they have that format.
    """
    return clip_BTCHW.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def layout_of(x_NCHW: Tensor) -> torch.memory_format:
    """`torch.channels_last` or, for all else, `torch.contiguous_format`."""
    last = x_NCHW.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def in_layout(x_NCHW: Tensor, layout: torch.memory_format) -> Tensor:
    """The same values in a layout; their gradient comes back in the layout that they had.

    `Tensor.contiguous` alone hands the gradient on as it comes, and the layers before it would then read maps in one
    layout and gradients in another, which takes PyTorch many times as long.
    """
    if x_NCHW.is_contiguous(memory_format=layout):
        return x_NCHW
    return _InLayout.apply(x_NCHW, layout)


class _InLayout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NCHW: Tensor, layout: torch.memory_format) -> Tensor:
        ctx.layout_before = layout_of(x_NCHW)
        return x_NCHW.contiguous(memory_format=layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0].contiguous(memory_format=ctx.layout_before), None


def normalize_frames(clip_BTCHW: Tensor, mean_C: Tensor, std_C: Tensor) -> Tensor:
    """Subtracts the mean of each channel and divides by its deviation.

    Args:
        clip_BTCHW: uint8.
        mean_C: for values in 0..255.
        std_C: likewise.

    Returns:
        The type of the means, channels innermost as of `frames_channels_last`.
    """
    B, T, C, H, W = clip_BTCHW.shape
    # By whole rows of pixels: over three channels alone no processor's vector unit is filled.
    rows_BTHX = frames_channels_last(clip_BTCHW).permute(0, 1, 3, 4, 2).to(mean_C.dtype).view(B, T, H, W * C)
    rows_BTHX.sub_(mean_C.repeat(W)).div_(std_C.repeat(W))
    return rows_BTHX.view(B, T, H, W, C).permute(0, 1, 4, 2, 3)


def with_differences(x_BTCHW: Tensor, before: tuple[Tensor, Tensor] | None) -> Tensor:
    """Frames with what changed since the frame before as C more channels; zero for the first frame of all.

    Args:
        x_BTCHW: normalised frames.
        before: the last frame BCHW that each stream saw, and how many it has seen, B; None before the first.
    """
    first_B1CHW = x_BTCHW[:, :1]
    if before is not None:
        frame_BCHW, num_frames_B = before
        has_seen_B1111 = (num_frames_B > 0).view(-1, 1, 1, 1, 1)
        first_B1CHW = torch.where(has_seen_B1111, frame_BCHW.unsqueeze(1).to(x_BTCHW.dtype), first_B1CHW)
    earlier_BTCHW = torch.cat([first_B1CHW, x_BTCHW[:, :-1]], dim=1)
    return frames_channels_last(torch.cat([x_BTCHW, x_BTCHW - earlier_BTCHW], dim=2))
