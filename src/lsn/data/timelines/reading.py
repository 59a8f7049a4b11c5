"""From a file or folder of any format to the one table of long videos, and back."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from lsn.config.timelines import Format
from lsn.data.clips.labels import check_labels, read_labels
from lsn.data.clips.table import Problem, raise_on_errors
from lsn.data.timelines import (
    activitynet,
    e2e_spot,
    elan,
    frame_labels,
    label_studio,
    tables,
    thumos,
    via,
    webvtt,
)
from lsn.data.timelines.checks import label_problems
from lsn.data.timelines.source import Source, read_json
from lsn.data.timelines.table import TimelineManifest, TimelineVideo, Unlabelled
from lsn.errors import DataError, did_you_mean
from lsn.files import exists, is_folder

FORMATS: tuple[Format, ...] = get_args(Format)
"""Names of the formats."""


def read_timelines(
    path: str | Path,
    *,
    root: str | Path | None = None,
    labels: Sequence[str] | str | Path | None = None,
    group_column: str | None = None,
    subset: str | None = None,
    fps: float | None = None,
    unlabelled: Unlabelled = "background",
    background: str = "background",
) -> TimelineManifest:
    """Reads long videos and their events; the format is recognised by the content.

    Our own CSV and JSON lines, ActivityNet's JSON, Label Studio's JSON, ELAN's .eaf, projects of VIA 3, WebVTT, a label
    for every frame (Breakfast, 50Salads, GTEA), THUMOS14's text files, and E2E-Spot's JSON.

    Args:
        path: the file, or the folder where a format has a file per video or class.
        root: folder that the videos lie in; by default that of the file.
        labels: the events' names in the order of their numbers, or a file of them; by default the sorted names found.
        group_column: column or key of our own tables that names the source of a video.
        subset: of a file that names subsets, the one that is read, such as "training".
        fps: rate at which frame numbers count, where the file does not say it or says it wrong.
        unlabelled: what time without an event is.
        background: name of the background.

    Raises:
        DataError: the file cannot be used, or has errors; up to ten are listed.
        VideoError: frames are to be converted, and a video cannot be opened.
    """
    manifest, problems = parse_timelines(
        path,
        root=root,
        labels=labels,
        group_column=group_column,
        subset=subset,
        fps=fps,
        unlabelled=unlabelled,
        background=background,
    )
    raise_on_errors(problems + label_problems(manifest, background))
    return manifest


def parse_timelines(
    path: str | Path,
    *,
    root: str | Path | None = None,
    labels: Sequence[str] | str | Path | None = None,
    group_column: str | None = None,
    subset: str | None = None,
    fps: float | None = None,
    unlabelled: Unlabelled = "background",
    background: str = "background",
) -> tuple[TimelineManifest, list[Problem]]:
    """Like `read_timelines`, but returns the problems of single events; those events are not in the table.

    Raises:
        DataError: the file as a whole cannot be used.
    """
    path = Path(path)
    start = os.fspath(_folder_of_videos(path) if root is None else root)
    source = Source(path, "" if start == "." else start, group_column=group_column, fps=fps, background=background)
    try:
        videos = _parse(source)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from None
    if subset is not None:
        videos = _of_subset(videos, subset, path)
    if labels is None:
        names = tuple(sorted({event.label for video in videos for event in video.events}))
    else:
        names = read_labels(labels) if isinstance(labels, str | Path) else check_labels(labels, "labels")
    return TimelineManifest(str(path), names, tuple(videos), unlabelled), source.problems


def write_timelines(
    path: str | Path, manifest: TimelineManifest, *, format: Format | None = None, background: str = "background"
) -> None:
    """Writes long videos and their events so that `read_timelines` and the tools of that format read them.

    Args:
        path: the file; a folder, for formats with a file per video or class.
        manifest: what is written.
        format: by default that of the suffix: `csv` or `jsonl`.
        background: name of the background, for `frame-labels`.

    Raises:
        DataError: the format cannot hold an event, or no format is given.
        VideoError: a format counts frames, and a video cannot be opened.
    """
    path = Path(path)
    name = format or path.suffix.lower().removeprefix(".")
    if name not in FORMATS or (format is None and name not in ("csv", "jsonl")):
        raise DataError(f"{path}: no format is given; choose from {', '.join(FORMATS)}")
    if name == "frame-labels":
        frame_labels.write(path, manifest, background=background)
        return
    writers: dict[str, Callable[[Path, TimelineManifest], None]] = {
        "csv": partial(tables.write, as_csv=True),
        "jsonl": partial(tables.write, as_csv=False),
        "activitynet": activitynet.write,
        "label-studio": label_studio.write,
        "elan": elan.write,
        "via": via.write,
        "webvtt": webvtt.write,
        "thumos": thumos.write,
        "e2e-spot": e2e_spot.write,
    }
    writers[name](path, manifest)


def _folder_of_videos(path: Path) -> Path:
    if path.suffix.lower() == ".bundle":
        return path.parent.parent
    return path if is_folder(path) else path.parent


def _parse(source: Source) -> list[TimelineVideo]:
    path, suffix = source.path, source.path.suffix.lower()
    if is_folder(path):
        return _parse_folder(source)
    if suffix in (".csv", ".jsonl"):
        return tables.parse(source)
    if source.group_column:
        raise DataError(f"{path}: only .csv and .jsonl have columns, so group_column cannot be used")
    if suffix == ".json":
        return _parse_json(source, read_json(path))
    if suffix == elan.SUFFIX:
        return elan.parse(source, [path])
    if suffix == webvtt.SUFFIX:
        return webvtt.parse(source, [path])
    if suffix == ".bundle":
        return frame_labels.parse(source, frame_labels.files_of(path))
    if suffix == ".txt":
        return thumos.parse(source, [path])
    if not exists(path):
        raise DataError(f"{path}: no such file or folder; relative paths start from {Path.cwd()}")
    raise DataError(
        f"{path}: cannot recognise timelines by {suffix or 'no ending'!r}; expected .csv, .jsonl, .json, .eaf, .vtt, "
        ".txt, .bundle, or a folder of such files"
    )


def _parse_json(source: Source, content: Any) -> list[TimelineVideo]:
    if activitynet.is_this(content):
        return activitynet.parse(source, content)
    if via.is_this(content):
        return via.parse(source, content)
    if isinstance(content, list) and content:
        kinds = {number: label_studio.is_this(item) for number, item in enumerate(content, start=1)}
        for number, item in enumerate(content, start=1):
            if not (label_studio.is_this(item) or e2e_spot.is_this(item)):
                raise DataError(
                    f"{source.path}: item {number} of the list is neither a task of Label Studio (data, annotations) "
                    "nor a video of E2E-Spot (video, events); export JSON, not JSON-MIN or CSV, from Label Studio"
                )
        if len(set(kinds.values())) > 1:
            other = next(number for number, kind in kinds.items() if kind != kinds[1])
            raise DataError(f"{source.path}: items 1 and {other} are of two tools' formats; keep each in its own file")
        return label_studio.parse(source, content) if kinds[1] else e2e_spot.parse(source, content)
    raise DataError(
        f"{source.path}: JSON of no known format; expected ActivityNet's (database or results), a project of VIA 3, "
        "tasks of Label Studio, or E2E-Spot's list of videos"
    )


def _parse_folder(source: Source) -> list[TimelineVideo]:
    folder = source.path
    if frame_labels.is_this(folder):
        return frame_labels.parse(source, frame_labels.files_of(folder))
    by_suffix = {
        suffix: sorted(file for file in folder.iterdir() if file.suffix.lower() == suffix)
        for suffix in (elan.SUFFIX, webvtt.SUFFIX, ".txt")
    }
    found = {suffix: files for suffix, files in by_suffix.items() if files}
    if len(found) > 1:
        names = " and ".join(f"{len(files)} {suffix}" for suffix, files in found.items())
        raise DataError(f"{folder}: files of two tools ({names}); keep each tool's in a folder of its own")
    if elan.SUFFIX in found:
        return elan.parse(source, found[elan.SUFFIX])
    if webvtt.SUFFIX in found:
        return webvtt.parse(source, found[webvtt.SUFFIX])
    if thumos.is_this(by_suffix[".txt"]):
        return thumos.parse(source, by_suffix[".txt"])
    if by_suffix[".txt"]:
        return frame_labels.parse(source, by_suffix[".txt"])
    raise DataError(f"{folder}: no timelines in this folder; expected .eaf, .vtt or .txt files, or groundTruth/*.txt")


def _of_subset(videos: Sequence[TimelineVideo], subset: str, path: Path) -> list[TimelineVideo]:
    names = sorted({video.subset for video in videos} - {""})
    if not names:
        raise DataError(f"{path}: names no subsets, so subset={subset!r} cannot be used")
    if subset not in names:
        raise DataError(f"{path}: no subset {subset!r}; {did_you_mean(subset, names)}")
    return [replace(video, subset="") for video in videos if video.subset == subset]
