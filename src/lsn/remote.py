"""Files at web addresses and in object storage, through fsspec."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lsn.errors import ConfigError, LSNError, shown
from lsn.files import atomic_path, held_lock, is_leftover, remove_leftovers

_SILENT_SECONDS = 60
"""A web server that sends nothing for so long is given up; how long a whole file takes does not matter."""
_LOCK_SECONDS = 0.1
_VERSIONS = ("size", "ETag", "etag", "Content-MD5", "Digest", "Last-Modified", "LastModified", "updated", "mtime")
"""What file systems of fsspec call what changes with the content of a file."""

CACHE_DIR_VARIABLE = "LSN_CACHE_DIR"
CACHE_GB_VARIABLE = "LSN_CACHE_GB"


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
    try:
        import fsspec
    except ImportError:
        raise error(f"{address}: files at addresses need fsspec; pip install 'lsn-video[remote]'") from None
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
    with tempfile.TemporaryDirectory(prefix="lsn-") as folder:
        copy = Path(folder, f"copy{suffix_of(address)}")
        with _naming(address, error):
            _fetch(*file_system(address, error=error), copy, on_block)
        yield copy


def cached_copy(address: str, *, error: type[LSNError]) -> Path:
    """A copy of a file that stays on this disk, for all processes of this machine, until its space is needed.

    It is fetched once, and again if the file has changed there, which each process asks once. Copies are below
    `~/.cache/lsn`, or where the environment variable LSN_CACHE_DIR says, and have 20 GB together, or LSN_CACHE_GB:
    those that were not used for longest go first. One may go while it is used elsewhere: then ask again.

    Args:
        address: of the file.
        error: what is raised.

    Raises:
        LSNError: of the given kind; it cannot be fetched, or is larger than all copies may be.
        ConfigError: LSN_CACHE_GB is no number above 0.
    """
    if address not in _versions:
        _versions[address] = _version(address, error)
    version, num_bytes = _versions[address]
    folder = _cache_folder()
    copy = folder / f"{hashlib.sha256(f'{address} {version}'.encode()).hexdigest()[:16]}-{_name_of(address)}"
    try:
        os.utime(copy)  # used now
        return copy
    except FileNotFoundError:
        pass
    with _naming(address, error):
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{copy.name}.lock"):
            if not copy.exists():  # another process may have fetched it meanwhile
                _make_room(folder, num_bytes, address, error)
                with atomic_path(copy) as partial:
                    _fetch(*file_system(address, error=error), partial)
    return copy


_versions: dict[str, tuple[str, int]] = {}
"""Of the files that this process has asked for, by their address."""


def _version(address: str, error: type[LSNError]) -> tuple[str, int]:
    """What changes with the content of a file, as far as its server says, and its size in bytes."""
    files, path = file_system(address, error=error)
    with _naming(address, error):
        about = files.info(path)
    return repr([about.get(name) for name in _VERSIONS]), int(about.get("size") or 0)


def _name_of(address: str) -> str:
    return re.sub(r"[^\w.-]", "_", urlsplit(address).path.rpartition("/")[2])[-100:]


def _cache_folder() -> Path:
    chosen = os.environ.get(CACHE_DIR_VARIABLE)
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "lsn")


def _max_cache_bytes() -> float:
    text = os.environ.get(CACHE_GB_VARIABLE, "").strip() or "20"
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = 0
    if not gigabytes > 0:
        raise ConfigError(f"{CACHE_GB_VARIABLE} is {text[:40]!r}; expected a number of gigabytes above 0")
    return gigabytes * 1e9


def _make_room(folder: Path, num_bytes: int, address: str, error: type[LSNError]) -> None:
    """Removes copies, those first that were not used for longest, until one more of so many bytes fits."""
    most = _max_cache_bytes()
    if num_bytes > most:
        raise error(
            f"{address}: {num_bytes / 1e9:.1f} GB, but copies of remote files may have {most / 1e9:g} GB together; set "
            f"the environment variable {CACHE_GB_VARIABLE}"
        )
    copies = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # renamed or removed by another process
            if path.is_file():
                about = path.stat()
                copies.append((about.st_mtime, about.st_size, path))
    taken = sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if taken + num_bytes <= most:
            break
        if size and not is_leftover(path):  # locks are empty, and what is under way belongs to its writer
            path.unlink(missing_ok=True)
            taken -= size
    remove_leftovers(folder)


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


def _fetch(files: Any, path: str, copy: Path, on_block: Callable[[], object] | None = None) -> None:
    from fsspec.callbacks import Callback

    hooks = {} if on_block is None else {"block": lambda *_, **__: on_block()}
    files.get_file(path, str(copy), callback=Callback(hooks=hooks))


@contextmanager
def _naming(address: str, error: type[LSNError]) -> Iterator[None]:
    try:
        yield
    except LSNError:
        raise
    except Exception as raised:  # each file system has errors of its own
        # fsspec's for the web takes a server that does not answer for a file that is missing.
        reason = raised.__cause__ if isinstance(raised, FileNotFoundError) and raised.__cause__ is not None else raised
        if isinstance(reason, FileNotFoundError) or getattr(reason, "status", None) == 404:
            raise error(f"{address}: no such file") from None
        raise error(f"{address}: cannot be fetched ({shown(str(reason) or type(reason).__name__)})") from reason
