"""The coded frames of a file, read without decoding them, and whether all that were promised are there.

When a file that is shorter than promised counts as truncated: see `lsn.video.decoding.ending`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from lsn.errors import VideoError
from lsn.video.decoding.container import Source, reason_of, source_name
from lsn.video.decoding.ending import is_cut_avi, is_cut_flv, is_cut_matroska

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
MATROSKA = "matroska,webm"
AVI = "avi"
FLV = "flv"

# Headers of streamed AVI files have counts from 0x3FFFFFFF on instead of the true one; so many frames last a year.
_MOST_AVI_FRAMES = 0x3FFFFFFF


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
    promised = max(len(packets), _promised_frames(source, container, stream, packets))
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
    """Frames that the header stands for; 0 where it promises nothing."""
    kind = container.format.name
    if kind == MP4:  # the table of samples, with edit lists applied
        return sum(entry.size > 0 for entry in stream.index_entries)
    if kind == AVI and stream.frames < _MOST_AVI_FRAMES and is_cut_avi(source):  # decoding times count frames in AVI
        return len(packets) + stream.frames - 1 - max(packet.dts or 0 for packet in packets)
    if (kind == MATROSKA and is_cut_matroska(source)) or (kind == FLV and is_cut_flv(source)):
        return _frames_by_duration(container, stream, len(packets) - packets[-1].is_cut)
    return 0


def _frames_by_duration(container: InputContainer, stream: VideoStream, present: int) -> int:
    """About how many frames the written duration of a cut file stands for, at least one more than are there."""
    seconds, rate = _written_duration_seconds(container, stream), stream.average_rate
    return max(present + 1, round(seconds * float(rate)) if seconds and rate else 0)


def _written_duration_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """The duration of the video alone if it is written, else that of the file."""
    tag = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = tag.split(":")
        tagged_seconds = float(hours) * 3600 + float(minutes) * 60 + float(seconds)
        if math.isfinite(tagged_seconds):
            return tagged_seconds
    except ValueError:
        pass
    return None if container.duration is None else container.duration / av.time_base
