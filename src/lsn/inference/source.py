"""The kinds of video that prediction takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from lsn.errors import VideoError
from lsn.files import is_file
from lsn.hardware import num_threads
from lsn.video import VideoReader, array_reader, open_video
from lsn.video.arrays import is_array

if TYPE_CHECKING:
    from torch import Tensor

Video: TypeAlias = "str | Path | bytes | np.ndarray | Tensor"
"""A video file, a folder of frames, the content of a video file, or uint8 RGB frames THWC."""


def open_source(
    video: Video, *, fps: float | None = None, reader: Literal["pyav", "torchcodec"] = "pyav"
) -> VideoReader:
    """Opens any kind of video.

    Args:
        video: what to open.
        fps: frames per second, for what has no timestamps: needed for an array; folders have 30 by default.
        reader: decoder of video files.

    Raises:
        VideoError: it cannot be opened, is no video, has no rate, or has times of its own and was given a rate.
    """
    if is_array(video):
        if fps is None:
            raise VideoError("an array of frames has no times; give its rate, such as fps=30")
        return array_reader(video, fps)
    if not isinstance(video, str | Path | bytes):
        raise VideoError(
            f"a {type(video).__name__} is not a video; give a path, the bytes of a file, or uint8 frames of shape "
            "(frames, height, width, 3)"
        )
    if fps is None:
        # Small videos gain nothing from a second thread, large ones decode up to 1.2 times as fast.
        return open_video(video, reader=reader, num_threads=num_threads())
    if isinstance(video, bytes) or is_file(video):
        what = "the bytes of a file" if isinstance(video, bytes) else str(video)
        raise VideoError(f"{what}: fps={fps} given, but video files know their own times; leave it out")
    return open_video(video, reader=reader, frames_fps=fps)
