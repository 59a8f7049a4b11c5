"""What workers do before a model is needed: open a video, survey it, read what a model sees of it."""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lsn.batch.journal import Journal, Record, Status
from lsn.batch.model import BatchModel
from lsn.batch.parts import Part
from lsn.batch.sources import SourceVideo
from lsn.batch.ticks import Ticks, ticks_of
from lsn.errors import VideoError
from lsn.evaluation.protocol import Views
from lsn.files import version_of
from lsn.inference.source import open_source
from lsn.remote import is_address, local_copy
from lsn.streaming.settings import StreamSettings
from lsn.video import VideoReader

MAX_ATTEMPTS = 3
"""Processes that may die over a video before it is set aside."""
MAX_SILENT_SECONDS = 900
"""A process that reads a video and makes no progress for so long hangs, and is ended."""
_BLOCK_BYTES = 16 << 20
_SURVEY = -1  # in place of the number of a part
_FULL = (errno.ENOSPC, errno.EDQUOT)
_COPY = re.compile(re.escape(tempfile.gettempdir()) + r"/lsn-\w+/copy(\.\w+)?")
"""What errors call the copy of a file at an address."""
T = TypeVar("T")


@dataclass(frozen=True)
class Setup:
    """What all workers know."""

    model: BatchModel
    journal: Path
    """Its folder."""
    cwd: Path
    """What the paths of videos are relative to."""
    known: frozenset[str]
    """Hashes of contents whose results are there."""
    num_open: int
    """Long videos that a process keeps open for their next parts."""


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


@dataclass(frozen=True)
class Failed:
    """A video without a result."""

    video: SourceVideo
    status: Status
    error: str
    note: Path | None = None

    @property
    def record(self) -> Record:
        """For the journal."""
        return Record(self.video.path, self.video.version, self.status, self.error)


@dataclass(frozen=True, eq=False)
class ClipRead:
    """What a model of clips sees of a video; None if the result is known."""

    about: Record
    views: Views | None
    note: Path


@dataclass(frozen=True, eq=False)
class PartRead:
    """What a model of long videos sees of a part."""

    job: PartJob
    ticks: Ticks
    """Those of the warm-up first."""
    views_TCHW: np.ndarray
    note: Path


class OpenVideo:
    """A video that is read here.

    Args:
        video: what is opened.
        cwd: what its path is relative to.

    Raises:
        VideoError: it cannot be fetched or opened, or is something else.
    """

    def __init__(self, video: SourceVideo, cwd: Path) -> None:
        self._kept = contextlib.ExitStack()
        self._ticks: Ticks | None = None
        try:
            self._path = str(cwd / video.path)
            if is_address(video.path):
                self._path = str(self._kept.enter_context(local_copy(video.path, error=VideoError, on_block=_go_on)))
            elif os.path.lexists(self._path) and not (os.path.isfile(self._path) or os.path.isdir(self._path)):  # noqa: PTH112, PTH113
                raise VideoError(f"{video.path}: neither a file nor a folder of frames")
            self.reader: VideoReader = self._kept.enter_context(open_source(self._path))
        except BaseException:
            self._kept.close()
            raise

    def sha256(self) -> str:
        """Hash of the content; of a folder, of the names and contents of its files."""
        files = [self._path]
        digest = hashlib.sha256()
        if os.path.isdir(self._path):  # noqa: PTH112
            files = sorted(str(each) for each in Path(self._path).iterdir() if each.is_file())
            digest.update("\n".join(Path(each).name for each in files).encode(errors="surrogateescape"))
        for each in files:
            with Path(each).open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
                    _go_on()
        return digest.hexdigest()

    @property
    def span(self) -> tuple[float, float]:
        """When it starts, on the clock of its file, and its length, in seconds."""
        return float(self.reader.pts_seconds[0]), self.reader.info.duration_seconds

    def ticks(self, settings: StreamSettings) -> Ticks:
        """When a stream sees it."""
        if self._ticks is None:
            self._ticks = ticks_of(self.reader, settings)
        return self._ticks

    def views_at(self, ticks: Ticks, settings: StreamSettings) -> np.ndarray:
        """What the model sees at ticks, uint8 TCHW; frames may differ in size, as on a stream."""
        frames, positions = np.unique(ticks.frames_T, return_inverse=True)
        views: list[np.ndarray] = []
        for frame in frames.tolist():
            views.append(settings.view(self.reader.frames_at([frame]).frames_THWC[0]))
            _go_on()
        return np.stack(views)[positions]

    def close(self) -> None:
        """Closes the file, and deletes its copy."""
        self._kept.close()


