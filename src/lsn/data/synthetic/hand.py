"""A pointing hand and its forearm, seen by the one whom it belongs to.

The hand is a union of capsules (rounded cones): index finger, fist, thumb and forearm, drawn from their
signed distances in all frames at once. Lengths are in frame heights, x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.textures import Array, random_colour

_SKIN_LIGHT = np.array([0.95, 0.76, 0.64], dtype=np.float32)
_SKIN_DARK = np.array([0.33, 0.19, 0.13], dtype=np.float32)


@dataclass(frozen=True)
class Hand:
    """The look of a hand and the way it is held."""

    skin: Array
    finger_length: float
    finger_radius: float
    fist_radius: float
    tilt: float
    """Angle of the finger from upright to the left, in radians."""
    elbow: Array
    """Where the elbow is while the fingertip is in the middle of the frame, outside of the frame."""
    elbow_follow: float
    """Share of the fingertip's movement that the elbow makes too."""
    arm_radius: float
    nail: bool
    light: Array
    """Direction that light comes from, and its strength."""
    sleeve: Array
    sleeve_start: float
    """Share of the forearm, from the wrist, that is bare; 1 is all."""
    sleeve_checks: float
    bracelet: float
    """Where on the forearm a bracelet is worn; negative is none."""


def random_hand(rng: np.random.Generator) -> Hand:
    """A right hand of random build, colour, dress and light."""
    size = rng.uniform(0.8, 1.25)
    skin = _SKIN_DARK + rng.random() * (_SKIN_LIGHT - _SKIN_DARK)
    skin = skin * rng.uniform(0.9, 1.1, 3)
    if rng.random() < 0.2:  # against the light
        skin = skin * rng.uniform(0.25, 0.6)
    angle = rng.uniform(0, 2 * np.pi)
    return Hand(
        skin=np.clip(skin, 0, 1).astype(np.float32),
        finger_length=rng.uniform(0.16, 0.24) * size,
        finger_radius=rng.uniform(0.026, 0.038) * size,
        fist_radius=rng.uniform(0.08, 0.115) * size,
        tilt=rng.normal(0.12, 0.12),
        elbow=np.array([rng.uniform(1.3, 2.1), rng.uniform(1.35, 1.8)], dtype=np.float32),
        elbow_follow=rng.uniform(0.15, 0.5),
        arm_radius=rng.uniform(0.12, 0.2) * size,
        nail=rng.random() < 0.5,
        light=np.array([np.cos(angle), np.sin(angle)], dtype=np.float32) * np.float32(rng.uniform(0.05, 0.35)),
        sleeve=random_colour(rng),
        sleeve_start=rng.choice([1.0, rng.uniform(0.12, 0.5)]),
        sleeve_checks=rng.choice([0.0, rng.uniform(8, 16)]),
        bracelet=rng.choice([-1.0, rng.uniform(0.05, 0.15)], p=[0.75, 0.25]),
    )


def draw_hand(frames_THWC: Array, hand: Hand, tip_T2: Array, *, shadow: tuple[float, int, int] | None = None) -> None:
    """Draws the hand over the frames, in place, with its fingertip at `tip_T2`.

    Fast movement softens the edges, as exposure time does. `shadow` is the strength of the hand's shadow
    and its displacement in pixels, right and down.
    """
    height, width = frames_THWC.shape[1:3]
    grid = _Grid(
        (np.arange(width, dtype=np.float32)[None, None] + 0.5) / height,
        (np.arange(height, dtype=np.float32)[None, :, None] + 0.5) / height,
    )
    distance_THW, colour_THWC = _skin_and_dress(grid, hand, tip_T2)
    speed_T = np.hypot(*np.gradient(tip_T2, axis=0).T) * height
    softness_T11 = ((1 + 0.3 * np.minimum(speed_T, 12)) / height).astype(np.float32)[:, None, None]
    cover_THW1 = np.clip(0.5 - distance_THW / softness_T11, 0, 1)[..., None]
    if shadow:
        strength, right, down = shadow
        frames_THWC *= 1 - np.float32(strength) * _shifted(cover_THW1, right=right, down=down)
    colour_THWC -= frames_THWC
    colour_THWC *= cover_THW1
    frames_THWC += colour_THWC


@dataclass(frozen=True)
class _Grid:
    x_11W: Array
    y_1H1: Array

    def capsule(self, start_T2: Array, end_T2: Array, start_radius: float, end_radius: float) -> tuple[Array, Array]:
        """Signed distance to a rounded cone (negative inside), and the place along its axis, 0 to 1."""
        axis_T2 = end_T2 - start_T2
        per_length_T2 = (axis_T2 / np.square(axis_T2).sum(axis=1, keepdims=True)).astype(np.float32)
        x_T1W = self.x_11W - start_T2[:, 0, None, None]
        y_TH1 = self.y_1H1 - start_T2[:, 1, None, None]
        along_THW = x_T1W * per_length_T2[:, 0, None, None] + y_TH1 * per_length_T2[:, 1, None, None]
        np.clip(along_THW, 0, 1, out=along_THW)
        across_x = x_T1W - along_THW * axis_T2[:, 0, None, None]
        across_y = y_TH1 - along_THW * axis_T2[:, 1, None, None]
        across_x *= across_x
        across_y *= across_y
        across_x += across_y
        distance_THW = np.sqrt(across_x, out=across_x)
        distance_THW -= np.float32(start_radius)
        distance_THW -= along_THW * np.float32(end_radius - start_radius)
        return distance_THW, along_THW


