"""The default reader: PyAV, which brings its own FFmpeg."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence

import av
import numpy as np

from lsn.errors import VideoError
from lsn.video.decoding.container import Source, reason_of
from lsn.video.decoding.decoder import Decoder
from lsn.video.decoding.reader import VideoInfo, VideoReader
from lsn.video.decoding.rgb import RGBConverter

logger = logging.getLogger(__name__)

# Frames that are rather decoded than sought past: a seek empties the decoder, which then has to fill again.
_FRAMES_WORTH_A_SEEK = 8


class _AstrayError(Exception):
    """Decoding after a seek did not give the frames that the index promises."""


class PyAVReader(VideoReader):
    """Decodes with PyAV, seeking to the last keyframe before each frame.

    Frames are recognised by their timestamps. Where a seek turns out to lead astray, the file is decoded
    from its start from then on, so that the frames are right in any case.

    Args:
        source: A video file, or its bytes, that `check_source` has passed.
        num_threads: Threads that decode.
        short_side: Shrinks larger frames to this short side, in the pass that converts them to RGB.

    Raises:
        VideoError: the file is no video, is truncated, or its first frame cannot be decoded.
    """

    def __init__(self, source: Source, *, num_threads: int = 1, short_side: int | None = None) -> None:
        self._decoder = Decoder(source, num_threads=num_threads)
        self._frame: av.VideoFrame | None = None  # the one that came last; None after a seek
        self._position = -1  # its number; after a seek, one before the first to come
        self._has_warned = False
        self._skipped: set[int] = set()  # frames that were left out since the last seek
        self._wanted: Collection[int] = ()  # frames of the request under way: others may be left out, ...
        self._last_wanted = -1  # ... up to the last of them
        try:
            self._index = self._decoder.build_index()
            self._can_seek = self._index.can_seek and self._decoder.seek(self._index.key_before(0), self._index)
            if not self._can_seek:
                self._rewind()
            # Only H.264 marks frames that no other frame needs so that they are known for certain.
            self._can_skip = self._decoder.stream.codec_context.name == "h264"
            self._to_rgb = RGBConverter(self._decoder.name, short_side=short_side)
            self._to_rgb.prepare(self._decode(0))
        except VideoError:
            self.close()
            raise
        self.orientation = self._to_rgb.orientation
        """How stored frames are turned to be upright."""
        time_base = self._index.time_base
        ticks = np.array(self._index.pts, dtype=np.float64)
        self.pts_seconds = ticks * time_base.numerator / time_base.denominator
        self.info = self._make_info()

    def close(self) -> None:  # noqa: D102 - as in the base class
        self._frame = None
        self._decoder.close()

    def _make_info(self) -> VideoInfo:
        index = self._index
        width, height = self._to_rgb.size
        duration = (index.pts[-1] + index.last_duration - index.pts[0]) * index.time_base
        return VideoInfo(
            name=self._decoder.name,
            num_frames=index.num_frames,
            width=width,
            height=height,
            duration_seconds=float(duration),
            average_fps=float(index.num_frames / duration),
            codec=self._decoder.stream.codec.canonical_name,
            rotation_degrees=self.orientation.rotation_degrees,
        )

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        wanted = indices if isinstance(indices, range) else frozenset(indices)
        for index in indices:
            # Said again each time, since another request may have come between.
            self._wanted, self._last_wanted = wanted, indices[-1]
            yield self._to_rgb(self._decode(index))

    def _decode(self, index: int) -> av.VideoFrame:
        """Decodes on to a frame, from the current one or from a keyframe."""
        if self._frame is not None and self._position == index:
            return self._frame
        if self._can_seek:
            try:
                return self._decode_by_time(index)
            except (_AstrayError, av.FFmpegError) as error:
                logger.debug("%s: decoding from the start from now on: %s", self._decoder.name, error)
                self._can_seek = False
                self._rewind()
        return self._decode_by_count(index)

    def _decode_by_time(self, index: int) -> av.VideoFrame:
        key = self._index.key_before(index)
        is_behind = index <= self._position or index in self._skipped
        if is_behind or key.first_frame > self._position + _FRAMES_WORTH_A_SEEK:
            self._skipped.clear()
            self._frame, self._position = None, key.first_frame - 1
            if not self._decoder.seek(key, self._index):
                raise _AstrayError("the keyframe was not found")
        while (frame := self._decoder.next_frame(self._may_skip if self._can_skip else None)) is not None:
            number = self._index.frame_by_pts.get(frame.pts)
            if self._frame is None and number is not None and number <= self._position:
                continue  # shown before the keyframe but stored behind it: it refers to what lies before
            if number is None or frame.is_corrupt or not self._follows(number, frame):
                raise _AstrayError(f"frame {self._position + 1} did not come out right")
            self._frame, self._position = frame, number
            if number == index:
                return frame
        raise _AstrayError("the stream ended early")

    def _follows(self, number: int, frame: av.VideoFrame) -> bool:
        """Whether a frame is the next one but for those left out, and a keyframe where one was sought."""
        if self._frame is None:
            key = self._index.key_before(number)
            if frame.pts == key.targets[0] and not frame.key_frame:
                return False
        missing = range(self._position + 1, number)
        return number > self._position and self._skipped.issuperset(missing)

    def _may_skip(self, pts: int | None) -> bool:
        """Whether the frame of a packet is neither wanted nor needed to go on from the last one wanted."""
        number = self._index.frame_by_pts.get(pts)
        if number is None or number in self._wanted or number > self._last_wanted:
            return False
        self._skipped.add(number)
        return True

    def _decode_by_count(self, index: int) -> av.VideoFrame:
        if index <= self._position:
            self._rewind()
        reason = "the stream ends"
        try:
            while (frame := self._decoder.next_frame()) is not None:
                number = self._position + 1
                if self._index.can_seek and frame.pts != self._index.pts[number]:
                    reason = "the next one is left out"
                    break
                if frame.is_corrupt and not self._has_warned:
                    logger.warning("%s: frame %d is damaged and was patched by the decoder", self._decoder.name, number)
                    self._has_warned = True
                self._frame, self._position = frame, number
                if number == index:
                    return frame
        except av.FFmpegError as error:
            reason = reason_of(error)
        raise VideoError(
            f"{self._decoder.name}: damaged: {self._position + 1} of {self._index.num_frames} frames can be "
            f"decoded, then {reason}; fetch or write it again, or leave it out of the list"
        )

    def _rewind(self) -> None:
        self._skipped.clear()
        self._frame, self._position = None, -1
        self._decoder.rewind(self._index.first_key)
