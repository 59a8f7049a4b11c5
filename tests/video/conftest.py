"""Videos made on the spot with plain PyAV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest
from video_files import picture

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
