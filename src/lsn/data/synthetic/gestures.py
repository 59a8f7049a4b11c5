"""Videos of a finger that draws one of ten paths in the air, as the wearer of a camera sees it.

They resemble the clips of EgoGestAR closely enough that a network trained on them has learned to follow a
fingertip and to remember its path before it sees the first real gesture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.camera import expose, pan, shake
from lsn.data.synthetic.hand import draw_hand, random_hand
from lsn.data.synthetic.paths import LABELS, gesture_path
from lsn.data.synthetic.textures import Array, random_colour, texture

MARGIN = 0.15
"""Canvas around the frame for the camera to move over, in frame heights."""


def render(
    rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Makes the clip `number` of a set, as (label, frames (T, H, W, 3))."""
    label = LABELS[number % len(LABELS)]
    tip_T2 = place(rng, gesture_path(rng, label, num_frames=num_frames), width / height)
    offsets_T2 = shake(rng, num_frames, amplitude=rng.uniform(0, 0.06))
    tip_T2 += 0.3 * offsets_T2  # the head carries camera and, in part, hand

    margin = round(MARGIN * height)
    canvas = surroundings(rng, height + 2 * margin, width + 2 * margin)
    frames_THWC = pan(canvas, offsets_T2 * height, height=height, width=width)
    shadow = random_shadow(rng, height)
    draw_hand(frames_THWC, random_hand(rng), tip_T2, shadow=shadow)
    frames_THWC *= _exposure(rng, num_frames)
    return [(label, expose(rng, frames_THWC, noise=rng.uniform(0, 0.025)))]


def place(rng: np.random.Generator, path_T2: Array, aspect: float) -> Array:
    """Scales a path in -1..1 to a random size and puts it into the frame, in frame heights."""
    half = np.array([rng.uniform(0.2, 0.5), rng.uniform(0.15, 0.29)])
    centre = np.array([aspect * rng.normal(0.5, 0.07), rng.normal(0.38, 0.06)])
    return (centre + half * path_T2).astype(np.float32)


def random_shadow(rng: np.random.Generator, height: int) -> tuple[float, int, int] | None:
    """The strength of a hand's shadow and its displacement in pixels, right and down; often there is none."""
    if rng.random() >= 0.3:
        return None
    right, down = rng.uniform(-0.12, -0.03), rng.uniform(-0.04, 0.06)
    return (rng.uniform(0.15, 0.45), round(right * height), round(down * height))


def surroundings(rng: np.random.Generator, height: int, width: int) -> Array:
    """A wall with panels of another texture (doors, curtains, floor), thin bars (frames, edges) and glare."""
    canvas, other = (texture(rng, height=height, width=width, saturation=rng.random() ** 1.5) for _ in range(2))
    for _ in range(rng.integers(0, 4)):
        panel = _upright(rng, height, width, share=(rng.uniform(0.15, 0.9), rng.uniform(0.15, 0.9)))
        canvas[panel] = other[panel] * np.float32(rng.uniform(0.5, 1.3))
    for _ in range(rng.integers(0, 5)):
        thin = rng.uniform(0.01, 0.06)
        share = (thin, rng.uniform(0.3, 2)) if rng.random() < 0.6 else (rng.uniform(0.3, 2), thin)
        canvas[_upright(rng, height, width, share=share)] = random_colour(rng)
    if rng.random() < 0.2:
        y_H1, x_1W = np.ogrid[0:height, 0:width]
        spot_HW = np.square(x_1W / width - rng.random()) + np.square(y_H1 / height - 0.7 * rng.random())
        canvas += (rng.uniform(0.3, 1) * np.exp(-spot_HW / rng.uniform(0.02, 0.15)))[..., None].astype(np.float32)
    dark = rng.random() < 0.25
    return np.clip(canvas * (rng.uniform(0.15, 0.5) if dark else 1), 0, 1).astype(np.float32)


def _upright(rng: np.random.Generator, height: int, width: int, *, share: tuple[float, float]) -> tuple[slice, slice]:
    """Rows and columns of a rectangle anywhere in the picture, `share` of its width and height large."""
    wide, high = (max(1, round(part * side)) for part, side in zip(share, (width, height), strict=True))
    left, top = int(rng.integers(-wide // 2, width - wide // 2)), int(rng.integers(-high // 2, height - high // 2))
    return slice(max(0, top), max(0, top + high)), slice(max(0, left), max(0, left + wide))


def _exposure(rng: np.random.Generator, num_frames: int) -> Array:
    """Brightness and white balance of each frame, (T, 1, 1, 3): cameras adapt while the hand moves."""
    gain_T3 = np.full((num_frames, 3), rng.uniform(0.7, 1.25)) * rng.uniform(0.9, 1.1, 3)
    if rng.random() < 0.5:
        change_T = 1 / (1 + np.exp(-rng.uniform(5, 20) * (np.linspace(0, 1, num_frames) - rng.random())))
        gain_T3 *= 1 + change_T[:, None] * (rng.normal(scale=0.15) + rng.normal(scale=0.06, size=3))
    return gain_T3[:, None, None].astype(np.float32)
