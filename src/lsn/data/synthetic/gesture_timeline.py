"""Long videos of one hand that draws gesture after gesture in one scene, with all that happens in between.

Between two gestures the hand rests, moves to where the next one starts, wanders about, or leaves and comes back. None
of that is an event: an event is a gesture from its first to its last movement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lsn.data.synthetic.camera import expose, pan, shake
from lsn.data.synthetic.gestures import MARGIN, place, random_shadow, surroundings
from lsn.data.synthetic.hand import draw_hand, random_hand
from lsn.data.synthetic.paths import LABELS, gesture_path
from lsn.data.synthetic.textures import Array
from lsn.data.synthetic.timeline import LabelledFrames

GESTURE_SECONDS = (1.2, 4.0)
REST_SECONDS = (0.1, 0.6)
"""For which the hand is still before and after a gesture."""
MOVE_SECONDS = (0.3, 1.0)
"""To where the next gesture starts, or out of the picture."""
IDLE_SECONDS = (0.5, 2.5)
"""For which the hand wanders, or is away."""
SHARE_AWAY, SHARE_WANDERING = 0.5, 0.25
"""Of the times between two gestures; in the others the hand goes to the next one at once."""
SHARE_WITHOUT_EVENTS = 0.08
_PART_FRAMES = 64
_BELOW = 2.2  # where the fingertip is while the hand is away, in frame heights


def render(
    rng: np.random.Generator, number: int, *, num_frames: int, height: int, width: int, fps: float
) -> list[tuple[list[LabelledFrames], NDArray[np.uint8]]]:
    """Makes the video `number` of a set, as its events and frames (T, H, W, 3)."""
    del number
    events, tip_T2 = _hand_path(rng, num_frames, width / height, fps)
    offsets_T2 = shake(rng, num_frames, amplitude=rng.uniform(0, 0.06))
    tip_T2 += 0.3 * offsets_T2  # the head carries camera and, in part, hand
    margin = round(MARGIN * height)
    canvas = surroundings(rng, height + 2 * margin, width + 2 * margin)
    hand, shadow, gain_T3 = random_hand(rng), random_shadow(rng, height), _light(rng, num_frames)
    noise, parts = rng.uniform(0, 0.025), []
    for first in range(0, num_frames, _PART_FRAMES):
        part = slice(first, first + _PART_FRAMES)
        frames_THWC = pan(canvas, offsets_T2[part] * height, height=height, width=width)
        draw_hand(frames_THWC, hand, tip_T2[part], shadow=shadow)
        parts.append(expose(rng, frames_THWC * gain_T3[part, None, None], noise=noise))
    return [(events, np.concatenate(parts))]


def _hand_path(
    rng: np.random.Generator, num_frames: int, aspect: float, fps: float
) -> tuple[list[LabelledFrames], Array]:
    """Gestures, and where the fingertip is in each frame (T, 2), in frame heights."""
    away = np.array([rng.uniform(0.3, 0.9) * aspect, _BELOW], dtype=np.float32)
    path = [away[None]] * _frames(rng, IDLE_SECONDS, fps)
    events: list[LabelledFrames] = []
    has_events, length = rng.random() >= SHARE_WITHOUT_EVENTS, len(path)

    def add(part_T2: Array) -> None:
        nonlocal length
        path.append(part_T2.astype(np.float32))
        length += len(part_T2)

    while length < num_frames:
        label = str(LABELS[rng.integers(len(LABELS))])
        gesture_T2 = gesture_path(rng, label, num_frames=_frames(rng, GESTURE_SECONDS, fps), rests=False)
        gesture_T2 = place(rng, gesture_T2, aspect)
        add(_between(path[-1][-1], gesture_T2[0], _frames(rng, MOVE_SECONDS, fps)))
        if has_events:
            add(_rest(rng, gesture_T2[0], _frames(rng, REST_SECONDS, fps)))
            if length + len(gesture_T2) <= num_frames:
                events.append((label, length, length + len(gesture_T2)))
                add(gesture_T2)
            add(_rest(rng, path[-1][-1], _frames(rng, REST_SECONDS, fps)))
        idle, chance = _frames(rng, IDLE_SECONDS, fps), rng.random()
        if chance < SHARE_AWAY:
            add(_between(path[-1][-1], away, _frames(rng, MOVE_SECONDS, fps)))
            add(np.tile(away, (idle, 1)))
        elif chance < SHARE_AWAY + SHARE_WANDERING or not has_events:
            wandering_T2 = shake(rng, idle, amplitude=0.2)
            add(path[-1][-1] + wandering_T2 - wandering_T2[0])
    return events, np.concatenate(path)[:num_frames]


def _between(start_2: Array, end_2: Array, num_frames: int) -> Array:
    """A smooth way from one place to another."""
    share_T1 = (np.arange(1, num_frames + 1) / num_frames)[:, None]
    return start_2 + (share_T1 * share_T1 * (3 - 2 * share_T1)) * (end_2 - start_2)


def _rest(rng: np.random.Generator, at_2: Array, num_frames: int) -> Array:
    """A hand that is nearly still."""
    return at_2 + rng.normal(scale=0.002, size=(num_frames, 2))


def _light(rng: np.random.Generator, num_frames: int) -> Array:
    """Brightness and white balance of each frame (T, 3), which change slowly, and now and then at once."""
    gain_T3 = np.full((num_frames, 3), rng.uniform(0.7, 1.25)) * rng.uniform(0.9, 1.1, 3)
    gain_T3 *= 1 + rng.uniform(0, 0.2) * shake(rng, num_frames, amplitude=1.0)[:, :1]
    for _ in range(rng.integers(0, 3)):
        gain_T3[rng.integers(num_frames) :] *= 1 + rng.normal(scale=0.12) + rng.normal(scale=0.04, size=3)
    return np.clip(gain_T3, 0.3, 1.6).astype(np.float32)


def _frames(rng: np.random.Generator, seconds: tuple[float, float], fps: float) -> int:
    return max(2, round(rng.uniform(*seconds) * fps))
