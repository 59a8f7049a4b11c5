"""Every clip decoded to its last frame, which finds files that are cut off or damaged: in parallel, and resumable."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from lsn.data.clips.table import Clip, Manifest, Problem
from lsn.data.clips.windows import is_there, open_clip, shard_of
from lsn.errors import DataError, VideoError
from lsn.files import read_text, version_of
from lsn.hardware import usable_cores
from lsn.parsing import parse_json, to_json
from lsn.remote import is_address


@dataclass(frozen=True)
class DamagedClip:
    """A clip that cannot be decoded to its last frame."""

    clip: Clip
    error: str


def damaged_clips(
    manifest: Manifest, *, record: str | Path | None = None, progress: Callable[[int, int], None] | None = None
) -> list[DamagedClip]:
    """Decodes every clip to its last frame, in threads; files that are missing are passed over.

    Args:
        manifest: the clips.
        record: file of the clips that were found to be sound so far. They are not decoded again, unless the size of the
            file or the time of its change differ; what is decoded is added at once.
        progress: called with the number of clips done and their total.

    Raises:
        DataError: the record cannot be read.
        OSError: it cannot be written.
    """
    known, is_torn = (set(), False) if record is None else _read(Path(record))
    clips = manifest.clips
    order = sorted(
        range(len(clips)), key=lambda index: shard_of(clips[index])
    )  # each archive is opened and fetched once
    errors: list[str | None] = [None] * len(clips)

    def error_of(index: int) -> tuple[str | None, str | None]:
        """Why a clip cannot be decoded, and by what it is to be remembered if it can."""
        key = _key(clips[index])
        if key is not None and key in known:
            return None, None
        error = _error(clips[index])
        return error, None if error else key

    with ExitStack() as stack:
        file = None if record is None else stack.enter_context(Path(record).open("a", encoding="utf-8"))
        if file is not None and is_torn:
            file.write("\n")
        # Decoders release the interpreter's lock, so threads use all cores.
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=usable_cores()))
        try:
            for done, (error, key) in enumerate(pool.map(error_of, order), start=1):
                errors[order[done - 1]] = error
                if file is not None and key is not None:
                    file.write(json.dumps(key) + "\n")
                    file.flush()
                if progress:
                    progress(done, len(clips))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all clips
            raise
    return [DamagedClip(clip, error) for clip, error in zip(clips, errors, strict=True) if error is not None]


def damage_problems(found: Sequence[DamagedClip], manifest: Manifest) -> list[Problem]:
    """What is damaged, as errors."""
    return [Problem("error", each.error, manifest.where(each.clip)) for each in found]


def _error(clip: Clip) -> str | None:
    try:
        if not is_there(clip):
            return None
        with open_clip(clip) as video:
            num_decoded = sum(1 for _ in video.of_one_size(range(video.num_frames)))
            if num_decoded != video.num_frames:
                return f"{clip.path}: {num_decoded} of {video.num_frames} frames can be decoded"
    except VideoError as error:
        return str(error)
    return None


def _key(clip: Clip) -> str | None:
    """What a clip is remembered by; None if it is missing, or remote, where files change unseen."""
    version = "" if is_address(clip.path) else version_of(shard_of(clip))
    if not version:
        return None
    return to_json([clip.file, version, *clip.window, clip.num_frames, clip.frame_pattern])


def _read(path: Path) -> tuple[set[str], bool]:
    """Keys of the clips that are sound, and whether the last line is half written, which is passed over."""
    known: set[str] = set()
    text = read_text(path, "record of decoded clips", error=DataError) if path.exists() else ""
    for line in text.splitlines():
        try:
            known.add(str(parse_json(line)))
        except ValueError:
            continue
    return known, not text.endswith("\n") and bool(text)
