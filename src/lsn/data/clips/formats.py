"""The ways to list clips: CSV, JSON lines, folders of class folders, TSN lists.

Each parser returns the clips and the problems of single rows; a row with an error is not among the clips.
What makes the whole file unusable raises a DataError at once.
"""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsn.data.clips.table import Clip, Problem
from lsn.data.clips.text import listing, read_text
from lsn.errors import DataError, shown
from lsn.files import csv_rows
from lsn.files import read_text as read_any_text
from lsn.parsing import is_name, is_unicode, parse_json

Parsed = tuple[list[Clip], list[Problem]]

REQUIRED_COLUMNS = ("path", "label")
OPTIONAL_COLUMNS = ("start_seconds", "end_seconds", "first_frame", "last_frame", "frame_pattern", "num_frames")
_MAX_DIGITS = 15
"""Of a number of frames, which a float can hold too."""
_WINDOW_WORDS = ("start", "end", "first", "last")


def parse_csv(path: Path, *, root: str, group_column: str | None) -> Parsed:
    """Comma-separated values with a header; see docs/data.md for the columns.

    Raises:
        DataError: the file cannot be read, is empty, or lacks a column.
    """
    # Paths may be names of files that are not UTF-8, as `lsn.files.write_csv` writes them; labels may not.
    text = read_any_text(path, "manifest", error=DataError, errors="surrogateescape")
    try:
        rows = list(csv_rows(text))
    except ValueError as error:
        raise DataError(f"{path} {error}") from None
    columns = [name.strip() for name in rows[0][1]] if rows else []
    if not all(map(is_unicode, columns)):
        raise DataError(f"{path} line 1: {_not_unicode(''.join(columns))}")
    problems = _check_columns(path, columns, group_column)
    clips, row_problems = _clips_of_rows(path, _by_column(columns, rows[1:]), root, group_column)
    return clips, problems + row_problems


def parse_json_lines(path: Path, *, root: str, group_column: str | None) -> Parsed:
    """One JSON object a line, with the columns of the CSV as keys.

    Raises:
        DataError: the file cannot be read, or a line is not a JSON object.
    """
    rows: list[tuple[int, dict[str, Any]]] = []
    # U+2028 and the like may stand unescaped inside JSON, so str.splitlines would cut too often.
    for number, line in enumerate(read_text(path, "manifest").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path} line {number}: not JSON: {error.msg} at column {error.colno}") from None
        if not isinstance(row, dict):
            raise DataError(f'{path} line {number}: expected an object such as {{"path": ..., "label": ...}}')
        rows.append((number, row))
    keys = list(dict.fromkeys(key for _, row in rows for key in row))
    problems = _check_columns(path, keys, group_column) if rows else []
    clips, row_problems = _clips_of_rows(path, rows, root, group_column)
    return clips, problems + row_problems


def parse_tsn_list(path: Path, *, root: str, labels: Sequence[str]) -> Parsed:
    """Lines of `path num_frames label_number`, as TSN, TSM and their heirs write them.

    The path may hold spaces. Label numbers count from 0 in the order of `labels`.
    """
    rows: list[tuple[int, str, int, int]] = []
    problems: list[Problem] = []
    for line_number, line in enumerate(read_text(path, "TSN list").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            name, *integers = line.rsplit(maxsplit=2)
            num_frames, label_number = map(int, integers)
            rows.append((line_number, name.strip(), num_frames, label_number))
        except ValueError:
            message = f"expected 'path num_frames label_number', got {shown(line.strip())}"
            problems.append(Problem("error", message, f"{path} line {line_number}"))
    numbers = {row[3] for row in rows}
    if numbers and min(numbers) >= 1 and max(numbers) == len(labels):
        message = (
            f"label numbers run from {min(numbers)} to {max(numbers)}, off by one: {len(labels)} labels have the "
            f"numbers 0 to {len(labels) - 1}; subtract 1 from each"
        )
        return [], [*problems, Problem("error", message, str(path))]
    clips = []
    for line_number, name, num_frames, label_number in rows:
        where = f"{path} line {line_number}"
        if not 0 <= label_number < len(labels):
            message = (
                f"label number {shown(label_number)} is outside 0 to {len(labels) - 1}, the numbers of the labels file"
            )
            problems.append(Problem("error", message, where))
        elif num_frames < 1:
            problems.append(Problem("error", f"num_frames is {shown(num_frames)}; expected at least 1", where))
        else:
            label = labels[label_number]
            clips.append(Clip(os.path.join(root, name), label, line=line_number, num_frames=num_frames))  # noqa: PTH118
    return clips, problems


def _by_column(columns: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, dict[Any, Any]]]:
    """Rows as dictionaries; what has no column is under None."""
    for line, cells in rows:
        row: dict[Any, Any] = dict(zip(columns, cells, strict=False))
        if len(cells) > len(columns):
            row[None] = cells[len(columns) :]
        yield line, row


def _check_columns(path: Path, columns: Sequence[str], group_column: str | None) -> list[Problem]:
    """Raises for missing columns; warns of columns that look like ours and would be ignored."""
    found = f"columns found: {listing(columns)}" if columns else "the file is empty"
    hint = "; separate the columns by commas" if len(columns) == 1 and any(c in columns[0] for c in ";\t|") else ""
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: a column occurs twice ({found}); rename one")
    for name in (*REQUIRED_COLUMNS, *([group_column] if group_column else [])):
        if name in columns:
            continue
        what = "group column" if name == group_column else "column"
        by_folded = {column.casefold(): column for column in columns}
        near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
        rename = f"; did you mean {by_folded[near[0]]!r}? The name must be exactly {name!r}" if near else ""
        raise DataError(f"{path}: no {what} {name!r} ({found}){hint or rename}")
    known = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS, group_column)
    return [
        Problem("warning", f"column {name!r} is not read; the names are {', '.join(OPTIONAL_COLUMNS)}", str(path))
        for name in columns
        if name not in known and _resembles_ours(name)
    ]


