"""Diving48: lists of clips with label numbers, and a vocabulary of 48 dives.

Source: Li et al., "RESOUND: Towards action recognition without representation bias", ECCV 2018. Version 2 of the
annotations gave 6,639 of the 16,997 videos that it kept another label, so the two must never meet.
"""

from __future__ import annotations

import json
from pathlib import Path

from lsn.data.clips.labels import check_labels
from lsn.data.clips.text import read_text
from lsn.data.official.lists import Row, Split, integer_of, read_json_objects, text_of
from lsn.errors import DataError
from lsn.parsing import parse_json

UNUSED_IN_V2 = 30
"""The number of the one dive that version 2 gives to no video. It stays a class, so that numbers keep their meaning."""


def read_v2(path: Path, names: tuple[str, ...]) -> Split:
    """A list of the corrected annotations.

    Raises:
        DataError: a row has the label that version 2 never gives, so that the file holds version 1.
    """
    split = read_v1(path, names)
    for row in split.rows:
        if row.label == names[UNUSED_IN_V2]:
            raise DataError(
                f"{split.where(row)}: label {UNUSED_IN_V2} ({row.label}), which version 2 gives to no video; this "
                "is the list of version 1: fetch that of version 2, or prepare diving48-v1"
            )
    return split


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Each dive is four words (take-off, somersaults, twists, position), which together are its name."""
    try:
        dives = parse_json(read_text(path, "vocabulary"))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON: {error}; fetch the file again") from None
    if not isinstance(dives, list) or not all(isinstance(words, list) for words in dives):
        raise DataError(f"{path}: expected a list of dives, each a list of words; fetch the file again")
    return check_labels([" ".join(map(str, words)) for words in dives], str(path))


def read_v1(path: Path, names: tuple[str, ...]) -> Split:
    """A list of the first annotations."""
    rows = []
    for line, video in read_json_objects(path):
        where = f"{path} line {line}"
        number = integer_of(video, "label", where)
        if not 0 <= number < len(names):
            raise DataError(f"{where}: label {number} is outside 0 to {len(names) - 1}, the numbers of the vocabulary")
        start, end = integer_of(video, "start_frame", where), integer_of(video, "end_frame", where)
        if start != 0:
            raise DataError(f"{where}: start_frame is {start}; the official clips are cut already, so it must be 0")
        if end < 1:
            raise DataError(f"{where}: end_frame is {end}; it must be at least 1")
        rows.append(Row(text_of(video, "vid_name", where), names[number], line))
    return Split(path, rows)
