"""Frames of cameras and network streams, as they come."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import partial

import av

from lsn.errors import VideoError
from lsn.video.decoding.container import reason_of, video_stream
from lsn.video.decoding.packets import demux
from lsn.video.decoding.rgb import RGBConverter
from lsn.video.live.ffmpeg_input import Address, open_address, why
from lsn.video.live.source import LiveFrame, LiveSource

logger = logging.getLogger(__name__)

# AVFMT_NOTIMESTAMPS of libavformat: FFmpeg then counts frames at a rate that it makes up.
_NO_TIMESTAMPS = 0x80


class CaptureSource(LiveSource):
    """A camera or a network stream, decoded with FFmpeg.

    Times are those of the stream. Where it has none (motion JPEG over HTTP, a frame without a timestamp), the time
    at which a frame arrives stands in, from a monotonic clock. Frames may change their size on the way. Packets that
    cannot be decoded are left out, since a stream goes on after a loss; the first one is reported.

    A URL that states its duration is a recording: it waits for its frames to be taken, as a file does.

    Args:
        address: What to open.
        timeout_seconds: Longest silence, when opening and later. `close` from another thread ends a read that waits
            no sooner than that.
        num_threads: Threads that decode each frame.

    Raises:
        VideoError: it cannot be opened, or what comes is no video. When iterated: it falls silent, the connection
            breaks, or nothing can be decoded any more.
    """

    def __init__(self, address: Address, *, timeout_seconds: float, num_threads: int = 1) -> None:
        self.name = address.name
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._container = open_address(address, timeout_seconds=timeout_seconds)
        try:
            self._stream = video_stream(self._container, self.name)
        except VideoError:
            self._container.close()
            raise
        self._stream.thread_count = num_threads
        self._stream.thread_type = "SLICE"  # threads by frame would hold frames back
        self.is_live = not (self._container.duration or 0) > 0
        self._times = _Times(is_timed=not self._container.format.flags & _NO_TIMESTAMPS)
        self._lock = threading.Lock()  # held while FFmpeg reads and decodes: nothing may be closed under it
        self._is_closed = False
        self._num_frames = 0
        self._decoded_at = time.monotonic()
        self._has_warned = False
        self._to_rgb = RGBConverter(self.name, remedy="send H.264")

    def __iter__(self) -> Iterator[LiveFrame]:
        packets = demux(self._container, self._stream)
        while (frames := self._next(packets)) is not None:
            for frame in frames:
                if self._is_closed:
                    return
                self._num_frames += 1
                yield LiveFrame(self._times.of(frame), partial(self._to_rgb, frame))

    @property
    def end_seconds(self) -> float:  # noqa: D102 - as in the base class
        return self._times.end_seconds

    def close(self) -> None:  # noqa: D102 - as in the base class
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._container.close()
            finally:
                self._lock.release()

    def _next(self, packets: Iterator[av.Packet]) -> list[av.VideoFrame] | None:
        """The frames of the next packet; None at the end, or when the source was closed meanwhile."""
        with self._lock:
            try:
                packet = None if self._is_closed else next(packets, None)
                return None if packet is None or self._is_closed else self._decode(packet)
            except av.FFmpegError as error:
                reason = why(self._address, error, self._timeout_seconds)
                raise VideoError(f"{self.name}: lost after {self._num_frames} frames: {reason}") from None
            finally:
                if self._is_closed:
                    self._container.close()

    def _decode(self, packet: av.Packet) -> list[av.VideoFrame]:
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if time.monotonic() - self._decoded_at > self._timeout_seconds:
                raise VideoError(
                    f"{self.name}: after {self._num_frames} frames nothing could be decoded for "
                    f"{self._timeout_seconds:g} s: {reason_of(error)}; check the network, or send H.264"
                ) from None
            if not self._has_warned:
                logger.warning("%s: a packet cannot be decoded (%s) and is left out", self.name, reason_of(error))
                self._has_warned = True
            return []
        if frames:
            self._decoded_at = time.monotonic()
        return frames


class _Times:
    """When each frame comes on screen: by its timestamp, else by when it arrives, on the same clock.

    Args:
        is_timed: Whether the stream has timestamps; what FFmpeg makes up for others is not believed.
    """

    def __init__(self, *, is_timed: bool) -> None:
        self._is_timed = is_timed
        self._offset_seconds: float | None = None  # of the stream's clock from the monotonic one
        self._last_seconds = 0.0
        self._shown_seconds = 0.0  # how long the last frame is shown, as far as is known

    @property
    def end_seconds(self) -> float:
        """When the last frame goes off screen: after its own duration, or that of the one before."""
        return self._last_seconds + self._shown_seconds

    def of(self, frame: av.VideoFrame) -> float:
        """Seconds on the clock of the stream; without any timestamp so far, since the first frame."""
        now = time.monotonic()
        duration_seconds = 0.0
        if self._is_timed and frame.pts is not None and frame.time_base is not None:
            seconds = float(frame.pts * frame.time_base)
            duration_seconds = float(frame.duration * frame.time_base)
            self._offset_seconds = seconds - now
        else:
            is_first = self._offset_seconds is None
            self._offset_seconds = -now if self._offset_seconds is None else self._offset_seconds
            seconds = now + self._offset_seconds
            if is_first:
                self._last_seconds = seconds
        self._shown_seconds = duration_seconds or max(0.0, seconds - self._last_seconds)
        self._last_seconds = seconds
        return seconds
