"""From whatever gives frames one after the other to its `LiveSource`: file, folder, camera, address or iterator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lsn.errors import ConfigError
from lsn.files import is_folder
from lsn.video.decoding.container import source_name
from lsn.video.decoding.opening import open_video
from lsn.video.decoding.reader import VideoReader
from lsn.video.frame_sampler import check_above_zero
from lsn.video.live.capture import CaptureSource
from lsn.video.live.ffmpeg_input import Address, camera_address, is_camera, is_url, url_address
from lsn.video.live.file_source import IteratorSource, ReaderSource
from lsn.video.live.source import LiveFrame, LiveSource

__all__ = ["LiveFrame", "LiveSource", "Source", "open_live"]

Source = str | Path | bytes | int | VideoReader | LiveSource | Iterable[Any]
"""What frames can come from, see `open_live`."""

TIMEOUT_SECONDS = 10.0
"""Longest silence of a camera or an address, by default."""

_FOLDER_FPS = 30.0


def open_live(
    source: Source,
    *,
    fps: float | None = None,
    reader: Literal["pyav", "torchcodec"] = "pyav",
    num_threads: int = 1,
    timeout_seconds: float = TIMEOUT_SECONDS,
    ffmpeg_options: Mapping[str, str] | None = None,
) -> LiveSource:
    """Opens anything that gives frames in order.

    Args:
        source: One of:
            a video file, its bytes, a folder of numbered images, or an open `VideoReader`;
            a camera: its number (0 or "0") or device file ("/dev/video0"). Cameras of Linux (v4l2) work as FFmpeg
            opens them; those of macOS (avfoundation) and Windows (dshow) have not been tried;
            an address: rtsp, http, https, rtmp, udp and whatever else PyAV's FFmpeg speaks;
            an iterator of (seconds, frame) pairs, or of frames alone if `fps` is given; uint8 HWC arrays or tensors;
            a `LiveSource`, which comes back as it is.
        fps: Frames a second of a folder of images (30 by default) or of frames alone; a camera is asked for it. Files
            and addresses tell it themselves.
        reader: What decodes files.
        num_threads: Threads that decode.
        timeout_seconds: Longest silence of a camera or an address, when opening and later.
        ffmpeg_options: More options for cameras and addresses, such as {"video_size": "640x480"} or
            {"rtsp_transport": "udp"}. FFmpeg passes over those that it does not know.

    Raises:
        VideoError: the source cannot be opened; names it and says what to do.
        ConfigError: an argument that is wrong, or does not go with the source.
    """
    check_above_zero(timeout_seconds=timeout_seconds)
    if num_threads < 1:
        raise ConfigError(f"{num_threads} decoding threads; it must be at least 1")
    if isinstance(source, str) and source.lower().startswith("file://"):
        source = Path(url2pathname(urlsplit(source).path))
    address = _address(source, fps)
    if address is not None:
        address = replace(address, options={**address.options, **(ffmpeg_options or {})})
        return CaptureSource(address, timeout_seconds=timeout_seconds, num_threads=num_threads)
    if ffmpeg_options:
        raise ConfigError("ffmpeg_options are for cameras and addresses; leave them out for other sources")
    if isinstance(source, LiveSource):
        _refuse_fps(fps, source.name)
        return source
    if isinstance(source, str | Path | bytes):
        if isinstance(source, bytes) or not is_folder(source):
            _refuse_fps(fps, source_name(source))
        frames_fps = _FOLDER_FPS if fps is None else fps
        return ReaderSource(open_video(source, reader=reader, num_threads=num_threads, frames_fps=frames_fps))
    if isinstance(source, VideoReader):
        _refuse_fps(fps, source.info.name)
        return ReaderSource(source)
    if isinstance(source, Iterable):
        return IteratorSource(source, fps=fps)
    raise ConfigError(
        f"a source of frames is {source!r}; expected a file, a folder, a camera's number (0 or more), an address or "
        "an iterator of frames"
    )


def _address(source: Source, fps: float | None) -> Address | None:
    """Where to find a camera or a network stream; None for everything else."""
    if isinstance(source, Path):  # a file may be called 0
        return (
            camera_address(str(source), fps=fps) if source.is_relative_to("/dev") and is_camera(str(source)) else None
        )
    if isinstance(source, str | int) and is_camera(str(source)):
        return camera_address(str(source), fps=fps)
    if isinstance(source, str) and is_url(source):
        address = url_address(source)
        _refuse_fps(fps, address.name)
        return address
    return None


def _refuse_fps(fps: float | None, name: str) -> None:
    if fps is not None:
        raise ConfigError(
            f"{name}: fps is for folders of images, cameras and iterators of frames alone; leave it out: the source "
            "tells its rate itself"
        )
