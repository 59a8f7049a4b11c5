"""Videos whose class is the order of two short events that lie far apart.

A red and a blue flash of two frames each fall on a moving, colourless scene. The frames between them and
at both ends are neutral. As in `motion`, a clip and its exact reversal are made together, and the positions
of the flashes are drawn evenly from all that the lengths below allow, a set that reversal maps onto
itself: positions carry no information, unordered frames carry none, only the order does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.camera import expose, pan, shake
from lsn.data.synthetic.shapes import Poses, draw, random_shape
from lsn.data.synthetic.textures import Array, texture

LABELS = ("red then blue", "blue then red")

EVENT_FRAMES = 2
GAP_FRAMES = 20
"""Fewest neutral frames between the flashes."""
END_FRAMES = 8
"""Fewest neutral frames before the first flash and after the second: beyond the reach of a shallow stack of
temporal shifts, which could otherwise see a flash together with the padding at an end."""
MIN_FRAMES = 2 * (END_FRAMES + EVENT_FRAMES) + GAP_FRAMES + 4

_RED, _BLUE = (0.9, 0.1, 0.08), (0.08, 0.12, 0.9)
_MARGIN = 0.5  # canvas around the frame for the camera to move over, in frame heights


def render(
    rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Makes the clip `number` of a set: red then blue, and its reverse, each as (label, frames (T, H, W, 3))."""
    del number  # there is one pair only
    frames_THWC = _neutral_scene(rng, num_frames, height, width)
    for place, colour in zip(_places(rng, num_frames), (_RED, _BLUE), strict=True):
        tint = np.clip(colour + rng.uniform(-0.08, 0.08, 3), 0, 1).astype(np.float32)
        flash_THWC = frames_THWC[place : place + EVENT_FRAMES]
        flash_THWC += np.float32(rng.uniform(0.5, 0.75)) * (tint - flash_THWC)
    frames = expose(rng, frames_THWC, noise=rng.uniform(0, 0.02))
    return [(LABELS[0], frames), (LABELS[1], np.ascontiguousarray(frames[::-1]))]


def _places(rng: np.random.Generator, num_frames: int) -> tuple[int, int]:
    """First frames of the two events, evenly from all pairs that keep the gap and the ends."""
    slack = num_frames - 2 * (END_FRAMES + EVENT_FRAMES) - GAP_FRAMES
    before, between = sorted(rng.choice(slack + 2, size=2, replace=False))  # stars and bars
    return END_FRAMES + int(before), END_FRAMES + EVENT_FRAMES + GAP_FRAMES + int(between) - 1


def _neutral_scene(rng: np.random.Generator, num_frames: int, height: int, width: int) -> Array:
    """A nearly grey textured background, panned over, with a shape that wanders about."""
    margin = round(_MARGIN * height)
    canvas = texture(rng, height=height + 2 * margin, width=width + 2 * margin, saturation=0.25)
    travel = rng.uniform(-0.3, 0.3, 2) * np.linspace(-1, 1, num_frames)[:, None]
    offsets_T2 = (travel + shake(rng, num_frames, amplitude=0.05)).astype(np.float32)
    frames_THWC = pan(canvas, offsets_T2 * height, height=height, width=width)
    poses = Poses(
        centre_T2=rng.uniform(0.3, 0.7, 2) + shake(rng, num_frames, amplitude=0.3),
        radius_T=np.full(num_frames, rng.uniform(0.08, 0.18)),
        angle_T=rng.uniform(0, 2 * np.pi) + rng.uniform(-3, 3) * np.linspace(0, 1, num_frames),
    )
    grey = canvas.mean(axis=(0, 1))
    draw(frames_THWC, random_shape(rng, background=grey, contrast=0.4), poses)
    return frames_THWC
