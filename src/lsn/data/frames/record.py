"""Which folder of frames belongs to which video, and the record of it that lies beside the frames."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from lsn.errors import DataError, shown
from lsn.files import is_leftover, read_text, write_text
from lsn.parsing import is_name, is_unicode, parse_json

RECORD = "extraction.json"
_MAX_BYTES = 240  # of a folder's name; file systems take 255


@dataclass(frozen=True)
class ExtractionRecord:
    """What a folder of extracted frames holds."""

    settings: Mapping[str, Any]
    """How the frames were written."""
    top: str
    """Absolute path of the folder that all videos are in."""
    manifests: Mapping[str, str]
    """The manifest of videos that each manifest of frames stands for."""
    videos: Mapping[str, str]
    """The video of each folder of frames; below `top` the one, below the folder of frames the other."""

    def with_videos(self, paths: Iterable[str]) -> ExtractionRecord:
        """The record with more videos, given by their absolute paths.

        Raises:
            DataError: a video is not below `top`; two would share a folder, or one's would lie in another's.
        """
        videos = dict(self.videos)
        for path in paths:
            video = self.name(path)
            folder = folder_of(video)
            if videos.setdefault(folder, video) != video:
                raise DataError(f"{video} and {videos[folder]} would both have their frames in {folder}; rename one")
        for folder in videos:
            for parent in map(str, PurePosixPath(folder).parents):
                if parent in videos:
                    raise DataError(
                        f"{videos[folder]} would have its frames inside those of {videos[parent]}; rename one"
                    )
        return replace(self, videos=videos)

    def name(self, path: str) -> str:
        """A video's path below `top`.

        Raises:
            DataError: it is not below it.
        """
        if Path(self.top) not in Path(path).parents:
            raise DataError(
                f"{path}: is not in {self.top}, whose videos' frames are in this folder; choose another with --out"
            )
        return Path(path).relative_to(self.top).as_posix()

    def write(self, out: Path) -> None:
        """Writes `extraction.json` into the folder."""
        record = {name: getattr(self, name) for name in ("settings", "top", "manifests", "videos")}
        write_text(out / RECORD, json.dumps(record, indent=2) + "\n")


def read_record(out: Path) -> ExtractionRecord | None:
    """What an earlier call noted; None for a new or an empty folder.

    Raises:
        DataError: the folder holds something else, or the record was not written by `ExtractionRecord.write`.
    """
    if not out.exists() or (out.is_dir() and all(is_leftover(entry) for entry in out.iterdir())):
        return None
    path = out / RECORD
    if not path.exists():
        raise DataError(f"{out}: exists and holds no extracted frames; choose a new or an empty folder")
    try:
        return _checked(parse_json(read_text(path, "record of frames", error=DataError)))
    except ValueError as error:
        raise DataError(f"{path}: not a record of extracted frames: {error}; choose a new or an empty folder") from None


def _checked(found: Any) -> ExtractionRecord:
    """The record, once nothing in it can lead out of the folder.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {shown(found)}")
    settings, top, manifests, videos = (found.get(name) for name in ("settings", "top", "manifests", "videos"))
    if not isinstance(settings, dict):
        raise ValueError(f"settings is {shown(settings)}; expected an object")
    if not isinstance(top, str) or not is_name(top) or not Path(top).is_absolute():
        raise ValueError(f"top is {shown(top)}; expected the absolute path of a folder")
    manifests, videos = _paths(manifests, "manifests"), _paths(videos, "videos")
    for folder, video in videos.items():
        if folder != folder_of(video):
            raise ValueError(f"the folder of {shown(video)} is {shown(folder)}; expected {shown(folder_of(video))}")
    return ExtractionRecord(settings, top, manifests, videos)


def _paths(found: Any, name: str) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(path, str) and is_name(path) for path in found.values()):
        raise ValueError(f"{name} is {shown(found)}; expected an object whose values are paths")
    return found


def folder_of(video: str) -> str:
    """The folder of a video's frames: its path without the ending, both relative.

    Each part of it names a folder of its own, whatever the video is called: none is hidden, since hidden names are
    those of folders under way (nor is one `..`), none ends in a dot or a space, which some systems and tables drop, and
    all are Unicode and short enough to be written. Signs that stand against that are written as %XX.

    Raises:
        ValueError: the path is not relative, or leads up.
    """
    *parents, name = video.split("/")
    if not name or any(part in ("", ".", "..") for part in (*parents, name)):
        raise ValueError(f"{shown(video)} is no path below a folder")
    return "/".join(map(_safe, (*parents, PurePosixPath(name).stem)))


def _safe(name: str) -> str:
    kept = name
    while kept and (kept[-1] == "." or kept[-1].isspace()):
        kept = kept[:-1]
    safe = "".join(sign if is_unicode(sign) else _escaped(sign) for sign in kept) + _escaped(name[len(kept) :])
    if safe.startswith("."):
        safe = _escaped(".") + safe[1:]
    encoded = os.fsencode(safe)
    if len(encoded) <= _MAX_BYTES:
        return safe
    return f"{encoded[: _MAX_BYTES - 40].decode(errors='ignore')}%{hashlib.sha256(encoded).hexdigest()[:32]}"


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(text))
