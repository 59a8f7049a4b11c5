"""The reader over torchcodec, for those who ask for it: the FFmpeg of the system instead of PyAV's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lsn.errors import ConfigError, VideoError
from lsn.video.decoding.container import Source
from lsn.video.decoding.pyav_reader import PyAVReader
from lsn.video.decoding.reader import VideoReader

# Frames a call: torchcodec is fast on many at once, and a long video must not fill the memory.
_CHUNK = 16


class TorchcodecReader(VideoReader):
    """Decodes with torchcodec, which must agree with PyAV on which frames there are.

    PyAV finds the frames, so that both readers share one notion of them; torchcodec decodes.
    The pixels are those of `PyAVReader` for codecs that define them to the bit (H.264, HEVC, VP8, VP9, AV1).
    MPEG-4 Part 2, as in most AVI files, does not: two versions of FFmpeg may differ by 2 of 255.

    Args:
        source: A video file, or its bytes, that `check_source` has passed.
        num_threads: Threads that decode.

    Raises:
        ConfigError: torchcodec cannot be imported.
        VideoError: it cannot decode this file, or sees other frames in it.
    """

    def __init__(self, source: Source, *, num_threads: int = 1) -> None:
        decoder_class = _decoder_class()
        with PyAVReader(source) as reference:
            self.info = reference.info
            self.pts_seconds = reference.pts_seconds
            is_mirrored = reference.orientation.has_mirror
        if is_mirrored:
            raise self._cannot("it does not apply the mirroring that the file asks for")
        try:
            self._decoder: Any = decoder_class(
                source if isinstance(source, bytes) else str(source),
                dimension_order="NHWC",
                num_ffmpeg_threads=num_threads,
                seek_mode="exact",
            )
            num_frames = len(self._decoder)
        except (RuntimeError, ValueError) as error:
            raise self._cannot(_first_line(error)) from None
        if num_frames != self.num_frames:
            raise self._cannot(f"it counts {num_frames} frames where {self.num_frames} are shown")

    def close(self) -> None:  # noqa: D102 - as in the base class
        self._decoder = None

    def _frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        for start in range(0, len(indices), _CHUNK):
            chunk = list(indices[start : start + _CHUNK])
            try:
                batch = self._decoder.get_frames_at(chunk)
            except (RuntimeError, IndexError) as error:
                raise self._cannot(_first_line(error)) from None
            if not np.array_equal(batch.pts_seconds.numpy(), self.pts_seconds[chunk]):
                raise self._cannot("it gives other frames than those that were asked for")
            if batch.data.shape[1:] != (self.info.height, self.info.width, 3):
                raise self._cannot("the frames change their size; re-encode it to one size")
            yield from batch.data.numpy()

    def _cannot(self, reason: str) -> VideoError:
        return VideoError(f"{self.info.name}: torchcodec cannot read it: {reason}; use the reader 'pyav'")


def _decoder_class() -> type:
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"the reader 'torchcodec' does not load ({_first_line(error)}); install it with "
            "pip install 'lsn-video[fast]' and the FFmpeg libraries of your system, or use the reader 'pyav'"
        ) from None
    return VideoDecoder


def _first_line(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^.*\.cpp:\d+, ", "", line).strip(" .:")
