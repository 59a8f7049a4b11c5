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

from lsn.errors import VideoError
from lsn.video.decoding.container import reason_of
from lsn.video.decoding.limits import check_pixels

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
    """Converts the frames of one video to upright RGB, whatever their size and format; both may change on the way.

    Args:
        name: What messages call the video.
        short_side: Shrinks larger frames to this short side in the same pass.
        remedy: Ends the message about a format that does not convert.
    """

    def __init__(self, name: str, *, short_side: int | None = None, remedy: str = "convert it to H.264") -> None:
        self.orientation = Orientation()
        """How stored frames are turned."""
        self.size = (0, 0)
        """Width and height of what comes out."""
        self._name = name
        self._short_side = short_side
        self._remedy = remedy
        self._look: tuple[object, ...] | None = None  # what the graph was made for
        self._graph: Any = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """A new uint8 array HWC.

        Raises:
            VideoError: FFmpeg does not convert the format to RGB.
        """
        self.prepare(frame)
        try:
            self._graph.push(frame)
            image_HWC = self._graph.pull().to_ndarray()
        except av.FFmpegError as error:
            raise self._cannot(frame, error) from None
        return self.orientation.apply(image_HWC).copy()

    def prepare(self, frame: av.VideoFrame) -> None:
        """Sets `size` and `orientation` to those of a frame.

        Raises:
            VideoError: FFmpeg does not convert the format to RGB, or the frame has more pixels than is allowed.
        """
        look = (frame.width, frame.height, frame.format.name, frame.color_range, frame.colorspace)
        if look == self._look:
            return
        check_pixels(frame.width, frame.height, self._name)
        size = _shrunk((frame.width, frame.height), self._short_side)
        try:
            self._graph = _graph_for(frame, size)
        except av.FFmpegError as error:
            raise self._cannot(frame, error) from None
        self._look, self.orientation = look, orientation_of(frame, self._name)
        self.size = size[::-1] if self.orientation.transposed else size

    def _cannot(self, frame: av.VideoFrame, error: av.FFmpegError) -> VideoError:
        return VideoError(
            f"{self._name}: frames of the format {frame.format.name} do not convert to RGB: "
            f"{reason_of(error)}; {self._remedy}"
        )


def _graph_for(frame: av.VideoFrame, size: tuple[int, int]) -> av.filter.Graph:
    width, height = size
    graph = av.filter.Graph()
    graph.threads = 1  # loaders run one reader a process already
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)
    scale = graph.add("scale", f"w={width}:h={height}:flags=bicubic")
    rgb = graph.add("format", "pix_fmts=rgb24")
    graph.link_nodes(source, scale, rgb, graph.add("buffersink")).configure()
    return graph


def _shrunk(size: tuple[int, int], short_side: int | None) -> tuple[int, int]:
    """The size with that short side and the same shape; the size itself if it is smaller already."""
    short = min(size)
    if short_side is None or short <= short_side:
        return size
    width, height = (round(side * short_side / short) for side in size)
    return width, height
