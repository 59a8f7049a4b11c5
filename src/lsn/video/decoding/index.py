"""Where the frames of a file are: known from its packets, or found by decoding where they prove nothing.

Frame i is the i-th frame that the decoder shows. In containers with true presentation timestamps that is
the i-th smallest timestamp; elsewhere (AVI with B-frames, bare streams, transport streams) the frames
are counted by decoding once.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import av
from av.video.stream import VideoStream

from lsn.video.decoding.packets import AVI, FLV, MATROSKA, MP4, Packet

# MPEG-4 Part 2 has packets of a few bytes that repeat a frame; decoders put nothing out for them.
_SMALLEST_MPEG4_PACKET = 16
# What FFmpeg assumes of streams that state no rate.
_DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True)
class KeyPoint:
    """A packet that decoding can start from."""

    first_frame: int
    """The first frame that comes out right."""
    packet: int
    """Its place in the file, counted in packets."""
    targets: tuple[int, ...]
    """Times to seek to for it, the better one first: some formats seek by presentation, some by decoding time."""


@dataclass(frozen=True)
class FrameIndex:
    """Timestamps of all frames, and the keyframes where decoding can start."""

    pts: list[int]
    """When each frame is shown, in ticks of `time_base`, in order."""
    time_base: Fraction
    """Seconds a tick."""
    last_duration: int
    """How long the last frame is shown, in ticks: as written, else as long as frames are on average."""
    first_key: int
    """Place of the first packet that can be decoded."""
    keys: list[KeyPoint]
    """Where decoding can start, in order. Empty if timestamps cannot tell the frames apart."""
    frame_by_pts: Mapping[int | None, int]
    """Number of a frame by the timestamp that the decoder gives it; empty together with `keys`."""
    packet_by_pts: Mapping[int | None, int]
    """Place in the file of a packet by its timestamp."""

    @property
    def num_frames(self) -> int:
        """Frames that are shown."""
        return len(self.pts)

    @property
    def can_seek(self) -> bool:
        """Whether a frame can be recognised by its timestamp, wherever decoding started."""
        return bool(self.keys)

    def key_before(self, frame: int) -> KeyPoint:
        """The last place from which the frame can be decoded."""
        return self.keys[bisect_right(self.keys, frame, key=lambda key: key.first_frame) - 1]


def index_of_packets(packets: list[Packet], stream: VideoStream) -> FrameIndex | None:
    """The index that the packets prove; None if only decoding shows what is displayed."""
    times = [packet.pts for packet in packets if packet.pts is not None]
    kind, codec = stream.container.format.name, stream.codec_context.name
    proven = (
        kind in (MP4, MATROSKA, FLV, AVI)
        and codec != "vp8"  # has packets that are never shown
        and packets[0].is_keyframe
        and len(set(times)) == len(packets)
        and all(pts >= times[0] for pts, packet in zip(times, packets, strict=True) if packet.is_shown)
        # AVI stores no presentation times: FFmpeg derives them, and with B-frames gets them wrong.
        and (kind != AVI or all(packet.pts == packet.dts for packet in packets))
        # A codec that reorders frames whose times are in the order of decoding: a remux that lost the true ones.
        and (times != sorted(times) or not stream.codec_context.has_b_frames)
        and (codec != "mpeg4" or all(packet.size >= _SMALLEST_MPEG4_PACKET for packet in packets))
    )
    shown = sorted(pts for pts, packet in zip(times, packets, strict=True) if packet.is_shown) if proven else []
    return _index(shown, packets, stream) if shown else None


def index_of_frames(decoded: list[int | None], packets: list[Packet], stream: VideoStream) -> FrameIndex:
    """The index of frames that were decoded from the start, given their timestamps in the order shown.

    Timestamps out of order are sorted; missing or repeated ones give way to the frame rate.
    """
    known = [pts for pts in decoded if pts is not None]
    if len(set(known)) < len(decoded):
        return _unseekable(list(range(len(decoded))), 1 / _rate(stream), 1, packets)
    if any(later < earlier for earlier, later in pairwise(known)):
        known.sort()
        return _unseekable(known, _time_base(stream), _last_duration(known, packets, stream), packets)
    return _index(known, packets, stream)


def first_key(packets: list[Packet]) -> int:
    """Place of the first packet that decoding can start from; 0 if none is marked."""
    return next((place for place, packet in enumerate(packets) if packet.is_keyframe), 0)


def _index(shown: list[int], packets: list[Packet], stream: VideoStream) -> FrameIndex:
    """An index over timestamps that are unique and in order."""
    keys = []
    for place, packet in enumerate(packets):
        if packet.is_keyframe and packet.pts is not None and packet.pts <= shown[-1]:
            targets = (packet.pts,) if packet.dts is None else (packet.pts, packet.dts)
            keys.append(KeyPoint(bisect_left(shown, packet.pts), place, targets))
    keys.sort(key=lambda key: (key.first_frame, key.packet))
    last_duration = _last_duration(shown, packets, stream)
    if not keys or keys[0].first_frame > 0:
        return _unseekable(shown, _time_base(stream), last_duration, packets)
    return FrameIndex(
        pts=shown,
        time_base=_time_base(stream),
        last_duration=last_duration,
        first_key=first_key(packets),
        keys=keys,
        frame_by_pts={pts: frame for frame, pts in enumerate(shown)},
        packet_by_pts={packet.pts: place for place, packet in enumerate(packets) if packet.pts is not None},
    )


def _unseekable(pts: list[int], time_base: Fraction, last_duration: int, packets: list[Packet]) -> FrameIndex:
    return FrameIndex(
        pts=pts,
        time_base=time_base,
        last_duration=last_duration,
        first_key=first_key(packets),
        keys=[],
        frame_by_pts={},
        packet_by_pts={},
    )


def _last_duration(pts: list[int], packets: list[Packet], stream: VideoStream) -> int:
    written = next((packet.duration for packet in reversed(packets) if packet.pts == pts[-1]), 0)
    if written:
        return written
    if len(pts) > 1:
        return round((pts[-1] - pts[0]) / (len(pts) - 1))
    return max(1, round(1 / (_rate(stream) * _time_base(stream))))


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, av.time_base)


def _rate(stream: VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or _DEFAULT_RATE
