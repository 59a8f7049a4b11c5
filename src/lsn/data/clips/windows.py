"""Opening a clip: the file, and the window of it that the manifest names."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import closing
from typing import Literal

from lsn.data.clips.table import Clip
from lsn.errors import VideoError
from lsn.files import exists
from lsn.remote import cached_copy, is_address, is_cached
from lsn.video import VideoReader, open_video, window
from lsn.video.decoding.archive import ArchiveMember, find_member, split_member

# Lists round the durations of files, so a window may end a little behind the last frame.
END_TOLERANCE_SECONDS = 0.5
# Lists round times: 0.3334 s at 30 frames per second means frame 10, at 0.33333.
TIME_TOLERANCE_SECONDS = 0.001


def open_clip(clip: Clip, *, reader: Literal["pyav", "torchcodec"] = "pyav") -> VideoReader:
    """Opens the window of a clip as a video of its own; close it, or use it in a `with` block.

    A window in seconds holds the frames that are shown from `start_seconds` on and before `end_seconds`, counted
    from the first frame of the file. It may end up to half a second behind the file's end. With `num_frames`, the
    file counts as its first that many frames, and fewer are an error.

    Raises:
        VideoError: the file cannot be opened, is shorter than the manifest promises, or lacks the window.
        DataError: it cannot be fetched.
    """
    video = _open(clip, reader)
    try:
        first, last = frame_range(clip, video)
    except VideoError:
        video.close()
        raise
    return video if (first, last) == (0, video.num_frames) else window(video, first=first, last=last)


def is_there(clip: Clip) -> bool:
    """Whether the file or folder of a clip exists. That of an address is taken to: to ask takes as long as to read.

    Raises:
        VideoError: it lies in an archive that cannot be read.
    """
    if is_address(clip.path):
        return True
    found = find_member(clip.path)
    if found is None:
        return exists(clip.path)
    with closing(ArchiveMember(*found)) as member:
        return member.is_file() or member.is_images()


def shard_of(clip: Clip) -> str:
    """The archive that a clip lies in, or else its own file, whether they are there or not."""
    return (split_member(clip.path) or (clip.path,))[0]


def local_path(clip: Clip) -> str:
    """The path of a clip on this machine; what is remote is copied here first.

    Raises:
        VideoError: there is no such file.
        DataError: it cannot be fetched.
    """
    if not is_address(clip.path):
        return clip.path
    archive, *member = split_member(clip.path) or (clip.path,)
    return str(cached_copy(archive, missing=VideoError).joinpath(*member))


def _open(clip: Clip, reader: Literal["pyav", "torchcodec"]) -> VideoReader:
    """Opens the file or folder of a clip."""
    while True:
        path = local_path(clip)
        try:
            return open_video(path, reader=reader, frame_pattern=clip.frame_pattern)
        except VideoError:
            if not is_address(clip.path) or is_cached(shard_of(clip)):
                raise  # else another process needed its space at this moment


def frame_range(clip: Clip, video: VideoReader) -> tuple[int, int]:
    """First frame of a clip's window in its file, and the one after the last.

    Raises:
        VideoError: the file is shorter than the manifest promises, or lacks the window.
    """
    total = video.num_frames
    if clip.num_frames is not None:
        if total < clip.num_frames:
            raise VideoError(f"{clip.path}: has {total} frames, but the manifest promises {clip.num_frames}")
        total = clip.num_frames
    if clip.start_seconds is not None or clip.end_seconds is not None:
        return _range_of_seconds(clip, video, total)
    first = clip.first_frame or 0
    last = total if clip.last_frame is None else clip.last_frame
    if last > total or first >= total:
        raise VideoError(f"{clip.path}: the window of frames {first} to {last} is outside its {total} frames")
    return first, last


def _range_of_seconds(clip: Clip, video: VideoReader, total: int) -> tuple[int, int]:
    duration = video.info.duration_seconds
    start = clip.start_seconds or 0.0
    end = duration + END_TOLERANCE_SECONDS if clip.end_seconds is None else clip.end_seconds
    if start >= duration or end > duration + END_TOLERANCE_SECONDS:
        raise VideoError(f"{clip.path}: the window {start:g} to {end:g} s is outside its {duration:.2f} s")
    times = (video.pts_seconds[:total] - video.pts_seconds[0] + TIME_TOLERANCE_SECONDS).tolist()
    first, last = bisect_left(times, start), bisect_left(times, end)
    if first >= last:
        raise VideoError(f"{clip.path}: no frame is shown in the window {start:g} to {end:g} s")
    return first, last
