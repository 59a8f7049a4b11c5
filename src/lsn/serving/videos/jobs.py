"""The queue of videos to analyze, the one that is analyzed, and the results of those before it."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from lsn.config.timelines import Format
from lsn.errors import LSNError, VideoError
from lsn.serving.videos.analysis import TimelineAnalysis, VideoAnalyzer, file_name
from lsn.serving.videos.formats import EventsFile, events_file

logger = logging.getLogger(__name__)

State: TypeAlias = Literal["receiving", "queued", "running", "done", "failed", "canceled"]
MAX_WAITING, MAX_WAITING_OF_CLIENT = 8, 4
"""Videos that are received or queued, and those of one client."""
MAX_KEPT, KEPT_SECONDS = 256, 3600.0
"""Finished jobs, and how long they are kept."""
ENDING = "the server ends; send the video again"


class QueueFullError(LSNError):
    """No more videos are queued now."""


class _CanceledError(VideoError):
    """The video is not analyzed any more."""


class VideoJob:
    """One video.

    Args:
        client: who sends it.
        name: what its client calls it.
        formats: that its events are wanted in.
        max_seconds: that it may be long.
    """

    def __init__(self, client: str, name: str, formats: Sequence[Format], *, max_seconds: float) -> None:
        self.id = secrets.token_urlsafe(16)
        """That nobody guesses."""
        self.client, self.name, self.formats = client, name, formats
        self.state: State = "receiving"
        self.seconds_done, self.seconds_total = 0, 0
        """Of a long video; both 0 for a clip, and until it runs."""
        self.result: dict[str, Any] | None = None
        self.error: str | None = None
        self.status = 200
        """Of HTTP, for the result or the error."""
        self.events: dict[str, EventsFile | str] = {}
        """The events by format, or why a format cannot hold them; empty for a clip."""
        self.finished_at = 0.0
        self.finished = asyncio.Event()
        self._max_seconds = max_seconds
        self._canceled = threading.Event()
        self._cancel_reason = 410, "the job was removed"
        self._folder = tempfile.TemporaryDirectory(prefix="lsn-")
        self.path = Path(self._folder.name, file_name(name))
        """Where the video lies until the job is finished."""

    def cancel(self, status: int, why: str) -> None:
        """Has the job end soon.

        Args:
            status: of HTTP.
            why: the error that the client reads.
        """
        self._cancel_reason = status, why
        self._canceled.set()

    def run(self, analyzer: VideoAnalyzer) -> None:
        """Analyzes the video. It takes long, so it is for another thread than the server's."""
        try:
            self._raise_if_canceled()
            analysis = analyzer.analyze(self.path, self.name, self._progress)
            if isinstance(analysis, TimelineAnalysis):
                for each in self.formats:
                    self._raise_if_canceled()
                    self.events[each] = events_file(analysis, each, analyzer.background)
            self.result, self.state = analysis.result, "done"
        except _CanceledError:
            self._end_canceled()
        except VideoError as error:
            self.state, self.error, self.status = "failed", str(error).replace(str(self.path), self.name), 422
        except Exception as error:
            logger.exception("video %r", self.name)
            self.state, self.error, self.status = "failed", str(error) or type(error).__name__, 500

    def end(self) -> None:
        """Deletes the video; the result is kept."""
        if self.state in ("receiving", "queued"):
            self._end_canceled()
        self.finished_at = time.monotonic()
        self._folder.cleanup()
        self.finished.set()

    def to_dict(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        progress = {"seconds_done": self.seconds_done, "seconds_total": self.seconds_total}
        about = {"id": self.id, "video": self.name, "state": self.state, **progress}
        return {**about, "error": self.error, "formats": list(self.events), "result": self.result}

    def _end_canceled(self) -> None:
        self.state, (self.status, self.error) = "canceled", self._cancel_reason

    def _progress(self, seconds_done: int, seconds_total: int) -> None:
        self.seconds_done, self.seconds_total = seconds_done, seconds_total
        if seconds_total > self._max_seconds:
            raise VideoError(f"{self.name}: {seconds_total} seconds; send at most {self._max_seconds:g}, in parts")
        self._raise_if_canceled()

    def _raise_if_canceled(self) -> None:
        if self._canceled.is_set():
            raise _CanceledError


class VideoJobs:
    """All of them. For the thread of the server's event loop.

    Args:
        analyzer: for one video at a time.
        max_seconds: that one may be long.
    """

    def __init__(self, analyzer: VideoAnalyzer, *, max_seconds: float = math.inf) -> None:
        self.analyzer, self._max_seconds = analyzer, max_seconds
        self._jobs: dict[str, VideoJob] = {}  # the oldest first
        self._lock = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}  # of those that are queued or run, by their ids
        self._is_closed = False

    def get(self, id: str) -> VideoJob | None:
        """One of them."""
        self._forget_old()
        return self._jobs.get(id)

    def add(self, client: str, name: str, formats: Sequence[Format]) -> VideoJob:
        """Reserves a place in the queue for a video that is about to be received; call `start` or `remove` next.

        Raises:
            QueueFullError: too many wait, or the server ends.
        """
        self._forget_old()
        if self._is_closed:
            raise QueueFullError(ENDING)
        waiting = [job.client for job in self._jobs.values() if not job.finished.is_set()]
        if len(waiting) > MAX_WAITING or waiting.count(client) > MAX_WAITING_OF_CLIENT:
            raise QueueFullError("too many videos are queued; try again later")
        job = VideoJob(client, name, formats, max_seconds=self._max_seconds)
        self._jobs[job.id] = job
        return job

    def start(self, job: VideoJob) -> None:
        """Queues a video that has been received."""
        job.state = "queued"
        self._tasks[job.id] = asyncio.create_task(self._work(job))

    async def remove(self, job: VideoJob) -> None:
        """Cancels a job, whatever its state, and forgets it."""
        job.cancel(410, "the job was removed")
        if job.state == "receiving":
            job.end()
        elif job.state == "queued":
            self._tasks[job.id].cancel()
        await job.finished.wait()
        self._jobs.pop(job.id, None)

    def close(self) -> None:
        """Cancels all jobs, and takes no more."""
        self._is_closed = True
        for job in self._jobs.values():
            job.cancel(503, ENDING)

    async def _work(self, job: VideoJob) -> None:
        try:
            async with self._lock:  # the model serves one thread at a time
                job.state = "running"
                await asyncio.to_thread(job.run, self.analyzer)
        finally:
            job.end()
            del self._tasks[job.id]

    def _forget_old(self) -> None:
        finished = [job for job in self._jobs.values() if job.finished.is_set()]
        for index, job in enumerate(finished):
            if index < len(finished) - MAX_KEPT or job.finished_at < time.monotonic() - KEPT_SECONDS:
                del self._jobs[job.id]
