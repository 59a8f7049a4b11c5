"""Appearance and shape augmentation of whole clips: colour jitter and RandAugment.

Every draw comes from the given `random.Random`, never from torch's or the worker's generator. What an
operation measures on the picture (mean, extremes, histogram) is measured over the whole clip, so that all
frames change alike and nothing flickers.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F


def color_jitter(frames_TCHW: torch.Tensor, *, strength: float, rng: random.Random) -> torch.Tensor:
    """Changes brightness, contrast and saturation by factors of up to 1 +- strength, in random order.

    Args:
        frames_TCHW: uint8 RGB.
        strength: largest relative change; 0 is none.
        rng: source of all randomness.
    """
    jitters = [F.adjust_brightness, _adjust_contrast, F.adjust_saturation]
    for jitter in rng.sample(jitters, len(jitters)):
        frames_TCHW = jitter(frames_TCHW, rng.uniform(max(0.0, 1 - strength), 1 + strength))
    return frames_TCHW


def rand_augment(
    frames_TCHW: torch.Tensor, *, num_layers: int, magnitude: int, fill: Sequence[int], rng: random.Random
) -> torch.Tensor:
    """Applies operations drawn at random, one after the other, each to all frames alike.

    Operations and their ranges are those of torchvision's `RandAugment`.

    Args:
        frames_TCHW: uint8 RGB.
        num_layers: operations a clip.
        magnitude: strength of all operations, 0 to 30.
        fill: RGB, 0 to 255, of pixels that come from outside the frame.
        rng: source of all randomness.

    Source:
        Cubuk et al., RandAugment, 2020, arXiv:1909.13719.
    """
    for _ in range(num_layers):
        operation = rng.choice(tuple(_OPERATIONS.values()))
        amount = rng.choice((-1, 1)) * magnitude / 30
        frames_TCHW = operation(frames_TCHW, amount, fill)
    return frames_TCHW


def _over_clip(operation: Callable[[torch.Tensor], torch.Tensor], frames_TCHW: torch.Tensor) -> torch.Tensor:
    """Applies a pixelwise operation with the statistics of all frames: to one image, frames stacked by height."""
    num_frames, channels, height, width = frames_TCHW.shape
    stacked = frames_TCHW.transpose(0, 1).reshape(channels, num_frames * height, width)
    return operation(stacked).reshape(channels, num_frames, height, width).transpose(0, 1)


def _adjust_contrast(frames_TCHW: torch.Tensor, factor: float) -> torch.Tensor:
    return _over_clip(lambda image: F.adjust_contrast(image, factor), frames_TCHW)


def _affine(
    frames_TCHW: torch.Tensor,
    fill: Sequence[int],
    *,
    angle: float = 0.0,
    translate: Sequence[float] = (0, 0),
    shear: Sequence[float] = (0, 0),
    center: list[float] | None = None,
) -> torch.Tensor:
    """An affine map of the frames; translation in whole pixels, shear as slopes."""
    return F.affine(
        frames_TCHW,
        angle=angle,
        translate=[int(t) for t in translate],
        scale=1.0,
        shear=[math.degrees(math.atan(s)) for s in shear],
        interpolation=InterpolationMode.BILINEAR,
        fill=list(fill),
        center=center,
    )


# Each takes the frames, the signed amount in [-1, 1] and the fill; operations without a direction use its size.
_Operation = Callable[[torch.Tensor, float, Sequence[int]], torch.Tensor]
_OPERATIONS: dict[str, _Operation] = {
    "identity": lambda x, amount, fill: x,
    "shear_x": lambda x, amount, fill: _affine(x, fill, shear=(0.3 * amount, 0), center=[0, 0]),
    "shear_y": lambda x, amount, fill: _affine(x, fill, shear=(0, 0.3 * amount), center=[0, 0]),
    "translate_x": lambda x, amount, fill: _affine(x, fill, translate=(150 / 331 * x.shape[-1] * amount, 0)),
    "translate_y": lambda x, amount, fill: _affine(x, fill, translate=(0, 150 / 331 * x.shape[-2] * amount)),
    "rotate": lambda x, amount, fill: _affine(x, fill, angle=30 * amount),
    "brightness": lambda x, amount, fill: F.adjust_brightness(x, 1 + 0.9 * amount),
    "saturation": lambda x, amount, fill: F.adjust_saturation(x, 1 + 0.9 * amount),
    "contrast": lambda x, amount, fill: _adjust_contrast(x, 1 + 0.9 * amount),
    "sharpness": lambda x, amount, fill: F.adjust_sharpness(x, 1 + 0.9 * amount),
    "posterize": lambda x, amount, fill: F.posterize(x, 8 - round(4 * abs(amount))),
    "solarize": lambda x, amount, fill: F.solarize(x, 255 * (1 - abs(amount))),
    "autocontrast": lambda x, amount, fill: _over_clip(F.autocontrast, x),
    "equalize": lambda x, amount, fill: _over_clip(F.equalize, x),
}
