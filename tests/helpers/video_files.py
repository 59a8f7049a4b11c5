"""Kinds of videos that people have, and a plain decoding of them to compare with."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

CLIPS = sorted((Path(__file__).parents[2].parent / "shared/data/clips").glob("*.*"))
needs_clips = pytest.mark.skipif(not CLIPS, reason="no ../shared/data/clips")

KINDS = {
    "gop.mp4": {"g": "12", "bf": "2"},
    "gop.mkv": {"g": "12", "bf": "2"},
    "one_key.mp4": {"bf": "3"},
    "open_gop.mp4": {"x264-params": "open-gop=1:keyint=12:bframes=3"},
    "intra_refresh.mp4": {"x264-params": "intra-refresh=1:keyint=12"},
    "fragments.mp4": {"g": "12", "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "flash.flv": {"g": "12", "bf": "2"},
    "reordered.avi": {"g": "12", "bf": "2"},
    "transport.ts": {"g": "12", "bf": "2"},
    "bare.h264": {"g": "12", "bf": "2"},
    "hevc.mp4": dict(codec="libx265", g="12", **{"x265-params": "log-level=none:open-gop=1:bframes=3"}),
    "vp8.webm": {"codec": "libvpx", "g": "20"},
    "vp9.webm": dict(codec="libvpx-vp9", g="20", deadline="realtime", **{"cpu-used": "8"}),
    "odd.webm": dict(codec="libvpx-vp9", size=(65, 49), deadline="realtime", **{"cpu-used": "8"}),
    "xvid.avi": {"codec": "mpeg4", "g": "12"},
    "xvid_b.avi": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "xvid_b.mp4": {"codec": "mpeg4", "g": "12", "bf": "2"},
    "programme.mpg": {"codec": "mpeg2video", "g": "12", "bf": "2"},
    "motion_jpeg.avi": {"codec": "mjpeg", "size": (65, 49), "pix_fmt": "yuvj420p"},
    "one_frame.mp4": {"num_frames": 1},
    "two_frames.avi": {"codec": "mpeg4", "num_frames": 2},
}


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame that no other number gives: a drifting gradient and the number in eight black or white bars."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 3 + number * 5) % 256, (y * 4 + number) % 256, (x + y) * 2 % 256], axis=-1)
    for bit in range(8):
        image[: height // 3, bit * width // 8 : (bit + 1) * width // 8] = 255 * (number >> bit & 1)
    return image.astype(np.uint8)


def encode_pictures(
    path: Path,
    codec: str = "libx264",
    *,
    num_frames: int = 60,
    size: tuple[int, int] = (64, 48),
    times: Sequence[int] | None = None,
    rate: int | Fraction = 30,
    pix_fmt: str = "yuv420p",
    metadata: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encodes `picture(0)`, `picture(1)`, ... into a file, at ticks of 1 / rate or at given ones."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.thread_count = 1
        stream.codec_context.time_base = Fraction(1, rate)
        for number in range(num_frames):
            frame = av.VideoFrame.from_ndarray(picture(number, *size), "rgb24").reformat(format=pix_fmt)
            frame.pts = times[number] if times else number
            frame.time_base = Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def plain_decode(source: str | Path) -> list[tuple[int | None, np.ndarray]]:
    """Timestamps and RGB frames from start to end, with nothing but PyAV, stored orientation."""
    with av.open(str(source)) as container:
        frames = [(frame.pts, frame) for frame in container.decode(video=0)]
        return [(pts, frame.reformat(format="rgb24", interpolation="BICUBIC").to_ndarray()) for pts, frame in frames]


def turned(path: Path, matrix: tuple[int, int, int, int], out: Path) -> Path:
    """Writes (a, b, c, d) of x' = ax + cy, y' = bx + dy into the track header of an MP4."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    out.write_bytes(data)
    return out


TURNS = {  # what the matrix asks for, and how far it is clockwise
    (1, 0, 0, 1): (lambda image: image, 0),
    (0, 1, -1, 0): (lambda image: np.rot90(image, -1), 90),
    (-1, 0, 0, -1): (lambda image: np.rot90(image, 2), 180),
    (0, -1, 1, 0): (np.rot90, 270),
    (-1, 0, 0, 1): (np.fliplr, 0),
    (1, 0, 0, -1): (np.flipud, 180),
    (0, 1, 1, 0): (lambda image: image.transpose(1, 0, 2), 270),
    (0, -1, -1, 0): (lambda image: np.rot90(image, 2).transpose(1, 0, 2), 90),
}
