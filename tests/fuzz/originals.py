"""Small sound files of many kinds, to be damaged: the same bytes on every run."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, NUM_FRAMES = 64, 64, 16  # some versions of x265 crash on smaller pictures

_H264 = "-c:v libx264 -preset veryfast -bf 2 -g 8 -pix_fmt yuv420p"
_VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 8"

CONTAINERS = {
    "h264.mp4": _H264,
    "mpeg4.mp4": "-c:v mpeg4 -bf 2 -g 8",
    "fragments.mp4": f"{_H264} -movflags frag_keyframe+empty_moov",
    "h264.mkv": _H264,
    "vp8.webm": "-c:v libvpx -deadline realtime -cpu-used 8 -g 8",
    "vp9.webm": _VP9,
    "mpeg4.avi": "-c:v mpeg4 -g 8",
    "mjpeg.avi": "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p",
    "flash.flv": "-c:v flv -g 8",
    "h264.flv": _H264,
    "h264.ts": _H264,
    "mpeg2.mpg": "-c:v mpeg2video -bf 2 -g 8 -r 25",
    "mjpeg.mov": "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p",
    "prores.mov": "-c:v prores_ks -profile:v 0",
    "theora.ogv": "-c:v libtheora -g 8",
    "pictures.gif": "-c:v gif",
    "bare.h264": _H264,
    "bare.hevc": "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=8",
}
"""How FFmpeg makes each."""

IMAGES = {"jpg": {"quality": 80}, "png": {}, "webp": {"quality": 80}}
"""How Pillow makes each."""

NUM_IMAGES = 6


def container_bytes(name: str, folder: Path) -> bytes:
    """A video of `CONTAINERS`, made in a folder."""
    path = folder / name
    subprocess.run(
        [
            *f"ffmpeg -v error -y -f lavfi -i testsrc2=size={WIDTH}x{HEIGHT}:rate=10".split(),
            *f"-frames:v {NUM_FRAMES} -threads 1 {CONTAINERS[name]} -fflags +bitexact -flags:v +bitexact".split(),
            str(path),
        ],
        check=True,
        timeout=60,
    )
    return path.read_bytes()


def image_bytes(suffix: str, number: int) -> bytes:
    """A picture of `IMAGES`, another one for each number."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([x * 5 + number * 9, y * 7, (x + y) * 3 + number], axis=-1) % 256
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "jpeg" if suffix == "jpg" else suffix, **IMAGES[suffix])
    return buffer.getvalue()
