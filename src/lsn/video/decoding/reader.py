"""What every source of frames looks like: `VideoReader`, and windows and arrays that pass for videos.

Shapes: T frames, H height, W width, C = 3 channels (red, green, blue), values 0 to 255.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import numpy as np

from lsn.errors import VideoError
from lsn.video.arrays import rgb_array, what_it_is

STACK_BYTES = 64 << 20
"""Frames that are transformed together: transforms are faster on several small ones at a time."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its frames are asked for."""

    name: str
    """The file, for messages."""
    num_frames: int
    """Frames that can be asked for."""
    width: int
    """Pixels a row as shown, after the rotation that the file asks for."""
    height: int
    """Rows as shown, after the rotation that the file asks for."""
    duration_seconds: float
    """From the start of the first frame to the end of the last."""
    average_fps: float
    """Frames over duration."""
    codec: str
    """Name of the codec, as FFmpeg says it."""
    rotation_degrees: int = 0
    """How far the stored frames were turned clockwise to be upright: 0, 90, 180 or 270."""


@dataclass(frozen=True)
class FrameBatch:
    """Frames in the order in which they were asked for."""

    frames_THWC: np.ndarray
    """uint8 RGB."""
    indices: tuple[int, ...]
    """Which frame of the video each one is, counted from 0."""
    pts_seconds: np.ndarray
    """float64, (T,): when each one is shown, on the clock of the file."""


