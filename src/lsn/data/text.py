"""Reading text files with errors that name the line, and the nearest of many names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from lsn.errors import DataError
from lsn.files import read_bytes

_MAX_NAMES = 10


def read_text(path: str | Path, what: str) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: the file.
        what: what the file is for, in the error for a missing one ("manifest", "labels file").

    Raises:
        DataError: the file is missing, is no regular file, is too large, or is not UTF-8 (with the line of the first
            bad byte).
    """
    path = Path(path)
    data = read_bytes(path, what, error=DataError)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path} line {line}: not UTF-8 text (byte 0x{data[error.start]:02x}); save the {what} as UTF-8"
        ) from None


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
