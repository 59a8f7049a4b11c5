"""The coded frames of a file, read without decoding them, and whether all that were promised are there."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from lsn.errors import VideoError
from lsn.video.container import Source, first_bytes, reason_of, source_name

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"
AVI = "avi"
FLV = "flv"


@dataclass(frozen=True, slots=True)
class Packet:
    """What the container says of one coded frame."""

    pts: int | None
    dts: int | None
    duration: int
    size: int
    is_keyframe: bool
    is_shown: bool
    """False if an edit list leaves the frame out; it may still be needed to decode others."""
    is_cut: bool
    """The file ends inside it, or its bytes are known to be damaged."""


def demux(container: InputContainer, stream: VideoStream) -> Iterator[av.Packet]:
    """Yields the stream's packets, then the empty one that flushes the decoder."""
    for packet in container.demux(stream):
        # An empty packet inside the file repeats a frame; to the decoder it would mean the end.
        if packet.size or packet.dts is None:
            yield packet


def read_packets(source: Source, container: InputContainer, stream: VideoStream) -> list[Packet]:
    """Reads a freshly opened container to its end.

    Raises:
        VideoError: the file is truncated (says how many frames of how many are there), or has none.
    """
    name = source_name(source)
    packets = []
    try:
        for packet in demux(container, stream):
            if packet.size:
                packets.append(_packet(packet))
    except av.FFmpegError as error:
        raise VideoError(f"{name}: cannot be read after {len(packets)} frames: {reason_of(error)}") from None
    if not packets:
        raise VideoError(f"{name}: holds no frames; it is empty or truncated")
    present = len(packets) - packets[-1].is_cut
    promised = _promised_frames(source, container, stream, packets)
    if present < promised:
        about = "about " if container.format.name in (MATROSKA, FLV) else ""
        raise VideoError(
            f"{name}: truncated: {present} of {about}{promised} frames are there; "
            "fetch or write it again, or leave it out of the list"
        )
    return packets


def _packet(packet: av.Packet) -> Packet:
    return Packet(
        pts=packet.pts,
        dts=packet.dts,
        duration=packet.duration or 0,
        size=packet.size,
        is_keyframe=packet.is_keyframe,
        is_shown=not packet.is_discard,
        is_cut=packet.is_corrupt,
    )


def _promised_frames(source: Source, container: InputContainer, stream: VideoStream, packets: list[Packet]) -> int:
    """Frames that the header stands for; the number of packets where it promises nothing."""
    kind = container.format.name
    if kind == MP4:  # the table of samples, with edit lists applied
        return max(len(packets), sum(entry.size > 0 for entry in stream.index_entries))
    if kind == AVI and _is_cut_riff(source, container.size):  # in AVI decoding times count frames
        missing = stream.frames - 1 - max(packet.dts or 0 for packet in packets)
        return len(packets) + max(0, missing)
    if kind in (MATROSKA, FLV):
        return _frames_by_duration(container, stream, packets)
    return len(packets)


def _is_cut_riff(source: Source, size: int) -> bool:
    (riff_size,) = struct.unpack("<4xI", first_bytes(source, 8))
    return 8 + riff_size > size


def _frames_by_duration(container: InputContainer, stream: VideoStream, packets: list[Packet]) -> int:
    """About how many frames the written duration stands for, if it reaches well past the last one.

    Less than two of the longest gaps between frames is no reason to miss any: writers round.
    """
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    promised_seconds = _written_duration_seconds(container, stream)
    if promised_seconds is None or len(times) < 2 or stream.time_base is None:
        return len(packets)
    longest_gap = max(later - earlier for earlier, later in pairwise(times))
    missing_ticks = promised_seconds / float(stream.time_base) - (times[-1] + packets[-1].duration)
    if missing_ticks <= 2 * longest_gap:
        return len(packets)
    rate = stream.average_rate or (len(times) - 1) / ((times[-1] - times[0]) * stream.time_base)
    return max(len(packets) + 1, round(promised_seconds * float(rate)))


def _written_duration_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """The duration of the video alone; that of the file if it holds nothing else."""
    tag = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        pass
    if len(container.streams) > 1 or container.duration is None:
        return None
    return container.duration / av.time_base
