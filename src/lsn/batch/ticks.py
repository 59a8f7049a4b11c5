"""A whole video as the ticks of a stream, known before a frame is decoded, so that its parts can be run apart.

Shapes: T ticks, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from lsn.streaming.resets import ResetDetector
from lsn.streaming.settings import StreamSettings
from lsn.streaming.timeline import Timeline, ended_events
from lsn.video.decoding.reader import VideoReader
from lsn.video.frame_sampler import FrameSampler, Tick
from lsn.video.writing.overlay import Track


@dataclass(frozen=True, eq=False)
class Ticks:
    """When a model sees a video, and which frames of it."""

    seconds_T: np.ndarray
    """float64: the moments."""
    pts_seconds_T: np.ndarray
    """float64: when the frame that is on screen then came there."""
    frames_T: np.ndarray
    """int64: numbers of these frames."""
    is_discontinuity_T: np.ndarray
    """uint8: 1 where a gap or jump of the timestamps lies before the tick, and at the first one."""
    is_reset_T: np.ndarray
    """uint8: 1 where the memory of the model is cleared before the tick."""

    def __len__(self) -> int:
        return len(self.seconds_T)

    def __getitem__(self, part: slice) -> Ticks:
        return Ticks(**{name: array[part] for name, array in vars(self).items()})

    @classmethod
    def joined(cls, parts: Iterable[Ticks]) -> Self:
        """The ticks of parts, one after the other."""
        found = list(parts)
        return cls(**{name: np.concatenate([vars(part)[name] for part in found]) for name in vars(found[0])})

    def __iter__(self) -> Iterator[Tick[Any]]:
        start_seconds = float(self.seconds_T[0])
        rows = zip(self.seconds_T.tolist(), self.pts_seconds_T.tolist(), self.is_discontinuity_T.tolist(), strict=True)
        for number, (seconds, pts_seconds, is_discontinuity) in enumerate(rows):
            yield Tick(seconds, None, pts_seconds, bool(is_discontinuity), start_seconds, number)


def ticks_of(reader: VideoReader, settings: StreamSettings) -> Ticks:
    """The ticks that a stream makes of a video; cuts of scenes, which only pictures show, are not looked for."""
    sampler: FrameSampler[int] = settings.sampler()
    resets = ResetDetector(settings.resets)
    rows = [
        (tick.seconds, tick.pts_seconds, tick.frame, tick.is_discontinuity, resets.reason(tick) is not None)
        for tick in _all_ticks(reader, sampler)
    ]
    columns = list(zip(*rows, strict=True))
    types = (np.float64, np.float64, np.int64, np.uint8, np.uint8)
    return Ticks(*(np.array(column, dtype=dtype) for column, dtype in zip(columns, types, strict=True)))


def timeline_of_scores(
    video: str, ticks: Ticks, logits_TK: np.ndarray, settings: StreamSettings, *, duration_seconds: float
) -> Timeline:
    """What happens when in a video whose scores are known: the same as in one pass over it.

    Args:
        video: its name.
        ticks: all of it.
        logits_TK: float32, the scores at them.
        settings: without a threshold for cuts of scenes.
        duration_seconds: length of the video.
    """
    tracker, reports = settings.tracker(), []
    probabilities_TK = np.empty_like(logits_TK)
    for t, tick in enumerate(ticks):
        tracker.begin(tick)
        tracked = tracker.update(tick, logits_TK[t])
        probabilities_TK[t] = tracked.probabilities_K
        reports += [(tick.seconds, report) for report in tracked.events]
    start_seconds = float(ticks.pts_seconds_T[0])
    end_seconds = start_seconds + duration_seconds
    reports += [(tracker.seconds, report) for report in tracker.ongoing_events(end_seconds)]
    track = Track(settings.labels, probabilities_TK, ticks.seconds_T)
    return Timeline(video, track, ended_events(reports), tuple(reports), start_seconds, duration_seconds)


def _all_ticks(reader: VideoReader, sampler: FrameSampler[int]) -> Iterator[Tick[Any]]:
    for number, pts_seconds in enumerate(reader.pts_seconds.tolist()):
        yield from sampler.push(pts_seconds, number)
    yield from sampler.finish(reader.end_seconds)
