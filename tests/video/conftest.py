"""Videos made on the spot with plain PyAV, and a plain decoding of them to compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A frame that no other number gives: a drifting gradient and the number in eight black or white bars."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([(x * 3 + number * 5) % 256, (y * 4 + number) % 256, (x + y) * 2 % 256], axis=-1)
    for bit in range(8):
        image[: height // 3, bit * width // 8 : (bit + 1) * width // 8] = 255 * (number >> bit & 1)
    return image.astype(np.uint8)


def plain_decode(source: str | Path) -> list[tuple[int | None, np.ndarray]]:
    """Timestamps and RGB frames from start to end, with nothing but PyAV, stored orientation."""
    with av.open(str(source)) as container:
        frames = [(frame.pts, frame) for frame in container.decode(video=0)]
        return [(pts, frame.reformat(format="rgb24", interpolation="BICUBIC").to_ndarray()) for pts, frame in frames]


MakeVideo = Callable[..., Path]


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory) -> MakeVideo:
    """A function that encodes `picture(0)`, `picture(1)`, ... into a file."""
    folder = tmp_path_factory.mktemp("videos")

    def make(
        name: str,
        codec: str = "libx264",
        *,
        num_frames: int = 60,
        size: tuple[int, int] = (64, 48),
        times: Sequence[int] | None = None,
        rate: int = 30,
        pix_fmt: str = "yuv420p",
        metadata: dict[str, str] | None = None,
        muxer: dict[str, str] | None = None,
        **options: str,
    ) -> Path:
        path = folder / name
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

    return make
