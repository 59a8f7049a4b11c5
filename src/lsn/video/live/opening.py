"""From whatever gives frames one after the other to its `LiveSource`: file, folder, camera, address or iterator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lsn.errors import ConfigError
from lsn.files import is_folder
from lsn.video.decoding.container import source_name
from lsn.video.decoding.opening import open_video
from lsn.video.decoding.reader import VideoReader
from lsn.video.live.capture import CaptureSource
from lsn.video.live.ffmpeg_input import Address, camera_address, is_camera, is_url, url_address
from lsn.video.live.file_source import IteratorSource, ReaderSource
from lsn.video.live.options import SourceOptions
from lsn.video.live.source import LiveFrame, LiveSource

__all__ = ["LiveFrame", "LiveSource", "Source", "open_live"]

Source = str | Path | bytes | int | VideoReader | LiveSource | Iterable[Any]
"""What frames can come from, see `open_live`."""

_FOLDER_FPS = 30.0


def open_live(source: Source, options: SourceOptions | None = None) -> LiveSource:
    """Opens anything that gives frames in order.

    Args:
        source: One of:
            a video file, its bytes, a folder of numbered images, or an open `VideoReader`;
            a camera: its number (0 or "0") or device file ("/dev/video0"). Cameras of Linux (v4l2) work as FFmpeg
            opens them; those of macOS (avfoundation) and Windows (dshow) have not been tried;
            an address: rtsp, http, https, rtmp, udp and whatever else PyAV's FFmpeg speaks;
            an iterator of (seconds, frame) pairs, or of frames alone if `options.fps` is given; uint8 HWC arrays or
            tensors;
            a `LiveSource`, which comes back as it is.
        options: How it is opened and read.

    Raises:
        VideoError: the source cannot be opened; names it and says what to do.
        ConfigError: an option does not go with the source.
    """
    options = options or SourceOptions()
    fps = options.fps
    if isinstance(source, str) and source.lower().startswith("file://"):
        source = Path(url2pathname(urlsplit(source).path))
    address = _address(source, options)
    if address is not None:
        return CaptureSource(address, timeout_seconds=options.timeout_seconds, num_threads=options.num_threads)
    if options.transport:
        raise ConfigError("transport is for addresses of RTSP; leave it out for other sources")
    if options.ffmpeg_options:
        raise ConfigError("ffmpeg_options are for cameras and addresses; leave them out for other sources")
    if isinstance(source, LiveSource):
        _refuse_fps(fps, source.name)
        return source
    if isinstance(source, str | Path | bytes):
        if isinstance(source, bytes) or not is_folder(source):
            _refuse_fps(fps, source_name(source))
        frames_fps = _FOLDER_FPS if fps is None else fps
        return ReaderSource(open_video(source, num_threads=options.num_threads, frames_fps=frames_fps))
    if isinstance(source, VideoReader):
        _refuse_fps(fps, source.info.name)
        return ReaderSource(source)
    if isinstance(source, Iterable):
        return IteratorSource(source, fps=fps)
    raise ConfigError(
        f"a source of frames is {source!r}; expected a file, a folder, a camera's number (0 or more), an address or "
        "an iterator of frames"
    )


def _address(source: Source, options: SourceOptions) -> Address | None:
    """Where to find a camera or a network stream; None for everything else."""
    if isinstance(source, str) and is_url(source):
        address = url_address(source, transport=options.transport)
        _refuse_fps(options.fps, address.name)
    else:
        # A file may be called 0, so a path is a camera only below /dev.
        is_name = source.is_relative_to("/dev") if isinstance(source, Path) else isinstance(source, str | int)
        if not (is_name and is_camera(f"{source!s}")):
            return None
        if options.transport:
            raise ConfigError(f"{source!s}: transport is for addresses of RTSP; leave it out for cameras")
        address = camera_address(str(source), fps=options.fps)
    return replace(address, options={**address.options, **options.ffmpeg_options})


def _refuse_fps(fps: float | None, name: str) -> None:
    if fps is not None:
        raise ConfigError(
            f"{name}: fps is for folders of images, cameras and iterators of frames alone; leave it out: the source "
            "states its rate itself"
        )
