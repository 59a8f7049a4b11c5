"""Cross-validation: every clip is tested once, by a model that has never seen its group."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lsn.data.clips.table import Manifest
from lsn.errors import DataError

MAX_ORDERS = 100
"""Of the groups, that are tried."""


def assign_folds(manifest: Manifest, num_folds: int, *, seed: int = 0) -> tuple[int, ...]:
    """The fold of each clip, from 0: a group is in one fold, and each fold has about its share of every class.

    Without groups every file is one of its own; with groups, all clips of unknown group count as one more. Groups go to
    the folds from the largest to the smallest, each to where its classes are rarest; in an order by chance, where that
    would leave a class in one fold.

    Args:
        manifest: What is split.
        num_folds: How many folds.
        seed: Decides between groups of one size.

    Raises:
        DataError: there are fewer groups than folds, or a class whose clips are all of one group or could not be
            brought into two folds, so that a model that has not seen them does not know the class.
    """
    groups = group_names(manifest)
    members: dict[str, Counter[str]] = {}
    for clip, group in zip(manifest.clips, groups, strict=True):
        members.setdefault(group, Counter())[clip.label] += 1
    _check(manifest, members, num_folds)
    clips_of_class = Counter(clip.label for clip in manifest.clips)
    rng = random.Random(f"folds/{seed}")
    order = sorted(rng.sample(list(members), len(members)), key=lambda group: -members[group].total())
    for _ in range(MAX_ORDERS):
        contents = [Counter[str]() for _ in range(num_folds)]
        fold_of_group: dict[str, int] = {}
        for group in order:
            crowding = [_crowding(content, members[group], clips_of_class) for content in contents]
            fold = min(range(num_folds), key=lambda fold: (crowding[fold], contents[fold].total()))
            contents[fold] += members[group]
            fold_of_group[group] = fold
        together = [label for label in clips_of_class if sum(label in content for content in contents) == 1]
        if not together:
            return tuple(fold_of_group[group] for group in groups)
        rng.shuffle(order)
    raise DataError(
        f"{manifest.source}: the groups of class {together[0]!r} could not be brought into two of {num_folds} folds "
        "with those of the other classes; choose another number of folds"
    )


def fold_splits(manifest: Manifest, folds: Sequence[int], fold: int) -> tuple[Manifest, Manifest]:
    """The clips that are trained on, and those that are tested on, when it is the turn of `fold`."""
    pairs = list(zip(manifest.clips, folds, strict=True))
    return (
        replace(manifest, clips=tuple(clip for clip, number in pairs if number != fold)),
        replace(manifest, clips=tuple(clip for clip, number in pairs if number == fold)),
    )


def group_names(manifest: Manifest) -> tuple[str, ...]:
    """The group of each clip; where no clip has one, its file."""
    has_groups = any(clip.group for clip in manifest.clips)
    return tuple(clip.group if has_groups else clip.file for clip in manifest.clips)


def _check(manifest: Manifest, members: dict[str, Counter[str]], num_folds: int) -> None:
    if not 2 <= num_folds <= len(members):
        what = "groups" if any(clip.group for clip in manifest.clips) else "clips"
        raise DataError(
            f"{manifest.source}: {num_folds} folds of {len(members)} {what}; there must be between 2 and {len(members)}"
        )
    num_groups = Counter(label for classes in members.values() for label in classes)
    if single := [label for label in manifest.labels if num_groups[label] == 1]:
        raise DataError(
            f"{manifest.source}: all clips of class {single[0]!r} are of one group, so no model could be tested on it "
            "that has learned it from another; add clips of other groups, or leave the class out"
        )


def _crowding(content: Counter[str], added: Counter[str], clips_of_class: Counter[str]) -> float:
    """By how much the squared shares of the classes in a fold grow with a group."""
    return sum(
        ((content[label] + number) ** 2 - content[label] ** 2) / clips_of_class[label] ** 2
        for label, number in added.items()
    )
