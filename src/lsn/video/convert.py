"""From decoded frames to upright RGB.

FFmpeg's own scale filter converts, with the flags that the ffmpeg command uses by default, so that the
pixels are those of `ffmpeg -pix_fmt rgb24` and of torchcodec: it knows the colour matrix, the value range
and the place of the chroma samples of each frame.
"""

from __future__ import annotations

import logging
import struct
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Orientation:
    """How stored frames are turned to be upright: transposed first, then mirrored."""

    transposed: bool = False
    mirrored_across: bool = False
    mirrored_down: bool = False

    @property
    def has_mirror(self) -> bool:
        """Whether no rotation alone does it."""
        return self.transposed ^ self.mirrored_across ^ self.mirrored_down

    @property
    def rotation_degrees(self) -> int:
        """Clockwise turn that is part of it."""
        if self.transposed:
            return 90 if self.mirrored_across else 270
        return 180 if self.mirrored_down else 0

    def apply(self, image_HWC: np.ndarray) -> np.ndarray:
        """A view of the image, upright."""
        if self.transposed:
            image_HWC = image_HWC.transpose(1, 0, 2)
        if self.mirrored_across:
            image_HWC = image_HWC[:, ::-1]
        return image_HWC[::-1] if self.mirrored_down else image_HWC


def orientation_of(frame: av.VideoFrame, name: str) -> Orientation:
    """Reads the display matrix of a frame. Turns that are no quarters are reported and left out."""
    side_data: Any = frame.side_data  # PyAV types it as a dictionary of motion vectors
    matrix = side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return Orientation()
    # Native integers, by columns: (x' of x, y' of x, _), (x' of y, y' of y, _), ...
    xx, yx, _, xy, yy, *_ = struct.unpack("=9i", bytes(matrix))
    if xx and yy and not (yx or xy):
        return Orientation(False, xx < 0, yy < 0)
    if yx and xy and not (xx or yy):
        return Orientation(True, xy < 0, yx < 0)
    logger.warning("%s: asks to be turned by %d degrees, no quarter turn; left as it is", name, -frame.rotation)
    return Orientation()


class RGBConverter:
    """Converts the frames of one video to RGB.

    Args:
        frame: One of them; all share its size and format.
        size: Width and height to shrink to in the same pass; by default those of the frame.
    """

    def __init__(self, frame: av.VideoFrame, *, size: tuple[int, int] | None = None) -> None:
        width, height = size or (frame.width, frame.height)
        self._graph = av.filter.Graph()
        self._graph.threads = 1  # loaders run one reader a process already
        source = self._graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
        )
        scale = self._graph.add("scale", f"w={width}:h={height}:flags=bicubic")
        rgb = self._graph.add("format", "pix_fmts=rgb24")
        self._graph.link_nodes(source, scale, rgb, self._graph.add("buffersink")).configure()

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """uint8 (height, width, 3), not turned yet, which may share memory with FFmpeg's frame."""
        self._graph.push(frame)
        return self._graph.pull().to_ndarray()
