"""Opening every clip to see what is in it, without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

from lsn.data.clips.table import Clip, Manifest
from lsn.data.clips.windows import open_clip, shard_of
from lsn.errors import VideoError
from lsn.hardware import usable_cores
from lsn.video import VideoInfo

T = TypeVar("T")


@dataclass(frozen=True)
class Probe:
    """What a clip turned out to hold."""

    clip: Clip
    info: VideoInfo | None
    """Of the window; None if the clip cannot be opened."""
    error: str | None
    """Why it cannot be opened."""


def probe(
    manifest: Manifest,
    *,
    reader: Literal["pyav", "torchcodec"] = "pyav",
    progress: Callable[[int, int], None] | None = None,
) -> list[Probe]:
    """Opens every clip, in threads; the order is that of the manifest.

    Args:
        manifest: the clips.
        reader: the decoder.
        progress: called with the number of clips done and their total.
    """
    results: list[Probe] = []
    # Decoders release the interpreter's lock, so threads use all cores.
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        for found in pool.map(partial(_probe_clip, reader=reader), manifest.clips):
            results.append(found)
            if progress:
                progress(len(results), len(manifest))
    return results


def of_each_clip(
    clips: Sequence[Clip], look: Callable[[Clip], T | None], progress: Callable[[int, int], None] | None = None
) -> list[T | None]:
    """What a function gives for each clip, in threads; None where it raises a `VideoError`.

    Args:
        clips: in the order of the results.
        look: opens a clip.
        progress: called with the number of clips done and their total.
    """

    def look_or_none(clip: Clip) -> T | None:
        try:
            return look(clip)
        except VideoError:
            return None

    found: list[T | None] = [None] * len(clips)
    order = sorted(range(len(clips)), key=lambda index: shard_of(clips[index]))  # each archive is fetched once
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        for done, each in enumerate(pool.map(lambda index: look_or_none(clips[index]), order), start=1):
            found[order[done - 1]] = each
            if progress is not None:
                progress(done, len(clips))
    return found


def _probe_clip(clip: Clip, *, reader: Literal["pyav", "torchcodec"]) -> Probe:
    try:
        with open_clip(clip, reader=reader) as video:
            return Probe(clip, video.info, None)
    except VideoError as error:
        return Probe(clip, None, str(error))
