"""Reading and writing files so that nothing else is lost: whole or not at all, and only what was meant.

A file or folder under way has a hidden name that ends in `.partial`, and its writer holds a lock on it. What a killed
process left behind is therefore distinguished from what another process still writes, and the next writer removes it.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

from lsn.errors import ConfigError, LSNError

MAX_TEXT_BYTES = 256 << 20
"""Text files are read whole, so larger ones are refused; the longest official list has 2 MB."""
MAX_RECIPE_BYTES = 256 << 10
"""Recipes have some 5 kB."""

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""How a cell begins that a spreadsheet takes for a formula, or that stands for such a cell."""
_LINE_END = re.compile(r"\r\n|\r|\n")


@contextmanager
def errors_naming(path: str | Path) -> Iterator[None]:
    """Adds a file's name to errors of the system that have none, as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, renamed onto it when the block ends without an error.

    The temporary name keeps the suffix, so that encoders which look at it work. Folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with errors_naming(path), _locked_partial(path, path.stem, path.suffix, is_folder=False) as partial:
        try:
            yield partial
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
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
        # Names have 255 bytes at the most.
        partial = path.with_name(f".{os.fsencode(stem)[:150].decode(errors='ignore')}{again}.partial{suffix}")
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
    if path.is_symlink():  # where it leads is not ours to empty
        path.unlink()
    if is_folder:
        path.mkdir(exist_ok=True)
    else:
        path.touch()


def _empty(path: Path, is_folder: bool) -> None:
    if not is_folder:
        os.truncate(path, 0)
        return
    for entry in path.iterdir():
        _remove(entry)


def _remove(path: Path) -> None:
    """Removes a file, a link (not what it leads to), or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def is_leftover(path: Path) -> bool:
    """Whether a file or folder has the name of one under way; what a killed process left has, too."""
    return path.name.startswith(".") and (path.name.endswith(".partial") or Path(path.name).stem.endswith(".partial"))


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes left in a folder; what another process writes just now stays."""
    for path in filter(is_leftover, list(folder.iterdir())):
        with held_lock(path) as is_held:
            if is_held:
                _remove(path)


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


# Unlike pathlib's, these take any name, also one that is too long or has a NUL in it: nothing is called so.


def exists(path: str | Path) -> bool:
    """Whether there is a file, a folder or anything else of this name."""
    return os.path.exists(path)  # noqa: PTH110


def is_file(path: str | Path) -> bool:
    """Whether there is a regular file of this name."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of this name."""
    return os.path.isdir(path)  # noqa: PTH112


def version_of(path: str | Path) -> str:
    """Size and time of change of a file, or of the files of a folder; empty if there is none."""
    try:
        files = [Path(path)] if not is_folder(path) else [each for each in Path(path).iterdir() if each.is_file()]
        states = [each.stat() for each in files]
    except (OSError, ValueError):
        return ""
    times = max((state.st_mtime_ns for state in states), default=0)
    return f"{sum(state.st_size for state in states)} {times}" + (f" {len(states)}" if is_folder(path) else "")


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


def read_text(
    path: str | Path,
    what: str,
    *,
    error: type[LSNError],
    max_bytes: int = MAX_TEXT_BYTES,
    errors: Literal["strict", "surrogateescape"] = "strict",
) -> str:
    """The text of a UTF-8 file, with or without a byte order mark.

    Args:
        path: the file.
        what: what the file is for, in errors ("manifest", "recipe").
        error: what is raised.
        max_bytes: the most that is read.
        errors: with "surrogateescape", bytes that are no UTF-8 come as they do in names of files.

    Raises:
        LSNError: of the given kind: see `read_bytes`; or the file is not UTF-8 (with the line of the first bad byte).
    """
    data = read_bytes(path, what, error=error, max_bytes=max_bytes)
    try:
        return data.decode("utf-8-sig", errors)
    except UnicodeDecodeError as failure:
        line, byte = data.count(b"\n", 0, failure.start) + 1, data[failure.start]
        raise error(f"{path} line {line}: not UTF-8 text (byte 0x{byte:02x}); save the {what} as UTF-8") from None


def write_csv(path: str | Path, rows: Iterable[Iterable[object]]) -> None:
    """Writes a table atomically, its header first; None is an empty cell.

    A text that begins with = + - @ or a control character gets an apostrophe in front, so that no spreadsheet takes it
    for a formula; one that begins with apostrophes and then one of these gets another. `csv_rows` removes it.
    """
    writer = csv.writer(_Echo(), lineterminator="\r\n")  # it quotes cells that hold either of them, and no others
    lines = (writer.writerow(map(_guarded, row)) for row in rows)
    write_text(path, "".join(f"{line[:-2]}\n" for line in lines))


class _Echo:
    """What a writer of CSV writes to; the line becomes what `writerow` returns."""

    def write(self, line: str) -> str:
        return line


def _guarded(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the rows of a table but for blank lines, each with the line it starts on; cells as `write_csv` took them.

    Raises:
        ValueError: a quote is never closed (with the line where it opens), or a cell is as long as only an unclosed
            quote makes it.
    """
    lines = io.StringIO(text, newline="").readlines()
    if lines and not lines[-1].endswith(("\r", "\n")):
        lines[-1] += "\n"
    reader = csv.reader([*lines, "\r"])  # one blank line more, which an open quote takes into its cell
    start = 1
    try:
        for row in reader:
            if row and reader.line_num > len(lines):
                raise ValueError(_unclosed(row[-1], last_line=reader.line_num))
            if row:
                yield start, [cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell for cell in row]
            start = reader.line_num + 1
    except csv.Error as error:
        last_line = reader.line_num - 1
        for row in csv.reader(lines[start - 1 : last_line]):  # none, or the row that did not end
            raise ValueError(_unclosed(row[-1], last_line=last_line)) from None
        raise ValueError(f"line {start}: not CSV: {error}") from None


def _unclosed(cell: str, *, last_line: int) -> str:
    """What is wrong with a cell that takes whole lines, up to the end of the last one."""
    line = last_line + 1 - len(_LINE_END.findall(cell))
    return (
        f'line {line}: a quote (") opens a cell here and is never closed; close it, or write the whole cell in quotes '
        "and each quote in it twice"
    )


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically; names of files that are not valid Unicode come out byte by byte as they are."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="surrogateescape")
