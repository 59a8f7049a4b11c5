"""From decoded frames to a training clip, cropped and augmented the same way in all of its frames.

Shapes: T frames, H height, W width.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torchvision.transforms.v2 import functional as F

from lsn.video.eval_transform import Box
from lsn.video.transforms.augment import color_jitter, rand_augment
from lsn.video.transforms.crops import check_frames, multi_scale_box
from lsn.video.transforms.mirror import mirror_labels


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
        clip_TCHW, (label,) = self.augment(self.one_crop(rng)(frames_TCHW), [label], rng)
        return clip_TCHW, label

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
            check_frames(frames_TCHW)
            box = box or multi_scale_box(*frames_TCHW.shape[-2:], scales=self.scales, rng=rng)
            return F.resized_crop(frames_TCHW, *box, size=[self.size, self.size], antialias=True)

        return crop

    def augment(
        self, clip_TCHW: torch.Tensor, labels: Sequence[int], rng: random.Random
    ) -> tuple[torch.Tensor, Sequence[int]]:
        """The second part, from the whole cropped clip: flip and augmentation.

        Args:
            clip_TCHW: cropped uint8 RGB.
            labels: of all that the clip shows; it is flipped only if all of them allow it.
            rng: source of all randomness.

        Returns:
            The clip and its labels, which a flip may have changed.
        """
        mirrors = [mirror for label in labels if (mirror := self.mirrors[label]) is not None]
        if len(mirrors) == len(labels) and rng.random() < 0.5:
            clip_TCHW, labels = F.horizontal_flip(clip_TCHW), mirrors
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
        return clip_TCHW, labels
