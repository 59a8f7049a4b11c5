"""Reading text files with errors that name the line, and the nearest of many names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from lsn import files
from lsn.errors import DataError, shown

_MAX_NAMES = 10
_MAX_COMPARED = 100
"""Letters of a name; the time to compare two grows with the product of their lengths."""


def read_text(path: str | Path, what: str) -> str:
    """The text of a UTF-8 file; see `lsn.files.read_text`.

    Raises:
        DataError: the file is missing, is no regular file, is too large, or is not UTF-8.
    """
    return files.read_text(path, what, error=DataError)


def suggestion(name: str, options: Sequence[str]) -> str:
    """Ends an error about an unknown name among possibly hundreds: the nearest one, or the first few.

    Unlike `lsn.errors.did_you_mean` it also sees through upper and lower case and stays short.
    """
    return suggestions([name], options)[name]


def suggestions(names: Iterable[str], options: Sequence[str]) -> dict[str, str]:
    """The `suggestion` for each of many names; only for the first few is the nearest looked for, which takes long."""
    by_folded = {option.casefold()[:_MAX_COMPARED]: option for option in options}
    some, said = f"choose from: {listing(options)}", {}
    for number, name in enumerate(names):
        folded = name.casefold()[:_MAX_COMPARED]
        near = difflib.get_close_matches(folded, by_folded, n=1, cutoff=0.6) if number < _MAX_NAMES else []
        said[name] = f"did you mean {shown(by_folded[near[0]])}?" if near else some
    return said


def listing(names: Sequence[str]) -> str:
    """Names joined by commas, the first ten and how many more; long ones are cut."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(name if len(name) <= _MAX_COMPARED else shown(name) for name in names[:_MAX_NAMES]) + more
