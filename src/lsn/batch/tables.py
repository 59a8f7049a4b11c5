"""The tables of a batch: Parquet files that hold every video once, in the order of the sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lsn.batch.journal import EVENT, Record
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


def write_tables(
    out: Path,
    videos: Sequence[SourceVideo],
    records: Mapping[str, Record],
    all_records: Sequence[Record],
    labels: Sequence[str],
) -> tuple[Path, ...]:
    """Writes `videos`, `failures`, and `predictions` of clips or `events` of long videos.

    Args:
        out: the folder.
        videos: in the order of the tables.
        records: what became of each, by path.
        all_records: also those that only hold the result of a copy.
        labels: names of the classes in label order.

    Returns:
        The files.
    """
    results = {record.sha256: record for record in all_records if record.has_result}
    found = [(video.path, records[video.path], results.get(records[video.path].sha256)) for video in videos]
    done = [(path, result) for path, record, result in found if record.status == "done" and result is not None]
    tables = {
        "videos": (VIDEOS, ({**vars(record), "path": path} for path, record, _ in found)),
        "failures": (FAILURES, (vars(record) for _, record, _ in found if record.status != "done")),
    }
    if any(result.events is not None for _, result in done):
        tables["events"] = (EVENTS, ({"path": path, **event} for path, result in done for event in result.events or ()))
    else:
        tables["predictions"] = (predictions_schema(labels), (_prediction(*each, labels) for each in done))
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
