"""Long videos in which shapes come, move and go: the motions of `motion` as events, with pauses between them.

A video and its exact time-reversal are always made together. Each event of one is an event of the other with the
opposite label, so no set of frames without their order distinguishes the labels of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.camera import expose, pan, shake
from lsn.data.synthetic.motion import LABELS, MARGIN, MOTIONS, OPPOSITE, progress
from lsn.data.synthetic.shapes import Poses, draw, random_shape
from lsn.data.synthetic.textures import Array, texture

EVENT_SECONDS = (1.0, 2.0)
PAUSE_SECONDS = (0.8, 3.0)
"""Between two events, in which shapes come and go."""
REST_SECONDS = (0.1, 0.4)
"""For which a shape is still before it moves and after."""
FADE_SECONDS = 0.2
"""In which a shape comes, or goes."""
SHARE_WITHOUT_EVENTS = 0.1
"""Of the videos."""
MAX_DISTRACTORS = 3
_PART_FRAMES = 64
"""Frames that are rendered at a time, so that memory does not grow with the videos."""

LabelledFrames = tuple[str, int, int]
"""A label, its first frame, and the one after its last."""


@dataclass(frozen=True)
class _Sprite:
    """A shape that is drawn in some frames."""

    first_frame: int
    shape_sides: tuple[tuple[int, Poses], ...]
    opacity_T: Array
    seed: int
    contrast: float


def render(
    rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int, fps: float
) -> list[tuple[list[LabelledFrames], NDArray[np.uint8]]]:
    """Makes the video `number` of a set and its reverse, each as its events and frames (T, H, W, 3)."""
    del number
    margin = round(MARGIN * height)
    canvas = texture(rng, height=height + 2 * margin, width=width + 2 * margin)
    offsets_T2 = shake(rng, num_frames, amplitude=rng.uniform(0, 0.04))
    events, sprites = _schedule(rng, num_frames, fps)
    sprites += [_distractor(rng, num_frames, fps) for _ in range(rng.integers(0, MAX_DISTRACTORS + 1))]
    noise, background = rng.uniform(0, 0.02), canvas.mean(axis=(0, 1))
    parts = []
    for first in range(0, num_frames, _PART_FRAMES):
        frames_THWC = pan(canvas, offsets_T2[first : first + _PART_FRAMES] * height, height=height, width=width)
        for sprite in sprites:
            _draw(frames_THWC, sprite, first, offsets_T2, background)
        parts.append(expose(rng, frames_THWC, noise=noise))
    frames = np.concatenate(parts)
    mirrored = [(OPPOSITE[label], num_frames - end, num_frames - start) for label, start, end in reversed(events)]
    return [(events, frames), (mirrored, np.ascontiguousarray(frames[::-1]))]


def _schedule(rng: np.random.Generator, num_frames: int, fps: float) -> tuple[list[LabelledFrames], list[_Sprite]]:
    """What happens when, from start to end, and how it looks."""
    events: list[LabelledFrames] = []
    sprites: list[_Sprite] = []
    if rng.random() < SHARE_WITHOUT_EVENTS:
        return events, sprites
    before_pause = clock = _frames(rng, PAUSE_SECONDS, fps)
    while True:
        length, pause = _frames(rng, EVENT_SECONDS, fps), _frames(rng, PAUSE_SECONDS, fps)
        if clock + length + pause > num_frames:
            return events, sprites
        label = LABELS[rng.integers(len(LABELS))]
        fade = max(1, round(FADE_SECONDS * fps))
        # Half of a pause is for the shape that goes, and half for the one that comes.
        before, after = (
            max(0, min(_frames(rng, REST_SECONDS, fps), around // 2 - fade)) for around in (before_pause, pause)
        )
        sprites.append(_moving_sprite(rng, label, clock, length, (fade, before, after)))
        events.append((label, clock, clock + length))
        clock, before_pause = clock + length + pause, pause


def _moving_sprite(
    rng: np.random.Generator, label: str, start: int, length: int, around: tuple[int, int, int]
) -> _Sprite:
    """A shape that comes, rests, moves as the label says, rests, and goes."""
    fade, before, after = around
    pair, is_backward = next((pair, label == pair[1]) for pair in MOTIONS if label in pair)
    sides = MOTIONS[pair](rng, progress(rng, length))
    index = np.clip(np.arange(-fade - before, length + after + fade), 0, length - 1)
    index = length - 1 - index if is_backward else index
    opacity = np.minimum(1, np.minimum(np.arange(len(index)) + 1, np.arange(len(index))[::-1] + 1) / (fade + 1))
    still = tuple(
        (side, Poses(poses.centre_T2[index], poses.radius_T[index], poses.angle_T[index])) for side, poses in sides
    )
    return _Sprite(start - fade - before, still, opacity.astype(np.float32), int(rng.integers(1 << 31)), 1.0)


def _distractor(rng: np.random.Generator, num_frames: int, fps: float) -> _Sprite:
    """A small, paler shape that wanders about for a while: no event."""
    length = int(min(num_frames, rng.uniform(2, 8) * fps))
    first = int(rng.integers(0, num_frames - length + 1))
    poses = Poses(
        centre_T2=rng.uniform(0.1, 0.9, 2) + shake(rng, length, amplitude=0.3),
        radius_T=np.full(length, rng.uniform(0.05, 0.08)),
        angle_T=rng.uniform(0, 2 * np.pi) + rng.uniform(-2, 2) * np.linspace(-1, 1, length),
    )
    return _Sprite(first, ((0, poses),), np.ones(length, np.float32), int(rng.integers(1 << 31)), 0.5)


def _draw(frames_THWC: Array, sprite: _Sprite, first: int, offsets_T2: Array, background: Array) -> None:
    """Draws a sprite over the part of a video that begins at frame `first`, in place."""
    start = max(first, sprite.first_frame, 0)
    end = min(first + len(frames_THWC), sprite.first_frame + len(sprite.opacity_T))
    if start >= end:
        return
    own = slice(start - sprite.first_frame, end - sprite.first_frame)
    shape = random_shape(np.random.default_rng(sprite.seed), background=background, contrast=sprite.contrast)
    for side, poses in sprite.shape_sides:
        moved = replace(
            poses,
            centre_T2=poses.centre_T2[own] - offsets_T2[start:end],
            radius_T=poses.radius_T[own],
            angle_T=poses.angle_T[own],
        )
        draw(frames_THWC[start - first : end - first], shape, moved, side=side, opacity_T=sprite.opacity_T[own])


def _frames(rng: np.random.Generator, seconds: tuple[float, float], fps: float) -> int:
    return max(1, round(rng.uniform(*seconds) * fps))