def _shifted(cover_THW1: Array, *, right: int, down: int) -> Array:
    """The cover displaced by whole pixels; its outermost pixels stand for what is beyond the frame."""
    rows, columns = (np.arange(n) - by for n, by in zip(cover_THW1.shape[1:3], (down, right), strict=True))
    rows, columns = (np.clip(index, 0, len(index) - 1) for index in (rows, columns))
    return cover_THW1[:, rows[:, None], columns]


def _skin_and_dress(grid: _Grid, hand: Hand, tip_T2: Array) -> tuple[Array, Array]:
    """Signed distance (T, H, W) to the whole hand and its colour (T, H, W, 3) before it is cut out."""
    aspect = grid.x_11W.size / grid.y_1H1.size
    elbow_T2 = hand.elbow + np.float32(hand.elbow_follow) * (tip_T2 - np.array([aspect / 2, 0.5], dtype=np.float32))
    lean_T = 0.35 * (np.arctan2(elbow_T2[:, 0] - tip_T2[:, 0], elbow_T2[:, 1] - tip_T2[:, 1]) - 0.5)
    angle_T = hand.tilt + lean_T
    down_T2 = np.stack([np.sin(angle_T), np.cos(angle_T)], axis=1).astype(np.float32)
    right_T2 = np.stack([down_T2[:, 1], -down_T2[:, 0]], axis=1)

    radius, fist = hand.finger_radius, hand.fist_radius
    centre_T2 = tip_T2 + down_T2 * radius
    knuckle_T2 = centre_T2 + down_T2 * hand.finger_length
    fist_T2 = knuckle_T2 + (0.55 * right_T2 + 0.35 * down_T2) * fist
    heel_T2 = fist_T2 + 0.9 * fist * down_T2
    to_elbow_T2 = elbow_T2 - heel_T2
    to_elbow_T2 /= np.linalg.norm(to_elbow_T2, axis=1, keepdims=True)
    wrist_T2 = heel_T2 + 0.3 * fist * to_elbow_T2

    distance, _ = grid.capsule(centre_T2, knuckle_T2, radius, 1.25 * radius)
    fist_distance, along_fist = grid.capsule(fist_T2, heel_T2, fist, 0.85 * fist)
    thumb_T2 = heel_T2 - 0.85 * fist * right_T2
    thumb, _ = grid.capsule(thumb_T2, knuckle_T2 + 0.25 * fist * right_T2, 0.9 * radius, 0.9 * radius)
    arm, along_arm = grid.capsule(wrist_T2, elbow_T2, 0.72 * fist, hand.arm_radius)

    # Curled fingers and the finger's root show as slightly darker folds of the fist.
    in_fold = (np.abs(along_fist % 0.34 - 0.17) < 0.04) & (fist_distance < 0) & (distance > 0)
    folds = 1 - np.float32(0.16) * in_fold
    np.minimum(distance, fist_distance, out=distance)
    np.minimum(distance, thumb, out=distance)
    bare_distance = distance.copy()
    np.minimum(distance, arm, out=distance)
    colour_THWC = (folds * _shading(distance, hand, grid.y_1H1.size))[..., None] * hand.skin
    if hand.nail:
        nail_T2 = tip_T2 + 0.75 * radius * down_T2
        nail, _ = grid.capsule(nail_T2, nail_T2 + 0.75 * radius * down_T2, 0.5 * radius, 0.55 * radius)
        colour_THWC[nail < 0] = colour_THWC[nail < 0] * 0.6 + np.array([0.36, 0.3, 0.29], dtype=np.float32)
    _dress(colour_THWC, hand, along_arm, arm, outside_hand=bare_distance > 0)
    return distance, colour_THWC


def _shading(distance_THW: Array, hand: Hand, rows: int) -> Array:
    """Brightness of a round surface: darker towards its edge, lighter on the side of the light."""
    edge_THW = np.clip(1 + distance_THW / np.float32(hand.finger_radius), 0, 1)
    slope = np.zeros_like(distance_THW)
    slope[:, :, :-1] = np.diff(distance_THW, axis=2) * (rows * hand.light[0])
    slope[:, :-1] += np.diff(distance_THW, axis=1) * (rows * hand.light[1])
    return 1 - 0.3 * edge_THW * edge_THW + slope * edge_THW


def _dress(colour_THWC: Array, hand: Hand, along_arm: Array, arm: Array, *, outside_hand: NDArray[np.bool_]) -> None:
    """Sleeve and bracelet, painted on the forearm in place."""
    if hand.bracelet >= 0:
        band = (np.abs(along_arm - hand.bracelet) < 0.012) & outside_hand
        colour_THWC[band] = 0.85 - 0.3 * hand.sleeve
    if hand.sleeve_start < 1:
        cloth = (along_arm > hand.sleeve_start) & outside_hand
        checks = np.ones(int(cloth.sum()), dtype=np.float32)
        if hand.sleeve_checks:
            along, across = along_arm[cloth] * hand.sleeve_checks * 2, arm[cloth] * hand.sleeve_checks * 2
            checks = 0.7 + 0.3 * np.sign(np.sin(np.pi * along) * np.sin(np.pi * across))
        colour_THWC[cloth] = hand.sleeve * checks[:, None]
