"""Every clip decoded to its last frame, which finds files that are cut off or damaged: in parallel, and resumable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lsn.data.clips.table import Clip, Manifest, Problem
from lsn.data.clips.windows import is_there, open_clip, shard_of
from lsn.errors import DataError, VideoError
from lsn.files import read_text
from lsn.hardware import usable_cores
from lsn.parsing import parse_json, to_json


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
        record: file of what was found so far. What is in it is not decoded again, unless the size of the file or the
            time of its change differ; what is decoded is added at once.
        progress: called with the number of clips done and their total.

    Raises:
        DataError: the record cannot be read.
        OSError: it cannot be written.
    """
    known, is_torn = ({}, False) if record is None else _read(Path(record))
    damaged: list[DamagedClip] = []

    def error_of(clip: Clip) -> tuple[str | None, str | None]:
        """Why a clip cannot be decoded, and under which name that is to be remembered, if it was not known."""
        key = _key(clip)
        if key is not None and key in known:
            return known[key], None
        return (_error(clip), key) if is_there(clip) else (None, None)

    with ExitStack() as stack:
        file = None if record is None else stack.enter_context(Path(record).open("a", encoding="utf-8"))
        if file is not None and is_torn:
            file.write("\n")
        # Decoders release the interpreter's lock, so threads use all cores.
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=usable_cores()))
        try:
            for done, (clip, (error, key)) in enumerate(
                zip(manifest.clips, pool.map(error_of, manifest.clips), strict=True), start=1
            ):
                if error is not None:
                    damaged.append(DamagedClip(clip, error))
                if file is not None and key is not None:
                    _write(file, key, error)
                if progress:
                    progress(done, len(manifest))
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else Ctrl-C would wait for all clips
            raise
    return damaged


def damage_problems(found: Sequence[DamagedClip], manifest: Manifest) -> list[Problem]:
    """What is damaged, as errors."""
    return [Problem("error", each.error, manifest.where(each.clip)) for each in found]


def _error(clip: Clip) -> str | None:
    try:
        with open_clip(clip) as video:
            num_decoded = sum(1 for _ in video.of_one_size(range(video.num_frames)))
            if num_decoded != video.num_frames:
                return f"{clip.path}: {num_decoded} of {video.num_frames} frames can be decoded"
    except VideoError as error:
        return str(error)
    return None


def _key(clip: Clip) -> str | None:
    """What a clip is remembered by; None if it is remote, where files change unseen."""
    try:
        about = os.stat(shard_of(clip))  # noqa: PTH116 - paths of clips are text
    except (OSError, ValueError):
        return None
    return to_json([clip.file, about.st_size, about.st_mtime_ns, *clip.window, clip.num_frames, clip.frame_pattern])


def _read(path: Path) -> tuple[dict[str, str | None], bool]:
    """Errors of clips by their key, and whether the last line is half written, which is passed over."""
    known: dict[str, str | None] = {}
    text = read_text(path, "record of decoded clips", error=DataError) if path.exists() else ""
    for line in text.splitlines():
        try:
            key, error = parse_json(line)
            known[str(key)] = error
        except (TypeError, ValueError):
            continue
    return known, not text.endswith("\n") and bool(text)


def _write(file: TextIO, key: str, error: str | None) -> None:
    file.write(json.dumps([key, error]) + "\n")
    file.flush()
