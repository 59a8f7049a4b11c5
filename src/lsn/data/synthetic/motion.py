"""Videos of one moving shape whose classes are pairs of opposite motions.

A clip and its exact time-reversal are always made together and get the two labels of a pair. Both hold
the same frames, so that neither a single frame nor any unordered set of frames can tell which is which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.camera import expose, pan, shake
from lsn.data.synthetic.shapes import Poses, draw, random_shape
from lsn.data.synthetic.textures import Array, texture

Parts = list[tuple[int, Poses]]  # which side of the shape (see `draw`) goes where

MARGIN = 0.15
"""Canvas around the frame for the camera to move over, in frame heights."""


def render(
    rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int
) -> list[tuple[str, NDArray[np.uint8]]]:
    """Makes the clip `number` of a set: a motion and its reverse, each as (label, frames (T, H, W, 3))."""
    forward, backward = PAIRS[number % len(PAIRS)]
    margin = round(MARGIN * height)
    canvas = texture(rng, height=height + 2 * margin, width=width + 2 * margin)
    offsets_T2 = shake(rng, num_frames, amplitude=rng.uniform(0, 0.04))
    frames_THWC = pan(canvas, offsets_T2 * height, height=height, width=width)
    background = canvas.mean(axis=(0, 1))
    if rng.random() < 0.5:
        _draw_distractor(rng, frames_THWC, background, offsets_T2)

    shape = random_shape(rng, background=background)
    for side, poses in MOTIONS[forward, backward](rng, progress(rng, num_frames)):
        draw(frames_THWC, shape, replace(poses, centre_T2=poses.centre_T2 - offsets_T2), side=side)
    frames = expose(rng, frames_THWC, noise=rng.uniform(0, 0.02))
    return [(forward, frames), (backward, np.ascontiguousarray(frames[::-1]))]


def _draw_distractor(rng: np.random.Generator, frames_THWC: Array, background: Array, offsets_T2: Array) -> None:
    """A small, paler shape that belongs to the background."""
    num_frames = len(frames_THWC)
    centre = rng.uniform(0.1, 0.9, 2)
    poses = Poses(
        centre_T2=centre - offsets_T2,
        radius_T=np.full(num_frames, rng.uniform(0.05, 0.08)),
        angle_T=np.full(num_frames, rng.uniform(0, 2 * np.pi)),
    )
    draw(frames_THWC, random_shape(rng, background=background, contrast=0.5), poses)


def progress(rng: np.random.Generator, num_frames: int) -> Array:
    """Monotone from 0 to 1 with a speed that varies smoothly by up to a half."""
    time_T = np.linspace(0, 1, num_frames)
    cycles = rng.uniform(0.5, 1.5)
    warped = time_T + rng.uniform(0, 0.5) * np.sin(2 * np.pi * (cycles * time_T + rng.random())) / (2 * np.pi * cycles)
    return ((warped - warped[0]) / (warped[-1] - warped[0])).astype(np.float32)


def _moving(rng: np.random.Generator, progress_T: Array, *, axis: int) -> Parts:
    """A straight, slightly oblique path towards smaller coordinates of `axis`."""
    radius = rng.uniform(0.14, 0.21)
    travel = rng.uniform(0.5, 0.65)
    end = rng.uniform(0.8 * radius, 1 - 0.8 * radius - travel)
    across_T = rng.uniform(0.2, 0.8) + rng.uniform(-0.06, 0.06) * progress_T
    along_T = end + travel * (1 - progress_T)
    centre_T2 = np.stack([along_T, across_T] if axis == 0 else [across_T, along_T], axis=1)
    return [(0, _poses(rng, centre_T2, radius))]


def _turning(rng: np.random.Generator, progress_T: Array) -> Parts:
    """Clockwise around a point near the middle, facing it all the way."""
    angle_T = rng.uniform(0, 2 * np.pi) + np.radians(rng.uniform(240, 330)) * progress_T
    orbit = rng.uniform(0.24, 0.3)
    middle = rng.uniform(0.44, 0.56, 2)
    centre_T2 = middle + orbit * np.stack([np.cos(angle_T), np.sin(angle_T)], axis=1)  # y points down
    return [(0, Poses(centre_T2, np.full(len(angle_T), rng.uniform(0.13, 0.19)), angle_T))]


def _growing(rng: np.random.Generator, progress_T: Array) -> Parts:
    small, large = rng.uniform(0.07, 0.1), rng.uniform(0.24, 0.32)
    centre_T2 = rng.uniform(0.38, 0.62, 2) + rng.uniform(-0.05, 0.05, 2) * progress_T[:, None]
    return [(0, _poses(rng, centre_T2, small + (large - small) * progress_T))]


def _opening(rng: np.random.Generator, progress_T: Array) -> Parts:
    """Two halves that move apart at right angles to the cut."""
    gap_T1 = (rng.uniform(0, 0.02) + rng.uniform(0.35, 0.5) * progress_T)[:, None]
    middle_T2 = np.tile(rng.uniform(0.42, 0.58, 2), (len(progress_T), 1))
    whole = _poses(rng, middle_T2, rng.uniform(0.18, 0.24))
    apart_T2 = gap_T1 / 2 * np.stack([np.cos(whole.angle_T), np.sin(whole.angle_T)], axis=1)
    return [(side, replace(whole, centre_T2=middle_T2 + side * apart_T2)) for side in (-1, 1)]


def _poses(rng: np.random.Generator, centre_T2: Array, radius: float | Array) -> Poses:
    """A shape turned by one random angle for the whole clip."""
    num_frames = len(centre_T2)
    return Poses(centre_T2, np.broadcast_to(radius, num_frames), np.full(num_frames, rng.uniform(0, 2 * np.pi)))


MOTIONS: dict[tuple[str, str], Callable[[np.random.Generator, Array], Parts]] = {
    ("moving left", "moving right"): partial(_moving, axis=0),
    ("moving up", "moving down"): partial(_moving, axis=1),
    ("turning clockwise", "turning counter-clockwise"): _turning,
    ("growing", "shrinking"): _growing,
    ("opening", "closing"): _opening,
}
"""How the shape moves, by the pair of labels of the motion and its reverse."""
PAIRS = tuple(MOTIONS)
"""Opposite motions: each clip of the second is a clip of the first, backwards."""
LABELS = tuple(label for pair in PAIRS for label in pair)
OPPOSITE = {one: other for pair in PAIRS for one, other in (pair, pair[::-1])}
"""The label of a motion backwards."""
