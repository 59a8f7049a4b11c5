"""Writing frames as H.264."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lsn.errors import VideoError
from lsn.files import atomic_path
from lsn.video.decoding.reader import check_fps

# Keeps the versions of libraries and the time of day out of the file; the index goes to its front.
_CONTAINER_OPTIONS = {"fflags": "+bitexact", "movflags": "+faststart"}
# 30000/1001 is the largest denominator in use.
_LARGEST_DENOMINATOR = 1001


class VideoWriter:
    """Writes an .mp4 file (H.264, yuv420p), frame by frame. Use it as a context manager.

    The file appears under its name when the block ends without an error, and not before. The same frames
    give the same bytes, for one version of the encoder. H.264 in yuv420p has even sizes: an odd width or
    height is brought to the next even one by repeating the last column or row.

    Args:
        path: Ends in .mp4. Its folder is made.
        fps: Frames per second.
        width: Of the frames to come, in pixels.
        height: Of the frames to come, in pixels.
        crf: Quality of x264, from 0 (lossless) to 51 (worst); 18 looks like the original.

    Raises:
        VideoError: a wrong name, rate, size or quality, or a block that wrote no frames.
    """

    def __init__(self, path: str | Path, *, fps: float | Fraction, width: int, height: int, crf: int = 18) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() != ".mp4":
            raise VideoError(f"{path}: videos are written as MP4; end the name in .mp4")
        if width < 1 or height < 1:
            raise VideoError(f"{path}: frames of {width}x{height} pixels; both sides must be at least 1")
        if not 0 <= crf <= 51:
            raise VideoError(f"{path}: a quality (crf) of {crf}; it must be between 0 (lossless) and 51 (worst)")
        check_fps(float(fps), str(path))
        self._rate = Fraction(fps).limit_denominator(_LARGEST_DENOMINATOR)
        check_fps(float(self._rate), str(path))  # below 1/2002 it has become 0
        self._shape = (height, width, 3)
        self._padding = ((0, height % 2), (0, width % 2), (0, 0))
        self._crf = crf
        self._num_frames = 0
        self._reformatter = VideoReformatter()
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            partial = self._cleanup.enter_context(atomic_path(self._path))
            self._container = self._cleanup.enter_context(av.open(str(partial), "w", options=_CONTAINER_OPTIONS))
            self._stream = self._add_stream()
        except (av.FFmpegError, OSError) as error:
            self._cleanup.__exit__(type(error), error, error.__traceback__)
            raise VideoError(f"{self._path}: cannot be written: {error.strerror}") from None
        return self

    def write(self, frame_HWC: np.ndarray) -> None:
        """Adds a frame.

        Args:
            frame_HWC: uint8 RGB of the size that the writer was made for; a tensor of PyTorch will do.

        Raises:
            VideoError: another size or type, or a full disk.
        """
        frame = np.asarray(frame_HWC)
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise VideoError(
                f"{self._path}: frame {self._num_frames} is {frame.dtype} of shape {frame.shape}; "
                f"expected uint8 of shape {self._shape}"
            )
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.pad(frame, self._padding, "edge")), "rgb24")
        picture = self._reformatter.reformat(
            picture,
            format="yuv420p",
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        picture.pts, picture.time_base = self._num_frames, 1 / self._rate
        self._encode(picture)
        self._num_frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as failure:
            self._cleanup.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._cleanup.__exit__(kind, error, traceback)

    def _finish(self) -> None:
        if self._num_frames == 0:
            raise VideoError(f"{self._path}: no frames were written; a video needs at least one")
        self._encode(None)
        self._container.close()

    def _encode(self, picture: av.VideoFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(picture))
        except (av.FFmpegError, OSError) as error:
            raise VideoError(
                f"{self._path}: cannot be written after {self._num_frames} frames: {error.strerror}"
            ) from None

    def _add_stream(self) -> av.VideoStream:
        # One thread, since the choices of x264 depend on how many there are.
        # Macroblock-tree rate control with B-frames does not repeat itself bit for bit.
        options = {"crf": str(self._crf), "preset": "veryfast", "x264-params": "mbtree=0"}
        stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.thread_count = 1
        height, width, _ = self._shape
        stream.height, stream.width = height + height % 2, width + width % 2
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = Colorspace.ITU601
        stream.codec_context.color_range = ColorRange.MPEG
        return stream


def write_video(path: str | Path, frames_THWC: np.ndarray, *, fps: float | Fraction, crf: int = 18) -> None:
    """Writes uint8 RGB frames as an .mp4 file; see `VideoWriter`.

    Raises:
        VideoError: the frames are not uint8 of shape (frames, height, width, 3), or cannot be written.
    """
    if frames_THWC.ndim != 4:
        raise VideoError(f"{path}: expected frames of shape (frames, height, width, 3), got {tuple(frames_THWC.shape)}")
    _, height, width, _ = frames_THWC.shape
    with VideoWriter(path, fps=fps, width=width, height=height, crf=crf) as writer:
        for frame_HWC in frames_THWC:
            writer.write(frame_HWC)