def survey(video: SourceVideo, setup: Setup) -> Surveyed | Failed:
    """Opens a long video and finds out how long it is."""

    def read(note: Path) -> Surveyed:
        assert setup.model.settings is not None
        with contextlib.closing(OpenVideo(video, setup.cwd)) as opened:
            found = Surveyed(video, opened.sha256(), *opened.span, len(opened.ticks(setup.model.settings)))
        done(note)
        return found

    return _guarded(video, _SURVEY, setup, read)


def read_clip(video: SourceVideo, setup: Setup) -> ClipRead | Failed:
    """What a model of clips sees of a video."""

    def read(note: Path) -> ClipRead:
        assert setup.model.protocol is not None
        with contextlib.closing(OpenVideo(video, setup.cwd)) as opened:
            sha256, (start_seconds, seconds) = opened.sha256(), opened.span
            views = None if sha256 in setup.known else setup.model.protocol.read(opened.reader)
        about = Record(video.path, video.version, "done", None, sha256, start_seconds, seconds)
        return ClipRead(about, views, note)

    return _guarded(video, 0, setup, read)


_open: dict[SourceVideo, OpenVideo] = {}  # by this process, for the next parts; the one that was read last at the end


def read_part(job: PartJob, setup: Setup) -> PartRead | Failed:
    """What a model of long videos sees of a part."""

    def read(note: Path) -> PartRead:
        settings, video, part = setup.model.settings, job.of.video, job.part
        assert settings is not None
        if not is_address(video.path) and version_of(str(setup.cwd / video.path)) != video.version:
            raise VideoError(f"{video.path}: has changed while it was read; run the batch again")
        opened = _open.pop(video, None) or OpenVideo(video, setup.cwd)
        _open[video] = opened
        while len(_open) > setup.num_open:
            _open.pop(next(iter(_open))).close()
        ticks = opened.ticks(settings)
        if len(ticks) != job.of.num_ticks:
            raise VideoError(f"{video.path}: has changed while it was read; run the batch again")
        seen = ticks[part.first - part.num_warm_up : part.last]
        return PartRead(job, seen, opened.views_at(seen, settings), note)

    return _guarded(job.of.video, job.part.number, setup, read)


def _guarded(video: SourceVideo, part: int, setup: Setup, read: Callable[[Path], T]) -> T | Failed:
    """Reads a video, counts the processes that die over it, ends this one if it hangs, and names what goes wrong.

    The note that is left is for whoever writes the answer to take away.

    Raises:
        OSError: the disk is full.
    """
    note, num_dead = Journal(setup.journal).leave_note(video.path, part)
    if num_dead >= MAX_ATTEMPTS:
        error = f"{video.path}: set aside, as {num_dead} processes that read it died or hung; repair it or leave it out"
        return Failed(video, "lost", error, note)
    _go_on()
    try:
        return read(note)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        text = _COPY.sub(lambda _: video.path, str(error).replace(str(setup.cwd / video.path), video.path))
        if not isinstance(error, VideoError):
            text = f"{video.path}: {type(error).__name__} while it was read: {text}"
        return Failed(video, "unreadable", text, note)
    finally:
        faulthandler.cancel_dump_traceback_later()


def done(note: Path | None) -> None:
    """What a note was left for is written down."""
    if note is not None:
        note.unlink(missing_ok=True)


def _go_on() -> None:
    """The time begins again in which this process must make progress."""
    faulthandler.dump_traceback_later(MAX_SILENT_SECONDS, exit=True, file=2)
