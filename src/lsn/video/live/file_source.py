"""Sources that wait until their frames are taken: videos that a reader opened, and iterators of frames."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from lsn.errors import VideoError
from lsn.video.decoding.reader import VideoReader, check_fps
from lsn.video.live.source import LiveFrame, LiveSource, frame_array


class ReaderSource(LiveSource):
    """The frames of a video with the times that its file states, each of its own size. It owns the reader.

    A frame is decoded when its picture is asked for, so a damaged one that nobody looks at does no harm.

    Args:
        reader: Any video, a window of one included.
    """

    is_live = False

    def __init__(self, reader: VideoReader) -> None:
        self.name = reader.info.name
        self._reader = reader
        self._lock = threading.Lock()  # no file is closed while another thread decodes it
        self._is_closed = False

    def __iter__(self) -> Iterator[LiveFrame]:
        for index, pts_seconds in enumerate(self._reader.pts_seconds.tolist()):
            if self._is_closed:
                return
            yield LiveFrame(pts_seconds, partial(self._read, index))

    @property
    def end_seconds(self) -> float:  # noqa: D102 - as in the base class
        return float(self._reader.pts_seconds[0]) + self._reader.info.duration_seconds

    def close(self) -> None:  # noqa: D102 - as in the base class
        with self._lock:
            self._is_closed = True
            self._reader.close()

    def _read(self, index: int) -> np.ndarray:
        with self._lock:
            if self._is_closed:
                raise VideoError(f"{self.name}: closed; take the picture of frame {index} before that")
            return self._reader.frames_at([index]).frames_THWC[0]


class IteratorSource(LiveSource):
    """Frames that somebody else makes.

    Each is copied when it comes, since many libraries put the next one into the same memory. An iterator that waits
    for its next frame cannot be stopped from outside: `close` takes effect when that frame comes.

    Args:
        frames: (seconds, frame) pairs, or frames alone if `fps` is given; uint8 HWC arrays or tensors of any size.
        fps: Of frames alone, frame i is shown at i / fps seconds.
        name: What messages call it.

    Raises:
        VideoError: a rate that is not above 0. When iterated: something that is no such frame (says its number).
    """

    is_live = False

    def __init__(self, frames: Iterable[Any], *, fps: float | None = None, name: str = "iterator of frames") -> None:
        if fps is not None:
            check_fps(fps, name)
        self.name = name
        self._frames = frames
        self._fps = fps
        self._shown_seconds: list[float] = []  # of the last two frames
        self._is_closed = False

    def __iter__(self) -> Iterator[LiveFrame]:
        for number, item in enumerate(self._frames):
            if self._is_closed:
                return
            pts_seconds, frame = self._timed(number, item)
            copy_HWC = self._checked(number, frame)
            self._shown_seconds = [*self._shown_seconds[-1:], pts_seconds]
            yield LiveFrame(pts_seconds, partial(_given, copy_HWC))

    @property
    def end_seconds(self) -> float:
        """When the last frame goes off screen: it is shown as long as the one before it, or for 1 / fps."""
        if not self._shown_seconds:
            return 0.0
        before, last = self._shown_seconds[0], self._shown_seconds[-1]
        return last + (1 / self._fps if self._fps else max(0.0, last - before))

    def close(self) -> None:  # noqa: D102 - as in the base class
        self._is_closed = True

    def _timed(self, number: int, item: Any) -> tuple[float, Any]:
        is_pair = isinstance(item, tuple) and len(item) == 2
        if self._fps is not None:
            if is_pair:
                raise VideoError(f"{self.name}: frame {number} comes with a time; leave fps out, or give frames alone")
            return number / self._fps, item
        if not is_pair:
            raise VideoError(
                f"{self.name}: frame {number} comes without a time ({type(item).__name__}); "
                "give (seconds, frame) pairs, or fps for frames alone"
            )
        seconds, frame = item
        try:
            pts_seconds = float(seconds)
        except (TypeError, ValueError):
            pts_seconds = math.nan
        if not math.isfinite(pts_seconds):
            raise VideoError(f"{self.name}: frame {number} comes at {seconds!r}; its time must be a number of seconds")
        return pts_seconds, frame

    def _checked(self, number: int, frame: Any) -> np.ndarray:
        """A copy of the frame, which must be one."""
        try:
            return np.array(frame_array(frame), order="C")
        except VideoError as error:
            raise VideoError(f"{self.name}: frame {number} is {error}") from None


def _given(frame_HWC: np.ndarray) -> np.ndarray:
    return frame_HWC
