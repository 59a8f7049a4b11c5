"""Our own tables: CSV or JSON lines with a row for each event."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from lsn.data.clips.rows import Row, check_row, check_unicode, group_cell, number_cell, path_cell, read_rows, text_cell
from lsn.data.timelines.source import Source, make_event
from lsn.data.timelines.table import TimelineEvent, TimelineManifest, TimelineVideo, in_order
from lsn.errors import shown
from lsn.files import write_csv, write_text
from lsn.parsing import to_json

REQUIRED_COLUMNS = ("path", "label", "start_seconds", "end_seconds")
OPTIONAL_COLUMNS = ("confidence", "subset")
GROUP_COLUMN = "group"


def parse(source: Source) -> list[TimelineVideo]:
    """Rows of `path,label,start_seconds,end_seconds`, several per video; without a label, a video without events.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    is_csv = source.path.suffix.lower() == ".csv"
    required = REQUIRED_COLUMNS if is_csv else REQUIRED_COLUMNS[:1]  # videos without events have no other keys
    rows, problems = read_rows(
        source.path, required=required, optional=OPTIONAL_COLUMNS, group_column=source.group_column
    )
    source.problems += problems
    videos: dict[str, TimelineVideo] = {}
    events: dict[str, list[TimelineEvent]] = {}

    def take(numbered: tuple[int, Row]) -> None:
        line, row = numbered
        check_row(row)
        path = os.path.join(source.root, path_cell(row))  # noqa: PTH118
        group, subset = group_cell(row, source.group_column), text_cell(row, "subset") or ""
        check_unicode(f"{group}{subset}")
        video = TimelineVideo(path, (), group, subset, where=f"{source.path} line {line}")
        first = videos.setdefault(path, video)
        for what, mine, other in (("group", group, first.group), ("subset", subset, first.subset)):
            if mine != other:
                raise ValueError(f"{path} is of {what} {shown(mine)} here and of {shown(other)} in {first.where}")
        event = _event(row, line)
        events.setdefault(path, []).extend([] if event is None else [event])

    source.each(rows, take, lambda numbered: f"{source.path} line {numbered[0]}")
    return [replace(video, events=in_order(events[path])) for path, video in videos.items() if path in events]


def _event(row: Row, line: int) -> TimelineEvent | None:
    label, start, end = text_cell(row, "label"), number_cell(row, "start_seconds"), number_cell(row, "end_seconds")
    confidence = number_cell(row, "confidence", most=1, expected="a number from 0 to 1")
    if label is None and start is None and end is None:
        return None
    if label is None:
        raise ValueError("no label; a row without events has neither label nor times")
    for name, value in (("start_seconds", start), ("end_seconds", end)):
        if value is None:
            raise ValueError(f"no {name}; a point in time has the same end as start")
    return make_event(label, start, end, confidence=confidence, line=line)


def write(path: Path, manifest: TimelineManifest, *, as_csv: bool) -> None:
    """Writes a table that `parse` reads back, with absolute paths; groups are in the column `group`."""
    has = {name: any(getattr(video, name) for video in manifest.videos) for name in (GROUP_COLUMN, "subset")}
    has_confidence = any(event.confidence is not None for video in manifest.videos for event in video.events)
    columns = [*REQUIRED_COLUMNS, *(["confidence"] if has_confidence else []), *(name for name in has if has[name])]
    rows: list[dict[str, Any]] = []
    for video in manifest.videos:
        about = {"path": video.file, GROUP_COLUMN: video.group, "subset": video.subset}
        for event in video.events:
            times = {"start_seconds": event.start_seconds, "end_seconds": event.end_seconds}
            rows.append({**about, "label": event.label, **times, "confidence": event.confidence})
        if not video.events:
            rows.append(about)
    if as_csv:
        write_csv(path, [columns, *([row.get(name) for name in columns] for row in rows)])
    else:
        lines = [to_json({name: row[name] for name in columns if row.get(name) not in (None, "")}) for row in rows]
        write_text(path, "".join(f"{line}\n" for line in lines))
