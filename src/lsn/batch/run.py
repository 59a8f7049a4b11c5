"""A batch from its sources to its tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsn.batch.cluster import Cluster
from lsn.batch.journal import Journal, Record, latest
from lsn.batch.model import BatchModel
from lsn.batch.parts import MAX_PART_BYTES, PartFiles, cut
from lsn.batch.sources import SourceVideo, find_videos
from lsn.batch.stages import ClipModel, PartJob, PartModel, Setup, Surveyed, read_clip, read_part, survey
from lsn.batch.tables import write_tables
from lsn.errors import ConfigError, DataError
from lsn.files import held_lock, read_text, write_text
from lsn.parsing import to_json

JOURNAL_NAME, SETTINGS_NAME = "journal", "batch.json"
CLIPS_PER_JOB = 8
"""A worker reads so many clips at a time, as Ray takes some milliseconds to hand out work."""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run."""

    address: str | None = None
    """Of a Ray cluster, or "auto"; by default Ray runs here while the batch does."""
    workers: int | None = None
    """Processes that run the model, and as many that read videos; by default one per GPU, or per CPU core."""
    part_seconds: float = 120.0
    """Longer videos are cut into parts of this length, at most."""
    warm_up_seconds: float | None = None
    """Parts start from an empty memory so long before they are asked, and run at the same time; None: each continues
    from the state of the one before, with exactly the result of one pass."""
    retry_failed: bool = False
    """Try videos again that could not be read in an earlier run."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"{self.workers} workers; it must be at least 1")
        if not self.part_seconds >= 1:
            raise ConfigError(f"parts of {self.part_seconds:g} seconds; they must have at least 1")
        if self.warm_up_seconds is not None and not 0 < self.warm_up_seconds < float("inf"):
            raise ConfigError(f"a warm-up of {self.warm_up_seconds:g} seconds; it must be above 0")


@dataclass(frozen=True)
class BatchProgress:
    """How far a batch is."""

    unit: str
    """What is counted: "videos" or "seconds of video"; long videos are surveyed first."""
    num_done: int
    """With those of earlier runs."""
    num_total: int
    num_before: int
    """Those of earlier runs."""
    num_failed: int
    """Videos."""
    seconds: float
    """Since this run began."""
    workers: int

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before anything is done."""
        done = self.num_done - self.num_before
        return None if done == 0 else self.seconds / done * (self.num_total - self.num_done)


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch."""

    num_videos: int
    num_new: int
    """Of them, those that this run answered."""
    failures: tuple[Record, ...]
    tables: tuple[Path, ...]


def run_batch(
    sources: Sequence[str],
    model: BatchModel,
    out: Path,
    *,
    options: BatchOptions | None = None,
    progress: Callable[[BatchProgress], None] | None = None,
) -> BatchResult:
    """Runs a model over a collection of videos; what earlier runs have done is read, not repeated.

    Args:
        sources: see `find_videos`.
        model: what is run.
        out: folder of the tables and of what is needed to resume; all machines must see it under this name.
        options: how it is run.
        progress: called now and then.

    Raises:
        DataError: there are no such videos; the folder holds a batch of other weights or settings, or one that runs.
        ModelError: the model's scores are not finite.
    """
    options, videos = options or BatchOptions(), find_videos(sources)
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(out / SETTINGS_NAME, _described(model, options))
    with held_lock(out) as is_held:
        if not is_held:
            raise DataError(f"{out}: another lsn batch writes there now; wait for it, or choose another --out")
        journal = Journal(out.absolute() / JOURNAL_NAME)
        journal.clear_notes()
        batch = _Batch(videos, journal, model, options, progress)
        if batch.todo:
            with Cluster(options.address, options.workers, device=model.device) as cluster:
                batch.run(cluster)
        records = latest(journal.records(), videos)
        if missing := [video.path for video in videos if video.path not in records]:
            raise DataError(f"{len(missing)} videos have no answer, such as {missing[0]}; run the same command again")
        tables = write_tables(out, videos, records, list(journal.records()), model.labels)
    failures = tuple(records[video.path] for video in videos if records[video.path].status != "done")
    return BatchResult(len(videos), len(batch.todo), failures, tables)


class _Batch:
    """The work that is left of a batch."""

    def __init__(
        self,
        videos: Sequence[SourceVideo],
        journal: Journal,
        model: BatchModel,
        options: BatchOptions,
        progress: Callable[[BatchProgress], None] | None,
    ) -> None:
        before = list(journal.records())
        found = latest(before, videos)
        known = frozenset(record.sha256 for record in before if record.sha256 and record.has_result)
        self._setup = Setup(model, journal.folder, known)
        self._journal, self._options, self._report = journal, options, progress
        self._began, self._num_failed = time.monotonic(), 0
        is_over = ("done",) if options.retry_failed else ("done", "unreadable", "lost")
        self.todo = [v for v in videos if v.path not in found or found[v.path].status not in is_over]
        """Videos that are to be answered."""
        self._num_before = len(videos) - len(self.todo)
        self._num_done = float(self._num_before)
        self._num_total, self._unit = len(videos), "videos"

    def run(self, cluster: Cluster) -> None:
        """Answers all that are left."""
        self._workers = cluster.num_workers
        if self._setup.model.settings is None:
            for row in cluster.run(self._groups(), read_clip, ClipModel, self._setup):
                self._count(1, row["status"])
            return
        jobs = [[job] for job in self._parts(self._surveyed(cluster))]
        self._num_before, self._num_done, self._unit = 0, 0.0, "seconds of video"
        self._num_total = round(sum(job.of.seconds * _share(job) for [job] in jobs))
        while jobs:  # parts that have waited in vain are tried again
            again = set()
            for row in cluster.run(jobs, read_part, PartModel, self._setup, in_order=True):
                self._count(row["seconds"], row["status"])
                again |= {(row["path"], row["part"])} if row["status"] == "waits" else set()
            jobs = [[job] for [job] in jobs if (job.of.video.path, job.part.number) in again and not self._failed(job)]

    def _surveyed(self, cluster: Cluster) -> list[Surveyed]:
        """How long the videos are; failures are written down, and copies of others."""
        writer = self._journal.writer()
        found: dict[str, Surveyed] = {}
        for each in cluster.run(self._groups(), survey, None, self._setup):
            if isinstance(each, Record):
                writer.write(each)
                self._count(1, each.status)
            elif each.sha256 in self._setup.known or each.sha256 in found:
                writer.write(each.done(None))
                self._count(1, "done")
            else:
                found[each.sha256] = each
        return list(found.values())

    def _groups(self) -> list[list[SourceVideo]]:
        """What is left, as a worker takes it at a time."""
        return [self.todo[first : first + CLIPS_PER_JOB] for first in range(0, len(self.todo), CLIPS_PER_JOB)]

    def _parts(self, found: Sequence[Surveyed]) -> list[PartJob]:
        """The parts that are not answered, of all videos by turns, so that no part waits long for the one before."""
        own, options = self._setup.model.settings, self._options
        assert own is not None
        ticks_per_part = max(1, min(round(options.part_seconds * own.fps), MAX_PART_BYTES // (3 * own.size**2)))
        warm_up = options.warm_up_seconds
        num_warm_up = None if warm_up is None else max(1, round(warm_up * own.fps))
        jobs: list[PartJob] = []
        for each in found:
            parts, files = cut(each.num_ticks, ticks_per_part, num_warm_up=num_warm_up), self._files(each)
            files.forget_failure()
            left = [part for part in parts if not files.has(part.number)] or parts[-1:]
            jobs += [PartJob(each, part, len(parts)) for part in left]
        return sorted(jobs, key=lambda job: job.part.number)

    def _failed(self, job: PartJob) -> bool:
        return self._files(job.of).has_failed

    def _files(self, video: Surveyed) -> PartFiles:
        return PartFiles(self._journal.parts / video.sha256)

    def _count(self, done: float, status: str) -> None:
        self._num_done += done
        self._num_failed += status in ("unreadable", "lost")
        if self._report is not None:
            self._report(
                BatchProgress(
                    unit=self._unit,
                    num_done=min(round(self._num_done), self._num_total),
                    num_total=self._num_total,
                    num_before=self._num_before,
                    num_failed=self._num_failed,
                    seconds=time.monotonic() - self._began,
                    workers=self._workers,
                )
            )


def _share(job: PartJob) -> float:
    return (job.part.last - job.part.first) / job.of.num_ticks


def _described(model: BatchModel, options: BatchOptions) -> dict[str, Any]:
    """All that results depend on."""
    if model.settings is None:
        return model.describe()
    parts = {name: getattr(options, name) for name in ("part_seconds", "warm_up_seconds")}
    return model.describe() | parts


def _check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Writes down what the results of a folder depend on, or compares it.

    Raises:
        DataError: the folder holds results of other weights or settings.
    """
    text = to_json(settings)
    if not path.exists():
        write_text(path, text + "\n")
        return
    try:
        before = json.loads(read_text(path, "settings of a batch", error=DataError))
    except ValueError:
        raise DataError(f"{path}: damaged; choose another --out, or delete the folder") from None
    if other := [name for name in settings if before.get(name) != json.loads(text)[name]]:
        raise DataError(
            f"{path.parent}: holds a batch with another {other[0]} ({before.get(other[0])}); choose "
            "another --out, or use what it was made with"
        )
