"""What workers do: survey a video, read what a model sees of it, answer. They meet only on disk and in Ray's rows."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsn.batch.journal import Journal, Record, Status
from lsn.batch.model import BatchModel
from lsn.batch.parts import Part, PartFiles, answer
from lsn.batch.sources import SourceVideo
from lsn.errors import VideoError
from lsn.inference.source import open_source
from lsn.remote import is_address, local_copy
from lsn.streaming.settings import StreamSettings
from lsn.streaming.ticks import Ticks, ticks_of, timeline_of_scores
from lsn.video import VideoReader

MAX_ATTEMPTS = 3
"""Processes that may die over a video before it is set aside."""
MAX_READ_SECONDS = 900
"""A process that reads a clip or a part for longer hangs, and is ended."""
MAX_WAIT_SECONDS = 300
"""How long a part waits for the one before it while none of its video is answered; then it is left to the next pass."""


@dataclass(frozen=True)
class Setup:
    """What all workers know."""

    model: BatchModel
    journal: Path
    """Its folder."""
    known: frozenset[str] = frozenset()
    """Hashes of contents whose results are there."""


@dataclass(frozen=True)
class Surveyed:
    """What is known of a long video before it is run."""

    video: SourceVideo
    sha256: str
    start_seconds: float
    seconds: float
    num_ticks: int

    def done(self, events: Sequence[dict[str, Any]] | None) -> Record:
        """The record of its result; None if that is known of a copy."""
        return Record(
            self.video.path,
            self.video.version,
            "done",
            sha256=self.sha256,
            start_seconds=self.start_seconds,
            seconds=self.seconds,
            events=events,
        )


@dataclass(frozen=True)
class PartJob:
    """A part of a long video to be run."""

    of: Surveyed
    part: Part
    num_parts: int


class OpenVideo:
    """A video that is read here: its reader, the hash of its content and, for streams, its ticks."""

    def __init__(self, video: SourceVideo) -> None:
        self._kept = contextlib.ExitStack()
        self._ticks: Ticks | None = None
        try:
            path = video.path
            if is_address(path):
                path = str(self._kept.enter_context(local_copy(path, error=VideoError)))
            self.sha256 = _sha256(path)
            self.reader: VideoReader = self._kept.enter_context(open_source(path))
        except VideoError as error:
            self._kept.close()
            raise VideoError(str(error).replace(path, video.path)) from error
        except BaseException:
            self._kept.close()
            raise

    @property
    def span(self) -> tuple[float, float]:
        """When it starts, on the clock of its file, and its length, in seconds."""
        return float(self.reader.pts_seconds[0]), self.reader.info.duration_seconds

    def ticks(self, settings: StreamSettings) -> Ticks:
        """When a stream sees it."""
        if self._ticks is None:
            self._ticks = ticks_of(self.reader, settings)
        return self._ticks

    def close(self) -> None:
        """Closes the file, and deletes its copy."""
        self._kept.close()


def survey(video: SourceVideo, setup: Setup) -> Surveyed | Record:
    """Opens a long video and finds out how long it is; the record of a failure if it cannot be read."""
    assert setup.model.settings is not None
    try:
        with _guarded(video, -1, setup), contextlib.closing(OpenVideo(video)) as opened:
            num_ticks = len(opened.ticks(setup.model.settings))
            return Surveyed(video, opened.sha256, *opened.span, num_ticks)
    except VideoError as error:
        return failure(video, error)


def read_clip(video: SourceVideo, setup: Setup) -> dict[str, Any]:
    """What a model of clips sees of a video, as a row of Ray."""
    assert setup.model.protocol is not None
    row: dict[str, Any] = {"path": video.path, "version": video.version}
    try:
        with _guarded(video, 0, setup), contextlib.closing(OpenVideo(video)) as opened:
            row |= dict(zip(("start_seconds", "seconds"), opened.span, strict=True)) | {"sha256": opened.sha256}
            if opened.sha256 in setup.known:
                return row
            views = setup.model.protocol.read(opened.reader)
    except VideoError as error:
        return row | {"error": str(error), "status": failure(video, error).status}
    return row | {"views": views}


_open: dict[SourceVideo, OpenVideo] = {}  # the video that this process read a part of last


def read_part(job: PartJob, setup: Setup) -> dict[str, Any]:
    """What a model sees of a part, as a row of Ray. The video stays open for the next part."""
    settings = setup.model.settings
    assert settings is not None
    video, part = job.of.video, job.part
    row: dict[str, Any] = {"path": video.path, "job": job}
    try:
        with _guarded(video, part.number, setup):
            if video not in _open:
                while _open:
                    _open.popitem()[1].close()
                _open[video] = OpenVideo(video)
            opened = _open[video]
            if opened.sha256 != job.of.sha256:
                raise VideoError(f"{video.path}: has changed while it was read; run the batch again")
            ticks = opened.ticks(settings)[part.first - part.num_warm_up : part.last]
            views_TCHW = opened.reader.transformed_at(ticks.frames_T.tolist(), settings.views)
    except VideoError as error:
        return row | {"error": str(error), "status": failure(video, error).status}
    return row | {"views_TCHW": views_TCHW, "ticks": ticks}


class ClipModel:
    """A model of clips in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        self._predictor = setup.model.clip_predictor()
        self._records = Journal(setup.journal).writer()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answers a row of `read_clip`, and writes that down."""
        names = ("path", "version", "error", "sha256", "start_seconds", "seconds")
        about: dict[str, Any] = {name: row.get(name) for name in names}
        status: Status = row.get("status") or "done"
        probabilities: list[float] | None = None
        if row.get("views") is not None:
            probabilities = self._predictor.answer(row["path"], row["views"]).probabilities.tolist()
        self._records.write(Record(**about, status=status, probabilities=probabilities))
        return {"path": row["path"], "status": status, "seconds": row.get("seconds") or 0.0}


class PartModel:
    """A model of long videos in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        predictor, journal = setup.model.streaming_predictor(), Journal(setup.journal)
        self._settings = predictor.settings
        self._engine, self._slot = predictor.engine, predictor.engine.acquire()
        self._records, self._parts = journal.writer(), journal.parts

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Answers a row of `read_part`; the last part of a video writes down what happens in it."""
        job: PartJob = row["job"]
        files = PartFiles(self._parts / job.of.sha256)
        said = {"path": row["path"], "part": job.part.number, "status": "done", "seconds": 0.0}
        if row.get("error") is not None:
            files.fail(row["error"])
            self._records.write(Record(row["path"], job.of.video.version, row["status"], row["error"]))
            return said | {"status": row["status"]}
        if not files.has(job.part.number):
            if not self._start(job.part, files):
                return said | {"status": "waits"}
            num_warm_up, ticks = job.part.num_warm_up, row["ticks"]
            logits_TK = answer(self._engine, self._slot, ticks, row["views_TCHW"])
            files.save(job.part.number, self._engine, self._slot, ticks[num_warm_up:], logits_TK[num_warm_up:])
            said["seconds"] = job.of.seconds * (job.part.last - job.part.first) / job.of.num_ticks
        if files.num_answered == job.num_parts:
            self._finish(job, files)
        return said

    def _start(self, part: Part, files: PartFiles) -> bool:
        """Brings the memory to where the part starts; False if the part before it is not answered."""
        self._engine.reset(self._slot)
        if part.number == 0 or part.num_warm_up:
            return True
        num_answered, since = -1, time.monotonic()
        while not files.has(part.number - 1):
            if files.has_failed or time.monotonic() - since > MAX_WAIT_SECONDS:
                return False
            if files.num_answered != num_answered:
                num_answered, since = files.num_answered, time.monotonic()
            time.sleep(0.02)
        files.resume(part.number - 1, self._engine, self._slot)
        return True

    def _finish(self, job: PartJob, files: PartFiles) -> None:
        found = job.of
        ticks, logits_TK = files.read(job.num_parts, self._engine, self._slot)
        timeline = timeline_of_scores(
            found.video.path, ticks, logits_TK, self._settings, duration_seconds=found.seconds
        )
        events = [{name: value for name, value in vars(event).items() if name != "id"} for event in timeline.events]
        self._records.write(found.done(events))
        files.remove()


def failure(video: SourceVideo, error: VideoError) -> Record:
    """The record of a video without a result."""
    status: Status = "lost" if isinstance(error, _LostError) else "unreadable"
    return Record(video.path, video.version, status, str(error))


class _LostError(VideoError):
    """Too many processes have died over a video."""


@contextlib.contextmanager
def _guarded(video: SourceVideo, part: int, setup: Setup) -> Iterator[None]:
    """Counts the processes that die while the block runs, and ends one that hangs.

    Raises:
        VideoError: enough have died.
    """
    with Journal(setup.journal).note(video.path, part) as num_before:
        if num_before >= MAX_ATTEMPTS:
            raise _LostError(
                f"{video.path}: set aside, as {num_before} processes that read it died or hung; repair it or leave it"
            )
        faulthandler.dump_traceback_later(
            MAX_READ_SECONDS, exit=True, file=2
        )  # a process without a sys.stderr ends too
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def _sha256(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except IsADirectoryError:
        return ""  # of frames
    except FileNotFoundError:
        raise VideoError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read ({error})") from error
