"""Clips that show almost the same pictures as one of another split, though their files differ.

A clip that was compressed twice, or downloaded from two sites, leaks what is trained on into what is validated on.
Pictures are compared by their difference hash: 64 bits that say where a small grey copy becomes brighter from left to
right, which compression and scaling hardly change.

References:
    N. Krawetz, "Kind of Like That", The Hacker Factor Blog, 2013 (dHash).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lsn.data.clips.probe import of_each_clip
from lsn.data.clips.table import Clip, Manifest, Problem
from lsn.data.clips.windows import open_clip

MOMENTS = (1 / 6, 1 / 2, 5 / 6)
"""Of the length of a clip, whose pictures are compared."""
MAX_BITS = 6
"""That may differ, of 64, in each picture of two clips that are taken for the same."""
MAX_SHOWN = 20
"""Pairs that are named."""
_MIN_STEP = 2.0  # levels of 256 between neighbours that count as a difference; a flat picture has hardly any
_MIN_SET = 8  # bits of a picture that is not flat
_ROWS = 256  # of one split that are compared with all of the other at a time
_ONES = np.array([number.bit_count() for number in range(256)], dtype=np.uint8)


@dataclass(frozen=True)
class NearDuplicate:
    """Two clips that show almost the same pictures."""

    clip: Clip
    """What is validated or tested on."""
    twin: Clip
    """What is trained on."""


def near_duplicates(
    train: Manifest, val: Manifest, *, progress: Callable[[int, int], None] | None = None
) -> list[NearDuplicate]:
    """Clips in `val` that look like one in `train`; clips that cannot be read are left out.

    Args:
        train: What is trained on.
        val: What is validated or tested on.
        progress: Called with the number of clips looked at and their total.
    """
    clips = [*train.clips, *val.clips]
    hashes = of_each_clip(clips, picture_hashes, progress)
    splits = (range(len(train)), range(len(train), len(clips)))
    known = [[i for i in numbers if hashes[i] is not None] for numbers in splits]
    if not all(known):
        return []
    pairs = same_pictures(*(np.stack([hashes[i] for i in numbers]) for numbers in known))  # type: ignore[misc]
    found = [NearDuplicate(clips[known[1][ours]], clips[known[0][theirs]]) for theirs, ours in pairs]
    return [each for each in found if each.clip.path != each.twin.path]  # windows of one file are compared by times


def near_duplicate_problems(found: Sequence[NearDuplicate], val: Manifest) -> list[Problem]:
    """Warnings of clips that look like one that is trained on, the first `MAX_SHOWN` by name."""
    problems = [
        Problem(
            "warning",
            f"{each.clip.path} looks like {each.twin.path}, which is trained on; leave one of them out",
            val.where(each.clip),
        )
        for each in found[:MAX_SHOWN]
    ]
    if len(found) > MAX_SHOWN:
        problems.append(Problem("warning", f"{len(found) - MAX_SHOWN} more such clips", val.source))
    return problems


def picture_hashes(clip: Clip) -> np.ndarray | None:
    """Difference hashes of the pictures at `MOMENTS`, uint8 (3, 8); None if one is too flat to be distinguished.

    Raises:
        VideoError: the clip cannot be read.
    """
    with open_clip(clip) as video:
        indices = [min(int(moment * video.num_frames), video.num_frames - 1) for moment in MOMENTS]
        found = [difference_hash(video.frames_at([index]).frames_THWC[0]) for index in indices]
    return np.stack([each for each in found if each is not None]) if all(e is not None for e in found) else None


def difference_hash(frame_HWC: np.ndarray) -> np.ndarray | None:
    """64 bits of a uint8 RGB picture, uint8 (8,); None if it is flat."""
    small = Image.fromarray(frame_HWC).convert("L").resize((9, 8), Image.Resampling.BOX)
    bits = np.diff(np.asarray(small, dtype=np.float32), axis=1) > _MIN_STEP
    return np.packbits(bits) if _MIN_SET <= bits.sum() <= bits.size - _MIN_SET else None


def same_pictures(ours_NMB: np.ndarray, theirs_NMB: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows, one of each, whose pictures differ in at most `MAX_BITS` bits each; a row of the second is in one.

    Args:
        ours_NMB: uint8, M hashes of B bytes a row.
        theirs_NMB: likewise.
    """
    pairs: list[tuple[int, int]] = []
    for first in range(0, len(theirs_NMB), _ROWS):
        rows = theirs_NMB[first : first + _ROWS]
        worst = np.zeros((len(rows), len(ours_NMB)), dtype=np.uint8)
        for moment in range(ours_NMB.shape[1]):
            differing = rows[:, None, moment] ^ ours_NMB[None, :, moment]
            worst = np.maximum(worst, _ONES[differing].sum(axis=2, dtype=np.uint8))
        nearest = worst.argmin(axis=1)
        found = worst[np.arange(len(rows)), nearest] <= MAX_BITS
        pairs += [(int(nearest[row]), first + int(row)) for row in np.flatnonzero(found)]
    return pairs
