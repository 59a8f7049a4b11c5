"""Files at web addresses and in object storage, through fsspec."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lsn.errors import ConfigError, DataError, LSNError, shown
from lsn.files import atomic_path, held_lock, remove_leftovers

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SILENT_SECONDS = 60
"""A web server that sends nothing for so long is given up; how long a whole file takes does not matter."""
_LOCK_SECONDS = 0.1
_WAITS = (1.0, 4.0)
"""Seconds before a file is asked for again."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EIO)
"""Of this machine, not of a server."""
_COPY = re.compile(r"[0-9a-f]{16}-")
"""How the names of copies begin."""
_VERSION_KEYS = ("size", "ETag", "etag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "updated", "mtime")
"""What file systems of fsspec call what changes with the content of a file."""

CACHE_DIR_VARIABLE = "LSN_CACHE_DIR"
CACHE_GB_VARIABLE = "LSN_CACHE_GB"


def is_address(path: str) -> bool:
    """Whether a path is an address such as `s3://bucket/video.mp4`, not one of this machine's file system."""
    return "://" in path


def folder_of(address: str) -> str:
    """The address of the folder that a file lies in, without what a web address has behind its path."""
    return (address.split("?")[0].split("#")[0] if _is_web(address) else address).rpartition("/")[0]


def suffix_of(address: str) -> str:
    """The ending of the name of a file, without what a web address has behind it."""
    return Path(urlsplit(address).path if _is_web(address) else address).suffix


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def file_system(address: str, *, error: type[LSNError]) -> tuple[Any, str]:
    """The file system of an address, and the path there.

    Raises:
        LSNError: of the given kind; there is no such kind of address, or its library is not installed.
    """
    try:
        import fsspec
    except ImportError:
        raise error(f"{address}: files at addresses need fsspec; pip install 'lsn-video[remote]'") from None
    try:
        options = {}
        if _is_web(address):
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
    with tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        with _naming(address, error):
            copy = Path(folder, f"copy{suffix_of(address)}")
            _fetch(*file_system(address, error=error), copy, on_block)
        yield copy


def cached_copy(address: str, *, missing: type[LSNError] = DataError) -> Path:
    """A copy of a file that stays on this disk, for all processes of this machine, until its space is needed.

    It is fetched once, and again if the file has changed there, which each process asks once. Copies are below
    `~/.cache/lsn`, or where the environment variable LSN_CACHE_DIR says, and take up at most 20 GB together, or
    LSN_CACHE_GB: the least recently used go first. One may go while it is used elsewhere: then ask again.

    Args:
        address: of the file.
        missing: what is raised if there is no such file.

    Raises:
        LSNError: of the given kind; there is no such file.
        DataError: it cannot be fetched after some attempts, or is larger than all copies may be.
        ConfigError: LSN_CACHE_GB is no number above 0, or the folder of copies cannot be used.
    """
    copy = _place(address, missing)
    try:
        if _use(copy):
            return copy
        copy.parent.mkdir(parents=True, exist_ok=True)
        with _alone(copy.parent / ".lock"):
            if not _use(copy):  # another process may have fetched it meanwhile
                _, num_bytes = _versions[address]
                _make_room(copy.parent, num_bytes, address)
                _fetch_whole(address, copy, num_bytes, missing)
    except OSError as error:
        raise ConfigError(
            f"{copy.parent}: copies of remote files cannot be kept there ({error.strerror}); choose another folder "
            f"with the environment variable {CACHE_DIR_VARIABLE}"
        ) from None
    return copy


def is_cached(address: str) -> bool:
    """Whether the copy that `cached_copy` gave is still there."""
    return _place(address, DataError).exists()


_versions: dict[str, tuple[str, int]] = {}
"""Of the files that this process has asked for: what changes with their content, and bytes, by address."""
_fetched: set[str] = set()
"""Addresses of what this process has fetched."""


def _place(address: str, missing: type[LSNError]) -> Path:
    """Where the copy of a file is, or would be."""
    if address not in _versions:
        with _naming(address, DataError, missing=missing):
            files, path = file_system(address, error=DataError)
            about = _patiently(lambda: files.info(path))
        version = repr([about.get(name) for name in _VERSION_KEYS])
        _versions[address] = version, int(about.get("size") or 0)
    version, _ = _versions[address]
    digest = hashlib.sha256(f"{address} {version}".encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]", "_", urlsplit(address).path.rpartition("/")[2])[-100:]
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lsn")
    return folder / "remote" / f"{digest}-{name}"


def _use(copy: Path) -> bool:
    """Notes that a copy is used now; False if there is none."""
    try:
        os.utime(copy, ns=(time.time_ns(), copy.stat().st_mtime_ns))  # the time of its change says what is in it
    except FileNotFoundError:
        return False
    return True


def _max_cache_bytes() -> float:
    text = os.environ.get(CACHE_GB_VARIABLE, "").strip() or "20"
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = 0
    if not gigabytes > 0:
        raise ConfigError(f"{CACHE_GB_VARIABLE} is {text[:40]!r}; expected a number of gigabytes above 0")
    return gigabytes * 1e9


def _make_room(folder: Path, num_bytes: int, address: str) -> None:
    """Removes copies, the least recently used first, until one more of so many bytes fits."""
    most = _max_cache_bytes()
    if num_bytes > most:
        raise DataError(
            f"{address}: {num_bytes / 1e9:.1f} GB, but copies of remote files may take up {most / 1e9:g} GB together; "
            f"set the environment variable {CACHE_GB_VARIABLE}"
        )
    remove_leftovers(folder)
    copies = [(path.stat(), path) for path in folder.iterdir() if _COPY.match(path.name)]
    taken = sum(about.st_size for about, _ in copies)
    for about, path in sorted(copies, key=lambda copy: copy[0].st_atime_ns):
        if taken + num_bytes <= most:
            break
        path.unlink()
        taken -= about.st_size
    if address in _fetched:
        logger.warning(
            "%s is fetched again, as copies of remote files may take up %g GB together (%s); allow more, or train with "
            "data.shuffle_buffer",
            address,
            most / 1e9,
            CACHE_GB_VARIABLE,
        )
    _fetched.add(address)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Waits until no other process of this machine holds the lock."""
    lock.touch()
    while True:
        with held_lock(lock) as is_held:
            if is_held:
                yield
                return
        time.sleep(_LOCK_SECONDS)


def _fetch_whole(address: str, copy: Path, num_bytes: int, missing: type[LSNError]) -> None:
    def fetch() -> None:
        with atomic_path(copy) as partial:
            _fetch(*file_system(address, error=DataError), partial)
            if num_bytes and (found := partial.stat().st_size) != num_bytes:
                raise EOFError(f"{found:,} of {num_bytes:,} bytes came")

    with _naming(address, DataError, missing=missing):
        _patiently(fetch)


def _patiently(ask: Callable[[], T]) -> T:
    """Asks again, a little later each time, if a server does not answer."""
    for wait in _WAITS:
        try:
            return ask()
        except (LSNError, FileNotFoundError) as error:
            if _is_missing(error):
                raise
        except Exception as error:  # each file system has errors of its own
            if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
                raise
        time.sleep(wait)
    return ask()


def _fetch(files: Any, path: str, copy: Path, on_block: Callable[[], object] | None = None) -> None:
    from fsspec.callbacks import Callback

    hooks = {} if on_block is None else {"block": lambda *_, **__: on_block()}
    files.get_file(path, str(copy), callback=Callback(hooks=hooks))


@contextmanager
def _naming(address: str, error: type[LSNError], *, missing: type[LSNError] | None = None) -> Iterator[None]:
    """Turns what goes wrong in the block into an error that names the address."""
    try:
        yield
    except LSNError:
        raise
    except Exception as raised:  # each file system has errors of its own
        if isinstance(raised, OSError) and raised.errno in _DISK_ERRORS:
            raise
        if _is_missing(raised):
            raise (missing or error)(f"{address}: no such file") from None
        reason = raised.__cause__ if isinstance(raised, FileNotFoundError) and raised.__cause__ is not None else raised
        raise error(f"{address}: cannot be fetched ({shown(str(reason) or type(reason).__name__)})") from reason


def _is_missing(error: Exception) -> bool:
    """Whether a server has said that there is no such file."""
    # fsspec's file system for the web takes one that does not answer for a file that is missing.
    reason = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ is not None else error
    return isinstance(reason, FileNotFoundError) or getattr(reason, "status", None) == 404
