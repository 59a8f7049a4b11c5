"""Reading the files that data sets are published with, row by row, so that every error names file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsn.data.clips.text import read_text
from lsn.errors import DataError, shown
from lsn.parsing import is_unicode


@dataclass(frozen=True, slots=True)
class Row:
    """One video of an official list."""

    name: str
    """Its id: what its file or folder is called, without ending."""
    label: str
    line: int
    """Line of the list, counted from 1."""
    num_frames: int | None = None
    """Frames by the list; None if it does not say."""


@dataclass(frozen=True)
class Split:
    """The rows of one list."""

    source: Path
    rows: Sequence[Row]

    def where(self, row: Row) -> str:
        """The place of a row for messages."""
        return f"{self.source} line {row.line}"


def read_json_objects(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields the objects of a JSON list, each with the line that it starts on.

    Raises:
        DataError: the file is missing, is cut off, or holds something else than a list of objects.
    """
    text = read_text(path, "annotation file")
    decoder = json.JSONDecoder()
    position = _skip_space(text, 0)
    if text[position : position + 1] != "[":
        raise DataError(f"{path}: expected a JSON list of objects, one a video; fetch the file again")
    line, counted, separator = 1, 0, "["
    while True:
        position = _skip_space(text, position + 1)
        if text[position : position + 1] == "]" and separator == "[":
            break
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise _broken(path, text, error.pos, error.msg) from None
        except (RecursionError, ValueError) as error:  # nested without end, or a number of thousands of digits
            raise _broken(path, text, position, str(error)) from None
        if not isinstance(value, dict):
            raise DataError(f"{path} line {line}: expected an object, one a video, got {shown(value)}")
        yield line, value
        position = _skip_space(text, position)
        separator = text[position : position + 1]
        if separator == "]":
            break
        if separator != ",":
            raise _broken(path, text, position, "expected , or ]")
    end = _skip_space(text, position + 1)
    if end < len(text):
        raise _broken(path, text, end, "something follows the list")


def text_of(row: Mapping[str, Any], key: str, where: str) -> str:
    """The text under a key.

    Raises:
        DataError: there is none.
    """
    value = row.get(key)
    if not isinstance(value, str) or not value.strip() or not is_unicode(value):
        raise DataError(
            f"{where}: expected a text under {key!r}, got {shown(value)}; the keys are {', '.join(row):.200}"
        )
    return value.strip()


def integer_of(row: Mapping[str, Any], key: str, where: str) -> int:
    """The whole number under a key.

    Raises:
        DataError: there is none.
    """
    value = row.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(
            f"{where}: expected a whole number under {key!r}, got {shown(value)}; the keys are {', '.join(row):.200}"
        )
    return value


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _broken(path: Path, text: str, position: int, reason: str) -> DataError:
    line = text.count("\n", 0, position) + 1
    if not text[position:].strip() or reason.startswith("Unterminated"):
        return DataError(f"{path} line {line}: the file ends in the middle of its JSON; fetch it again")
    return DataError(f"{path} line {line}: not JSON: {reason}; fetch the file again")
