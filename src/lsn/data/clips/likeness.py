"""Whether the groups that validate look like those that are trained on, by simple statistics of their pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lsn.data.clips.describe import thinned
from lsn.data.clips.probe import of_each_clip
from lsn.data.clips.table import Clip, Manifest, Problem
from lsn.data.clips.text import listing
from lsn.data.clips.windows import open_clip

MIN_GROUPS = 5
"""Groups that a validation set should have at least."""
MAX_CLIPS = 200
"""Clips of each split that are looked at."""

STATISTICS = ("brightness", "contrast", "colour", "edges", "motion")
_FAR = 1.0
"""Distance from which on two groups do not resemble each other: root mean square over the statistics, in standard
deviations over all groups."""
_MANY = 0.25
"""Share of the training clips that may be of groups which nothing in the validation set resembles."""


def group_problems(
    train: Manifest, val: Manifest, *, progress: Callable[[int, int], None] | None = None
) -> list[Problem]:
    """Warnings of a validation set of few groups, and of one that resembles only a part of what is trained on.

    A figure that is measured on a few plain scenes does not hold in the others. Up to `MAX_CLIPS` clips of each split
    are opened; those that cannot be read are left out. Splits without groups give no warning.

    Args:
        train: What is trained on.
        val: What is validated on.
        progress: Called with the number of clips looked at and their total.
    """
    num_groups = len({clip.group for clip in val.clips} - {""})
    if not num_groups or not any(clip.group for clip in train.clips):
        return []
    problems = []
    if num_groups < MIN_GROUPS:
        message = f"{num_groups} groups are few to validate on: the figure says little about others"
        problems.append(Problem("warning", f"{message}; cross-validate with `lsn train --folds`", val.source))
    looked_at = [thinned(split, MAX_CLIPS).clips for split in (train, val)]
    clips = [clip for split in looked_at for clip in split if clip.group]
    looks = dict(zip(clips, of_each_clip(clips, look_of, progress), strict=True))
    groups = [_by_group(looks, [clip for clip in split if clip.group]) for split in looked_at]
    if not all(groups):
        return problems
    return problems + _unlike(train, val, *groups)


def look_of(clip: Clip) -> np.ndarray:
    """The `STATISTICS` of a clip, each 0 to 1, float64 (5,), from four of its frames.

    Raises:
        VideoError: it cannot be read.
    """
    with open_clip(clip) as video:
        last = video.num_frames - 1
        indices = sorted({last // 4, last // 2, min(last // 2 + 1, last), 3 * last // 4})
        step = max(1, min(video.info.height, video.info.width) // 96)
        frames_THWC = video.transformed_at(indices, lambda frames: frames[:, ::step, ::step] / np.float32(255))
    grey_THW = frames_THWC.mean(axis=3)
    edges = [np.abs(np.diff(grey_THW, axis=axis)).mean() for axis in (1, 2)]
    return np.array(
        [
            grey_THW.mean(),
            grey_THW.std(axis=(1, 2)).mean(),
            np.ptp(frames_THWC, axis=3).mean(),
            np.mean(edges),
            np.abs(np.diff(grey_THW, axis=0)).mean() if len(grey_THW) > 1 else 0.0,
        ]
    )


def _by_group(looks: dict[Clip, np.ndarray | None], clips: list[Clip]) -> dict[str, np.ndarray]:
    """The mean look of each group."""
    of_group: dict[str, list[np.ndarray]] = {}
    for clip in clips:
        if (look := looks[clip]) is not None:
            of_group.setdefault(clip.group, []).append(look)
    return {group: np.mean(found, axis=0) for group, found in of_group.items()}


def _unlike(
    train: Manifest, val: Manifest, of_train: dict[str, np.ndarray], of_val: dict[str, np.ndarray]
) -> list[Problem]:
    """A warning if many training clips are of groups that no group of the validation set resembles."""
    scale = np.std([*of_train.values(), *of_val.values()], axis=0).clip(min=1e-6)
    nearest = {}
    for group, look in of_train.items():
        differences = [(look - other) / scale for other in of_val.values()]
        nearest[group] = min(differences, key=lambda difference: float(np.square(difference).mean()))
    distance = {group: float(np.sqrt(np.square(difference).mean())) for group, difference in nearest.items()}
    far = sorted((group for group in distance if distance[group] > _FAR), key=lambda group: -distance[group])
    num_far = sum(clip.group in far for clip in train.clips)
    if num_far < _MANY * len(train):
        return []
    traits = np.mean([np.abs(nearest[group]) for group in far], axis=0)
    main = [STATISTICS[index] for index in np.argsort(-traits)[:2]]
    message = (
        f"nothing here looks like {len(far)} of the {len(of_train)} groups of train, which have {num_far} of its "
        f"{len(train)} clips ({listing(far)}), most of all in {' and '.join(main)}: the figure may be easier than what "
        "is met elsewhere; cross-validate with `lsn train --folds`"
    )
    return [Problem("warning", message, val.source)]
