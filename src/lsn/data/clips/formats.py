"""The ways to list clips: CSV, JSON lines, folders of class folders, TSN lists.

Each parser returns the clips and the problems of single rows; a row with an error is not among the clips.
What makes the whole file unusable raises a DataError at once.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from lsn.data.clips.rows import (
    Row,
    cell,
    check_row,
    check_unicode,
    group_cell,
    number_cell,
    path_cell,
    read_rows,
    text_cell,
)
from lsn.data.clips.table import Clip, Problem
from lsn.data.clips.text import read_text
from lsn.errors import shown
from lsn.remote import is_address

Parsed = tuple[list[Clip], list[Problem]]

REQUIRED_COLUMNS = ("path", "label")
OPTIONAL_COLUMNS = ("start_seconds", "end_seconds", "first_frame", "last_frame", "frame_pattern", "num_frames")
_MAX_DIGITS = 15
"""Of a number of frames, which a float can hold too."""


def parse_table(path: Path, *, root: str, group_column: str | None) -> Parsed:
    """CSV with a header, or JSON lines with its columns as keys; see docs/data.md for the columns.

    Raises:
        DataError: the file cannot be read, is empty, lacks a column, or a line is not a JSON object.
    """
    rows, problems = read_rows(path, required=REQUIRED_COLUMNS, optional=OPTIONAL_COLUMNS, group_column=group_column)
    clips: list[Clip] = []
    for line, row in rows:
        try:
            clips.append(_clip(row, line, root, group_column))
        except ValueError as error:
            problems.append(Problem("error", str(error), f"{path} line {line}"))
    return clips, problems


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
            clips.append(Clip(_from(root, name), label, line=line_number, num_frames=num_frames))
    return clips, problems


def _clip(row: Row, line: int, root: str, group_column: str | None) -> Clip:
    """The clip of one row.

    Raises:
        ValueError: a cell is missing or wrong; the message says which and what was expected.
    """
    check_row(row)
    path, label, group = path_cell(row), text_cell(row, "label"), group_cell(row, group_column)
    if label is None:
        raise ValueError("no label")
    check_unicode(f"{label}{group}")
    clip = Clip(
        path=_from(root, path),
        label=label,
        start_seconds=number_cell(row, "start_seconds"),
        end_seconds=number_cell(row, "end_seconds"),
        first_frame=_frames(row, "first_frame"),
        last_frame=_frames(row, "last_frame"),
        group=group,
        line=line,
        frame_pattern=text_cell(row, "frame_pattern"),
        num_frames=_frames(row, "num_frames"),
    )
    _check_window(clip)
    return clip


def _from(root: str, path: str) -> str:
    if is_address(path):
        return path
    return os.path.join(root, path)  # noqa: PTH118 - pathlib is 10 times slower, and lists are long


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


def _frames(row: Row, name: str) -> int | None:
    value = cell(row, name)
    if value is None:
        return None
    # Tables that passed through pandas write 12 as 12.0 when a cell of the column is empty.
    text = value.removesuffix(".0") if isinstance(value, str) else shown(value).removesuffix(".0")
    if isinstance(value, bool) or not text.isdecimal() or len(text) > _MAX_DIGITS:
        raise ValueError(f"{name} is {shown(value)}; expected a whole number of frames, 0 or more")
    return int(text)
