"""Something-Something V1 and V2: the official CSV and JSON files, and the TSN lists made from them.

Source: Goyal et al., "The something something video database", ICCV 2017; V2: Mahdisoltani et al., 2018.
"""

from __future__ import annotations

from pathlib import Path

from lsn.data.clips.formats import parse_tsn_list
from lsn.data.clips.labels import read_labels
from lsn.data.clips.text import read_text
from lsn.data.official.lists import Row, Split, read_json_objects, text_of
from lsn.errors import DataError


def read_names(path: Path) -> tuple[str, ...]:
    """The class names, sorted.

    V1's own file has an order of its own, which nothing published numbers its classes by: V2, the TSN lists of both
    versions and the classifiers of published checkpoints all number the sorted names.
    """
    return tuple(sorted(read_labels(path)))


def read_sorted_names(path: Path) -> tuple[str, ...]:
    """The class names that TSN lists number, which must be sorted in the file.

    Raises:
        DataError: the file has another order, such as that of V1's own labels file.
    """
    names = read_labels(path)
    for number, (found, expected) in enumerate(zip(names, sorted(names), strict=True)):
        if found != expected:
            raise DataError(
                f"{path} line {number + 1}: {found!r}, where the sorted names have {expected!r}; TSN lists of "
                "Something-Something number the sorted names, V1's own labels file has another order: sort this file"
            )
    return names


def read_csv(path: Path, labels: tuple[str, ...]) -> Split:
    """V1's list: rows of `id;class name`."""
    rows = []
    for line, text in enumerate(read_text(path, "annotation file").split("\n"), start=1):
        if not text.strip():
            continue
        name, separator, label = text.partition(";")
        if not (separator and name.strip() and label.strip()):
            raise DataError(f"{path} line {line}: expected 'id;class name', got {text.strip()!r}")
        rows.append(Row(name.strip(), label.strip(), line))
    return Split(path, rows)


def read_json(path: Path, labels: tuple[str, ...]) -> Split:
    """V2's list: objects with `id` and `template`, whose brackets are no part of the class name."""
    rows = []
    for line, video in read_json_objects(path):
        where = f"{path} line {line}"
        label = text_of(video, "template", where).replace("[", "").replace("]", "")
        rows.append(Row(text_of(video, "id", where), label, line))
    return Split(path, rows)


def read_tsn(path: Path, labels: tuple[str, ...]) -> Split:
    """A TSN list: rows of `id num_frames label_number`, with or without folders in front of the id."""
    clips, problems = parse_tsn_list(path, root="", labels=labels)
    if problems:
        raise DataError(f"{problems[0]}" + (f"; and {len(problems) - 1} more such lines" if len(problems) > 1 else ""))
    return Split(path, [Row(Path(clip.path).name, clip.label, clip.line, clip.num_frames) for clip in clips])
