"""What every source of frames that come one after the other looks like: files as well as cameras and streams.

Shapes: H height, W width, C = 3 channels (red, green, blue), values 0 to 255.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np

from lsn.errors import VideoError
from lsn.video.arrays import rgb_array, what_it_is


@dataclass(frozen=True)
class LiveFrame:
    """A frame and its time. The picture is made when it is asked for: most frames of a fast camera never are."""

    pts_seconds: float
    """When it comes on screen, on the clock of the source."""
    convert: Callable[[], np.ndarray] = field(repr=False, compare=False)
    """Makes the picture; called once at most."""

    def rgb(self) -> np.ndarray:
        """The frame, uint8 HWC; the same array each time.

        Raises:
            VideoError: it cannot be decoded or converted, or its file has been closed.
        """
        return self._rgb

    @cached_property
    def _rgb(self) -> np.ndarray:
        return self.convert()


class LiveSource(ABC):
    """Frames in the order in which they come, once. Close it, or use it as a context manager."""

    name: str
    """What messages call it, without passwords."""
    is_live: bool
    """Whether frames are lost if nobody takes them, as from a camera; files and iterators wait."""
    continues_clock: bool = False
    """Whether the times of a live source go on from those before it in the stream; a camera's clock starts anyhow."""

    @abstractmethod
    def __iter__(self) -> Iterator[LiveFrame]:
        """Yields the frames until the source ends or is closed.

        Raises:
            VideoError: the source fails; says why.
        """

    @property
    @abstractmethod
    def end_seconds(self) -> float:
        """When the last frame so far goes off screen, on the clock of the source."""

    @abstractmethod
    def close(self) -> None:
        """Ends the iteration, from any thread, and releases what the source holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def frame_array(frame: Any) -> np.ndarray:
    """A frame that somebody else made, as an array: uint8 RGB HWC, of at least one pixel.

    Args:
        frame: an array, or a tensor of PyTorch on any device.

    Raises:
        VideoError: it is something else; the message says what, without a subject.
    """
    array_HWC = rgb_array(frame, num_dims=3)
    if array_HWC is None:
        raise VideoError(f"{what_it_is(frame)}; {_EXPECTED}")
    return array_HWC


_EXPECTED = "expected a uint8 RGB array or tensor of shape (height, width, 3) with at least one pixel"
