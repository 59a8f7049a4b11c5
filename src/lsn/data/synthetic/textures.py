"""Still pictures of random look: the backgrounds and surfaces that synthetic videos are made of.

All pictures are float32 RGB in 0..1. Every function draws only from the generator it is given.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Pattern = Callable[[np.random.Generator, Array, Array], Array]


def texture(rng: np.random.Generator, *, height: int, width: int, saturation: float = 1.0) -> Array:
    """A textured surface under uneven light.

    Args:
        rng: source of the look.
        height: rows of the picture, in pixels.
        width: columns of the picture, in pixels.
        saturation: 0 is grey, 1 leaves the colours as drawn.

    Returns:
        Array (height, width, 3) in 0..1.
    """
    y_HW, x_HW = (axis.astype(np.float32) / min(height, width) for axis in np.mgrid[0:height, 0:width])
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    blend_HW1 = pattern(rng, x_HW, y_HW)[..., None]
    dark, light = _two_colours(rng, saturation)
    picture = dark + blend_HW1 * (light - dark)
    grain = value_noise(rng, x_HW, y_HW, cells=rng.uniform(12, 28)) - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    lighting = rng.uniform(0, 0.25) * (np.cos(angle) * (x_HW - 0.5) + np.sin(angle) * (y_HW - 0.5))
    picture += (rng.uniform(0.02, 0.15) * grain + lighting)[..., None]
    return np.clip(picture, 0, 1).astype(np.float32)


def value_noise(rng: np.random.Generator, x_HW: Array, y_HW: Array, *, cells: float) -> Array:
    """Smooth noise in 0..1 whose lumps are one over `cells` of the unit of the coordinates wide."""
    columns, rows = x_HW[0] * cells, y_HW[:, 0] * cells
    lattice = rng.random((int(np.ptp(rows)) + 2, int(np.ptp(columns)) + 2), dtype=np.float32)
    return _hat_weights(rows, lattice.shape[0]) @ lattice @ _hat_weights(columns, lattice.shape[1]).T


def random_colour(rng: np.random.Generator) -> Array:
    """Any colour, from nearly black to nearly white."""
    return rng.uniform(0.05, 0.95, 3).astype(np.float32)


def contrasting_colour(rng: np.random.Generator, *, to: Array, candidates: int = 6) -> Array:
    """The one of several random colours that lies farthest from the colour `to`."""
    colours = rng.uniform(0.0, 1.0, (candidates, 3)).astype(np.float32)
    return colours[np.argmax(np.square(colours - to).sum(axis=1))]


def _hat_weights(positions: Array, num_nodes: int) -> Array:
    """Rows of smooth interpolation weights of `positions` over lattice nodes 0..num_nodes - 1."""
    positions = positions - positions[0]
    left = np.minimum(positions.astype(int), num_nodes - 2)
    fraction = positions - left
    fraction = fraction * fraction * (3 - 2 * fraction)
    weights = np.zeros((len(positions), num_nodes), dtype=np.float32)
    index = np.arange(len(positions))
    weights[index, left] = 1 - fraction
    weights[index, left + 1] = fraction
    return weights


def _two_colours(rng: np.random.Generator, saturation: float) -> tuple[Array, Array]:
    first = random_colour(rng)
    second = first + rng.uniform(0.15, 0.7) * (random_colour(rng) - first)
    first, second = (saturation * colour + (1 - saturation) * colour.mean() for colour in (first, second))
    return first, second


def _turned(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> tuple[Array, Array]:
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * x_HW + sin * y_HW, cos * y_HW - sin * x_HW


def _clouds(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    coarsest = rng.uniform(2, 5)
    first, second, third = (value_noise(rng, x_HW, y_HW, cells=coarsest * 2**k) / 2**k for k in range(3))
    return (first + second + third) / 1.75


def _gradient(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    u_HW, _ = _turned(rng, x_HW, y_HW)
    return (u_HW - u_HW.min()) / np.ptp(u_HW)


def _stripes(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    u_HW, _ = _turned(rng, x_HW, y_HW)
    wave = np.sin(2 * np.pi * (rng.uniform(3, 10) * u_HW + rng.random()))
    return np.clip(0.5 + rng.uniform(0.5, 3) * wave, 0, 1)


def _grain_of_wood(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    u_HW, _ = _turned(rng, x_HW, y_HW)
    warp = value_noise(rng, x_HW, y_HW, cells=rng.uniform(2, 5))
    return 0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(3, 8) * u_HW + rng.uniform(0.5, 2) * warp))


def _checker(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    u_HW, v_HW = _turned(rng, x_HW, y_HW)
    frequency = rng.uniform(2, 6)
    return np.clip(0.5 + 4 * np.sin(np.pi * frequency * u_HW) * np.sin(np.pi * frequency * v_HW), 0, 1)


def _dots(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    u_HW, v_HW = _turned(rng, x_HW, y_HW)
    frequency, radius = rng.uniform(4, 8), rng.uniform(0.25, 0.4)
    distance = np.hypot((u_HW * frequency) % 1 - 0.5, (v_HW * frequency) % 1 - 0.5)
    return np.clip(0.5 + 6 * (radius - distance), 0, 1)


def _bricks(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    frequency = rng.uniform(3, 7)
    row = np.floor(y_HW * 2 * frequency)
    column = x_HW * frequency + 0.5 * (row % 2)
    joint = np.minimum((y_HW * 2 * frequency) % 1 * 0.5, column % 1)
    return np.clip(12 * joint, 0, 1)


def _patches(rng: np.random.Generator, x_HW: Array, y_HW: Array) -> Array:
    """Overlapping upright rectangles, as doors, shelves and screens in front of a wall."""
    field = np.full_like(x_HW, rng.random())
    for _ in range(rng.integers(3, 10)):
        left, top = rng.uniform(-0.2, x_HW.max()), rng.uniform(-0.2, y_HW.max())
        wide, high = rng.uniform(0.1, 0.7, 2)
        field[(x_HW > left) & (x_HW < left + wide) & (y_HW > top) & (y_HW < top + high)] = rng.random()
    return field


PATTERNS: tuple[Pattern, ...] = (_clouds, _gradient, _stripes, _grain_of_wood, _checker, _dots, _bricks, _patches)
