"""Label files: the names of the classes in the order of their numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsn.data.clips.text import read_text
from lsn.errors import DataError, shown
from lsn.parsing import is_name, parse_json

_MAX_DIGITS = 15


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Reads one name a line, or from a .json file a list of names or a mapping from name to number.

    Something-Something's `labels.json` is such a mapping, with the numbers written as text.

    Raises:
        DataError: the file is missing or empty, a name occurs twice, a line is blank, or the numbers are not 0..K-1.
    """
    path = Path(path)
    text = read_text(path, "labels file")
    labels = _from_json(path, text) if path.suffix.lower() == ".json" else _from_lines(path, text)
    return check_labels(labels, str(path))


def check_labels(labels: Sequence[str], where: str) -> tuple[str, ...]:
    """The labels as they are, once known to be usable as an order.

    Raises:
        DataError: there are none, one occurs twice, or one holds NUL or half of a character.
    """
    if not labels:
        raise DataError(f"{where}: no labels; write one name a line, in the order of their numbers")
    first: dict[str, int] = {}
    for number, label in enumerate(labels):
        if not is_name(label):
            raise DataError(f"{where}: label {number} is {shown(label)}, with NUL or half of a character; correct it")
        if label in first:
            raise DataError(f"{where}: label {shown(label)} has two numbers, {first[label]} and {number}; keep one")
        first[label] = number
    return tuple(labels)


def _from_lines(path: Path, text: str) -> list[str]:
    labels = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    for number, label in enumerate(labels, start=1):
        if not label:
            raise DataError(f"{path} line {number}: blank line; it would shift the numbers of the labels after it")
    return labels


def _from_json(path: Path, text: str) -> list[str]:
    try:
        loaded = parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path} line {error.lineno}: not JSON: {error.msg}") from None
    if isinstance(loaded, dict):
        return _from_numbers(path, loaded)
    if isinstance(loaded, list) and all(isinstance(name, str) for name in loaded):
        return [name.strip() for name in loaded]
    raise DataError(f"{path}: expected a list of names or a mapping from name to number")


def _from_numbers(path: Path, numbers: dict[str, Any]) -> list[str]:
    labels: dict[int, str] = {}
    for name, number in numbers.items():
        digits = number if isinstance(number, str) else shown(number)
        if isinstance(number, bool) or not digits.isdecimal() or len(digits) > _MAX_DIGITS:
            raise DataError(
                f"{path}: label {shown(name)} has the number {shown(number)}; expected 0 to {len(numbers) - 1}"
            )
        if int(digits) in labels:
            raise DataError(
                f"{path}: labels {shown(labels[int(digits)])} and {shown(name)} have the same number {digits}"
            )
        labels[int(digits)] = name.strip()
    if labels and sorted(labels) == list(range(1, len(labels) + 1)):
        raise DataError(
            f"{path}: label numbers run from 1 to {len(labels)}; they must start at 0: if no name is missing, "
            "subtract 1 from each, else fetch the file again"
        )
    if labels and max(labels) >= len(labels):
        raise DataError(f"{path}: {len(labels)} labels need the numbers 0 to {len(labels) - 1}, found {max(labels)}")
    return [labels[number] for number in range(len(labels))]
