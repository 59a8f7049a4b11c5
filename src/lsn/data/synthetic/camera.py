"""What a camera does to a scene: it shakes, pans over a background, and adds noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.textures import Array

_NOISE_MARGIN = 16


def shake(rng: np.random.Generator, num_frames: int, *, amplitude: float) -> Array:
    """Smooth random jitter of a hand-held camera: offsets (T, 2) as x, y, mostly within +-`amplitude`."""
    time_T = np.arange(num_frames) / max(num_frames, 2)
    offsets_T2 = np.zeros((num_frames, 2), dtype=np.float32)
    for axis in range(2):
        for cycles in (0.5, 1.5, 4.0):
            strength = rng.normal() * amplitude / (1 + cycles)
            offsets_T2[:, axis] += strength * np.sin(2 * np.pi * (cycles * time_T + rng.random()))
    return offsets_T2


def pan(canvas_HWC: Array, offsets_T2: Array, *, height: int, width: int) -> Array:
    """Windows of a larger picture whose centre moves, with sub-pixel precision.

    Args:
        canvas_HWC: the picture, larger than the window by at least the offsets on each side.
        offsets_T2: x and y of the window's centre relative to the picture's centre, in pixels. Windows
            that would leave the picture stop at its border.
        height: rows of the window.
        width: columns of the window.

    Returns:
        Frames (T, height, width, C).
    """
    rows, columns, channels = canvas_HWC.shape
    frames_THWC = np.empty((len(offsets_T2), height, width, channels), dtype=np.float32)
    free = np.array([columns - 1 - width, rows - 1 - height])
    for frame_HWC, (x, y) in zip(frames_THWC, np.clip(offsets_T2 + free / 2, 0, free), strict=True):
        left, top = int(x), int(y)
        window = canvas_HWC[top : top + height + 1, left : left + width + 1]
        window = window[:-1] + np.float32(y - top) * (window[1:] - window[:-1])
        frame_HWC[:] = window[:, :-1] + np.float32(x - left) * (window[:, 1:] - window[:, :-1])
    return frames_THWC


def expose(rng: np.random.Generator, frames_THWC: Array, *, noise: float) -> NDArray[np.uint8]:
    """Adds sensor noise of standard deviation `noise` to frames in 0..1 and rounds them to bytes.

    The noise of all frames is cut at random positions from one larger sheet, which is many times faster
    than drawing it again and looks the same.
    """
    num_frames, height, width, channels = frames_THWC.shape
    margin = _NOISE_MARGIN
    sheet = rng.standard_normal((height + margin, width + margin, channels), dtype=np.float32) * (255 * noise)
    places_T2 = rng.integers(0, margin, (num_frames, 2))
    pixels = np.empty(frames_THWC.shape, dtype=np.uint8)
    for out_HWC, frame_HWC, (top, left) in zip(pixels, frames_THWC, places_T2, strict=True):
        noisy = frame_HWC * 255 + sheet[top : top + height, left : left + width]
        out_HWC[:] = np.clip(noisy + 0.5, 0, 255)
    return pixels
