"""Which frames of a video a clip is made of: pure numbers, no video and no tensor.

Every function returns `num_frames` indices that are sorted and lie strictly inside the video. Segments and
dense clips spread a video with fewer frames than asked for evenly over the clip: each frame is repeated
equally often, give or take one. Timed clips keep their rate, and hold the last frame of a video that ends early.

Source: Wang et al., "Temporal Segment Networks", 2016; Lin et al., "TSM: Temporal Shift Module for
Efficient Video Understanding", 2019 (twice-sample). Unlike their code, the training samples include
the tail that is left when the video does not divide into equal segments, and short videos are spread
over the clip instead of repeating the first frame.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from lsn.errors import ConfigError, VideoError
from lsn.video.frame_sampler import on_screen


def segment_indices_train(num_total: int, num_frames: int, rng: random.Random) -> list[int]:
    """One random frame of each of `num_frames` segments that together cover the whole video.

    Args:
        num_total: Frames of the video.
        num_frames: Frames of the clip.
        rng: Source of randomness; used only if the video has at least `num_frames` frames.

    Raises:
        VideoError: the video has no frames.
        ConfigError: no frames are asked for.
    """
    _check(num_total, num_frames)
    if num_total < num_frames:
        return _centres(num_total, num_frames)
    edges = [k * num_total // num_frames for k in range(num_frames + 1)]
    return [rng.randrange(edges[k], edges[k + 1]) for k in range(num_frames)]


def segment_indices_eval(num_total: int, num_frames: int, *, clip: int = 0, num_clips: int = 1) -> list[int]:
    """The same place in each of `num_frames` segments, another place for each clip.

    One clip takes the centres. Of two, clip 0 takes the centres and clip 1 the starts (TSM's
    twice-sample); n clips lie 1/n of a segment apart, clip 0 always at the centres.

    Raises:
        VideoError: the video has no frames.
        ConfigError: no frames or clips are asked for, or the clip is not one of them.
    """
    _check(num_total, num_frames)
    _check_clip(clip, num_clips)
    parts = 2 * num_clips  # positions inside a segment are counted in parts of it: the centre is num_clips
    place = (num_clips - 2 * clip) % parts
    return [(k * parts + place) * num_total // (parts * num_frames) for k in range(num_frames)]


def dense_indices_train(num_total: int, num_frames: int, stride: int, rng: random.Random) -> list[int]:
    """`num_frames` frames that are `stride` apart, from a random start.

    A video too short for that gives evenly spread frames.

    Raises:
        VideoError: the video has no frames.
        ConfigError: no frames are asked for, or the stride is under 1.
    """
    last_start = _last_dense_start(num_total, num_frames, stride)
    if last_start < 0:
        return _centres(num_total, num_frames)
    return _dense(rng.randint(0, last_start), num_frames, stride)


def dense_indices_eval(num_total: int, num_frames: int, stride: int, *, clip: int = 0, num_clips: int = 1) -> list[int]:
    """`num_frames` frames that are `stride` apart: in the middle, or n clips spread from start to end.

    A video too short for that gives evenly spread frames.

    Raises:
        VideoError: the video has no frames.
        ConfigError: no frames or clips are asked for, the clip is not one of them, or the stride is under 1.
    """
    _check_clip(clip, num_clips)
    last_start = _last_dense_start(num_total, num_frames, stride)
    if last_start < 0:
        return _centres(num_total, num_frames)
    start = last_start // 2 if num_clips == 1 else clip * last_start // (num_clips - 1)
    return _dense(start, num_frames, stride)


def timed_indices_train(
    pts_seconds: Sequence[float], end_seconds: float, num_frames: int, fps: float, rng: random.Random
) -> list[int]:
    """The frames on screen at `num_frames` moments that are 1 / fps seconds apart, from a random start.

    The moments lie inside the video. A video too short for that is seen from its first frame on, and its last frame
    stays on screen.

    Args:
        pts_seconds: When each frame comes on screen, in order.
        end_seconds: When the last frame goes off screen, on the same clock.
        num_frames: Frames of the clip.
        fps: Frames of the clip a second, whatever the video's own rate.
        rng: Source of randomness; used only if the video is longer than the clip.

    Raises:
        VideoError: the video has no frames.
        ConfigError: no frames are asked for, or the rate is not a finite number above 0.
    """
    spare_seconds = _spare_seconds(pts_seconds, end_seconds, num_frames, fps)
    offset_seconds = rng.uniform(0, spare_seconds) if spare_seconds > 0 else 0.0
    return _timed(pts_seconds, offset_seconds, num_frames, fps)


def timed_indices_eval(
    pts_seconds: Sequence[float], end_seconds: float, num_frames: int, fps: float, *, clip: int = 0, num_clips: int = 1
) -> list[int]:
    """The frames on screen at moments 1 / fps seconds apart: in the middle, or n clips spread from start to end.

    A video too short for that is seen from its first frame on, and its last frame stays on screen.

    Raises:
        VideoError: the video has no frames.
        ConfigError: no frames or clips are asked for, the clip is not one of them, or the rate is not a finite number
            above 0.
    """
    _check_clip(clip, num_clips)
    spare_seconds = max(0.0, _spare_seconds(pts_seconds, end_seconds, num_frames, fps))
    place = 0.5 if num_clips == 1 else clip / (num_clips - 1)
    return _timed(pts_seconds, place * spare_seconds, num_frames, fps)


def _centres(num_total: int, num_frames: int) -> list[int]:
    return [(2 * k + 1) * num_total // (2 * num_frames) for k in range(num_frames)]


def _dense(start: int, num_frames: int, stride: int) -> list[int]:
    return [start + k * stride for k in range(num_frames)]


def _last_dense_start(num_total: int, num_frames: int, stride: int) -> int:
    """The last frame that a dense clip can start at; below 0 if the video is too short for one."""
    _check(num_total, num_frames)
    if stride < 1:
        raise ConfigError(f"a frame stride of {stride}; it must be at least 1")
    return num_total - 1 - (num_frames - 1) * stride


def _timed(pts_seconds: Sequence[float], offset_seconds: float, num_frames: int, fps: float) -> list[int]:
    start_seconds = pts_seconds[0] + offset_seconds
    return on_screen(pts_seconds, [start_seconds + k / fps for k in range(num_frames)])


def _spare_seconds(pts_seconds: Sequence[float], end_seconds: float, num_frames: int, fps: float) -> float:
    """How much later than the video a timed clip can start; below 0 if the video is too short for one."""
    _check(len(pts_seconds), num_frames)
    if not 0 < fps < math.inf:
        raise ConfigError(f"a rate of {fps} frames per second; it must be a finite number above 0")
    return end_seconds - pts_seconds[0] - (num_frames - 1) / fps


def _check(num_total: int, num_frames: int) -> None:
    if num_frames < 1:
        raise ConfigError(f"{num_frames} frames per clip; it must be at least 1")
    if num_total < 1:
        raise VideoError(f"a video of {num_total} frames cannot be sampled; it needs at least one")


def _check_clip(clip: int, num_clips: int) -> None:
    if num_clips < 1:
        raise ConfigError(f"{num_clips} clips per video; it must be at least 1")
    if not 0 <= clip < num_clips:
        raise ConfigError(f"clip {clip} of {num_clips}; it must be between 0 and {num_clips - 1}")
