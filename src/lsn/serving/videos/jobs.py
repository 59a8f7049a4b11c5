"""Videos that wait to be looked at, the one that is, and those that were, with what was found."""

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

from lsn.data.timelines.reading import Format
from lsn.errors import LSNError, VideoError
from lsn.serving.videos.answers import Answers, EventsAnswer, file_name
from lsn.serving.videos.formats import EventsFile, events_file

logger = logging.getLogger(__name__)

State: TypeAlias = Literal["receiving", "queued", "running", "done", "failed", "canceled"]
MAX_WAITING, MAX_WAITING_OF_CLIENT = 8, 4
"""Videos that are received or wait for the one that is looked at; those of one client."""
MAX_KEPT, KEPT_SECONDS = 256, 3600.0
"""Jobs that are over, and how long they are kept."""


ENDING = "the server ends; send the video again"


class NoPlaceError(LSNError):
    """A video cannot wait here now."""


class _GivenUpError(VideoError):
    """The video is not looked at any more."""


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
        self.seconds_seen, self.seconds_in_all = 0, 0
        """Of a long video; both 0 for a clip, and until it is looked at."""
        self.result: dict[str, Any] | None = None
        self.error: str | None = None
        self.status = 200
        """What HTTP says of the result or the error."""
        self.events: dict[str, EventsFile | str] = {}
        """The events by format, or why a format cannot hold them; empty for a clip."""
        self.over_at = 0.0
        self.is_over = asyncio.Event()
        self._max_seconds = max_seconds
        self._given_up = threading.Event()
        self._why_given_up = 410, "the job was removed"
        self._folder = tempfile.TemporaryDirectory(prefix="lsn-")
        self.path = Path(self._folder.name, file_name(name))
        """Where the video lies until it is over."""

    def give_up(self, status: int, why: str) -> None:
        """Ends it soon, wherever it stands."""
        self._why_given_up = status, why
        self._given_up.set()

    def work(self, answers: Answers) -> None:
        """Looks at the video. It takes long, so it is for another thread than the server's."""
        try:
            answer = answers.of(self.path, self.name, self._watch)
            if isinstance(answer, EventsAnswer):
                for each in self.formats:
                    self._stop_if_given_up()
                    self.events[each] = events_file(answer, each, answers.background)
            self.result, self.state = answer.result, "done"
        except _GivenUpError:
            self._cancel()
        except VideoError as error:
            self.state, self.error, self.status = "failed", str(error).replace(str(self.path), self.name), 422
        except Exception as error:
            logger.exception("video %r", self.name)
            self.state, self.error, self.status = "failed", str(error) or type(error).__name__, 500

    def end(self) -> None:
        """Deletes the video; what was found is kept."""
        if self.state in ("receiving", "queued"):
            self._cancel()
        self.over_at = time.monotonic()
        self._folder.cleanup()
        self.is_over.set()

    def to_dict(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        seen = {"seconds_seen": self.seconds_seen, "seconds_in_all": self.seconds_in_all}
        about = {"id": self.id, "video": self.name, "state": self.state, **seen}
        return {**about, "error": self.error, "formats": list(self.events), "result": self.result}

    def _cancel(self) -> None:
        self.state, (self.status, self.error) = "canceled", self._why_given_up

    def _watch(self, seconds_seen: int, seconds_in_all: int) -> None:
        self.seconds_seen, self.seconds_in_all = seconds_seen, seconds_in_all
        if seconds_in_all > self._max_seconds:
            raise VideoError(f"{self.name}: {seconds_in_all} seconds; send at most {self._max_seconds:g}, in parts")
        self._stop_if_given_up()

    def _stop_if_given_up(self) -> None:
        if self._given_up.is_set():
            raise _GivenUpError


class VideoJobs:
    """All of them. For the thread of the server's event loop.

    Args:
        answers: says what happens in them, one after the other.
        max_seconds: that one may be long.
    """

    def __init__(self, answers: Answers, *, max_seconds: float = math.inf) -> None:
        self.answers, self._max_seconds = answers, max_seconds
        self._jobs: dict[str, VideoJob] = {}  # the oldest first
        self._turn = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}  # of those that are not over, by their ids
        self._is_closed = False

    def get(self, id: str) -> VideoJob | None:
        """One of them."""
        self._forget_old()
        return self._jobs.get(id)

    def add(self, client: str, name: str, formats: Sequence[Format]) -> VideoJob:
        """A place for a video that is about to be received; call `start` or `remove` next.

        Raises:
            NoPlaceError: too many wait, or the server ends.
        """
        self._forget_old()
        if self._is_closed:
            raise NoPlaceError(ENDING)
        waiting = [job.client for job in self._jobs.values() if not job.is_over.is_set()]
        if len(waiting) > MAX_WAITING or waiting.count(client) > MAX_WAITING_OF_CLIENT:
            raise NoPlaceError("too many videos wait; try again later")
        job = VideoJob(client, name, formats, max_seconds=self._max_seconds)
        self._jobs[job.id] = job
        return job

    def start(self, job: VideoJob) -> None:
        """The video has been received; it is looked at after those before it."""
        job.state = "queued"
        self._tasks[job.id] = asyncio.create_task(self._work(job))

    async def remove(self, job: VideoJob) -> None:
        """Ends a job, wherever it stands, and forgets it."""
        job.give_up(410, "the job was removed")
        if job.state == "receiving":
            job.end()
        elif job.state == "queued":
            self._tasks[job.id].cancel()
        await job.is_over.wait()
        self._jobs.pop(job.id, None)

    def close(self) -> None:
        """Ends all jobs soon, and takes no more."""
        self._is_closed = True
        for job in self._jobs.values():
            job.give_up(503, ENDING)

    async def _work(self, job: VideoJob) -> None:
        try:
            async with self._turn:  # the model serves one thread at a time
                job.state = "running"
                await asyncio.to_thread(job.work, self.answers)
        finally:
            job.end()
            del self._tasks[job.id]

    def _forget_old(self) -> None:
        over = [job for job in self._jobs.values() if job.is_over.is_set()]
        for place, job in enumerate(over):
            if place < len(over) - MAX_KEPT or job.over_at < time.monotonic() - KEPT_SECONDS:
                del self._jobs[job.id]
