"""THUMOS14's text files: one per class, with a line `video start end` in seconds for each event.

Source: Jiang et al., THUMOS challenge, 2014.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from lsn.data.clips.text import read_text
from lsn.data.timelines.source import Source, ids_of, make_event
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import DataError, shown
from lsn.files import new_folder, write_text

_SUBSETS = ("val", "test")
_NAME = re.compile(rf"(?P<label>.+?)_(?P<subset>{'|'.join(_SUBSETS)})$")
_AMBIGUOUS = "Ambiguous"
_LINE = re.compile(r"^\S+\s+\d+(?:\.\d*)?\s+\d+(?:\.\d*)?\s*$")


def is_this(files: Sequence[Path]) -> bool:
    """Whether text files are of this format, by the first line of the first."""
    return bool(files) and bool(_LINE.match(read_text(files[0], "timeline").lstrip().split("\n")[0]))


def parse(source: Source, files: Sequence[Path]) -> list[TimelineVideo]:
    """The events of all classes, by video; the name of a file is the label, up to `_val` or `_test`.

    Spans of `Ambiguous`, which the challenge leaves out of its evaluation, are left out.
    """
    found: dict[tuple[str, str], list[TimelineEvent]] = {}

    def take(file: Path) -> None:
        name = _NAME.match(file.stem)
        label, subset = (name["label"], name["subset"]) if name else (file.stem, "")
        if label == _AMBIGUOUS:
            source.warn(str(file), "spans that may be several labels or none are left out, and so count as background")
            return
        for number, line in enumerate(read_text(file, "timeline").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                if not _LINE.match(line):
                    raise ValueError(f"{shown(line.strip())}; expected a video, a start and an end in seconds")
                video, start, end = line.split()
                event = make_event(label, float(start), float(end), line=number)
                found.setdefault((video, subset), []).append(event)
            except ValueError as error:
                source.error(f"{file} line {number}", error)

    source.each(files, take, str)
    videos: list[TimelineVideo] = []

    def add(item: tuple[str, str]) -> None:
        name, subset = item
        where = f"{source.path}: video {name!r}"
        videos.append(TimelineVideo(source.video(name), in_order(found[item]), subset=subset, where=where))

    source.each(sorted(found), add, lambda item: f"{source.path}: video {item[0]!r}")
    return videos


def write(path: Path, manifest: TimelineManifest) -> None:
    """Writes a folder with a file per label.

    Raises:
        DataError: a video has no event, or the name of a video or label cannot be written, which this format cannot
            hold.
    """
    files: dict[str, list[str]] = {}
    for name, video in ids_of(manifest.videos, path).items():
        if not video.events or name.split() != [name]:
            what = "has no event" if not video.events else "has blanks in its name"
            raise DataError(f"{path}: {video.path} {what}, which this format cannot hold; write .csv")
        if video.subset not in ("", *_SUBSETS):
            raise DataError(f"{path}: this format has no subset {video.subset!r}, only val and test; write .csv")
        for event in video.events:
            if "/" in event.label or _NAME.match(event.label) or event.label == _AMBIGUOUS:
                raise DataError(f"{path}: no file of this format can be named after {shown(event.label)}; write .csv")
            file = f"{event.label}_{video.subset}" if video.subset else event.label
            files.setdefault(file, []).append(f"{name} {event.start_seconds:.6f} {event.end_seconds:.6f}\n")
    with new_folder(path) as folder:
        for file, lines in files.items():
            write_text(folder / f"{file}.txt", "".join(lines))
