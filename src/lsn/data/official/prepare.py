"""From the official annotations and a folder of videos to manifests."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lsn.data.clips.folders import VIDEO_SUFFIXES
from lsn.data.clips.table import Problem, raise_on_errors
from lsn.data.clips.text import listing, suggestions
from lsn.data.official.datasets import Annotations, OfficialDataset, read_annotations
from lsn.data.official.lists import Row, Split
from lsn.errors import DataError, VideoError, shown
from lsn.files import new_folder, write_csv, write_text
from lsn.hardware import usable_cores
from lsn.video.decoding.frames_reader import numbered_files

RECORD = "dataset.json"
"""Written last: which data set a prepared folder holds."""


@dataclass(frozen=True)
class Prepared:
    """A prepared folder and what was found on the way."""

    annotations: Annotations
    train: Path
    """The manifest to train on."""
    val: Path
    """The manifest to validate on."""
    num_train: int
    num_val: int
    missing: tuple[str, ...]
    """Videos that were left out, as `file line N: id`."""
    unused_labels: tuple[str, ...]
    """Classes that no video has."""
    videos_checked: bool
    """Whether the videos were looked for."""


def prepare(
    name: str,
    *,
    annotations: str | Path,
    videos: str | Path | None,
    out: str | Path,
    skip_missing: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Writes `train.csv`, `val.csv`, `labels.txt` and `dataset.json` for a data set in its official form.

    Nothing is written unless all is well. Manifests name the classes, so no order of labels can be mistaken for
    another; `labels.txt` has the order by which published lists and checkpoints number them.

    Args:
        name: a key of `lsn.data.official.DATASETS`.
        annotations: folder with the official files, or with TSN lists made from them.
        videos: folder with a file or a folder of frames for each id; None writes bare names, for `data.root`.
        out: new or empty folder.
        skip_missing: leave videos that are not there out instead of refusing.
        progress: called with the number of frame folders counted and of all.

    Raises:
        ConfigError: an unknown data set.
        DataError: a file is missing or damaged; a row is wrong or twice there; videos are missing, empty or have
            holes; or the folder is in use.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: exists and is not an empty folder; delete it or choose another")
    lists = read_annotations(name, annotations)
    splits = {"train": lists.train, "val": lists.val}
    found = _checked_videos(lists, videos, skip_missing, progress)
    missing = [] if videos is None else _missing(lists, found)
    kept = {key: [row for row in split.rows if videos is None or row.name in found] for key, split in splits.items()}
    for key, rows in kept.items():
        if not rows:
            raise DataError(f"{splits[key].source}: none of its {len(splits[key].rows)} videos is in {videos}")
    left_out = tuple(f"{split.where(row)}: {row.name}" for split, row in missing)
    record = {"dataset": name, "clips": {key: len(rows) for key, rows in kept.items()}, "missing": len(missing)}
    with new_folder(out) as partial:
        for key, rows in kept.items():
            write_csv(partial / f"{key}.csv", _manifest(rows, found, lists.dataset, videos, out))
        write_text(partial / "labels.txt", "".join(f"{label}\n" for label in lists.labels))
        if left_out:
            write_text(partial / "missing.txt", "".join(f"{line}\n" for line in left_out))
        write_text(partial / RECORD, json.dumps(record, indent=2) + "\n")
    used = {row.label for rows in kept.values() for row in rows}
    return Prepared(
        lists,
        out / "train.csv",
        out / "val.csv",
        num_train=len(kept["train"]),
        num_val=len(kept["val"]),
        missing=left_out,
        unused_labels=tuple(label for label in lists.labels if label not in used),
        videos_checked=videos is not None,
    )


@dataclass(frozen=True)
class _Found:
    """What stands for an id in the folder of videos."""

    name: str
    num_frames: int | None
    """Of a folder of frames; None for a file."""


def _checked_videos(
    lists: Annotations, videos: str | Path | None, skip_missing: bool, progress: Callable[[int, int], None] | None
) -> dict[str, _Found]:
    """The entry for each id that has one, having made sure of the lists and the videos; none without a folder.

    Raises:
        DataError: a row is wrong or twice there, or videos are missing, empty or have holes.
    """
    problems = _row_problems(lists)
    found: dict[str, _Found] = {}
    if videos is not None:
        found, of_videos = _find_videos(lists, Path(videos), progress)
        problems += of_videos
        if (missing := _missing(lists, found)) and not skip_missing:
            problems.append(_missing_problem(missing, lists, Path(videos)))
    raise_on_errors(problems, way_to_the_rest="mend these first")
    return found


def _missing(lists: Annotations, found: Container[str]) -> list[tuple[Split, Row]]:
    return [(split, row) for split in (lists.train, lists.val) for row in split.rows if row.name not in found]


def _row_problems(lists: Annotations) -> list[Problem]:
    """Names without a class, and videos that are listed twice."""
    problems = []
    known = set(lists.labels)
    unknown: dict[str, list[str]] = {}
    first_of: dict[str, str] = {}
    for split in (lists.train, lists.val):
        for row in split.rows:
            where = split.where(row)
            if row.label not in known:
                unknown.setdefault(row.label, []).append(where)
            if row.name in first_of:
                message = f"video {row.name!r} is listed here and in {first_of[row.name]}; keep one of them"
                problems.append(Problem("error", message, where))
            first_of.setdefault(row.name, where)
    hints = suggestions(unknown, lists.labels)
    for label, lines in unknown.items():
        some = f"class {shown(label)} ({len(lines)} video{'s' * (len(lines) > 1)}) is not in the labels file"
        problems.append(Problem("error", f"{some}; {hints[label]}", lines[0]))
    for split in (lists.train, lists.val):
        if not split.rows:
            problems.append(Problem("error", "lists no videos", str(split.source)))
    return problems


def _find_videos(
    lists: Annotations, videos: Path, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, _Found], list[Problem]]:
    """The entry for each id that has one, and what is wrong with the entries."""
    wanted = {row.name: (split, row) for split in (lists.train, lists.val) for row in split.rows}
    entries, problems = _entries(videos, wanted)
    folders = [name for name, entry in entries.items() if _is(entry, os.DirEntry.is_dir)]
    found = {name: _Found(entry.name, None) for name, entry in entries.items()}
    # Listing folders is waiting for the disk, which threads share well.
    with ThreadPoolExecutor(max_workers=4 * usable_cores()) as pool:
        counts = pool.map(_count_frames, (Path(entries[name].path) for name in folders))
        for done, (name, counted) in enumerate(zip(folders, counts, strict=True), start=1):
            split, row = wanted[name]
            if isinstance(counted, str):
                problems.append(Problem("error", counted, split.where(row)))
            elif row.num_frames is not None and counted < row.num_frames:
                message = f"{entries[name].path} holds {counted} of {row.num_frames} frames; fetch it again"
                problems.append(Problem("error", message, split.where(row)))
            else:
                found[name] = _Found(name, counted)
            if progress:
                progress(done, len(folders))
    return found, problems


def _entries(
    videos: Path, wanted: Mapping[str, tuple[Split, Row]]
) -> tuple[dict[str, os.DirEntry[str]], list[Problem]]:
    entries: dict[str, os.DirEntry[str]] = {}
    problems = []
    try:
        with os.scandir(videos) as listed:
            for entry in sorted(listed, key=lambda entry: entry.name):
                stem, suffix = os.path.splitext(entry.name)  # noqa: PTH122 - on hundreds of thousands of names
                is_video = suffix.lower() in VIDEO_SUFFIXES and _is(entry, os.DirEntry.is_file)
                name = stem if is_video else entry.name
                if name not in wanted or not (is_video or _is(entry, os.DirEntry.is_dir)):
                    continue
                split, row = wanted[name]
                if name in entries:
                    message = f"{entries[name].path} and {entry.path} are both video {name!r}; remove one"
                    problems.append(Problem("error", message, split.where(row)))
                elif is_video and entry.stat().st_size == 0:
                    message = f"{entry.path} is an empty file (0 bytes); fetch it again"
                    problems.append(Problem("error", message, split.where(row)))
                entries.setdefault(name, entry)
    except OSError as error:
        raise DataError(f"{videos}: cannot list this folder of videos: {error.strerror}") from None
    return entries, problems


def _is(entry: os.DirEntry[str], what: Callable[[os.DirEntry[str]], bool]) -> bool:
    """A link that leads nowhere, or to itself, is nothing."""
    try:
        return what(entry)
    except OSError:
        return False


def _count_frames(folder: Path) -> int | str:
    """How many frames a folder holds, or what is wrong with it."""
    try:
        files = numbered_files(folder, None)
    except VideoError as error:
        return str(error)
    first = int(re.findall(r"\d+", files[0].stem)[-1])
    if first > 1:
        return f"{folder}: the frames begin with number {first}; those before are missing; fetch it again"
    return len(files)


def _missing_problem(missing: Sequence[tuple[Split, Row]], lists: Annotations, videos: Path) -> Problem:
    split, row = missing[0]
    total = len(lists.train.rows) + len(lists.val.rows)
    message = f"{len(missing)} of {total} videos are not in {videos}: {listing([row.name for _, row in missing])}; "
    if len(missing) == total:
        example = f"expected such as {videos / lists.dataset.example}"
        inner = [entry.name for entry in sorted(videos.iterdir()) if entry.is_dir()]
        message += example + (f"; is it in one of {listing(inner)}?" if inner else "")
    else:
        message += "fetch them, or leave them out with --skip-missing"
    return Problem("error", message, split.where(row))


def _manifest(
    rows: Sequence[Row],
    found: Mapping[str, _Found],
    dataset: OfficialDataset,
    videos: str | Path | None,
    out: Path,
) -> Iterator[tuple[object, ...]]:
    """The rows of a manifest, its header first."""
    # Relative to the manifests, so that both folders can be moved together.
    # By their resolved paths: with .. in a path, what a link points to counts.
    top = "" if videos is None else os.path.relpath(os.path.realpath(videos), os.path.realpath(out))
    suffix = "" if dataset.published_as_frames else Path(dataset.example).suffix
    yield "path", "label", "num_frames"
    for row in rows:
        entry = found.get(row.name) or _Found(row.name + suffix, None)
        yield os.path.join(top, entry.name), row.label, entry.num_frames  # noqa: PTH118
