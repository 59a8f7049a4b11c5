"""Regions that training clips are cropped to.

Shapes: T frames, H height, W width.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from lsn.errors import VideoError
from lsn.video.eval_transform import Box


def multi_scale_box(height: int, width: int, *, scales: Sequence[float], rng: random.Random) -> Box:
    """Draws the region that a training clip is cropped to.

    Its sides are scales of the frame's short side whose positions in `scales` differ by at most one, which
    changes the aspect ratio a little; it lies at one of 13 positions on a grid of quarters (corners, middles,
    centre, and between), which favours the borders more than uniform offsets would.

    Source:
        Wang et al., Temporal Segment Networks, 2016, arXiv:1608.00859, section 4.1.
    """
    sides = [max(1, int(min(height, width) * scale)) for scale in scales]
    pairs = [(h, w) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
    box_height, box_width = rng.choice(pairs)
    row, column = rng.choice(_PLACES)
    return Box((height - box_height) * row // 4, (width - box_width) * column // 4, box_height, box_width)


# (row, column) in quarters of the room that the box leaves: even with even, odd with odd.
_PLACES = tuple((row, column) for row in range(5) for column in range(5) if row % 2 == column % 2)


def check_frames(frames_TCHW: torch.Tensor) -> None:
    """Refuses frames that are not uint8 (T, 3, H, W).

    Raises:
        VideoError: they are not.
    """
    if frames_TCHW.dtype != torch.uint8 or frames_TCHW.ndim != 4 or frames_TCHW.shape[1] != 3:
        raise VideoError(
            f"frames are {frames_TCHW.dtype} {tuple(frames_TCHW.shape)}; expected torch.uint8 (T, 3, H, W): "
            "permute frames of a FrameBatch with permute(0, 3, 1, 2)"
        )
