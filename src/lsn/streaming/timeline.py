"""A whole untrimmed video in one pass: what happens when.

Shapes: T ticks, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lsn.inference.source import open_source
from lsn.streaming.events import Event, EventReport
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
    events = sorted((r.event for _, r in reports if r.kind == "end"), key=lambda event: event.start_seconds)
    return Timeline(str(video), track, tuple(events), tuple(reports), start_seconds, total_seconds)
