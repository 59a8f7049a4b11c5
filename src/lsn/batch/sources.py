"""Which videos a batch is about: files, folders, patterns, lists and addresses as one list without repeats."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lsn.data.clips.folders import VIDEO_SUFFIXES
from lsn.errors import DataError
from lsn.files import csv_rows, is_file, is_folder, read_text
from lsn.remote import file_system, is_address

LIST_SUFFIXES = (".txt", ".csv")
"""Files that list videos: one a line, or in the column `path`."""


@dataclass(frozen=True)
class SourceVideo:
    """A video to be analysed."""

    path: str
    """Its file or address."""
    version: str
    """Changes with its content as far as the file system knows (size and time of change); empty if it is missing."""


def find_videos(sources: Sequence[str]) -> list[SourceVideo]:
    """Lists the videos of files, folders (with all below), patterns (`clips/**/*.mp4`), lists and addresses.

    Hidden files, and files in folders that are no videos by their ending, are left out. What is named itself, on the
    command line or in a list, is taken whatever its name; if it is missing, it is in the list as missing.

    Args:
        sources: what was asked for.

    Raises:
        DataError: a source names nothing, or a list cannot be read.
    """
    found: dict[str, SourceVideo] = {}
    for source in sources:
        videos = [SourceVideo(path, version) for path, version in _videos(source)]
        found |= {video.path: video for video in videos if video.path not in found}
        if not videos:
            raise DataError(
                f"{source}: no videos there; expected files that end in {', '.join(sorted(VIDEO_SUFFIXES))}"
            )
    return list(found.values())


def _videos(source: str) -> Iterator[tuple[str, str]]:
    if is_address(source):
        yield from _at_address(source)
    elif is_folder(source):
        yield from ((path, local_version(path)) for path in _below(source))
    elif source.lower().endswith(LIST_SUFFIXES):
        for entry in _listed(source):
            if is_address(entry):
                yield from _at_address(entry, is_listed=True)
            else:
                path = str(Path(source).parent / entry)
                yield path, local_version(path)
    elif is_file(source):
        yield source, local_version(source)
    elif glob.has_magic(source):
        paths = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - patterns may be absolute
        yield from ((path, local_version(path)) for path in paths if _is_video(path) and is_file(path))
    else:
        raise DataError(f"{source}: no such file or folder")


def local_version(path: str) -> str:
    """Size and time of change of a file of this machine; empty if there is none."""
    try:
        status = Path(path).stat()
    except (OSError, ValueError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _below(folder: str) -> Iterator[str]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (str(Path(root, name)) for name in sorted(files) if _is_video(name))


def _is_video(path: str) -> bool:
    name = Path(path).name
    return not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES


def _listed(path: str) -> Iterable[str]:
    """The entries of a file that lists videos."""
    text = read_text(path, "a list of videos", error=DataError, max_bytes=1 << 30)
    if not path.lower().endswith(".csv"):
        return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    rows = [row for _, row in csv_rows(text)]
    if not rows or "path" not in rows[0]:
        raise DataError(
            f"{path}: a list of videos needs a column named path; or write one path a line into a .txt file"
        )
    column = rows[0].index("path")
    return [row[column] for row in rows[1:] if len(row) > column and row[column]]


def _at_address(address: str, *, is_listed: bool = False) -> Iterator[tuple[str, str]]:
    """The videos at an address: a file, a folder or a pattern."""
    files, path = file_system(address, error=DataError)
    try:
        if glob.has_magic(path):
            paths = [each for each in files.glob(path) if _is_video(each)]
        elif not is_listed and files.isdir(path):
            paths = [each for each in files.find(path) if _is_video(each)]
        else:
            yield address, _version(files.info(path)) if files.exists(path) else ""
            return
        infos = [(files.unstrip_protocol(each), files.info(each)) for each in sorted(paths)]
    except Exception as reason:  # each file system has errors of its own
        raise DataError(f"{address}: cannot be listed ({reason or type(reason).__name__})") from reason
    yield from ((each, _version(info)) for each, info in infos)


def _version(info: dict[str, object]) -> str:
    changed = next((info[name] for name in ("ETag", "etag", "mtime", "LastModified", "created") if name in info), "")
    return f"{info.get('size')} {changed}"
