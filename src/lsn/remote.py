"""Files at web addresses and in object storage, through fsspec."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lsn.errors import LSNError, shown

_BLOCK_BYTES = 8 << 20
_SILENT_SECONDS = 60
"""A web server that sends nothing for so long is given up; how long a whole file takes does not matter."""


def is_address(path: str) -> bool:
    """Whether a path is an address such as `s3://bucket/video.mp4`, not one of this machine's file system."""
    return "://" in path


def suffix_of(address: str) -> str:
    """The ending of the name of a file, without what a web address has behind it."""
    return Path(urlsplit(address).path if address.startswith(("http://", "https://")) else address).suffix


def file_system(address: str, *, error: type[LSNError]) -> tuple[Any, str]:
    """The file system of an address, and the path there.

    Raises:
        LSNError: of the given kind; there is no such kind of address, or its library is not installed.
    """
    import fsspec

    try:
        options = {}
        if address.startswith(("http://", "https://")):
            import aiohttp

            options["client_kwargs"] = {"timeout": aiohttp.ClientTimeout(total=None, sock_read=_SILENT_SECONDS)}
        return fsspec.core.url_to_fs(address, **options)
    except (ImportError, ValueError) as reason:
        raise error(f"{address}: cannot be opened ({shown(str(reason))}); install what fsspec needs for it") from None


@contextmanager
def local_copy(address: str, *, error: type[LSNError], on_block: Callable[[], object] | None = None) -> Iterator[Path]:
    """Fetches a file into a temporary one, which is there while the block runs and keeps the suffix.

    Args:
        address: of the file.
        error: what is raised.
        on_block: called now and then while it comes.

    Raises:
        LSNError: of the given kind; it cannot be fetched.
    """
    files, path = file_system(address, error=error)
    with tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        copy = Path(folder, f"copy{suffix_of(address)}")
        try:
            with files.open(path, "rb", block_size=_BLOCK_BYTES) as source, copy.open("wb") as file:
                while block := source.read(_BLOCK_BYTES):
                    file.write(block)
                    if on_block is not None:
                        on_block()
        except FileNotFoundError:
            raise error(f"{address}: no such file") from None
        except Exception as reason:  # each file system has errors of its own
            raise error(f"{address}: cannot be fetched ({shown(str(reason) or type(reason).__name__)})") from reason
        yield copy
