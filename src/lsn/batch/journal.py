"""What is done of a batch, on disk as soon as it is done: whoever is killed, the next run knows.

Each process appends to a file of its own, an Arrow stream, so that none waits for another and a torn end costs one
record. Before a process touches a video it leaves a note, which is taken away when the answer is written: notes that
stay are those of processes that died over it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from lsn.batch.sources import SourceVideo
from lsn.errors import DataError
from lsn.files import errors_naming

Status = Literal["done", "unreadable", "lost"]
"""A result is there; the video cannot be read; it was set aside, as the processes that tried to read it died."""

EVENT = pa.struct(
    [
        ("label", pa.string()),
        ("start_seconds", pa.float64()),
        ("end_seconds", pa.float64()),
        ("confidence", pa.float64()),
        ("peak", pa.float64()),
        ("peak_seconds", pa.float64()),
    ]
)
RECORD = pa.schema(
    [
        ("path", pa.binary()),
        ("version", pa.string()),
        ("status", pa.string()),
        ("written", pa.float64()),
        ("error", pa.string()),
        ("sha256", pa.string()),
        ("start_seconds", pa.float64()),
        ("seconds", pa.float64()),
        ("probabilities", pa.list_(pa.float32())),
        ("events", pa.list_(EVENT)),
    ]
)


@dataclass(frozen=True)
class Record:
    """What became of a video."""

    path: str
    version: str
    status: Status
    error: str | None = None
    """Why there is no result."""
    sha256: str | None = None
    """Of its content."""
    start_seconds: float | None = None
    """When its first frame is shown, on the clock of its file."""
    seconds: float | None = None
    """Its length."""
    probabilities: Sequence[float] | None = None
    """The answer for a clip, in label order. A copy of a video whose result is known has none."""
    events: Sequence[dict[str, Any]] | None = None
    """Those of a long video, with the fields of `EVENT`; likewise."""
    written: float = field(default_factory=time.time)
    """When, in seconds since 1970."""

    @property
    def has_result(self) -> bool:
        """Whether the result is in this record, not in that of a copy."""
        return self.probabilities is not None or self.events is not None


class Journal:
    """The records of one folder.

    Args:
        folder: as all processes see it.
        is_new: makes it if it is missing.

    Raises:
        DataError: it is missing.
    """

    def __init__(self, folder: Path, *, is_new: bool = False) -> None:
        self.folder = folder
        self._records, self._notes = folder / "records", folder / "notes"
        self.parts = folder / "parts"
        """For what is known of videos that are done in part."""
        for each in (self._records, self._notes, self.parts):
            if is_new:
                each.mkdir(parents=True, exist_ok=True)
            elif not each.is_dir():
                raise DataError(f"{folder}: not there for a worker; --out must be a folder that all machines share")

    def records(self) -> Iterator[Record]:
        """All that processes have written whole, in no order; a video may be there twice."""
        for path in sorted(self._records.glob("*.arrows")):
            with path.open("rb") as file, _until_it_is_torn():
                for batch in pa.ipc.open_stream(file):
                    yield from (Record(**row | {"path": os.fsdecode(row["path"])}) for row in batch.to_pylist())

    def writer(self) -> RecordWriter:
        """Appends records, for one process."""
        return RecordWriter(self._records / f"{uuid.uuid4().hex}.arrows")

    def leave_note(self, path: str, part: int) -> tuple[Path, int]:
        """Notes that a video, or a part of it, is read now; returns the note, and how many are there already."""
        folder = self._notes / hashlib.sha256(f"{part} {path}".encode(errors="surrogateescape")).hexdigest()[:32]
        folder.mkdir(exist_ok=True)
        num_before = sum(1 for _ in folder.iterdir())
        note = folder / uuid.uuid4().hex
        note.touch()
        return note, num_before

    def clear_notes(self) -> None:
        """Takes all notes away: what died with an earlier run died with it, not with a video."""
        for folder in self._notes.iterdir():
            for note in folder.iterdir():
                note.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # a worker of the earlier run is not quite dead
                folder.rmdir()


class RecordWriter:
    """Appends records to a new file, each on disk before `write` returns.

    Args:
        path: the file; it is made with the first record.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: pa.RecordBatchStreamWriter | None = None

    def write(self, *records: Record) -> None:
        """Appends records.

        Raises:
            OSError: the disk is full; the file then ends with the record before.
        """
        rows = [
            asdict(record) | {"path": os.fsencode(record.path), "error": record.error and printable(record.error)}
            for record in records
        ]
        with errors_naming(self._path):
            if self._stream is None:
                self._file = self._path.open("wb")
                self._stream = pa.ipc.new_stream(self._file, RECORD)
            self._stream.write_batch(pa.RecordBatch.from_pylist(rows, RECORD))
            self._file.flush()
            os.fsync(self._file.fileno())


@contextlib.contextmanager
def _until_it_is_torn() -> Iterator[None]:
    """Ends the reading of a stream where its writer was killed."""
    try:
        yield
    except pa.ArrowInvalid:
        pass
    except OSError as error:  # of Arrow, which gives no number
        if error.errno is not None:
            raise


def printable(text: str) -> str:
    """Text whose bytes that are no UTF-8, as file names may have, are written as escapes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def latest(records: Iterable[Record], videos: Iterable[SourceVideo]) -> dict[str, Record]:
    """By path, what is known of videos as they are now: a result if there is one, or else the last failure."""
    versions = {video.path: video.version for video in videos}
    found: dict[str, Record] = {}
    for record in records:
        if versions.get(record.path) != record.version:
            continue
        before = found.get(record.path)
        rank = (record.status == "done", record.written)
        if before is None or rank > (before.status == "done", before.written):
            found[record.path] = record
    return found
