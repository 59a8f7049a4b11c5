"""The frames of one video as a folder of JPEGs, whole or not at all; runs in the workers of `extract_manifests`."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from lsn.data.clips.table import Clip
from lsn.data.clips.windows import frame_range
from lsn.errors import VideoError
from lsn.video import VideoReader
from lsn.video.decoding.frames_reader import numbered_files
from lsn.video.writing.jpeg_frames import extract_frames, open_for_extraction


@dataclass(frozen=True)
class ExtractionSettings:
    """How frames are written; see `lsn.video.writing.jpeg_frames`."""

    short_side: int = 256
    """Larger frames are shrunk to it; smaller ones stay as they are."""
    pattern: str = "img_{:05d}.jpg"
    """Names of the frames, numbered from 1."""
    quality: int = 95
    """Of the JPEGs, 1 to 100."""


Span = tuple[int, int]
"""First frame and the one after the last."""


@dataclass(frozen=True)
class VideoJob:
    """One video file and the clips that are cut from it."""

    path: str
    """Absolute."""
    frames: Path
    """The folder of all frames."""
    folder: str
    """That of this video, below it."""
    clips: tuple[tuple[str, Clip], ...]
    """Each with its place in a manifest."""


@dataclass(frozen=True)
class VideoResult:
    """What became of a video."""

    num_frames: int = 0
    was_there: bool = False
    """Whether an earlier call had written its frames."""
    spans: tuple[Span | str, ...] = ()
    """First frame of each clip and the one after its last; or why it has none."""
    error: str | None = None
    """Why the whole video has no frames."""


def extract_video(job: VideoJob, settings: ExtractionSettings) -> VideoResult:
    """Writes the frames of a video below its folder, or counts those that are there."""
    try:
        with open_for_extraction(job.path, short_side=settings.short_side) as video:
            spans = tuple(_span(clip, video) for _, clip in job.clips)
            folder = _own_folder(job)
            was_there = _is_whole(folder, settings.pattern, video.num_frames)
            if not was_there:
                _remove(folder)
                extract_frames(video, folder, pattern=settings.pattern, quality=settings.quality)
            return VideoResult(video.num_frames, was_there, spans)
    except VideoError as error:
        return VideoResult(error=str(error))


def _own_folder(job: VideoJob) -> Path:
    """The folder of a video's frames, which may be removed: it is below that of all frames, and no link leads there.

    Raises:
        VideoError: a link does.
    """
    frames = Path(os.path.realpath(job.frames))
    folder = frames / job.folder
    if os.path.realpath(folder) != str(folder) or frames not in folder.parents:
        raise VideoError(
            f"{job.frames / job.folder}: a link leads from there to {os.path.realpath(folder)}; remove the link"
        )
    return folder


def _remove(folder: Path) -> None:
    """Removes the folder of a video, whose frames are not all there.

    Raises:
        VideoError: it cannot be removed, or is a file.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise VideoError(f"{folder}: frames belong there, but it cannot be removed: {error.strerror}") from None


def _span(clip: Clip, video: VideoReader) -> Span | str:
    try:
        return frame_range(clip, video)
    except VideoError as error:
        return str(error)


def _is_whole(folder: Path, pattern: str, num_frames: int) -> bool:
    try:
        return folder.is_dir() and len(numbered_files(folder, pattern)) == num_frames
    except VideoError:
        return False
