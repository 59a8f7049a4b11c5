"""A checksum at the end of a file that torch writes and reads."""

from __future__ import annotations

import hashlib
import os
from typing import BinaryIO

_LABEL = b"LSN checkpoint sha256 "
_TRAILER_BYTES = len(_LABEL) + hashlib.sha256().digest_size


class ChecksumWriter:
    """Passes bytes on to a file, and ends it with a label and their SHA-256; torch reads over both.

    The file's first error is kept for `finish`, since torch would report one of its own that gives no reason.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.checksum = file, hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        """Takes what torch writes."""
        self.checksum.update(data)
        self._pass_on(data)
        return len(data)

    def flush(self) -> None:
        """Torch asks for it; `finish` does it."""

    def finish(self) -> None:
        """Writes the checksum.

        Raises:
            OSError: the file did not take everything.
        """
        self._pass_on(_LABEL + self.checksum.digest())
        if self.error is not None:
            raise self.error
        self.file.flush()

    def _pass_on(self, data: bytes | memoryview) -> None:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:
                self.error = error


def verify_checksum(file: BinaryIO) -> bool:
    """Whether a file ends with a checksum.

    Raises:
        ValueError: it does, but with that of another content.
    """
    left = file.seek(0, os.SEEK_END) - _TRAILER_BYTES
    if left < 0:
        return False
    file.seek(left)
    trailer = file.read()
    if not trailer.startswith(_LABEL):
        return False
    checksum = hashlib.sha256()
    file.seek(0)
    while left:
        block = file.read(min(left, 1 << 20))
        checksum.update(block)
        left -= len(block)
    if trailer != _LABEL + checksum.digest():
        raise ValueError("its checksum is not that of its content")
    return True
