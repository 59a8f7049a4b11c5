"""From a file or folder to the one table of clips."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lsn.data.clips.checks import label_problems
from lsn.data.clips.folders import VIDEO_SUFFIXES, parse_folder
from lsn.data.clips.formats import Parsed, parse_table, parse_tsn_list
from lsn.data.clips.labels import check_labels, read_labels
from lsn.data.clips.table import Manifest, Problem, raise_on_errors
from lsn.errors import DataError, shown
from lsn.files import exists, is_folder
from lsn.remote import folder_of, is_address, local_copy

Labels = Sequence[str] | str | Path


def read_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    labels: Labels | None = None,
    group_column: str | None = None,
) -> Manifest:
    """Reads a table of clips from CSV, JSON lines, a TSN list or a folder of class folders.

    Whether the files exist is not looked at here; `check_manifest` does.

    Args:
        path: `.csv`, `.jsonl`, `.txt` (TSN list), the address of one, or a folder.
        root: where relative paths start; by default the manifest's own folder.
        labels: the names in the order of their numbers, or a file of them (see `read_labels`);
            by default the sorted names found. A TSN list needs it.
        group_column: column or key that names the source of a clip.

    Raises:
        DataError: the file cannot be used, has no clips, or has rows with errors; up to ten are listed.
    """
    manifest, problems = parse_manifest(path, root=root, labels=labels, group_column=group_column)
    raise_on_errors(problems + label_problems(manifest))
    return manifest


def parse_manifest(
    path: str | Path,
    *,
    root: str | Path | None = None,
    labels: Labels | None = None,
    group_column: str | None = None,
) -> tuple[Manifest, list[Problem]]:
    """Like `read_manifest`, but returns the problems of rows; those rows are not among the clips.

    Labels that are not in `labels` stay in the clips, for `check_manifest` to find.

    Raises:
        DataError: the file as a whole cannot be used.
    """
    source = os.fspath(path)
    names = _label_names(labels)
    if is_address(source):
        start = folder_of(source) if root is None else os.fspath(root)
        with local_copy(source, error=DataError) as copy:
            clips, problems = _parse(copy, start, names, group_column)
        problems = [replace(problem, where=problem.where.replace(str(copy), source)) for problem in problems]
        for clip in clips if root is None else ():
            if not clip.path.startswith(f"{start}/"):  # somebody else's list must not make this machine read its files
                message = f"{shown(clip.path)} is not below {start}; set data.root if it is meant to be read"
                problems.append(Problem("error", message, f"{source} line {clip.line}"))
    else:
        path = Path(path)
        source = str(path)
        start = os.fspath(path.parent if root is None else root)
        clips, problems = _parse(path, "" if start == "." else start, names, group_column)
    if names is None:
        names = tuple(sorted({clip.label for clip in clips}))
    return Manifest(source, names, tuple(clips)), problems


def _parse(path: Path, root: str, labels: tuple[str, ...] | None, group_column: str | None) -> Parsed:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".jsonl"):
        return parse_table(path, root=root, group_column=group_column)
    if group_column and (is_folder(path) or suffix == ".txt"):
        raise DataError(f"{path}: only .csv and .jsonl have columns, so group_column={group_column!r} cannot be used")
    if is_folder(path):
        return parse_folder(path)
    if suffix == ".txt":
        if labels is None:
            raise DataError(f"{path}: a TSN list has label numbers only; set data.labels to a file with their names")
        return parse_tsn_list(path, root=root, labels=labels)
    if not exists(path):
        raise DataError(f"{path}: no such manifest or folder; relative paths start from {Path.cwd()}")
    what = "this is a video" if suffix in VIDEO_SUFFIXES else f"cannot tell the format from {suffix or 'no ending'!r}"
    raise DataError(f"{path}: {what}; a manifest is a .csv, a .jsonl, a .txt (TSN list) or a folder of class folders")


def _label_names(labels: Labels | None) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if isinstance(labels, str | Path):
        return read_labels(labels)
    return check_labels(labels, "labels")
