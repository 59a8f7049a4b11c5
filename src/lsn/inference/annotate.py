"""A video with the running prediction drawn on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from lsn.files import check_outputs
from lsn.inference.predictor import Prediction
from lsn.inference.source import Video, open_source
from lsn.video import VideoReader, VideoWriter
from lsn.video.writing.overlay import Overlay, Track, enlargement


def write_annotated_video(
    video: Video,
    prediction: Prediction,
    path: str | Path,
    *,
    fps: float | None = None,
    reader: Literal["pyav", "torchcodec"] = "pyav",
) -> None:
    """Writes the whole video, without sound, with bars of the likeliest labels and a time cursor on it.

    Each picture shows `Prediction.cumulative_probabilities_TK` at its time: the mean of the scores of the sampled
    frames up to then, which ends in the prediction. A causal model would have said just this, had the video ended
    there; in another model the frames shown have already had a look at some that follow them.

    Args:
        video: what was predicted on.
        prediction: the model's answer.
        path: the file to write, ending in .mp4. It has a constant frame rate; where that of the video varies,
            pictures are held or left out so that all keep their time.
        fps: as it was given to the predictor.
        reader: decoder of video files.

    Raises:
        VideoError: the video cannot be read, or the file cannot be written.
        ConfigError: the file is the video itself.
    """
    track = Track(prediction.labels, prediction.cumulative_probabilities_TK(), prediction.frame_pts_seconds)
    write_track_video(video, track, path, fps=fps, reader=reader)


def write_track_video(
    video: Video,
    track: Track,
    path: str | Path,
    *,
    fps: float | None = None,
    reader: Literal["pyav", "torchcodec"] = "pyav",
) -> None:
    """Writes a video with what a track says at each time drawn on it; see `write_annotated_video`.

    Raises:
        VideoError: the video cannot be read, or the file cannot be written.
        ConfigError: the file is the video itself.
    """
    check_outputs([path], [video] if isinstance(video, str | Path) else [])
    with open_source(video, fps=fps, reader=reader) as frames:
        factor = enlargement(frames.info.width, frames.info.height)
        width, height = factor * frames.info.width, factor * frames.info.height
        overlay = Overlay(
            track,
            width=width,
            height=height,
            start_seconds=float(frames.pts_seconds[0]),
            duration_seconds=frames.info.duration_seconds,
        )
        rate = _frame_rate(frames)
        with VideoWriter(path, fps=rate, width=width, height=height) as writer:
            for clock_seconds, pts_seconds, frame_HWC in _steady(frames, rate):
                picture = Image.fromarray(frame_HWC)
                if factor > 1:
                    picture = picture.resize((width, height), Image.Resampling.BICUBIC)
                overlay.draw_at(picture, clock_seconds=clock_seconds, pts_seconds=pts_seconds)
                writer.write(np.asarray(picture))


def _frame_rate(frames: VideoReader) -> float:
    """Frames per second of a video that looks the same: its own rate, or its usual one if it varies."""
    average = frames.info.average_fps
    times = frames.pts_seconds - float(frames.pts_seconds[0])
    if np.abs(times * average - np.arange(len(times))).max() < 1:
        return average
    usual_gap = float(np.median(np.diff(times)))
    return 1 / usual_gap if usual_gap > 0 else average


def _steady(frames: VideoReader, rate: float) -> Iterator[tuple[float, float, np.ndarray]]:
    """The pictures at the ticks of a constant rate, as (time of the tick, time of the picture, uint8 HWC)."""
    start = float(frames.pts_seconds[0])
    tick = 0
    shown: tuple[float, np.ndarray] | None = None
    for pts_seconds, frame_HWC in frames:
        next_tick = round((pts_seconds - start) * rate)
        while shown is not None and tick < next_tick:
            yield start + tick / rate, *shown
            tick += 1
        shown = pts_seconds, frame_HWC
    num_ticks = max(tick + 1, round(frames.info.duration_seconds * rate))
    while shown is not None and tick < num_ticks:
        yield start + tick / rate, *shown
        tick += 1
