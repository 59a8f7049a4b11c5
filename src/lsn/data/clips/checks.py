"""What is looked at before training starts. Every check lists what it finds; none stops at the first."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from pathlib import Path

from lsn.data.clips.overlap import Windows
from lsn.data.clips.table import Clip, Manifest, Problem
from lsn.data.clips.text import listing, suggestions
from lsn.data.clips.windows import is_there, shard_of
from lsn.errors import VideoError, shown
from lsn.files import is_folder
from lsn.parsing import is_unicode


def check_manifests(train: Manifest, val: Manifest, *, names: tuple[str, str] = ("train", "val")) -> list[Problem]:
    """Checks two splits, each by itself and against the other.

    Args:
        train: what is trained on.
        val: what is validated or tested on; its labels must be those of `train`, in the same order.
        names: what messages call the two.

    Returns:
        Errors (training would fail or its figures would mean nothing) and warnings.
    """
    problems = check_manifest(train) + check_manifest(val)
    if train.labels != val.labels:
        message = f"its labels differ from those of {train.source}; read both with the same labels"
        problems.append(Problem("error", message, val.source))
    return problems + _split_label_problems(train, val, names) + leak_problems(train, val, names=names)


def check_manifest(manifest: Manifest) -> list[Problem]:
    """Checks one split: labels, missing files, clips listed twice."""
    return label_problems(manifest) + _missing_files(manifest) + _duplicates(manifest)


def label_problems(manifest: Manifest) -> list[Problem]:
    """A manifest without clips, and labels that are not among its labels."""
    if not manifest.clips:
        return [Problem("error", "no usable clips", manifest.source)]
    known = set(manifest.labels)
    unknown: dict[str, list[Clip]] = {}
    for clip in manifest.clips:
        if clip.label not in known:
            unknown.setdefault(clip.label, []).append(clip)
    hints = suggestions(unknown, manifest.labels)
    return [
        Problem(
            "error",
            f"unknown label {shown(label)} ({_count(len(clips), 'clip')}); {hints[label]}",
            manifest.where(clips[0]),
        )
        for label, clips in unknown.items()
    ]


def _missing_files(manifest: Manifest) -> list[Problem]:
    """One problem for all files that are not there, the first by name."""

    @cache
    def names_in(folder: str) -> frozenset[str]:
        try:
            return frozenset(os.listdir(folder or "."))  # noqa: PTH208 - names only, folders hold 200 000
        except (OSError, ValueError):  # ValueError: a name with a NUL in it
            return frozenset()

    def is_missing(clip: Clip) -> bool:
        # Listing each folder once spares a network file system one question for each file.
        folder, name = os.path.split(clip.path)
        return name not in names_in(folder) and not is_there(clip)

    missing: list[int] = []
    broken: dict[str, Problem] = {}
    shards = list(map(shard_of, manifest.clips))
    for index in sorted(range(len(shards)), key=shards.__getitem__):  # each archive is looked through once
        clip = manifest.clips[index]
        try:
            if shards[index] not in broken and is_missing(clip):
                missing.append(index)
        except VideoError as error:
            broken[shards[index]] = Problem("error", str(error), manifest.where(clip))
    if not missing:
        return list(broken.values())
    first = manifest.clips[min(missing)]
    some = f"{len(missing)} of {len(manifest)} files are missing, first {first.path}"
    return [*broken.values(), Problem("error", f"{some}; {_missing_hint(first)}", manifest.where(first))]


def _missing_hint(clip: Clip) -> str:
    path = Path(clip.path)
    if "\\" in clip.path and os.sep == "/":
        return "write the folders of the path with / instead of \\"
    if not is_unicode(clip.path):
        return "the manifest is not UTF-8, unless the name of the file is not; save it as UTF-8"
    same_stem = [p for p in path.parent.glob("*") if p.stem == path.stem] if is_folder(path.parent) else []
    if same_stem:
        return f"did you mean {sorted(same_stem)[0].name!r}?"
    return "relative paths start from the manifest's folder, or from data.root"


def _duplicates(manifest: Manifest) -> list[Problem]:
    """The same pictures in two rows: an error if the labels differ, else a warning."""
    first: dict[tuple[object, ...], Clip] = {}
    same: list[Clip] = []
    problems = []
    for clip in manifest.clips:
        earlier = first.setdefault((clip.file, clip.window), clip)
        if earlier is clip:
            continue
        if earlier.label == clip.label:
            same.append(clip)
        else:
            message = (
                f"{clip.path} is {shown(clip.label)} here and {shown(earlier.label)} in line {earlier.line}; keep one"
            )
            problems.append(Problem("error", message, manifest.where(clip)))
    if same:
        message = f"{_count(len(same), 'row')} listed twice, first {same[0].path}; each counts twice"
        problems.append(Problem("warning", message, manifest.where(same[0])))
    return problems


def _split_label_problems(train: Manifest, val: Manifest, names: tuple[str, str]) -> list[Problem]:
    """Classes that only one of the splits has, or none."""
    in_train, in_val = (Counter(clip.label for clip in split.clips) for split in (train, val))
    problems = [
        Problem(
            "error", f"class {shown(label)} has {_count(in_val[label], 'clip')} here and none in {names[0]}", val.source
        )
        for label in train.labels
        if label in in_val and label not in in_train
    ]
    only_train = [label for label in train.labels if label in in_train and label not in in_val]
    empty = [label for label in train.labels if label not in in_train and label not in in_val]
    for labels, what in ((only_train, f"in {names[0]} but not in {names[1]}"), (empty, "without any clip")):
        if labels:
            message = f"{_count(len(labels), 'class', 'classes')} {what}: {listing(labels)}"
            problems.append(Problem("warning", message, val.source))
    return problems


def leak_problems(first: Manifest, second: Manifest, *, names: tuple[str, str] = ("train", "val")) -> list[Problem]:
    """Pictures or sources that both splits hold, which would flatter the figures on the second."""
    by_file: dict[str, list[Clip]] = {}
    for clip in first.clips:
        by_file.setdefault(clip.file, []).append(clip)
    shared = [(clip, clip.file) for clip in second.clips if clip.file in by_file]
    in_first = {file: Windows(by_file[file]) for file in {file for _, file in shared}}
    leaks = [clip for clip, file in shared if in_first[file].overlap(clip)]
    problems = []
    one, other = names
    if leaks:
        message = f"{_count(len(leaks), 'clip')} of {other} also in {one}, first {leaks[0].path}"
        problems.append(Problem("error", f"{message}; each belongs in one split", second.where(leaks[0])))
    if len(shared) > len(leaks):
        cut = _count(len(shared) - len(leaks), "clip")
        message = f"{cut} of {other} cut from files that {one} has other windows of"
        problems.append(Problem("warning", message, second.source))
    groups = {clip.group for clip in second.clips} & {clip.group for clip in first.clips} - {""}
    if groups:
        message = f"{_count(len(groups), 'group')} in {one} and in {other} ({listing(sorted(groups))})"
        remedy = "leave out one side, or data.group_column to allow it"
        problems.append(Problem("error", f"{message}; {remedy}", second.source))
    return problems


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
