"""Flat shapes of random outline and surface, drawn with smooth edges at moving positions.

A shape is star-shaped about its centre: its outline is a radius for each of `_ANGLES` directions, so
that circles, polygons and stars are drawn by the same few lines. Lengths are in frame heights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lsn.data.synthetic.textures import Array, contrasting_colour, texture

_ANGLES = 256
_SURFACE = 64


@dataclass(frozen=True)
class Shape:
    """The look of a shape: `outline_A` (radius by direction, at most 1), surface, and a rim of another colour."""

    outline_A: Array
    surface_SSC: Array
    rim_colour: Array
    rim_width: float


@dataclass(frozen=True)
class Poses:
    """Where a shape is in each of T frames: centre (T, 2) as x, y; radius (T,); angle (T,) in radians, clockwise."""

    centre_T2: Array
    radius_T: Array
    angle_T: Array


def random_shape(rng: np.random.Generator, *, background: Array, contrast: float = 1.0) -> Shape:
    """A shape of random outline and surface that stands out from the mean colour `background`.

    `contrast` below 1 brings its colours nearer to the background.
    """
    colour = contrasting_colour(rng, to=background)
    surface = texture(rng, height=_SURFACE, width=_SURFACE)
    surface = colour + rng.uniform(0.1, 0.5) * (surface - surface.mean(axis=(0, 1)))
    rim_colour = contrasting_colour(rng, to=colour)
    return Shape(
        outline_A=_random_outline(rng),
        surface_SSC=np.clip(background + contrast * (surface - background), 0, 1),
        rim_colour=background + np.float32(contrast) * (rim_colour - background),
        rim_width=rng.choice([0.0, 0.08, 0.16]),
    )


def draw(frames_THWC: Array, shape: Shape, poses: Poses, *, side: int = 0, opacity_T: Array | None = None) -> None:
    """Draws the shape over the frames, in place.

    `side` -1 or 1 draws only the half left or right of the shape's own vertical axis; 0 draws all. With `opacity_T`,
    0 to 1, the shape is drawn as thinly as that.
    """
    height, width = frames_THWC.shape[1:3]
    x_1HW = (np.arange(width, dtype=np.float32)[None, None] + 0.5) / height
    y_1HW = (np.arange(height, dtype=np.float32)[None, :, None] + 0.5) / height
    centre_T2, radius_T, angle_T = (a.astype(np.float32) for a in (poses.centre_T2, poses.radius_T, poses.angle_T))
    x_THW = x_1HW - centre_T2[:, 0, None, None]
    y_THW = y_1HW - centre_T2[:, 1, None, None]
    radius_T11, cos, sin = (a[:, None, None] for a in (radius_T, np.cos(angle_T), np.sin(angle_T)))
    u_THW = (cos * x_THW + sin * y_THW) / radius_T11
    v_THW = (cos * y_THW - sin * x_THW) / radius_T11

    direction = np.arctan2(v_THW, u_THW) * (_ANGLES / (2 * np.pi))
    inside_THW = shape.outline_A[direction.astype(np.int32) % _ANGLES] - np.hypot(u_THW, v_THW)
    if side:
        inside_THW = np.minimum(inside_THW, side * u_THW)
    cover_THW1 = np.clip(0.5 + inside_THW * radius_T11 * height, 0, 1)[..., None]
    if opacity_T is not None:
        cover_THW1 *= opacity_T[:, None, None, None]
    rows, columns = (((a * 0.5 + 0.5) * _SURFACE).astype(np.int32) % _SURFACE for a in (v_THW, u_THW))
    colour_THWC = shape.surface_SSC[rows, columns]
    if shape.rim_width:
        colour_THWC[inside_THW < shape.rim_width] = shape.rim_colour
    frames_THWC += cover_THW1 * (colour_THWC - frames_THWC)


def _random_outline(rng: np.random.Generator) -> Array:
    """Radii of a circle, a regular polygon, a star or a flower, by direction."""
    angle_A = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    corners = int(rng.integers(3, 7))
    within_A = angle_A % (2 * np.pi / corners) - np.pi / corners  # direction from the middle of a side
    kind = rng.integers(4)
    if kind == 0:
        radius_A = np.ones(_ANGLES)
    elif kind == 1:
        radius_A = np.cos(np.pi / corners) / np.cos(within_A)
    elif kind == 2:
        radius_A = 1 / (1 + rng.uniform(0.6, 1.1) * (1 - np.abs(within_A) * corners / np.pi))
    else:
        radius_A = 0.78 + 0.22 * np.cos(corners * angle_A)
    return radius_A.astype(np.float32)
