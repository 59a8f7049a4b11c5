"""From a path to its reader."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lsn.errors import ConfigError, VideoError, did_you_mean
from lsn.files import is_folder
from lsn.video.decoding.archive import ArchiveMember, find_member
from lsn.video.decoding.container import NamedBytes, Source, check_source, source_name
from lsn.video.decoding.frames_reader import FolderOfImages, FramesReader, Images
from lsn.video.decoding.pyav_reader import PyAVReader
from lsn.video.decoding.reader import VideoReader
from lsn.video.decoding.torchcodec_reader import TorchcodecReader

_READERS = {"pyav": PyAVReader, "torchcodec": TorchcodecReader}


def open_video(
    source: Source,
    *,
    reader: Literal["pyav", "torchcodec"] = "pyav",
    num_threads: int = 1,
    frame_pattern: str | None = None,
    frames_fps: float = 30.0,
) -> VideoReader:
    """Opens a video file, the bytes of one, or a folder of numbered images; either may lie in a tar: `a.tar/7.mp4`.

    Args:
        source: Path of a file or folder, or the whole content of a file.
        reader: What decodes files. Folders are read the same way whatever it is.
        num_threads: Threads that decode a file.
        frame_pattern: Names of the images of a folder, such as `img_{:05d}.jpg`; found by itself if the
            folder holds one kind of images.
        frames_fps: Frames per second of a folder, which images do not record.

    Raises:
        VideoError: the source is missing, is no video, is truncated or damaged; names it and says what to do.
        ConfigError: an unknown reader, one that is not installed, or a pattern without a place for the number.
    """
    if reader not in _READERS:
        raise ConfigError(f"unknown video reader {reader!r}; {did_you_mean(reader, _READERS)}")
    if num_threads < 1:
        raise ConfigError(f"{num_threads} decoding threads; it must be at least 1")
    if not isinstance(source, bytes):
        images, source = _images_or_file(source)
        if images is not None:
            try:
                return FramesReader(images, frame_pattern=frame_pattern, fps=frames_fps)
            except BaseException:
                images.close()
                raise
    check_source(source)
    if frame_pattern is not None:
        raise VideoError(
            f"{source_name(source)}: no folder, but a frame pattern ({frame_pattern}) was given; "
            "leave the pattern out for video files"
        )
    return _READERS[reader](source, num_threads=num_threads)


def _images_or_file(path: str | Path) -> tuple[Images | None, Source]:
    """The images that a path names, or None and the file; that in an archive is read."""
    found = find_member(path)
    if found is None:
        return FolderOfImages(Path(path)) if is_folder(path) else None, path
    member = ArchiveMember(*found)
    if member.is_images():
        return member, path
    try:
        content = NamedBytes(member.read())
    finally:
        member.close()
    content.name = member.name
    return None, content
