"""The tables of a batch: Parquet files that hold every video once, in the order of the sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from lsn.batch.journal import EVENT, Journal, Record, latest, printable
from lsn.batch.model import BatchModel
from lsn.batch.sources import SourceVideo
from lsn.data.timelines.table import TimelineManifest, TimelineVideo, in_order
from lsn.files import atomic_path
from lsn.streaming.events import Event
from lsn.streaming.found_events import found_event

VIDEOS = pa.schema(
    [
        ("path", pa.string()),
        ("status", pa.string()),
        ("start_seconds", pa.float64()),
        ("seconds", pa.float64()),
        ("sha256", pa.string()),
    ]
)
FAILURES = pa.schema([("path", pa.string()), ("status", pa.string()), ("error", pa.string())])
EVENTS = pa.schema([("path", pa.string()), *EVENT])
ROWS_PER_GROUP = 50_000


@dataclass(frozen=True)
class Found:
    """What a journal says of videos."""

    records: dict[str, Record]
    """What became of them, by path."""
    results: dict[str, Record]
    """Records with a result, by the hash of the content."""

    @classmethod
    def of(cls, journal: Journal, videos: Sequence[SourceVideo]) -> Self:
        """Reads it."""
        records = list(journal.records())
        results = {record.sha256: record for record in records if record.has_result and record.sha256}
        return cls(latest(records, videos), results)

    def is_known(self, path: str, *, with_failures: bool = True) -> bool:
        """Whether a video has a result, or a failure that counts."""
        record = self.records.get(path)
        if record is None:
            return False
        return record.sha256 in self.results if record.status == "done" else with_failures


def write_tables(out: Path, videos: Sequence[SourceVideo], found: Found, model: BatchModel) -> tuple[Path, ...]:
    """Writes `videos`, `failures`, and `predictions` of clips or `events` of long videos.

    Args:
        out: the folder.
        videos: in the order of the tables.
        found: all of them.
        model: what was run.

    Returns:
        The files.
    """
    records = [(printable(video.path), found.records[video.path]) for video in videos]
    finished = [(path, found.results[str(record.sha256)]) for path, record in records if record.status == "done"]
    tables = {
        "videos": (VIDEOS, ({**vars(record), "path": path} for path, record in records)),
        "failures": (FAILURES, ({**vars(rec), "path": path} for path, rec in records if rec.status != "done")),
    }
    if model.settings is not None:
        rows = ({"path": path, **event} for path, result in finished for event in result.events or ())
        tables["events"] = (EVENTS, rows)
    else:
        rows = (_prediction(*each, model.labels) for each in finished)
        tables["predictions"] = (predictions_schema(model.labels), rows)
    return tuple(_write(out / f"{name}.parquet", *table) for name, table in tables.items())


def annotated(out: Path, labels: Sequence[str], *, as_points: bool = False) -> TimelineManifest:
    """The videos of a batch with their events, as annotation tools have them.

    Args:
        out: folder with the tables of a batch of long videos.
        labels: that events can have.
        as_points: whether an event is the point of its peak.
    """
    events: dict[str, list[Event]] = {}
    for row in pq.read_table(out / "events.parquet").to_pylist():
        events.setdefault(row.pop("path"), []).append(Event(id=0, **row))
    videos = []
    for row in pq.read_table(out / "videos.parquet").to_pylist():
        if row["status"] == "done":
            found = (
                found_event(each, row["start_seconds"], as_point=as_points) for each in events.get(row["path"], ())
            )
            videos.append(TimelineVideo(row["path"], in_order(found)))
    return TimelineManifest(str(out), tuple(labels), tuple(videos))


def predictions_schema(labels: Sequence[str]) -> pa.Schema:
    """A row a clip; the labels of the probabilities stand in the metadata of their column."""
    probabilities = pa.field("probabilities", pa.list_(pa.float32()), metadata={"labels": "\n".join(labels)})
    return pa.schema([("path", pa.string()), ("label", pa.string()), ("probability", pa.float32()), probabilities])


def _prediction(path: str, result: Record, labels: Sequence[str]) -> dict[str, Any]:
    probabilities = list(result.probabilities or ())
    best = max(range(len(labels)), key=probabilities.__getitem__)
    return {"path": path, "label": labels[best], "probability": probabilities[best], "probabilities": probabilities}


def _write(path: Path, schema: pa.Schema, rows: Iterator[dict[str, Any]]) -> Path:
    with atomic_path(path) as partial, pq.ParquetWriter(partial, schema) as writer:
        group: list[dict[str, Any]] = []
        for row in rows:
            group.append(row)
            if len(group) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(group, schema))
                group = []
        writer.write_table(pa.Table.from_pylist(group, schema))
    return path
