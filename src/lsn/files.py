"""Reading and writing files so that nothing else is lost: whole or not at all, and only what was meant.

A file or folder under way has a hidden name that ends in `.partial`, and its writer holds a lock on it. What a killed
process left behind is therefore told from what another process still writes, and the next writer removes it.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

from lsn.errors import ConfigError, LSNError

MAX_TEXT_BYTES = 256 << 20
"""Text files are read whole, so larger ones are refused; the longest official list has 2 MB."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed onto it when the block ends without an error.

    The temporary name keeps the suffix, so that encoders which look at it work. Folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked_partial(path, path.stem, path.suffix, is_folder=False) as partial:
        try:
            yield partial
            partial.replace(path)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.filename is None:  # a full disk is reported without the file
                error.filename = str(path)
            raise


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Yields a folder that takes the place of `folder`, missing or empty, when the block ends without an error."""
    folder = Path(folder).resolve()  # where a link to an empty folder, or to none yet, leads
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked_partial(folder, folder.name, "", is_folder=True) as partial:
        try:
            yield partial
            if folder.exists():
                folder.rmdir()  # it is empty
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def _locked_partial(path: Path, stem: str, suffix: str, *, is_folder: bool) -> Iterator[Path]:
    """Yields a hidden name beside `path`, under which an empty file or folder is made and locked.

    The first name is free unless another process writes the same just now; what a killed one left under it is removed.
    """
    for number in itertools.count(1 if fcntl else os.getpid()):
        again = "" if number == 1 else f".{number}"
        partial = path.with_name(f".{stem[:100]}{again}.partial{suffix}")  # names have 255 bytes at the most
        _make(partial, is_folder)
        with held_lock(partial) as is_held:
            if is_held:
                _empty(partial, is_folder)
                yield partial
                return


@contextmanager
def held_lock(path: Path) -> Iterator[bool]:
    """Holds the lock of a file or folder while the block runs, or yields False if another process holds it.

    The lock ends with its process, however that ends. On file systems without such locks, and on Windows, nobody is
    kept out.
    """
    if fcntl is None:
        yield True
        return
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:  # who had it has just renamed it
        yield False
        return
    try:
        yield _lock(descriptor) and _is_still(path, descriptor)
    finally:
        os.close(descriptor)  # gives the lock back


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether a path names what was opened under it; it may have been renamed before the lock was free."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _make(path: Path, is_folder: bool) -> None:
    if is_folder:
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def _empty(path: Path, is_folder: bool) -> None:
    if not is_folder:
        os.truncate(path, 0)
        return
    for entry in path.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def check_outputs(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Makes sure that nothing a command reads is written over by it, by whatever name, link or hard link.

    Args:
        outputs: files to be written; None is no file.
        inputs: files, and folders of frames, that are read; what names no file (a camera, an address, None) is passed
            over.

    Raises:
        ConfigError: an output is an input, exists already inside an input folder, or is another output.
    """
    read = [Path(path) for path in inputs if path is not None and "\0" not in str(path)]
    written: list[Path] = []
    for output in outputs:
        if output is None:
            continue
        path = Path(output)
        for source in read:
            if _is_same(path, source) or (source.is_dir() and path.exists() and _is_inside(path, source)):
                raise ConfigError(f"{path}: would be written over {source}, which is read; choose another name")
        for other in written:
            if _is_same(path, other):
                raise ConfigError(f"{path}: two outputs have this name; give each its own")
        written.append(path)


def _is_same(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:  # one of them is not there yet
        return os.path.realpath(a) == os.path.realpath(b)


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def read_bytes(path: str | Path, what: str, *, error: type[LSNError], max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The content of a regular file, which must not be larger than a file of its kind can be.

    Args:
        path: the file.
        what: what the file is for, in errors ("manifest", "recipe").
        error: what is raised.
        max_bytes: the most that is read.

    Raises:
        LSNError: of the given kind: the file is missing, cannot be read, is larger, or is not regular (a folder, a
            device, a pipe: some never end).
    """
    path = Path(path)
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise error(f"{path}: is a folder; expected a {what}")
        if not stat.S_ISREG(about.st_mode):
            raise error(f"{path}: is no regular file but a device or a pipe; copy its content into a file")
        if about.st_size > max_bytes:
            raise error(
                f"{path}: {about.st_size:,} bytes, but a {what} has at most {max_bytes:,}; is it the right file?"
            )
        with path.open("rb") as file:
            return file.read(max_bytes)
    except FileNotFoundError:
        raise error(f"{path}: no such {what}; check the path (relative paths start from {Path.cwd()})") from None
    except (OSError, ValueError) as failure:  # ValueError: a name with a NUL in it
        reason = failure.strerror if isinstance(failure, OSError) else str(failure)
        raise error(f"{str(path)!r}: cannot read this {what}: {reason}") from None


def write_csv(path: str | Path, rows: Iterable[Iterable[object]]) -> None:
    """Writes a table atomically, its header first; None is an empty cell."""
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows)
    write_text(path, table.getvalue())


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically; names of files that are not valid Unicode come out byte by byte as they are."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")
