"""A whole untrimmed video in one pass: what happens when.

Shapes: T ticks, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lsn.config import EventRules
from lsn.inference.source import open_source
from lsn.streaming.events import Event, EventReport
from lsn.streaming.overlapping_events import make_detector
from lsn.streaming.prediction import StreamPrediction
from lsn.streaming.predictor import StreamingPredictor
from lsn.streaming.runner import StreamRunner
from lsn.video.writing.overlay import Track


@dataclass(frozen=True, eq=False)
class Timeline:
    """What a model recognises in a video from its start to its end."""

    video: str
    """Name of the video."""
    track: Track
    """The answer at every tick."""
    events: tuple[Event, ...]
    """In the order in which they began."""
    reports: tuple[tuple[float, EventReport], ...]
    """What was reported of them, and when, in the order of time."""
    start_seconds: float
    """When the first frame is shown, on the clock of the file."""
    duration_seconds: float
    """Length of the video."""

    def with_rules(self, rules: EventRules) -> Timeline:
        """The events by other rules, without running the model again; resets of the stream end none of them."""
        detector = make_detector(self.track.labels, rules)
        reports = detector.follow(self.track.seconds_T, self.track.probabilities_TK)
        end_seconds = self.start_seconds + self.duration_seconds
        reports += [(end_seconds, report) for report in detector.finish(end_seconds)]
        return replace(self, events=ended_events(reports), reports=tuple(reports))


def make_timeline(
    predictor: StreamingPredictor,
    video: str | Path,
    *,
    source_fps: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Timeline:
    """Runs a model over a video file or a folder of frames.

    Args:
        predictor: with a free slot.
        video: the file or folder.
        source_fps: frames per second of a folder.
        progress: called at each tick with the whole seconds seen, and those of the video.

    Raises:
        VideoError: the video cannot be read, or is damaged further on.
    """
    reader = open_source(video, fps=source_fps)  # the runner closes it
    start_seconds, total_seconds = float(reader.pts_seconds[0]), reader.info.duration_seconds
    answers: list[tuple[float, np.ndarray]] = []
    reports: list[tuple[float, EventReport]] = []
    with StreamRunner(predictor, {str(video): reader}, on_error="raise") as runner:
        for result in runner:
            reports += [(result.seconds, report) for report in result.events]
            if isinstance(result, StreamPrediction):
                answers.append((result.seconds, result.probabilities))
                if progress is not None:
                    progress(int(result.seconds - start_seconds), int(total_seconds))
    seconds, probabilities = zip(*answers, strict=True)
    track = Track(predictor.labels, np.stack(probabilities), np.array(seconds))
    return Timeline(str(video), track, ended_events(reports), tuple(reports), start_seconds, total_seconds)


def ended_events(reports: Iterable[tuple[float, EventReport]]) -> tuple[Event, ...]:
    """The events that have ended, in the order in which they began."""
    return tuple(sorted((r.event for _, r in reports if r.kind == "end"), key=lambda event: event.start_seconds))
