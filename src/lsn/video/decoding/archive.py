"""Videos and folders of frames inside of tar files, as `lsn data shard` and WebDataset's tools write them."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lsn.errors import VideoError
from lsn.files import is_file

SUFFIX = ".tar"
_OPEN_INDICES = 64
"""Archives whose members are remembered; the order of a training comes back to few at a time."""

_END_BYTES = 1024
"""Zeros, with which a tar ends."""

_Index = dict[str, tuple[int, int]]
"""Where the members of an archive lie: first byte and size, by name."""


def split_member(path: str) -> tuple[str, str] | None:
    """`shards/000.tar/000017.mp4` as archive and member; None for a path without an archive in it."""
    archive, separator, member = path.partition(f"{SUFFIX}/")
    return (archive + SUFFIX, member) if separator and member else None


@dataclass(frozen=True)
class ArchiveMember:
    """A file in an uncompressed tar, or the numbered images of one sample: `000017.img_00001.jpg`, `000017.img_...`."""

    archive: Path
    """The tar file."""
    member: str
    """Name of the file, or `000017` for such images."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.archive}/{self.member}"

    def is_there(self) -> bool:
        """Whether the archive has it."""
        return self.is_file() or bool(self.names())

    def is_file(self) -> bool:
        """Whether it is one file."""
        return self.member in self._index()

    def names(self) -> list[str]:
        """Names of the images, without what they have in common."""
        start = f"{self.member}."
        return [name.removeprefix(start) for name in self._index() if name.startswith(start)]

    def read(self, name: str | None = None) -> bytes:
        """The file, or one of the images.

        Raises:
            VideoError: the archive cannot be read, or does not have it.
        """
        member = self.member if name is None else f"{self.member}.{name}"
        try:
            offset, size = self._index()[member]
        except KeyError:
            raise VideoError(f"{self.archive}: holds no {member!r}; is the list of clips that of this file?") from None
        try:
            with self.archive.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise VideoError(f"{self.archive}: cannot be read: {error.strerror}") from None
        if len(data) < size:
            raise VideoError(f"{self.archive}: ends inside of {member!r}; fetch or write it again")
        return data

    def _index(self) -> _Index:
        try:
            about = self.archive.stat()
        except OSError as error:
            raise VideoError(f"{self.archive}: cannot be read: {error.strerror}") from None
        return _index(self.archive, about.st_mtime_ns, about.st_size)


def find_member(path: str | Path) -> ArchiveMember | None:
    """The member of an archive that a path names; None if no part of the path is a tar file."""
    parts = split_member(os.fspath(path))
    if parts is None or not is_file(parts[0]):  # a folder may be called so too
        return None
    return ArchiveMember(Path(parts[0]), parts[1])


@lru_cache(maxsize=_OPEN_INDICES)
def _index(archive: Path, changed_ns: int, num_bytes: int) -> _Index:
    """Where the regular files of an archive lie; as long as it is not changed, it is looked through once."""
    index: _Index = {}
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse():
                    index[member.name.removeprefix("./")] = member.offset_data, member.size
        with archive.open("rb") as file:
            file.seek(max(0, num_bytes - _END_BYTES))
            if any(file.read()):  # tarfile takes the end of a file between two members for the end of the archive
                raise tarfile.ReadError("it is cut off")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise VideoError(
            f"{archive}: no sound tar file ({error}); shards are uncompressed tars: unpack it, or fetch it again"
        ) from None
    return index
