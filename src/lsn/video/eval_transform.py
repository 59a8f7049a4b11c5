"""From decoded frames to the views that a network sees in tests and on streams: the same crops in all frames.

Everything is Pillow and NumPy, so that every runtime, with PyTorch or without, sees the very same bytes.

Shapes: T frames, H height, W width, V views.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from lsn.errors import VideoError


class Box(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


class EvalTransform:
    """Resize, then centre or three crops of a clip to be classified.

    Frames are resized as in the published protocols of TSN and TSM: bilinear with antialiasing, by Pillow.

    Args:
        size: side of the square crops, in pixels.
        short_side: the frames' short side is brought to this first; at least `size`.
        num_crops: 1 (centre) or 3 (along the long side).
    """

    def __init__(self, *, size: int, short_side: int, num_crops: int) -> None:
        self.size = size
        self.short_side = short_side
        self.num_crops = num_crops

    def __call__(self, frames_THWC: np.ndarray) -> np.ndarray:
        """Makes the crops of one clip.

        Args:
            frames_THWC: uint8 RGB.

        Returns:
            uint8 views (V, T, 3, size, size), V = num_crops.

        Raises:
            VideoError: the frames are not uint8 (T, H, W, 3).
        """
        if frames_THWC.dtype != np.uint8 or frames_THWC.ndim != 4 or frames_THWC.shape[-1] != 3:
            raise VideoError(f"frames are {frames_THWC.dtype} {frames_THWC.shape}; expected uint8 (T, H, W, 3)")
        height, width = resized = short_side_size(*frames_THWC.shape[1:3], short_side=self.short_side)
        boxes = crop_boxes(*resized, size=self.size, num_crops=self.num_crops)
        # Only what is cropped is resized: a region is that of the crop in the frame as it is.
        down, across = frames_THWC.shape[1] / height, frames_THWC.shape[2] / width
        regions = [
            (left * across, top * down, (left + self.size) * across, (top + self.size) * down)
            for top, left, _, _ in boxes
        ]
        views_VTCHW = np.empty((len(boxes), len(frames_THWC), 3, self.size, self.size), np.uint8)
        for t, frame_HWC in enumerate(frames_THWC):
            picture = Image.fromarray(np.ascontiguousarray(frame_HWC))
            for view_TCHW, region in zip(views_VTCHW, regions, strict=True):
                view = picture.resize((self.size, self.size), Image.Resampling.BILINEAR, box=region)
                view_TCHW[t] = np.asarray(view).transpose(2, 0, 1)
        return views_VTCHW


def short_side_size(height: int, width: int, *, short_side: int) -> tuple[int, int]:
    """Height and width that frames have when their short side is brought to this; the long side is rounded down."""
    if height <= width:
        return short_side, int(short_side * width / height)
    return int(short_side * height / width), short_side


def crop_boxes(height: int, width: int, *, size: int, num_crops: int) -> list[Box]:
    """The square test crops: the centre, or three along the long side (start, centre, end).

    Both sides must be at least `size`.
    """
    top, left = (height - size) // 2, (width - size) // 2
    if num_crops == 1:
        return [Box(top, left, size, size)]
    if width >= height:
        return [Box(top, offset, size, size) for offset in (0, left, width - size)]
    return [Box(offset, left, size, size) for offset in (0, top, height - size)]
