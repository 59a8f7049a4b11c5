"""Which videos a batch is about: files, folders, patterns, lists and addresses as one list without repeats."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from lsn.data.clips.folders import VIDEO_SUFFIXES
from lsn.errors import DataError
from lsn.files import csv_rows, is_file, is_folder, read_text, version_of
from lsn.remote import file_system, is_address, suffix_of

LIST_SUFFIXES = (".txt", ".csv")
"""Files that list videos: one a line, or in the column `path`."""


@dataclass(frozen=True)
class SourceVideo:
    """A video to be analysed."""

    path: str
    """Its file, folder of frames or address."""
    version: str
    """Changes with its content as far as the file system knows (size and time of change); empty if it is missing."""


def find_videos(sources: Sequence[str]) -> list[SourceVideo]:
    """Lists the videos of files, folders (with all below), patterns (`clips/**/*.mp4`), lists and addresses.

    Hidden files, and files in folders that are no videos by their ending, are left out, and links to folders are not
    followed. What is named itself, on the command line or in a list, is taken whatever its name; if it is missing, it
    is in the list as missing. In a list of lines, those that begin with # are comments.

    Args:
        sources: what was asked for.

    Raises:
        DataError: a source names nothing, or a list or folder cannot be read.
    """
    found: dict[str, SourceVideo] = {}
    for source in sources:
        videos = list(_videos(source))
        for video in videos:
            found.setdefault(video.path, video)
        if not videos:
            raise DataError(f"{source}: no videos there (files that end in {', '.join(sorted(VIDEO_SUFFIXES))})")
    return list(found.values())


def _videos(source: str) -> Iterator[SourceVideo]:
    if is_address(source):
        yield from _at_address(source)
    elif is_folder(source):
        yield from map(_local, _below(source))
    elif source.lower().endswith(LIST_SUFFIXES):
        for entry in _listed(source):
            yield _named(entry) if is_address(entry) else _local(str(Path(source).parent / entry))
    elif is_file(source):
        yield _local(source)
    elif glob.has_magic(source):
        paths = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - patterns may be absolute
        yield from (_local(path) for path in paths if _is_video(path) and is_file(path))
    else:
        raise DataError(f"{source}: no such file or folder")


def _local(path: str) -> SourceVideo:
    path = os.path.normpath(path)
    return SourceVideo(path, version_of(path))


def _below(folder: str) -> Iterator[str]:
    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"{error.filename}: cannot be listed ({error.strerror})") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(Path(root, name)) for name in sorted(files) if _is_video(name))


def _is_video(path: str) -> bool:
    return not Path(path).name.startswith(".") and suffix_of(path).lower() in VIDEO_SUFFIXES


def _listed(path: str) -> list[str]:
    """The entries of a file that lists videos."""
    text = read_text(path, "list of videos", error=DataError, max_bytes=1 << 30, errors="surrogateescape")
    if not path.lower().endswith(".csv"):
        lines = [line.strip("\r") for line in text.split("\n")]
        return [line for line in lines if line.strip() and not line.startswith("#")]
    try:
        rows = [row for _, row in csv_rows(text)]
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if not rows or "path" not in rows[0]:
        raise DataError(f"{path}: a list of videos needs a column named path, or one path a line in a .txt file")
    column = rows[0].index("path")
    return [row[column] for row in rows[1:] if len(row) > column and row[column]]


def _named(address: str) -> SourceVideo:
    """A file at an address that a list names."""
    files, path = file_system(address, error=DataError)
    try:
        return SourceVideo(address, _version(files.info(path)))
    except Exception:  # each file system has errors of its own; the reader says what is wrong
        return SourceVideo(address, "")


def _at_address(address: str) -> Iterator[SourceVideo]:
    """The videos at an address: a file, a folder or a pattern."""
    files, path = file_system(address, error=DataError)
    is_web = address.startswith(("http://", "https://"))  # where ? is no pattern
    try:
        if glob.has_magic(path.replace("?", "") if is_web else path):
            paths = files.glob(path)
        elif not is_web and files.isdir(path):
            paths = files.find(path)
        elif not files.exists(path):
            raise FileNotFoundError("no such file")
        else:
            yield SourceVideo(address, _version(files.info(path)))
            return
        infos = [(files.unstrip_protocol(each), files.info(each)) for each in sorted(paths) if _is_video(each)]
    except Exception as reason:  # each file system has errors of its own
        raise DataError(f"{address}: cannot be listed ({reason or type(reason).__name__})") from reason
    yield from (SourceVideo(each, _version(info)) for each, info in infos)


def _version(info: dict[str, Any]) -> str:
    names = ("ETag", "etag", "mtime", "LastModified", "Last-Modified", "last_modified", "created")
    return f"{info.get('size')} {next((info[name] for name in names if info.get(name)), '')}"
