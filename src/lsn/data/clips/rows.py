"""Tables as CSV or JSON lines: rows with the names of their columns, and cells as text or numbers."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lsn.data.clips.table import Problem
from lsn.data.clips.text import listing, read_text
from lsn.errors import DataError, shown
from lsn.files import csv_rows
from lsn.files import read_text as read_any_text
from lsn.parsing import is_name, is_unicode, parse_json

Row = Mapping[Any, Any]
"""Cells by column; what has no column is under None."""
_WINDOW_WORDS = ("start", "end", "first", "last")


def read_rows(
    path: Path, *, required: Sequence[str], optional: Sequence[str], group_column: str | None
) -> tuple[list[tuple[int, Row]], list[Problem]]:
    """The rows of a `.csv` with a header, or of a `.jsonl` with the columns as keys, each with its line.

    Args:
        path: the file.
        required: columns that must be there.
        optional: columns that may be there; a column that looks like one of these is a warning.
        group_column: column that must be there, too.

    Raises:
        DataError: the file cannot be read, lacks a column, or a line is not a JSON object.
    """
    rows: list[tuple[int, Row]]
    if path.suffix.lower() == ".csv":
        columns, rows = _csv(path)
    else:
        rows = list(_json_lines(path))
        columns = list(dict.fromkeys(key for _, row in rows for key in row))
        if not rows:
            return [], []
    return rows, _check_columns(path, columns, required, optional, group_column)


def text_cell(row: Row, name: str) -> str | None:
    """The text of a cell, None for an empty one.

    Raises:
        ValueError: it is no text.
    """
    value = cell(row, name)
    if value is not None and not isinstance(value, str):
        names = "; labels are names, not numbers" if name == "label" else ""
        raise ValueError(f"{name} is {shown(value)}; expected text{names}")
    return value


def path_cell(row: Row) -> str:
    """The path of a row.

    Raises:
        ValueError: there is none, or no file can have such a name.
    """
    path = text_cell(row, "path")
    if path is None:
        raise ValueError("no path")
    if not is_name(path):
        raise ValueError(f"path is {shown(path)}; no file can be named with NUL or halves of characters")
    return path


def group_cell(row: Row, group_column: str | None) -> str:
    """The group of a row; empty if it has none."""
    group = row.get(group_column) if group_column else None
    return "" if group is None else str(group).strip()


def number_cell(row: Row, name: str, *, most: float = math.inf, expected: str = "seconds, 0 or more") -> float | None:
    """The number in a cell, at least 0; None for an empty one.

    Raises:
        ValueError: it is not such a number.
    """
    value = cell(row, name)
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (OverflowError, TypeError, ValueError):
        number = math.nan
    if (number is None and value is not None) or (number is not None and not 0 <= number <= min(most, 1e300)):
        raise ValueError(f"{name} is {shown(value)}; expected {expected}")
    return number


def cell(row: Row, name: str) -> Any:
    """The value of a cell; None for an empty one."""
    value = row.get(name)
    if isinstance(value, str):
        value = value.strip()
    return None if value == "" else value


def check_row(row: Row) -> None:
    """Refuses a row with more cells than columns.

    Raises:
        ValueError: it has.
    """
    if None in row:
        raise ValueError("more cells than the header has; put quotes around a cell that holds a comma")


def check_unicode(text: str) -> None:
    """Refuses text that cannot be written.

    Raises:
        ValueError: it is not valid Unicode.
    """
    if not is_unicode(text):
        raise ValueError(_not_unicode(text))


def _csv(path: Path) -> tuple[list[str], list[tuple[int, Row]]]:
    # Paths may be names of files that are not UTF-8, as `lsn.files.write_csv` writes them; labels may not.
    text = read_any_text(path, "manifest", error=DataError, errors="surrogateescape")
    try:
        rows = list(csv_rows(text))
    except ValueError as error:
        raise DataError(f"{path} {error}") from None
    columns = [name.strip() for name in rows[0][1]] if rows else []
    if not all(map(is_unicode, columns)):
        raise DataError(f"{path} line 1: {_not_unicode(''.join(columns))}")
    return columns, list(_by_column(columns, rows[1:]))


def _by_column(columns: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, Row]]:
    for line, cells in rows:
        row: dict[Any, Any] = dict(zip(columns, cells, strict=False))
        if len(cells) > len(columns):
            row[None] = cells[len(columns) :]
        yield line, row


def _json_lines(path: Path) -> Iterator[tuple[int, Row]]:
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
        yield number, row


def _check_columns(
    path: Path, columns: Sequence[str], required: Sequence[str], optional: Sequence[str], group_column: str | None
) -> list[Problem]:
    """Raises for missing columns; warns of columns that look like ours and would be ignored."""
    found = f"columns found: {listing(columns)}" if columns else "the file is empty"
    hint = "; separate the columns by commas" if len(columns) == 1 and any(c in columns[0] for c in ";\t|") else ""
    if len(set(columns)) < len(columns):
        raise DataError(f"{path}: a column occurs twice ({found}); rename one")
    for name in (*required, *([group_column] if group_column else [])):
        if name in columns:
            continue
        what = "group column" if name == group_column else "column"
        by_folded = {column.casefold(): column for column in columns}
        near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
        rename = f"; did you mean {by_folded[near[0]]!r}? The name must be exactly {name!r}" if near else ""
        raise DataError(f"{path}: no {what} {name!r} ({found}){hint or rename}")
    known = (*required, *optional, group_column)
    names = [name for name in (*required, *optional) if name not in ("path", "label")]
    return [
        Problem("warning", f"column {name!r} is not read; the names are {', '.join(names)}", str(path))
        for name in columns
        if name not in known and _resembles(name, names)
    ]


def _resembles(name: str, names: Sequence[str]) -> bool:
    """True for `start_time` or `num_frame`: windows that are ignored would be a silent mistake."""
    starts = name.casefold().replace("-", "_").split("_")[0] in _WINDOW_WORDS
    return starts or bool(difflib.get_close_matches(name.casefold(), names, n=1, cutoff=0.85))


def _not_unicode(text: str) -> str:
    """What is wrong with a text that is not valid Unicode, as bytes of a file or as escapes in JSON."""
    half = next(sign for sign in text if not is_unicode(sign))
    if "\udc80" <= half <= "\udcff":  # what Python reads bytes as that are not UTF-8
        return f"not UTF-8 text (byte 0x{ord(half) - 0xDC00:02x}); save the manifest as UTF-8"
    return f"{shown(text)} holds half of a character (U+{ord(half):04X}), which no file can be written with; correct it"
