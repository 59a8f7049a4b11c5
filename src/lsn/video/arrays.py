"""RGB frames that somebody else made: arrays of NumPy, or tensors of PyTorch, which is not imported for them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def rgb_array(frames: Any, *, num_dims: int) -> np.ndarray | None:
    """The frames as an array, which shares their memory if it is the CPU's; None if they are something else.

    Args:
        frames: uint8 of shape (..., height, width, 3) with none of them 0: an array, or a tensor on any device.
        num_dims: length of the shape: 3 of one frame, 4 of several.
    """
    if not is_array(frames):
        return None
    shape = tuple(frames.shape)
    is_uint8 = str(frames.dtype).removeprefix("torch.") == "uint8"
    if not is_uint8 or len(shape) != num_dims or shape[-1] != 3 or 0 in shape:
        return None
    return frames if isinstance(frames, np.ndarray) else frames.detach().cpu().numpy()


def what_it_is(value: Any) -> str:
    """What messages call something that is no frame: its type and shape, or its class."""
    if is_array(value):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def is_array(value: Any) -> bool:
    """Whether it is an array of NumPy or a tensor of PyTorch."""
    torch = sys.modules.get("torch")  # whoever made a tensor has imported it
    return isinstance(value, np.ndarray) or (torch is not None and isinstance(value, torch.Tensor))