def _resembles_ours(name: str) -> bool:
    """True for `start_time` or `num_frame`: windows that are ignored would be a silent mistake."""
    starts = name.casefold().replace("-", "_").split("_")[0] in _WINDOW_WORDS
    return starts or bool(difflib.get_close_matches(name.casefold(), OPTIONAL_COLUMNS, n=1, cutoff=0.85))


def _clips_of_rows(
    path: Path, rows: Iterable[tuple[int, Mapping[str, Any]]], root: str, group_column: str | None
) -> Parsed:
    clips: list[Clip] = []
    problems: list[Problem] = []
    for line, row in rows:
        try:
            clips.append(_clip(row, line, root, group_column))
        except ValueError as error:
            problems.append(Problem("error", str(error), f"{path} line {line}"))
    return clips, problems


def _clip(row: Mapping[Any, Any], line: int, root: str, group_column: str | None) -> Clip:
    """The clip of one row.

    Raises:
        ValueError: a cell is missing or wrong; the message says which and what was expected.
    """
    if None in row:
        raise ValueError("more cells than the header has; put quotes around a cell that holds a comma")
    path, label = _text(row, "path"), _text(row, "label")
    for name, value in (("path", path), ("label", label)):
        if value is None:
            raise ValueError(f"no {name}")
    group = row.get(group_column) if group_column else None
    group = "" if group is None else str(group).strip()
    if not is_name(str(path)):
        raise ValueError(f"path is {shown(path)}; no file can be named with NUL or halves of characters")
    if not is_unicode(f"{label}{group}"):
        raise ValueError(_not_unicode(f"{label}{group}"))
    clip = Clip(
        path=os.path.join(root, str(path)),  # noqa: PTH118 - pathlib is 10 times slower, and lists are long
        label=str(label),
        start_seconds=_seconds(row, "start_seconds"),
        end_seconds=_seconds(row, "end_seconds"),
        first_frame=_frames(row, "first_frame"),
        last_frame=_frames(row, "last_frame"),
        group=group,
        line=line,
        frame_pattern=_text(row, "frame_pattern"),
        num_frames=_frames(row, "num_frames"),
    )
    _check_window(clip)
    return clip


def _not_unicode(text: str) -> str:
    """What is wrong with a text that is not valid Unicode, as bytes of a file or as escapes in JSON."""
    half = next(sign for sign in text if not is_unicode(sign))
    if "\udc80" <= half <= "\udcff":  # what Python reads bytes as that are not UTF-8
        return f"not UTF-8 text (byte 0x{ord(half) - 0xDC00:02x}); save the manifest as UTF-8"
    return f"{shown(text)} holds half of a character (U+{ord(half):04X}), which no file can be written with; correct it"


def _check_window(clip: Clip) -> None:
    if {clip.start_seconds, clip.end_seconds} != {None} and {clip.first_frame, clip.last_frame} != {None}:
        raise ValueError("a window in seconds and one in frames; keep one of them")
    for start, end, unit in (
        (clip.start_seconds, clip.end_seconds, "seconds"),
        (clip.first_frame, clip.last_frame, "frames"),
    ):
        if end is not None and end <= (start or 0):
            raise ValueError(f"the window ends at {end:g} {unit}, not after its start at {start or 0:g}")
    if clip.num_frames is not None:
        if clip.num_frames == 0:
            raise ValueError("num_frames is 0; expected at least 1")
        last = clip.last_frame if clip.last_frame is not None else (clip.first_frame or 0) + 1
        if last > clip.num_frames:
            raise ValueError(f"the window reaches frame {last - 1}, but num_frames is {clip.num_frames}")


def _cell(row: Mapping[str, Any], name: str) -> Any:
    """The value of a cell; None for an empty one."""
    value = row.get(name)
    if isinstance(value, str):
        value = value.strip()
    return None if value == "" else value


def _text(row: Mapping[str, Any], name: str) -> str | None:
    value = _cell(row, name)
    if value is not None and not isinstance(value, str):
        names = "; labels are names, not numbers" if name == "label" else ""
        raise ValueError(f"{name} is {shown(value)}; expected text{names}")
    return value


def _seconds(row: Mapping[str, Any], name: str) -> float | None:
    value = _cell(row, name)
    try:
        seconds = None if value is None else float(value)
    except (OverflowError, TypeError, ValueError):
        seconds = math.nan
    if seconds is not None and not 0 <= seconds < math.inf:
        raise ValueError(f"{name} is {shown(value)}; expected seconds, 0 or more")
    return seconds


def _frames(row: Mapping[str, Any], name: str) -> int | None:
    value = _cell(row, name)
    if value is None:
        return None
    # Tables that passed through pandas write 12 as 12.0 when a cell of the column is empty.
    text = value.removesuffix(".0") if isinstance(value, str) else shown(value).removesuffix(".0")
    if isinstance(value, bool) or not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise ValueError(f"{name} is {shown(value)}; expected a whole number of frames, 0 or more")
    return int(text)
