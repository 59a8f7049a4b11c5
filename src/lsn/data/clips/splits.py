"""Train and validation: as two manifests, or one that is split by class and source."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lsn.config import DataConfig
from lsn.data.clips.checks import check_manifest, check_manifests, leak_problems
from lsn.data.clips.manifest import parse_manifest
from lsn.data.clips.table import Clip, Manifest, Problem, raise_on_errors
from lsn.errors import DataError, shown


def load_splits(data: DataConfig, seed: int) -> tuple[Manifest, Manifest]:
    """The train and val manifests of a recipe, checked, with one order of labels.

    Warnings are logged.

    Args:
        data: the recipe's section.
        seed: decides what is set aside when `data.val` is not given, and what is drawn for `data.clips_per_class`.

    Raises:
        DataError: lists up to ten of all problems found and the number of the rest.
    """
    train, val, problems = check_splits(data, seed)
    raise_on_errors(problems)
    return train, val


def load_test_set(data: DataConfig, train: Manifest, val: Manifest) -> Manifest | None:
    """The clips that a recipe is tested on at the end, checked against those that it learns and chooses by.

    None of them may be in either. Warnings are logged.

    Raises:
        DataError: lists up to ten of all problems found and the number of the rest.
    """
    if data.test is None:
        return None
    labels = data.labels or train.labels
    test, problems = parse_manifest(data.test, root=data.root, labels=labels, group_column=data.group_column)
    raise_on_errors(problems + check_manifests(train, test, names=("train", "test")))
    raise_on_errors(leak_problems(val, test, names=("val", "test")))
    return test


def check_splits(data: DataConfig, seed: int) -> tuple[Manifest, Manifest, list[Problem]]:
    """Like `load_splits`, but returns the problems, whole.

    Args:
        data: the recipe's section.
        seed: as for `load_splits`.

    Raises:
        DataError: a manifest as a whole cannot be used.
    """
    if not data.train:
        raise DataError("data.train is not set; give a manifest or a folder of class folders, data.train=PATH")
    train, problems = parse_manifest(data.train, root=data.root, labels=data.labels, group_column=data.group_column)
    if not train.clips:  # nothing to split, and no labels for val
        return train, train, problems + check_manifest(train)
    if data.val is not None:
        labels = data.labels or train.labels
        val, more = parse_manifest(data.val, root=data.root, labels=labels, group_column=data.group_column)
        problems += more
    else:
        train, val = split_manifest(train, val_fraction=data.val_fraction, seed=seed)
    if data.clips_per_class:
        train = draw_clips(train, data.clips_per_class, seed=seed)
    if len(train.labels) == 1:
        message = f"{shown(train.labels[0])} is the only class; training needs clips of two at least"
        problems.append(Problem("error", message, train.source))
    return train, val, problems + check_manifests(train, val)


def draw_clips(manifest: Manifest, clips_per_class: int, *, seed: int = 0) -> Manifest:
    """So many clips of each class, or all of a class that has fewer; a smaller draw is part of a larger one."""
    order = list(range(len(manifest)))
    random.Random(f"draw/{seed}").shuffle(order)
    taken: Counter[str] = Counter()
    drawn = []
    for index in order:
        label = manifest.clips[index].label
        taken[label] += 1
        if taken[label] <= clips_per_class:
            drawn.append(index)
    return replace(manifest, clips=tuple(manifest.clips[index] for index in sorted(drawn)))


def split_manifest(manifest: Manifest, *, val_fraction: float, seed: int = 0) -> tuple[Manifest, Manifest]:
    """Sets a share of the clips of every class aside; clips of one source stay together.

    A source is a group or, without groups, a file. When there are groups, clips of unknown group (`""`) stay in
    train: they could come from any source. A class whose clips all have one source stays in train whole.

    The split depends on the order of the manifest and on the seed, not on where the files are.

    Args:
        manifest: what is split.
        val_fraction: share of each class that is wanted in val, as near as whole sources allow.
        seed: another seed sets other sources aside.

    Raises:
        DataError: nothing can be set aside.
    """
    has_groups = any(clip.group for clip in manifest.clips)
    sources: dict[str, Counter[str]] = {}
    for clip in manifest.clips:
        if clip.group or not has_groups:
            sources.setdefault(clip.group or clip.file, Counter())[clip.label] += 1
    order = list(sources)
    random.Random(f"split/{seed}").shuffle(order)
    chosen = _choose([sources[name] for name in order], Counter(clip.label for clip in manifest.clips), val_fraction)
    names = {order[i] for i in chosen}
    if not names:
        what = f"{len(sources)} group{'s' * (len(sources) != 1)}" if has_groups else f"{len(manifest)} clips"
        raise DataError(f"{manifest.source}: cannot set clips aside for validation from {what}; set data.val")

    def in_val(clip: Clip) -> bool:
        return (clip.group if has_groups else clip.file) in names

    return (
        replace(manifest, clips=tuple(clip for clip in manifest.clips if not in_val(clip))),
        replace(manifest, clips=tuple(clip for clip in manifest.clips if in_val(clip))),
    )


def _choose(sources: Sequence[Counter[str]], total: Counter[str], val_fraction: float) -> set[int]:
    """Which sources go to val.

    Takes sources in the given order, or puts them back, while that brings the classes nearer to their shares.
    Then every class that got nothing gets its smallest source. No class is ever taken out of train whole.
    """
    wanted = {label: max(1, round(val_fraction * number)) for label, number in total.items()}
    taken: Counter[str] = Counter()
    chosen: set[int] = set()

    def take(i: int) -> None:
        chosen.add(i)
        taken.update(sources[i])

    def put_back(i: int) -> None:
        chosen.remove(i)
        taken.subtract(sources[i])

    def leaves_some(i: int) -> bool:
        return all(taken[label] + number < total[label] for label, number in sources[i].items())

    def brings_nearer(i: int, sign: int) -> bool:
        # Not just above 0, so that rounding cannot send a source to and fro for ever.
        return sum(_gain(taken[label], sign * number, wanted[label]) for label, number in sources[i].items()) > 1e-9

    changed = True
    while changed:  # ends, because every change brings the whole nearer
        changed = False
        for i in range(len(sources)):
            if i in chosen and brings_nearer(i, -1):
                put_back(i)
                changed = True
            elif i not in chosen and leaves_some(i) and brings_nearer(i, +1):
                take(i)
                changed = True
    of_label: dict[str, list[int]] = {}
    for i, labels in enumerate(sources):
        for label in labels:
            of_label.setdefault(label, []).append(i)
    for label in sorted(total):
        if taken[label] <= 0:  # so none of its sources is chosen
            options = [i for i in of_label.get(label, ()) if leaves_some(i)]
            if options:
                take(min(options, key=lambda i: sources[i].total()))
    return chosen


def _gain(taken: int, added: int, wanted: int) -> float:
    """By how much a class comes nearer to its share, in squared shares so that small classes count alike."""
    return ((taken - wanted) ** 2 - (taken + added - wanted) ** 2) / wanted**2
