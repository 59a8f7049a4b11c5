"""What workers do with a model: answer what was read, and write that down."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from lsn.batch.journal import Journal
from lsn.batch.parts import Part, PartFiles, answer
from lsn.batch.reading import ClipRead, Failed, PartRead, Setup, done
from lsn.batch.ticks import timeline_of_scores

MAX_WAIT_SECONDS = 300
"""How long a part waits for the one before it while none of its video is answered; then it is left to the next pass."""


@dataclass(frozen=True)
class Answered:
    """What a worker has to say of a clip or a part whose answer is on disk."""

    path: str
    seconds: float = 0.0
    """Of long video."""
    waits: bool = False
    """Whether it could not be answered yet, as the part before it is missing."""


class ClipModel:
    """A model of clips in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        self._predictor = setup.model.clip_predictor()
        self._records = Journal(setup.journal).writer()

    def __call__(self, clip: ClipRead | Failed) -> Answered | Failed:
        """Answers a clip."""
        if isinstance(clip, Failed):
            self._records.write(clip.record)
            done(clip.note)
            return clip
        record = clip.about
        if clip.views is not None:
            probabilities = self._predictor.answer(record.path, clip.views).probabilities.tolist()
            record = replace(record, probabilities=probabilities, written=time.time())
        self._records.write(record)
        done(clip.note)
        return Answered(record.path)


class PartModel:
    """A model of long videos in a process of its own."""

    def __init__(self, setup: Setup) -> None:
        predictor, journal = setup.model.streaming_predictor(), Journal(setup.journal)
        self._settings = predictor.settings
        self._engine, self._slot = predictor.engine, predictor.engine.acquire()
        self._records, self._parts = journal.writer(), journal.parts

    def __call__(self, seen: PartRead | Failed) -> Answered | Failed:
        """Answers a part; the last one of a video writes down what happens in it."""
        if isinstance(seen, Failed):
            return seen  # the command writes it down, once for all parts
        job, files = seen.job, PartFiles(self._parts / seen.job.of.sha256)
        is_new = not files.has(job.part.number)
        if is_new and not self._answer(seen, files):
            done(seen.note)
            return Answered(job.of.video.path, waits=True)
        if files.num_answered(job.num_parts) == job.num_parts and not self._finish(seen, files):
            return Answered(job.of.video.path, waits=True)
        done(seen.note)
        share = (job.part.last - job.part.first) / job.of.num_ticks
        return Answered(job.of.video.path, seconds=share * job.of.seconds * is_new)

    def _answer(self, seen: PartRead, files: PartFiles) -> bool:
        """Answers a part; False if the part before it is not answered."""
        part = seen.job.part
        if not self._start(part, files):
            return False
        logits_TK = answer(self._engine, self._slot, seen.ticks, seen.views_TCHW)
        own = slice(part.num_warm_up, None)
        files.save(part.number, self._engine, self._slot, seen.ticks[own], logits_TK[own])
        return True

    def _start(self, part: Part, files: PartFiles) -> bool:
        """Brings the memory to where the part starts; False if the part before it is not answered."""
        self._engine.reset(self._slot)
        if part.number == 0 or part.num_warm_up:
            return True
        num_answered, since = -1, time.monotonic()
        while not files.has(part.number - 1):
            if files.has_failed or time.monotonic() - since > MAX_WAIT_SECONDS:
                return False
            if (now := files.num_answered(part.number)) != num_answered:
                num_answered, since = now, time.monotonic()
            time.sleep(0.05)
        is_sound = files.resume(part.number - 1, self._engine, self._slot)
        if not is_sound:
            files.fail()  # in this pass: those behind it need not wait
        return is_sound

    def _finish(self, seen: PartRead, files: PartFiles) -> bool:
        """Writes down the events of a video; False if a part is damaged. Two may do it, with the same result."""
        found = seen.job.of
        scores = files.read(seen.job.num_parts, self._engine, self._slot)
        if scores is None:
            return False
        timeline = timeline_of_scores(found.video.path, *scores, self._settings, duration_seconds=found.seconds)
        events = [{name: value for name, value in vars(event).items() if name != "id"} for event in timeline.events]
        self._records.write(found.done(events))
        return True
