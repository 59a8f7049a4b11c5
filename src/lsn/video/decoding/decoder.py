"""Decoding one stream forward from its start or from a key point."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator

import av

from lsn.errors import VideoError
from lsn.video.decoding.container import Source, open_container, reason_of, source_name, video_stream
from lsn.video.decoding.index import FrameIndex, KeyPoint, first_key, index_of_frames, index_of_packets
from lsn.video.decoding.packets import demux, read_packets


class Decoder:
    """Frames of a file as FFmpeg's decoder shows them, from a chosen place on.

    Args:
        source: A file that `check_source` has passed.
        num_threads: Threads that decode.

    Raises:
        VideoError: the file is no video.
    """

    def __init__(self, source: Source, *, num_threads: int) -> None:
        self.name = source_name(source)
        self._source = source
        self._num_threads = num_threads
        self._packets: Iterator[av.Packet] = iter(())
        self._frames: deque[av.VideoFrame] = deque()
        self._open()

    def build_index(self) -> FrameIndex:
        """Finds the frames of the file; `rewind` or `seek` before decoding.

        Raises:
            VideoError: the file is truncated or damaged (says how many frames of how many are there).
        """
        packets = read_packets(self._source, self.container, self.stream)
        index = index_of_packets(packets, self.stream)
        if index:
            return index
        self.rewind(first_key(packets))
        decoded: list[int | None] = []
        try:
            while frame := self.next_frame():
                decoded.append(frame.pts)
        except av.FFmpegError as error:
            raise VideoError(
                f"{self.name}: damaged: after {len(decoded)} of {len(packets)} frames FFmpeg stops: {reason_of(error)}"
            ) from None
        if not decoded:
            raise VideoError(f"{self.name}: none of its {len(packets)} frames can be decoded; convert it to H.264")
        return index_of_frames(decoded, packets, self.stream)

    def rewind(self, first_packet: int) -> None:
        """Opens the file again and goes to the given packet, counted in the order of the file."""
        self.close()
        self._open()
        self._packets = itertools.islice(self._packets, first_packet, None)

    def seek(self, key: KeyPoint, index: FrameIndex) -> bool:
        """Makes the key point's packet the next one to be decoded; False if the file cannot be sought there."""
        self._frames.clear()
        for target in key.targets:
            try:
                self.container.seek(target, stream=self.stream, backward=True)
                packets = demux(self.container, self.stream)
                for packet in packets:
                    place = index.packet_by_pts.get(packet.pts)
                    if place == key.packet:
                        self._packets = itertools.chain([packet], packets)
                        return True
                    if place is None or place > key.packet:
                        break
            except av.FFmpegError:
                continue
        return False

    def next_frame(self, may_skip: Callable[[int | None], bool] | None = None) -> av.VideoFrame | None:
        """Decodes until a frame is shown; None at the end of the stream.

        Args:
            may_skip: Given the timestamp of a packet, says whether its frame is of no use itself. If no other
                frame needs it either, it is not decoded.
        """
        while not self._frames:
            packet = next(self._packets, None)
            if packet is None:
                return None
            if may_skip:
                self.stream.codec_context.skip_frame = "NONREF" if may_skip(packet.pts) else "DEFAULT"
            self._frames.extend(packet.decode())
        return self._frames.popleft()

    def close(self) -> None:
        """Releases the file."""
        self._frames.clear()
        self.container.close()

    def _open(self) -> None:
        self.container = open_container(self._source)
        try:
            self.stream = video_stream(self.container, self.name)
        except VideoError:
            self.container.close()
            raise
        self.stream.thread_count = self._num_threads
        self.stream.thread_type = "AUTO" if self._num_threads > 1 else "NONE"
        self._packets = demux(self.container, self.stream)
