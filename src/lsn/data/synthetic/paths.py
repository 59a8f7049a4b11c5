"""The paths of ten finger gestures, as a person draws them in the air.

Conventions are those of EgoGestAR's clips: tick, caret and cross start on the left, the star at its lower
left foot and goes up first, the square clockwise from its upper left corner, the circle anticlockwise from
its upper right. The finger does not vanish between the two strokes of the cross.
"""

from __future__ import annotations

import numpy as np

from lsn.data.synthetic.textures import Array

_CORNERS: dict[str, tuple[tuple[float, float], ...]] = {  # x to the right, y down, in a box of -1..1
    "left": ((1, 0), (-1, 0)),
    "right": ((-1, 0), (1, 0)),
    "up": ((0, 1), (0, -1)),
    "down": ((0, -1), (0, 1)),
    "tick": ((-1, -0.6), (-0.2, 1), (1, -1)),
    "caret": ((-1, 1), (0, -1), (1, 1)),
    "cross": ((-1, -1), (1, 1), (-1, 1), (1, -1)),
    "star": ((-0.65, 1), (0, -1), (0.65, 1), (-1, -0.25), (1, -0.25), (-0.65, 1)),
    "square": ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)),
}
LABELS = (*_CORNERS, "circle")

_STEPS = 256


def gesture_path(rng: np.random.Generator, label: str, *, num_frames: int, rests: bool = True) -> Array:
    """The fingertip's place in each frame, (T, 2) as x and y in a box of about -1..1.

    The path's corners are displaced, its strokes bent and its tempo uneven, slower at the corners, with a
    rest before and after (unless without `rests`), different each time.
    """
    path_P2, pace_P = _circle(rng) if label == "circle" else _strokes(rng, _CORNERS[label])
    turn = rng.normal() * np.radians(5)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    path_P2 = _smoothed(path_P2, width=int(rng.integers(4, 20))) @ rotation

    lengths = np.hypot(*np.diff(path_P2, axis=0).T)
    cycles = rng.uniform(0.5, 2) * np.linspace(0, 1, _STEPS) + rng.random()
    tempo = 1 + rng.uniform(0, 0.5) * np.sin(2 * np.pi * cycles)
    clock_P = np.concatenate([[0], np.cumsum(lengths / (pace_P[1:] * tempo[1:]) + 1e-6)])
    first, last = (rng.uniform(0, 0.22), 1 - rng.uniform(0, 0.22)) if rests else (0.0, 1.0)
    moment_T = np.interp(np.linspace(0, 1, num_frames), [first, last], [0, clock_P[-1]])
    return np.stack([np.interp(moment_T, clock_P, axis) for axis in path_P2.T], axis=1).astype(np.float32)


def _strokes(rng: np.random.Generator, corners: tuple[tuple[float, float], ...]) -> tuple[Array, Array]:
    """Bent lines through displaced corners, and the speed along them."""
    corners_N2 = np.array(corners) + rng.normal(scale=0.09, size=(len(corners), 2))
    starts, ends = corners_N2[:-1], corners_N2[1:]
    stroke_P = np.linspace(0, len(starts) - 1e-6, _STEPS)
    index, along = stroke_P.astype(int), (stroke_P % 1)[:, None]
    arch = 4 * along * (1 - along)
    across_N2 = (ends - starts)[:, ::-1] * np.array([1, -1])
    bend_N1 = rng.normal(scale=0.06, size=(len(starts), 1))
    path_P2 = starts[index] + along * (ends - starts)[index] + (bend_N1 * across_N2)[index] * arch
    corner_speed = rng.uniform(0.1, 0.6)
    return path_P2, corner_speed + (1 - corner_speed) * arch[:, 0]


def _circle(rng: np.random.Generator) -> tuple[Array, Array]:
    """About one turn, anticlockwise as seen, not quite closed."""
    start, turns = np.radians(rng.normal(50, 18)), rng.uniform(0.92, 1.15)
    angle_P = start + 2 * np.pi * turns * np.linspace(0, 1, _STEPS)
    drift_P2 = np.linspace(-1, 1, _STEPS)[:, None] * rng.normal(scale=0.07, size=2)
    path_P2 = np.stack([np.cos(angle_P), -np.sin(angle_P)], axis=1) + drift_P2
    return path_P2, np.clip(4 * np.sin(np.linspace(0, np.pi, _STEPS)), rng.uniform(0.2, 0.6), 1)


def _smoothed(path_P2: Array, *, width: int) -> Array:
    """Moving average along the path, which rounds the corners."""
    padded = np.pad(path_P2, ((width, width), (0, 0)), mode="edge")
    kernel = np.ones(2 * width + 1) / (2 * width + 1)
    return np.stack([np.convolve(axis, kernel, mode="valid") for axis in padded.T], axis=1)
