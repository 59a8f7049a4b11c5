"""Videos and folders of frames inside of tar files, as `lsn data shard` and WebDataset's tools write them."""

from __future__ import annotations

import os
import tarfile
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np

from lsn.errors import VideoError
from lsn.files import is_file

SUFFIX = ".tar"
MAX_MEMBER_BYTES = 2 << 30
"""A video of an archive is read whole."""
_MAX_INDEXED = 3_000_000
"""Members of archives that a process remembers, some 50 bytes each."""
_END_BYTES = 1024
"""Zeros, with which a tar ends."""


def split_member(path: str) -> tuple[str, str] | None:
    """`https://host/000.tar/000017.mp4` as archive and member; None for a path without an archive in it."""
    archive, separator, member = path.partition(f"{SUFFIX}/")
    return (archive + SUFFIX, member) if separator and member else None


def find_member(path: str | Path) -> tuple[Path, str] | None:
    """The archive and the member that a path of this file system names; None if no part of the path is a tar file."""
    text = os.fspath(path)
    end = text.find(f"{SUFFIX}/")
    while end >= 0:
        archive, member = text[: end + len(SUFFIX)], text[end + len(SUFFIX) + 1 :]
        if member and is_file(archive):  # a folder may be called so too
            return Path(archive), member
        end = text.find(f"{SUFFIX}/", end + 1)
    return None


class ArchiveMember:
    """A file in an uncompressed tar, or the numbered images of one sample: `000017.img_00001.jpg`, `000017.img_...`.

    The archive stays open, so that what is read is there even if the file is replaced or removed meanwhile.

    Args:
        archive: the tar file.
        member: name of the file, or `000017` for such images.

    Raises:
        VideoError: the archive cannot be read.
    """

    def __init__(self, archive: Path, member: str) -> None:
        self.archive, self.member = archive, member
        try:
            self._file = archive.open("rb")
        except OSError as error:
            raise VideoError(f"{archive}: cannot be read: {error.strerror}") from None
        try:
            self._index = _indices.of(archive, self._file.fileno())
        except VideoError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.archive}/{self.member}"

    def is_file(self) -> bool:
        """Whether it is one file."""
        return self._index.find(self.member) is not None

    def is_images(self) -> bool:
        """Whether it is images, or what else belongs to one sample."""
        return not self.is_file() and any(True for _ in self.names())

    def names(self) -> Iterator[str]:
        """Names of the images, without what they have in common."""
        start = f"{self.member}."
        return (name.removeprefix(start) for name in self._index.starting_with(start))

    def read(self, name: str | None = None, *, max_bytes: int = MAX_MEMBER_BYTES) -> bytes:
        """The file, or one of the images.

        Raises:
            VideoError: the archive does not have it, ends inside of it, or it is larger.
        """
        member = self.member if name is None else f"{self.member}.{name}"
        place = self._index.find(member)
        if place is None:
            raise VideoError(f"{self.archive}: holds no {member!r}; does the list of clips belong to this archive?")
        offset, size = place
        if size > max_bytes:
            raise VideoError(f"{self.archive}/{member}: {size:,} bytes, but at most {max_bytes:,} are read; unpack it")
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise VideoError(f"{self.archive}: ends inside of {member!r}; fetch or write it again")
        return data

    def close(self) -> None:
        """Closes the archive."""
        self._file.close()


@dataclass(frozen=True)
class _Index:
    """Where the regular files of an archive lie."""

    names: list[bytes]
    """Sorted."""
    places: np.ndarray
    """First byte and size of each, int64 (N, 2)."""

    def find(self, name: str) -> tuple[int, int] | None:
        encoded = os.fsencode(name)
        row = bisect_left(self.names, encoded)
        if row == len(self.names) or self.names[row] != encoded:
            return None
        return int(self.places[row, 0]), int(self.places[row, 1])

    def starting_with(self, start: str) -> Iterator[str]:
        encoded = os.fsencode(start)
        row = bisect_left(self.names, encoded)
        while row < len(self.names) and self.names[row].startswith(encoded):
            yield os.fsdecode(self.names[row])
            row += 1


class _Indices:
    """The indices of the archives that were opened last, each made once as long as its file is not changed."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, ...], _Index] = OrderedDict()
        self._num_members = 0
        self._lock = Lock()

    def of(self, archive: Path, descriptor: int) -> _Index:
        about = os.fstat(descriptor)
        key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        with self._lock:
            if key not in self._known:
                self._known[key] = index = _read_index(archive, about.st_size)
                self._num_members += len(index.names)
                while self._num_members > _MAX_INDEXED and len(self._known) > 1:
                    self._num_members -= len(self._known.popitem(last=False)[1].names)
            self._known.move_to_end(key)
            return self._known[key]


_indices = _Indices()


def _read_index(archive: Path, num_bytes: int) -> _Index:
    found: dict[bytes, tuple[int, int]] = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse():
                    found[os.fsencode(member.name.removeprefix("./"))] = member.offset_data, member.size
        with archive.open("rb") as file:
            file.seek(max(0, num_bytes - _END_BYTES))
            if any(file.read()):  # tarfile takes the end of a file between two members for the end of the archive
                raise tarfile.ReadError("it is cut off")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise VideoError(
            f"{archive}: not an intact tar file ({error}); shards are uncompressed tars: unpack it, or fetch it again"
        ) from None
    names = sorted(found)
    return _Index(names, np.array([found[name] for name in names], dtype=np.int64).reshape(-1, 2))