class VideoReader(ABC):
    """Frames of a video by index and in order. Close it, or use it as a context manager."""

    info: VideoInfo
    """Size, length and codec."""
    pts_seconds: np.ndarray
    """float64, (num_frames,): when each frame is shown, on the clock of the file. Never decreases."""

    @abstractmethod
    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the uint8 HWC frames of strictly increasing, valid indices, each in its own size and memory."""

    def _frame_name(self, index: int) -> str:
        """What messages call a frame."""
        return f"frame {index}"

    @property
    def num_frames(self) -> int:
        """Frames that can be asked for."""
        return self.info.num_frames

    @property
    def end_seconds(self) -> float:
        """When the last frame goes off screen, on the clock of the file."""
        return float(self.pts_seconds[0]) + self.info.duration_seconds

    def frames_at(self, indices: Iterable[int]) -> FrameBatch:
        """Reads frames by index, in any order; duplicates are decoded once.

        Raises:
            VideoError: an index is outside the video, a frame cannot be decoded, or they differ in size.
        """
        wanted = self._checked(indices)
        (frames_THWC,) = self._stacks(sorted(set(wanted)))
        return FrameBatch(_in_order(frames_THWC, wanted), wanted, self.pts_seconds[list(wanted)])

    def transformed_at(self, indices: Iterable[int], transform: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Reads frames by index and transforms them on the way, so that only a few are held in their full size.

        Args:
            indices: In any order; duplicates are decoded and transformed once.
            transform: Takes uint8 RGB frames THWC, at most `STACK_BYTES` of them unless one is larger, and gives an
                array of as many rows, each of which depends on its own frame alone.

        Returns:
            The rows in the order of the indices.

        Raises:
            VideoError: as of `frames_at`.
        """
        wanted = self._checked(indices)
        parts = [transform(frames_THWC) for frames_THWC in self._stacks(sorted(set(wanted)), max_bytes=STACK_BYTES)]
        return _in_order(parts[0] if len(parts) == 1 else np.concatenate(parts), wanted)

    def _checked(self, indices: Iterable[int]) -> tuple[int, ...]:
        wanted = tuple(int(index) for index in indices)
        if not wanted:
            raise VideoError(f"{self.info.name}: no frames asked for; give at least one index")
        for index in wanted:
            if not 0 <= index < self.num_frames:
                raise VideoError(f"{self.info.name}: no frame {index}; it has frames 0 to {self.num_frames - 1}")
        return wanted

    def _stacks(self, indices: Sequence[int], *, max_bytes: int | None = None) -> Iterator[np.ndarray]:
        """The frames of strictly increasing, valid indices in stacks THWC of at most so many bytes, or one frame."""
        frames = self.of_one_size(indices)
        num_left = len(indices)
        while num_left:
            first_HWC = next(frames)
            length = num_left if max_bytes is None else min(num_left, max(1, max_bytes // first_HWC.nbytes))
            num_left -= length
            if length == 1:  # needs no second copy, which matters where one frame is large
                yield first_HWC[None]
                continue
            stack_THWC = np.empty((length, *first_HWC.shape), dtype=np.uint8)
            for row, frame_HWC in zip(stack_THWC, itertools.chain([first_HWC], frames), strict=False):
                row[:] = frame_HWC
            yield stack_THWC

    def of_one_size(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the uint8 HWC frames of strictly increasing, valid indices, which must share the size of the first.

        Raises:
            VideoError: a frame differs in size, or cannot be decoded.
        """
        first_shape = None
        for index, frame_HWC in zip(indices, self._frames(indices), strict=True):
            first_shape = first_shape or frame_HWC.shape
            if frame_HWC.shape != first_shape:
                raise VideoError(
                    f"{self.info.name}: {self._frame_name(index)} is {_size(frame_HWC.shape)}, the first one "
                    f"{_size(first_shape)}; re-encode it to one size"
                )
            yield frame_HWC

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yields every frame in order as (time in seconds, uint8 HWC array), each in its own size."""
        return zip(self.pts_seconds.tolist(), self._frames(range(self.num_frames)), strict=True)

    def close(self) -> None:  # noqa: B027 - most readers hold nothing open
        """Releases the file; the reader cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _in_order(rows: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """Rows that stand for the wanted frames in increasing order and without duplicates, in the order wanted."""
    unique = sorted(set(wanted))
    if unique == list(wanted):
        return rows
    row_of = {index: row for row, index in enumerate(unique)}
    return rows[[row_of[index] for index in wanted]]


def _size(shape_HWC: Sequence[int]) -> str:
    height, width, _ = shape_HWC
    return f"{width}x{height}"


def window(reader: VideoReader, *, first: int, last: int) -> VideoReader:
    """A part of a video, seen as a video of its own.

    Indices start from 0 at `first`; timestamps stay on the clock of the file, so that they still point
    into it. The window owns the reader: closing it closes the reader.

    Args:
        reader: Any reader, another window included.
        first: First frame of the part.
        last: The frame after the last one of the part.

    Raises:
        VideoError: the part is empty or reaches outside the video.
    """
    if not 0 <= first < last <= reader.num_frames:
        raise VideoError(
            f"{reader.info.name}: no frames {first} to {last} (the last not included) in a video of "
            f"{reader.num_frames} frames; the window needs 0 <= first < last <= {reader.num_frames}"
        )
    return _WindowReader(reader, first, last)


def array_reader(frames_THWC: Any, fps: float, *, name: str = "array of frames") -> VideoReader:
    """Frames in memory, seen as a video. They are not copied, unless they are on another device than the CPU.

    Args:
        frames_THWC: uint8 RGB, at least one frame: an array, or a tensor of PyTorch.
        fps: Frames per second; frame i is shown at i / fps seconds.
        name: What messages call it.

    Raises:
        VideoError: wrong shape or type, no frames, or a rate that is not above 0.
    """
    array_THWC = rgb_array(frames_THWC, num_dims=4)
    if array_THWC is None:
        raise VideoError(
            f"{name}: expected uint8 frames of shape (frames, height, width, 3) with none of them 0, "
            f"got {what_it_is(frames_THWC)}"
        )
    check_fps(fps, name)
    return _ArrayReader(array_THWC, fps, name)


def check_fps(fps: float, name: str) -> None:
    """Refuses a frame rate that is not a finite number above 0.

    Raises:
        VideoError: names the video and the rate.
    """
    if not 0 < fps < float("inf"):
        raise VideoError(f"{name}: a rate of {fps} frames per second; it must be a finite number above 0")


class _WindowReader(VideoReader):
    def __init__(self, reader: VideoReader, first: int, last: int) -> None:
        self._reader = reader
        self._first = first
        self.pts_seconds = reader.pts_seconds[first:last]
        whole = reader.info
        start_seconds = float(self.pts_seconds[0])
        end_seconds = (
            float(reader.pts_seconds[last])
            if last < reader.num_frames
            else float(reader.pts_seconds[0]) + whole.duration_seconds
        )
        duration_seconds = end_seconds - start_seconds
        self.info = replace(
            whole,
            num_frames=last - first,
            duration_seconds=duration_seconds,
            average_fps=(last - first) / duration_seconds if duration_seconds > 0 else whole.average_fps,
        )

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        if isinstance(indices, range):
            start, stop = self._first + indices.start, self._first + indices.stop
            return self._reader._frames(range(start, stop, indices.step))
        return self._reader._frames([self._first + index for index in indices])

    def _frame_name(self, index: int) -> str:
        return self._reader._frame_name(self._first + index)

    def close(self) -> None:
        self._reader.close()


class _ArrayReader(VideoReader):
    def __init__(self, frames_THWC: np.ndarray, fps: float, name: str) -> None:
        self._frames_THWC = frames_THWC
        num_frames, height, width, _ = frames_THWC.shape
        self.pts_seconds = np.arange(num_frames, dtype=np.float64) / fps
        self.info = VideoInfo(
            name=name,
            num_frames=num_frames,
            width=width,
            height=height,
            duration_seconds=num_frames / fps,
            average_fps=float(fps),
            codec="raw",
        )

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        return (self._frames_THWC[index].copy() for index in indices)
