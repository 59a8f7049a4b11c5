"""Reading text files with errors that name the line, and the nearest of many names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from lsn import files
from lsn.errors import DataError

_MAX_NAMES = 10


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
    by_folded = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    if near:
        return f"did you mean {by_folded[near[0]]!r}?"
    return f"choose from: {listing(options)}"


def listing(names: Sequence[str]) -> str:
    """Names joined by commas, the first ten and how many more."""
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more
