"""Files at web addresses and in object storage, through fsspec."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lsn.errors import LSNError, shown


def is_address(path: str) -> bool:
    """Whether a path is an address such as `s3://bucket/video.mp4`, not one of this machine's file system."""
    return "://" in path


def file_system(address: str, *, error: type[LSNError]) -> tuple[Any, str]:
    """The file system of an address, and the path there.

    Raises:
        LSNError: of the given kind; there is no such kind of address, or its library is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as reason:
        raise error(f"{address}: cannot be opened ({shown(str(reason))}); install what fsspec needs for it") from None


@contextmanager
def local_copy(address: str, *, error: type[LSNError]) -> Iterator[Path]:
    """Fetches a file into a temporary one, which is there while the block runs and keeps the suffix.

    Raises:
        LSNError: of the given kind; it cannot be fetched.
    """
    files, path = file_system(address, error=error)
    with tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        copy = Path(folder, f"copy{Path(path).suffix}")
        try:
            files.get_file(path, str(copy))
        except FileNotFoundError:
            raise error(f"{address}: no such file") from None
        except Exception as reason:  # each file system has errors of its own
            raise error(f"{address}: cannot be fetched ({shown(str(reason) or type(reason).__name__)})") from reason
        yield copy
