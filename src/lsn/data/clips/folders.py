"""A folder of class folders as a manifest: the folder's name is the label."""

from __future__ import annotations

import os
from pathlib import Path

from lsn.data.clips.formats import Parsed
from lsn.data.clips.table import Clip, Problem
from lsn.data.clips.text import listing
from lsn.errors import DataError
from lsn.video import IMAGE_SUFFIXES

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)
_VAL_NAMES = ("val", "valid", "validation", "test")


def parse_folder(folder: Path) -> Parsed:
    """Reads `folder/<class>/<video file or folder of frames>`, in the order of names.

    Hidden files are passed over. Other files that are no videos by their ending are left out with a warning.

    Raises:
        DataError: the folder cannot be listed, holds no class folders, or holds splits instead of classes.
    """
    classes = [entry.name for entry in _entries(folder) if entry.is_dir()]
    val = next((name for name in _VAL_NAMES if name in classes), None)
    if "train" in classes and val:
        raise DataError(
            f"{folder}: holds the splits 'train' and {val!r}, not classes; "
            f"set data.train to {folder / 'train'} and data.val to {folder / val}"
        )
    if not classes:
        raise DataError(f"{folder}: no class folders; expected {folder}/<class>/<video>, or give a manifest file")
    clips: list[Clip] = []
    problems: list[Problem] = []
    for label in classes:
        found, left_out = _class_clips(folder / label, label)
        clips += found
        if not found:
            message = "no videos in this class folder; remove it, or check the endings of its files"
            problems.append(Problem("error", message, str(folder / label)))
        elif left_out:
            message = f"left out {len(left_out)} entries that are neither videos nor folders of frames: "
            problems.append(Problem("warning", message + listing(left_out), str(folder / label)))
    return clips, problems


def _class_clips(folder: Path, label: str) -> tuple[list[Clip], list[str]]:
    """The clips of a class, and the names of the entries that are none."""
    clips: list[Clip] = []
    left_out: list[str] = []
    for entry in _entries(folder):
        is_clip = _has_frames(entry.path) if entry.is_dir() else _suffix(entry.name) in VIDEO_SUFFIXES
        if is_clip:
            clips.append(Clip(entry.path, label))
        else:
            left_out.append(entry.name)
    return clips, left_out


def _has_frames(folder: str) -> bool:
    with os.scandir(folder) as entries:
        return any(_suffix(entry.name) in IMAGE_SUFFIXES for entry in entries)


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """What a folder holds by name, without hidden entries.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot list this folder: {error.strerror}") from None


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - on names of hundreds of thousands of entries
