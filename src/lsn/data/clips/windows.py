"""Opening a clip: the file, and the window of it that the manifest names."""

from __future__ import annotations

from bisect import bisect_left
from typing import Literal

from lsn.data.clips.table import Clip
from lsn.errors import VideoError
from lsn.files import exists
from lsn.remote import cached_copy, is_address
from lsn.video import VideoReader, open_video, window
from lsn.video.decoding.archive import find_member, split_member

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
        VideoError: the file cannot be fetched or opened, is shorter than the manifest promises, or lacks the window.
    """
    video = _open(clip, reader)
    try:
        first, last = frame_range(clip, video)
    except VideoError:
        video.close()
        raise
    return video if (first, last) == (0, video.num_frames) else window(video, first=first, last=last)


def is_there(clip: Clip) -> bool:
    """Whether the file or folder of a clip exists. That of an address is taken to: to ask takes as long as to read."""
    if is_address(clip.path):
        return True
    member = find_member(clip.path)
    return exists(clip.path) if member is None else member.is_there()


def shard_of(clip: Clip) -> str:
    """The archive that a clip lies in, or else its own file."""
    return (split_member(clip.path) or (clip.path,))[0]


def _open(clip: Clip, reader: Literal["pyav", "torchcodec"]) -> VideoReader:
    """Opens the file or folder of a clip; what is remote is copied here first."""
    if not is_address(clip.path):
        return open_video(clip.path, reader=reader, frame_pattern=clip.frame_pattern)
    archive, *member = split_member(clip.path) or (clip.path,)
    for is_last in (False, False, True):
        copy = cached_copy(archive, error=VideoError)
        try:
            return open_video(copy.joinpath(*member), reader=reader, frame_pattern=clip.frame_pattern)
        except VideoError:
            if is_last or copy.exists():  # else another process needed its space at this moment
                raise
    raise AssertionError


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
