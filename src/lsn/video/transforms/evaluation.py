"""From decoded frames to the views that an evaluated network sees, the same crops in all frames of a clip.

Shapes: T frames, H height, W width, V views.
"""

from __future__ import annotations

import torch
from torchvision.transforms.v2 import functional as F

from lsn.video.transforms.crops import check_frames, crop_boxes, resize_short_side


class EvalTransform:
    """Resize, then centre or three crops of a clip to be classified.

    Args:
        size: side of the square crops, in pixels.
        short_side: the frames' short side is brought to this first; at least `size`.
        num_crops: 1 (centre) or 3 (along the long side).
    """

    def __init__(self, *, size: int, short_side: int, num_crops: int) -> None:
        self.size = size
        self.short_side = short_side
        self.num_crops = num_crops

    def __call__(self, frames_TCHW: torch.Tensor) -> torch.Tensor:
        """Makes the crops of one clip.

        Args:
            frames_TCHW: uint8 RGB.

        Returns:
            uint8 views (V, T, 3, size, size), V = num_crops.

        Raises:
            VideoError: the frames are not uint8 (T, 3, H, W).
        """
        check_frames(frames_TCHW)
        frames_TCHW = resize_short_side(frames_TCHW, self.short_side)
        boxes = crop_boxes(*frames_TCHW.shape[-2:], size=self.size, num_crops=self.num_crops)
        return torch.stack([F.crop(frames_TCHW, *box) for box in boxes])
