"""A batch from its sources to its tables."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsn.batch.answering import Answered, ClipModel, PartModel
from lsn.batch.cluster import Cluster
from lsn.batch.journal import Journal, Record, latest
from lsn.batch.model import BatchModel
from lsn.batch.parts import MAX_PART_BYTES, PartFiles, cut
from lsn.batch.reading import Failed, PartJob, Setup, Surveyed, done, read_clip, read_part, survey
from lsn.batch.sources import SourceVideo, find_videos
from lsn.batch.tables import Found, write_tables
from lsn.errors import ConfigError, DataError
from lsn.files import held_lock, read_text, write_text
from lsn.inference.runtimes.opening import runs_graphs
from lsn.parsing import to_json

JOURNAL_NAME, SETTINGS_NAME = "journal", "batch.json"
_PART_SECONDS = 120.0
CLIPS_PER_JOB = 8
"""A worker reads so many clips at a time, as Ray takes some milliseconds to hand out work."""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is run."""

    address: str | None = None
    """Of a Ray cluster, or "auto"; by default Ray runs here while the batch does."""
    workers: int | None = None
    """Processes that run the model, and as many that read videos; by default one per GPU, or per CPU core."""
    part_seconds: float = _PART_SECONDS
    """Longer videos are cut into parts of this length, at most."""
    warm_up_seconds: float | None = None
    """Parts start from an empty memory so long before they are asked, and run at the same time; None: each continues
    from the state of the one before, with exactly the result of one pass."""
    retry_failed: bool = False
    """Try videos again that could not be read in an earlier run."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ConfigError(f"{self.workers} workers; it must be at least 1")
        if not 1 <= self.part_seconds < math.inf:
            raise ConfigError(f"parts of {self.part_seconds:g} seconds; they must have at least 1")
        if self.warm_up_seconds is not None and not 0 < self.warm_up_seconds < math.inf:
            raise ConfigError(f"a warm-up of {self.warm_up_seconds:g} seconds; it must be above 0")

    def check(self, model: BatchModel) -> None:
        """Refuses options that say nothing of a model.

        Raises:
            ConfigError: it is for clips, which have no parts.
        """
        if model.settings is None and (self.part_seconds, self.warm_up_seconds) != (_PART_SECONDS, None):
            raise ConfigError("--part-seconds and --warm-up are for long videos; these weights are for clips")


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
    seconds_of_unit: float
    """Since this unit is counted."""

    @property
    def per_second(self) -> float:
        """How many of the unit this run has done in a second."""
        return (self.num_done - self.num_before) / self.seconds_of_unit

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before a hundredth is done, which says too little."""
        if self.num_done - self.num_before < max(1, (self.num_total - self.num_before) / 100):
            return None
        return (self.num_total - self.num_done) / self.per_second


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
        ConfigError: an option does not go with the model, or there is no such cluster.
        ModelError: the model's scores are not finite.
        OSError: the disk is full; what was done before is kept.
    """
    options = options or BatchOptions()
    options.check(model)
    videos = find_videos(sources)
    out.mkdir(parents=True, exist_ok=True)
    _check_settings(out / SETTINGS_NAME, _described(model, options))
    with held_lock(out) as is_held:
        if not is_held:
            raise DataError(f"{out}: another lsn batch writes there now; wait for it, or choose another --out")
        journal = Journal(out.absolute() / JOURNAL_NAME, is_new=True)
        journal.clear_notes()
        batch = _Batch(videos, journal, model, options, progress)
        if batch.todo:
            needs_cpu = runs_graphs(model.weights, model.runtime)
            with Cluster(options.address, options.workers, device=model.device, needs_cpu=needs_cpu) as cluster:
                batch.run(cluster)
        found = Found.of(journal, videos)
        if missing := [video.path for video in videos if not found.is_known(video.path)]:
            raise DataError(f"{len(missing)} videos have no answer, such as {missing[0]}; run the same command again")
        tables = write_tables(out, videos, found, model)
        batch.remove_parts()
    failures = tuple(found.records[video.path] for video in videos if found.records[video.path].status != "done")
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
        found = Found.of(journal, videos)
        self._journal, self._model, self._options, self._report = journal, model, options, progress
        self._known = frozenset(found.results)
        self._failed: dict[str, Failed] = {}  # by the hash of a long video
        self.todo = [
            video for video in videos if not found.is_known(video.path, with_failures=not options.retry_failed)
        ]
        """Videos that are to be answered."""
        self._began, self._num_failed, self._workers = time.monotonic(), 0, 1
        self._begin("videos", len(videos), num_before=len(videos) - len(self.todo))

    def run(self, cluster: Cluster) -> None:
        """Answers all that are left."""
        self._workers = cluster.num_workers
        setup = Setup(self._model, self._journal.folder, Path.cwd(), self._known, num_open=min(8, self._workers))
        if self._model.settings is None:
            clips = [self.todo[first : first + CLIPS_PER_JOB] for first in range(0, len(self.todo), CLIPS_PER_JOB)]
            for found in cluster.run(clips, read_clip, ClipModel, setup):
                self._count(1, found)
            return
        self._run_parts(cluster, setup)

    def _run_parts(self, cluster: Cluster, setup: Setup) -> None:
        surveyed = self._surveyed(cluster, setup)
        originals: dict[str, Surveyed] = {}
        for each in surveyed:
            originals.setdefault(each.sha256, each)
        jobs = self._parts(list(originals.values()))
        self._begin("seconds of video", round(sum(share_of(job) * job.of.seconds for [job] in jobs)))
        while jobs:  # what waited in vain, as a worker died or a file was damaged, is planned again
            is_answered = False
            for found in cluster.run(jobs, read_part, PartModel, setup, in_order=True):
                if isinstance(found, Failed):
                    self._fail(originals, found)
                is_answered |= not (isinstance(found, Answered) and found.waits)
                self._count(found.seconds if isinstance(found, Answered) else 0, found)
            records = latest(self._journal.records(), [each.video for each in originals.values()])
            over = {sha256 for sha256, each in originals.items() if each.video.path in records} | self._failed.keys()
            tried, jobs = jobs, self._parts([each for sha256, each in originals.items() if sha256 not in over])
            if jobs == tried and not is_answered:
                raise DataError(f"{jobs[0][0].of.video.path}: its parts wait for each other; run the command again")
        self._write_copies(surveyed, originals)

    def _surveyed(self, cluster: Cluster, setup: Setup) -> list[Surveyed]:
        """How long the videos are; failures, and copies of what was answered before, are written down."""
        writer = self._journal.writer()
        found: list[Surveyed] = []
        for each in cluster.run([[video] for video in self.todo], survey, None, setup):
            if isinstance(each, Failed):
                writer.write(each.record)
                done(each.note)
            elif each.sha256 in self._known:
                writer.write(each.done(None))
            else:
                found.append(each)
            self._count(1, each)
        order = {video.path: number for number, video in enumerate(self.todo)}
        return sorted(found, key=lambda each: order[each.video.path])

    def _parts(self, videos: Sequence[Surveyed]) -> list[list[PartJob]]:
        """The parts that are not answered, as workers take them."""
        own, options = self._model.settings, self._options
        assert own is not None
        num_warm_up = None if options.warm_up_seconds is None else max(1, round(options.warm_up_seconds * own.fps))
        most = MAX_PART_BYTES // (3 * own.size**2) - (num_warm_up or 0)
        if most < 1:
            raise ConfigError(f"a warm-up of {options.warm_up_seconds:g} seconds takes too much memory; shorten it")
        ticks_per_part = max(1, min(round(options.part_seconds * own.fps), most))
        left: list[list[PartJob]] = []
        for each in videos:
            files = self._files(each)
            files.forget_failure()
            parts = cut(each.num_ticks, ticks_per_part, num_warm_up=num_warm_up)
            missing = [part for part in parts if not files.has(part.number)] or parts[-1:]
            left.append([PartJob(each, part, len(parts)) for part in missing])
        return [[job] for job in in_turns(left, self._workers)]

    def _fail(self, originals: dict[str, Surveyed], failed: Failed) -> None:
        """A part cannot be read; of several in a pass, the first one that is reported counts."""
        done(failed.note)
        (sha256,) = (key for key, each in originals.items() if each.video.path == failed.video.path)
        self._files(originals[sha256]).fail()
        self._failed.setdefault(sha256, failed)

    def _write_copies(self, surveyed: Sequence[Surveyed], originals: dict[str, Surveyed]) -> None:
        """Writes down the failures of videos in parts, and what became of those with the content of another."""
        writer = self._journal.writer()
        for each in surveyed:
            if (failed := self._failed.get(each.sha256)) is not None:
                error = failed.error.replace(failed.video.path, each.video.path)
                writer.write(Failed(each.video, failed.status, error).record)
            elif each is not originals[each.sha256]:
                writer.write(each.done(None))

    def remove_parts(self) -> None:
        """Deletes what is known of videos in part, once all are in the tables."""
        for folder in self._journal.parts.iterdir():
            PartFiles(folder).remove()

    def _files(self, video: Surveyed) -> PartFiles:
        return PartFiles(self._journal.parts / video.sha256)

    def _begin(self, unit: str, num_total: int, *, num_before: int = 0) -> None:
        self._unit, self._num_total, self._num_before, self._num_done = unit, num_total, num_before, float(num_before)
        self._unit_began = time.monotonic()

    def _count(self, num_done: float, found: object) -> None:
        self._num_done += num_done
        self._num_failed += isinstance(found, Failed)
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
                    seconds_of_unit=time.monotonic() - self._unit_began,
                )
            )


def in_turns(videos: Sequence[Sequence[PartJob]], num_workers: int) -> list[PartJob]:
    """The parts of videos in an order in which those of one video are as far apart as they can be.

    Long videos come by turns, as many at a time as there are workers, which keep them open; the others lie in between.
    """
    long = [parts for parts in videos if len(parts) > 1]
    turns: list[PartJob] = []
    for first in range(0, len(long), num_workers):
        together = itertools.zip_longest(*long[first : first + num_workers])
        turns += [job for of_turn in together for job in of_turn if job is not None]
    short = [parts[0] for parts in videos if len(parts) == 1]
    placed = [((place + 0.5) / len(jobs), job) for jobs in (turns, short) for place, job in enumerate(jobs)]
    return [job for _, job in sorted(placed, key=lambda pair: pair[0])]


def share_of(job: PartJob) -> float:
    """Of its video that a part is."""
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
