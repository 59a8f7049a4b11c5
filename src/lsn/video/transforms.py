"""From decoded frames to those that the network sees, the same for all frames of a clip.

Shapes: T frames, C = 3 channels (RGB), H x W pixels, V views.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torchvision.transforms.v2 import functional as F

from lsn.errors import VideoError
from lsn.video.augment import color_jitter, rand_augment
from lsn.video.mirror import mirror_labels


class Box(NamedTuple):
    """A rectangle of a frame, in pixels."""

    top: int
    left: int
    height: int
    width: int


def resize_short_side(frames_TCHW: torch.Tensor, short_side: int) -> torch.Tensor:
    """Scales uint8 frames to the given short side and the same aspect ratio (bilinear, antialiased)."""
    return F.resize(frames_TCHW, [short_side], antialias=True)


def multi_scale_box(height: int, width: int, *, scales: Sequence[float], rng: random.Random) -> Box:
    """Draws the region that a training clip is cropped to.

    Its sides are scales of the frame's short side whose places in `scales` differ by at most one, which
    changes the aspect ratio a little; it lies at one of 13 places on a grid of quarters (corners, middles,
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


class TrainTransform:
    """Multi-scale crop, flip and augmentation of a training clip.

    The crop is cut from the frames as they are and only then resized, so no pixel outside it is touched.

    Args:
        size: side of the square that comes out, in pixels.
        scales: sides of the crop over the short side of the frames, from large to small.
        labels: class names in label order; they decide what a flip does, see `mirror_labels`.
        color_jitter: largest relative change of brightness, contrast and saturation; 0 is none.
        rand_augment_layers: operations of RandAugment a clip; 0 is none.
        rand_augment_magnitude: their strength, 0 to 30.
        fill: RGB of what they move in from outside the frame, 0 to 255.
        horizontal_flip: mirror half of the clips whose class allows it.
    """

    def __init__(
        self,
        *,
        size: int,
        scales: Sequence[float],
        labels: Sequence[str],
        color_jitter: float = 0.0,
        rand_augment_layers: int = 0,
        rand_augment_magnitude: int = 9,
        fill: Sequence[int] = (0, 0, 0),
        horizontal_flip: bool = True,
    ) -> None:
        self.size = size
        self.scales = tuple(scales)
        self.color_jitter = color_jitter
        self.rand_augment_layers = rand_augment_layers
        self.rand_augment_magnitude = rand_augment_magnitude
        self.fill = tuple(fill)
        self.mirrors = mirror_labels(labels) if horizontal_flip else [None] * len(labels)

    def __call__(self, frames_TCHW: torch.Tensor, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
        """Makes one training clip.

        Args:
            frames_TCHW: uint8 RGB.
            label: index of the class.
            rng: source of all randomness; the same state gives the same clip.

        Returns:
            The uint8 clip (T, 3, size, size) and its label, which a flip may have changed.

        Raises:
            VideoError: the frames are not uint8 (T, 3, H, W).
        """
        return self.augment(self.one_crop(rng)(frames_TCHW), label, rng)

    def one_crop(self, rng: random.Random) -> Callable[[torch.Tensor], torch.Tensor]:
        """The first part of a clip's transform, which may be given the frames bit by bit.

        It draws its region when it sees the first frames, and cuts the same from all later ones.

        Args:
            rng: source of all randomness.

        Returns:
            A function of uint8 frames (T, 3, H, W) that gives (T, 3, size, size), and raises VideoError if they are
            something else.
        """
        box: Box | None = None

        def crop(frames_TCHW: torch.Tensor) -> torch.Tensor:
            nonlocal box
            _check_frames(frames_TCHW)
            box = box or multi_scale_box(*frames_TCHW.shape[-2:], scales=self.scales, rng=rng)
            return F.resized_crop(frames_TCHW, *box, size=[self.size, self.size], antialias=True)

        return crop

    def augment(self, clip_TCHW: torch.Tensor, label: int, rng: random.Random) -> tuple[torch.Tensor, int]:
        """The second part, from the whole cropped clip: flip, RandAugment and colours."""
        mirror = self.mirrors[label]
        if mirror is not None and rng.random() < 0.5:
            clip_TCHW, label = F.horizontal_flip(clip_TCHW), mirror
        if self.rand_augment_layers:
            clip_TCHW = rand_augment(
                clip_TCHW,
                num_layers=self.rand_augment_layers,
                magnitude=self.rand_augment_magnitude,
                fill=self.fill,
                rng=rng,
            )
        if self.color_jitter:
            clip_TCHW = color_jitter(clip_TCHW, strength=self.color_jitter, rng=rng)
        return clip_TCHW, label


class TestTransform:
    """Resize, then centre or three crops of a clip to be classified.

    Args:
        size: side of the square crops, in pixels.
        short_side: the frames' short side is brought to this first; at least `size`.
        num_crops: 1 (centre) or 3 (along the long side).
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

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
        _check_frames(frames_TCHW)
        frames_TCHW = resize_short_side(frames_TCHW, self.short_side)
        boxes = crop_boxes(*frames_TCHW.shape[-2:], size=self.size, num_crops=self.num_crops)
        return torch.stack([F.crop(frames_TCHW, *box) for box in boxes])


def _check_frames(frames_TCHW: torch.Tensor) -> None:
    if frames_TCHW.dtype != torch.uint8 or frames_TCHW.ndim != 4 or frames_TCHW.shape[1] != 3:
        raise VideoError(
            f"frames are {frames_TCHW.dtype} {tuple(frames_TCHW.shape)}; expected torch.uint8 (T, 3, H, W): "
            "permute frames of a FrameBatch with permute(0, 3, 1, 2)"
        )
