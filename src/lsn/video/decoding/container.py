"""Opening a file with FFmpeg, and saying in plain words why it cannot be opened."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from lsn.errors import VideoError
from lsn.files import exists, is_file
from lsn.video.decoding.limits import CONTAINERS, MAX_PIXELS_VARIABLE, check_pixels, decoder_options, max_pixels

Source = str | Path | bytes


class NamedBytes(bytes):
    """The content of a file that lies in another one."""

    name: str
    """What messages call it."""


def source_name(source: Source) -> str:
    """What messages call a source."""
    if isinstance(source, NamedBytes):
        return source.name
    return f"video of {len(source)} bytes in memory" if isinstance(source, bytes) else str(source)


def check_source(source: Source) -> None:
    """Refuses what cannot be a video before FFmpeg sees it.

    Raises:
        VideoError: the file is missing, is not a file, is empty, or may not be read.
    """
    name = source_name(source)
    if isinstance(source, bytes):
        size = len(source)
    else:
        path = Path(source)
        if not exists(path):
            remedy = "check the spelling" if path.is_absolute() else f"relative paths start from {Path.cwd()}"
            raise VideoError(f"{name}: no such file; {remedy}")
        if not is_file(path):
            raise VideoError(f"{name}: not a file; expected a video file or a folder of frames")
        try:
            with path.open("rb"):
                size = path.stat().st_size
        except OSError as error:
            raise VideoError(f"{name}: cannot be read: {error.strerror}") from None
    if size == 0:
        raise VideoError(f"{name}: an empty file (0 bytes); fetch or write it again")


def open_bytes(source: Source) -> BinaryIO:
    """The bytes of a source, to be closed."""
    return io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb")


def reason_of(error: av.FFmpegError) -> str:
    """What FFmpeg says was wrong, without the file that it was wrong with."""
    if isinstance(error, av.ArgumentError):  # so a decoder refuses a size that the container does not state
        return f"a frame has more than {max_pixels():,} pixels ({MAX_PIXELS_VARIABLE}), or {error.strerror}"
    return error.strerror or type(error).__name__


def open_container(source: Source) -> InputContainer:
    """Opens a video that `check_source` has passed.

    Metadata in a broken encoding is dropped, since nothing here reads it. No other file is opened, whatever it says.

    Raises:
        VideoError: FFmpeg does not know what it is, or it is no container of video.
    """
    # The prefix keeps FFmpeg from taking a colon in a file name for a protocol.
    file, protocols = (io.BytesIO(source), "") if isinstance(source, bytes) else (f"file:{source}", "file")
    try:
        return av.open(
            file,
            mode="r",
            container_options={"format_whitelist": CONTAINERS, "protocol_whitelist": protocols},
            options=decoder_options(),  # for the decoders that look for the format of the frames
            metadata_errors="ignore",
        )
    except av.FFmpegError as error:
        raise VideoError(f"{source_name(source)}: {_reason(source, error)}") from None


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream that a player would show. Its decoder refuses frames far above `max_pixels`.

    Raises:
        VideoError: the file has no moving pictures, they are in a codec that FFmpeg cannot decode, or too large.
    """
    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:  # a cover picture is no video
        kinds = sorted({s.type for s in container.streams if s is not stream})
        raise VideoError(f"{name}: holds no video, only {' and '.join(kinds) or 'nothing'}")
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise VideoError(f"{name}: its video is in a codec that this FFmpeg cannot decode; convert it to H.264")
    check_pixels(stream.codec_context.width, stream.codec_context.height, name)
    stream.codec_context.options = decoder_options()
    return stream


def _reason(source: Source, error: av.FFmpegError) -> str:
    with open_bytes(source) as file:
        is_mp4 = file.read(8)[4:] == b"ftyp"
    if is_mp4:
        return "an incomplete MP4: the index that its writer adds last is missing or broken; fetch or write it again"
    if isinstance(error, av.ArgumentError):  # the list of containers does not have it
        return (
            "no video but a playlist, an image, sound or text, whatever it is called; give the video itself, or a "
            "folder of numbered images"
        )
    if isinstance(error, av.InvalidDataError):
        return "not a video file that FFmpeg knows; check what is in it, or fetch it again"
    return f"FFmpeg cannot open it: {reason_of(error)}; fetch it again, or convert it to H.264"
